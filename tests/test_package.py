"""What `pip install .` gives: every file of the package, the command, and only what users need."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import flowwatch

# They share what is made once.
pytestmark = pytest.mark.xdist_group("package")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout."""
    if not importlib.util.find_spec("hatchling"):
        pytest.skip("hatchling isn't installed (make test installs it)")
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment that holds the wheel, and sees the dependencies of this one."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # As lines of a .pth, so that the checkout's own editable install isn't seen.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder


def run(python: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "HUBBLE"))}
    return subprocess.run(
        [python, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("flowwatch/")}
    package = ROOT / "flowwatch"
    wanted = {str(path.relative_to(ROOT)) for path in package.rglob("*") if path.is_file()}
    assert held == {name for name in wanted if "__pycache__" not in name}
    assert "flowwatch/py.typed" in held


def test_wheel_holds_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
        assert any(name.endswith("/licenses/LICENSE") for name in archive.namelist())
    assert tops == {"flowwatch", f"flowwatch-{flowwatch.__version__}.dist-info"}


def test_command_of_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith("entry_points.txt"))
        assert "flowwatch = flowwatch.__main__:main" in archive.read(name).decode()


def test_installed_package_runs_without_the_checkout(installed: Path, tmp_path: Path) -> None:
    python = installed / "bin" / "python"
    where = run(python, "-c", "import flowwatch; print(flowwatch.__file__)", cwd=tmp_path)
    assert Path(where.stdout.strip()).is_relative_to(installed), where.stderr

    version = run(python, "-m", "flowwatch", "version", cwd=tmp_path)
    assert version.returncode == 0
    assert version.stdout.splitlines()[0] == f"flowwatch {flowwatch.__version__}"


def test_every_module_of_the_installed_package_loads(installed: Path, tmp_path: Path) -> None:
    walk = (
        "import importlib, pkgutil, flowwatch\n"
        "for m in pkgutil.walk_packages(flowwatch.__path__, 'flowwatch.'):\n"
        "    importlib.import_module(m.name)\n"
    )
    done = run(installed / "bin" / "python", "-c", walk, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_demo_plays_from_the_installed_package(installed: Path, tmp_path: Path) -> None:
    done = run(installed / "bin" / "python", "-m", "flowwatch", "demo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "api.openweathermap.org" in done.stdout


def test_dependencies_are_those_imported() -> None:
    """Each third-party module that the package imports is declared, and each declared one is used."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    listed = [*project["dependencies"], *(name for extra in extras for name in extra)]
    declared = {re.split(r"[^a-z0-9.-]", entry)[0] for entry in listed}

    distributions = importlib.metadata.packages_distributions()
    imported = {module for path in (ROOT / "flowwatch").rglob("*.py") for module in modules(path)}
    ours = {"flowwatch", "__future__"} | set(sys.stdlib_module_names)
    # Only `python -m flowwatch.hubble.wire.generate` needs it, which works in a checkout only.
    imported -= ours | {"grpc_tools"}
    used = {name for module in imported for name in distributions.get(module, [module])}
    assert {name.lower().replace("_", "-") for name in used} - {
        "types-protobuf",
        "grpc-stubs",
    } == declared


SHARED = {
    "google.protobuf": "protobuf",
    "opentelemetry.exporter.otlp.proto.http": "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry.sdk": "opentelemetry-sdk",
}
"""Distributions by what they have in a namespace that many share."""


def modules(path: Path) -> set[str]:
    """Top names of what a file imports, also by ``import_module("name")``."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import():
                found |= {alias.name for alias in node.names}
            case ast.ImportFrom(module=str(module), level=0):
                found.add(module)
            case ast.Call(
                func=ast.Name(id="import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                found.add(name)
    return {
        next((dist for space, dist in SHARED.items() if name.startswith(space)), name.split(".")[0])
        for name in found
    }
