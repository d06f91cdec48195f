"""flowwatch on every other Python from 3.11 that this machine has: it loads, and says the same.

Each gets an environment of requirements.lock, once per state of that file, in `$XDG_CACHE_HOME` or
`~/.cache`, `flowwatch-pythons` (half a minute each, 250 MB). The whole suite runs on one Python.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import ROOT, clean_environment
from tests.material import OWN

FIRST, LAST = 11, 14
"""Minor versions: what pyproject.toml asks for, and the last that every locked package has a wheel for."""
INSTALL_SECONDS = 600
PROBE = "import ensurepip, sys, venv; print(*sys.version_info[:3], sep='.')"

LOAD = """
import importlib, pkgutil, flowwatch
for module in pkgutil.walk_packages(flowwatch.__path__, "flowwatch."):
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as missing:
        print(missing.name)
"""
OPTIONAL = {
    "cel_expr_python", "grpc_tools", "opentelemetry", "prometheus_client", "pyarrow", "re2", "requests",
    "textual_serve",
}  # fmt: skip
"""What is imported only by who has it: `make proto`, and the extras."""

WEATHER = OWN / "captures" / "weather.jsonl"
STEADY = OWN / "kernel-lab" / "steady"
COMMANDS = [
    f"summary -o json --direction both --input-file {WEATHER}",
    f"export --raw --input-file {WEATHER}",
    f"observe --input-file {WEATHER}",
    f"audit -o json -f {STEADY}/policy.yaml --input-file {STEADY}/flows.jsonl.gz",
    f"explain -f {STEADY}/policy.yaml --from weather/weather-app --to 198.51.100.5:443",
    "demo --duration 20s --speed 100 --print-policy",
]


def found() -> dict[int, Path]:
    """Minor version → a Python of it that can make environments; without the one that runs this."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    others: dict[int, Path] = {}
    for minor in range(FIRST, LAST + 1):
        name = f"python3.{minor}"
        named = [Path(path) for path in (shutil.which(name), f"/usr/bin/{name}") if path]
        for path in [*sorted(pyenv.glob(f"versions/3.{minor}.*/bin/python3")), *named]:
            if minor != sys.version_info.minor and version(path).startswith(f"3.{minor}."):
                others[minor] = path
                break
    return others


def version(python: Path) -> str:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            [python, "-c", PROBE], capture_output=True, text=True, timeout=30, check=False
        )
        return done.stdout.strip()
    return ""


OTHERS = found()
NONE = pytest.param(
    0,
    marks=pytest.mark.skip(
        reason=f"no Python from 3.{FIRST} to 3.{LAST} but 3.{sys.version_info.minor} is found here"
    ),
    id="none",
)


@pytest.fixture
def python(minor: int) -> Path:
    """The Python of an environment that holds what users get."""
    home = os.environ.get("XDG_CACHE_HOME")
    cache = (Path(home) if home else Path.home() / ".cache") / "flowwatch-pythons"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"3.{minor}"
    stamp = folder / "made-of"
    base = OTHERS[minor]
    made_of = f"{version(base)} {hashlib.sha256(lock().read_bytes()).hexdigest()}"
    with locked(cache / f"3.{minor}.lock"):
        if not stamp.is_file() or stamp.read_text() != made_of:
            run(base, "-m", "venv", "--clear", folder)
            pip = ("-m", "pip", "--quiet", "--disable-pip-version-check", "install")
            wheels = ("--only-binary", ":all:", "--require-hashes", "-r", lock())
            run(folder / "bin" / "python", *pip, *wheels)
            stamp.write_text(made_of)
    return folder / "bin" / "python"


def lock() -> Path:
    return ROOT / "requirements.lock"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def run(*command: str | Path) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
    )
    if done.returncode:
        pytest.fail(f"{' '.join(map(str, command))}: {done.stderr[-2000:]}", pytrace=False)


def told(python: Path, home: Path, *words: str) -> tuple[int, str, str]:
    """What it says in a process of that Python, whose compiled files stay out of the checkout."""
    ours = python == Path(sys.executable)
    compiled = {} if ours else {"PYTHONPYCACHEPREFIX": str(python.parents[1] / "compiled")}
    done = subprocess.run(
        [python, *words],
        cwd=ROOT,
        env=clean_environment(str(home)) | compiled,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.timeout(300)
@pytest.mark.parametrize("minor", list(OTHERS) or [NONE])
def test_another_python_loads_every_module_and_says_the_same(python: Path, tmp_path: Path) -> None:
    code, missing, err = told(python, tmp_path, "-c", LOAD)
    assert (code, err) == (0, "")
    assert set(missing.split()) <= OPTIONAL
    for command in COMMANDS:
        words = ("-m", "flowwatch", *command.split())
        ours = told(Path(sys.executable), tmp_path, *words)
        assert ours[0] in (0, 1)
        assert ours[1]
        assert told(python, tmp_path, *words) == ours, command


def test_the_classifiers_name_those_that_are_tried() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {line.rpartition(" ")[2] for line in project["classifiers"] if ":: 3." in line}
    assert project["requires-python"] == f">=3.{FIRST}"
    assert named <= {f"3.{minor}" for minor in range(FIRST, LAST + 1)}
    # What runs here is promised, or about to be.
    tried = {*OTHERS, sys.version_info.minor} & set(range(FIRST, LAST + 1))
    assert {f"3.{minor}" for minor in tried} - {f"3.{LAST}"} <= named
