"""``kubectl flowwatch``: kubectl runs the command of that name that it finds on the PATH."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from flowwatch.cli import program
from tests.command import ROOT, clean_environment

NAMES = (
    ("/usr/bin/flowwatch", "flowwatch"),
    ("/usr/bin/kubectl-flowwatch", "kubectl flowwatch"),
    ("kubectl-flowwatch.exe", "kubectl flowwatch"),
    ("/there/flowwatch/__main__.py", "flowwatch"),
)


@pytest.mark.parametrize(("argv0", "name"), NAMES)
def test_its_name(argv0: str, name: str) -> None:
    assert program.name(argv0) == name


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """The script that pip writes for the entry point, here by hand."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    module, function = scripts[program.PLUGIN].split(":")
    path = tmp_path / program.PLUGIN
    path.write_text(
        f"#!{sys.executable}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"
    )
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("words", ["--help", "observe --help", "help summary", "--hlep"])
def test_its_words_say_how_it_was_called(plugin: Path, words: str) -> None:
    done = subprocess.run(
        [plugin, *words.split()],
        env=clean_environment(str(plugin.parent)) | {"PYTHONPATH": os.fspath(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    told = done.stdout + done.stderr
    assert "kubectl flowwatch" in told
    assert "\n  flowwatch" not in told
    assert max(map(len, done.stdout.splitlines()), default=0) <= 80
