"""What a reader of the repository relies on: it is laid out as said, and what it says of itself is true."""

from __future__ import annotations

import ast
import hashlib
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

import flowwatch

ROOT = Path(__file__).resolve().parents[1]

TOP_LEVEL = {
    *("flowwatch", "native", "proto", "tests", "docs", "screenshots", ".ci"),
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "Makefile", "pyproject.toml"),
    *(
        "requirements.lock",
        "requirements-dev.lock",
        ".gitignore",
        ".gitattributes",
        ".git-blame-ignore-revs",
    ),
}
MOST_LINES = 500

# Written in pieces, so that this file doesn't hold what it looks for.
REGISTRIES = ("py" + "pi.org", "python" + "hosted.org", "proxy.go" + "lang.org", "npm" + "js.org")
MACHINE_PATH = re.compile(
    r"(?<![\w.~}$-])/(?:wo" + r"rk|ro" + r"ot|ho" + r"me/[a-z]+|Us" + r"ers)/"
)

# Of the licence's text as its authors publish it.
APACHE_2 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    """What git keeps, relative to the checkout."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    # As root in a container, git doubts a checkout that another user owns.
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for name in done.stdout.split("\0")[:-1] if (ROOT / (path := Path(name))).exists()]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """pyproject.toml's account of the project."""
    table: dict[str, Any] = pyproject()["project"]
    return table


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def make_targets() -> dict[str, str]:
    """Target → its line of help."""
    found = re.findall(r"^([a-z]+):.*?## (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return dict(found)


def test_top_level_holds_what_is_planned(tracked: list[Path]) -> None:
    assert {path.parts[0] for path in tracked} - TOP_LEVEL == set()


def test_no_file_has_grown_too_long(tracked: list[Path]) -> None:
    code = [p for p in tracked if p.suffix == ".py" and p.parts[0] == "flowwatch"]
    written = [p for p in code if p.parts[:4] != ("flowwatch", "hubble", "wire", "pb")]
    assert len(written) > 50
    lines = {str(path): len((ROOT / path).read_text().splitlines()) for path in written}
    assert {path: n for path, n in lines.items() if n > MOST_LINES} == {}


def test_nothing_prints_but_the_one_way_out(tracked: list[Path]) -> None:
    """``print`` and the standard streams fail where they are closed, full or not UTF-8."""
    found = []
    for path in tracked:
        if path.suffix != ".py" or path.parts[0] != "flowwatch" or path.parts[1] == "output":
            continue
        for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))):
            match node:
                case (
                    ast.Name(id="print")
                    | ast.Attribute(
                        value=ast.Name(id="sys"), attr="stdout" | "stderr" | "__stdout__"
                    )
                ):
                    found.append(f"{path}:{node.lineno}")
    assert found == []


def test_nothing_names_a_machine_or_a_registry(tracked: list[Path]) -> None:
    found = []
    for path in tracked:
        try:
            text = (ROOT / path).read_text("utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path}: {host}" for host in REGISTRIES if host in text]
        found += [f"{path}: {match[0]}" for match in MACHINE_PATH.finditer(text)]
    assert found == []


def test_licence_is_apache_2(project: dict[str, Any]) -> None:
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == APACHE_2
    assert project["license"] == "Apache-2.0"


def test_version_is_one_and_the_changelog_has_it(project: dict[str, Any]) -> None:
    assert project["version"] == flowwatch.__version__
    versions = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert flowwatch.__version__ == versions[0]


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_make_targets_that_are_promised_exist(page: str) -> None:
    promised = set(re.findall(r"^make ([a-z]+)", "\n".join(code_of(ROOT / page)), re.MULTILINE))
    assert {"test"} <= promised
    assert promised <= set(make_targets())


def test_links_between_pages_lead_somewhere(tracked: list[Path]) -> None:
    """Those of every page but the README, which has a test of its own."""
    broken = []
    for page in (p for p in tracked if p.suffix == ".md" and p != Path("README.md")):
        links = re.findall(r"\]\(([^)#\s]+)", (ROOT / page).read_text())
        broken += [
            f"{page}: {link}"
            for link in links
            if "://" not in link and not (ROOT / page.parent / link).exists()
        ]
    assert broken == []


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert phony
    assert set(make_targets()) == set(phony[1].split())
    done = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.split()[1] for line in done.stdout.splitlines()] == list(make_targets())


def test_ci_runs_what_the_readme_says() -> None:
    runner = ROOT / ".ci" / "run"
    assert runner.stat().st_mode & 0o111 == 0o111
    assert runner.read_text().splitlines()[-1] == "exec make test"
    assert "make test" in code_of(ROOT / "README.md")


def test_locks_hold_exact_versions_with_hashes_and_agree(project: dict[str, Any]) -> None:
    run, dev = (locked(ROOT / name) for name in ("requirements.lock", "requirements-dev.lock"))
    groups = pyproject()["dependency-groups"]
    assert names_of(project["dependencies"] + groups["build"]) <= {name for name, _ in run}
    assert names_of(groups["dev"]) <= {name for name, _ in dev}
    assert run.items() <= dev.items()
    assert all(hashes for hashes in dev.values())


def names_of(wanted: list[str | dict[str, str]]) -> set[str]:
    """The packages of a list of requirements, without their versions; included groups left out."""
    names = (re.split(r"[^a-z0-9.-]", entry)[0] for entry in wanted if isinstance(entry, str))
    return {name.replace(".", "-") for name in names}  # as lock files write it


def locked(path: Path) -> dict[tuple[str, str], int]:
    """(package, version and marker) → how many hashes; every line is understood, or this fails."""
    found: dict[tuple[str, str], int] = {}
    last = ("", "")
    for line in path.read_text().splitlines():
        if entry := re.fullmatch(r"([a-z0-9-]+)==(\S+(?: ; .+?)?) \\", line):
            last = (entry[1], entry[2])
            found[last] = 0
        else:
            assert re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?", line), line
            found[last] += 1
    return found


def code_of(page: Path) -> list[str]:
    """What stands in backquotes or in fenced lines on a Markdown page, a line each."""
    text = page.read_text()
    fences = re.findall(r"^```.*?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    return [
        line.strip().removeprefix("$ ") for fence in fences for line in fence.splitlines()
    ] + inline
