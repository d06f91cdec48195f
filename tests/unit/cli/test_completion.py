"""TAB in real shells: each runs its own completion in a pseudo-terminal, and what it typed is looked at."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowwatch.cli.completion import FILES, FOLDERS, NOTHING_ELSE, complete
from flowwatch.cli.flag_table import VERBS
from flowwatch.cli.values import SHELL
from tests.benchmarks.pty_driver import Terminal
from tests.command import ROOT, clean_environment, flowwatch, one_line

PATIENCE = 20.0
VERB = next(verb for verb in VERBS if verb.name == "completion")

START = {
    "bash": (["bash", "--noprofile", "-i"], ["bash", "-c"], ""),
    "zsh": (
        ["zsh", "-f", "-i"],
        ["zsh", "-f", "-c"],
        "fpath=(~/functions $fpath); autoload -U compinit && compinit -u -d ~/zcompdump",
    ),
    "fish": (["fish", "-i"], ["fish", "-c"], ""),
}
"""How each is started, how it runs one line, and what people have in its startup file anyway."""

STUB = """\
#!/bin/sh
case "$1" in
__complete | completion)
    "{python}" -m flowwatch "$@"
    echo asked >> "{folder}/asked" ;;
*)
    printf '%s\\n' "$@" > "{folder}/typed.new"
    mv "{folder}/typed.new" "{folder}/typed" ;;
esac
"""
"""A command of that name that completes as flowwatch does, and writes down how it is called."""

INSTALL = {
    name: next(line.partition(":")[2].strip() for line in VERB.more if f" {name}:" in line)
    for name in SHELL.all()
}
"""What ``--help`` and the README say to do once."""

KUBECONFIG = """\
apiVersion: v1
kind: Config
contexts:
  - {name: staging, context: {cluster: a, user: b}}
  - {name: "prod@eu", context: {cluster: c, user: d}}
"""


class Shell:
    """An interactive shell whose keys are ours."""

    def __init__(self, name: str, folder: Path) -> None:
        argv, once, anyway = START[name]
        self.folder = folder
        bin_folder = folder / "bin"
        bin_folder.mkdir()
        command = bin_folder / "flowwatch"
        command.write_text(STUB.format(python=sys.executable, folder=folder))
        command.chmod(0o755)
        self._place = folder / "place"
        self._place.mkdir()
        (self._place / "flows.jsonl").touch()
        (self._place / "folderol.txt").touch()
        (self._place / "folder").mkdir()
        (folder / "kubeconfig").write_text(KUBECONFIG)
        env = clean_environment(str(folder)) | {
            "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
            "KUBECONFIG": str(folder / "kubeconfig"),
            "XDG_CONFIG_HOME": str(folder / ".config"),
        }
        (folder / "functions").mkdir()
        # fish makes it when it is first started.
        (folder / ".config" / "fish" / "completions").mkdir(parents=True)
        installed = subprocess.run(
            [*once, f"{anyway.partition(';')[0]}\n{INSTALL[name]}"],
            env=env, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert installed.returncode == 0, installed.stderr
        self.terminal = Terminal(["env", "-C", str(self._place), *argv], columns=200, env=env)
        self._anyway = anyway

    def start(self) -> None:
        self.terminal.run_for(0.5)
        self.terminal.press(f"{self._anyway}\rflowwatch ready\r")
        self._wait(lambda: self._typed() == ["ready"])

    def _asked(self) -> int:
        asked = self.folder / "asked"
        return asked.read_text().count("\n") if asked.exists() else 0

    def _typed(self) -> list[str]:
        typed = self.folder / "typed"
        return typed.read_text().splitlines() if typed.exists() else []

    def _wait(self, there: object) -> None:
        assert callable(there)
        until = time.monotonic() + PATIENCE
        while not there():
            assert time.monotonic() < until, self.terminal.screen.text
            self.terminal.run_for(0.05)

    def words(self, line: str) -> list[str]:
        """What flowwatch is called with when ``line`` is typed behind its name; ⇥ is the TAB key."""
        (self.folder / "typed").unlink(missing_ok=True)
        *parts, end = f"flowwatch {line}".split("⇥")
        for part in parts:
            asked = self._asked()
            self.terminal.press(part)
            self.terminal.press("\t")
            self._wait(lambda asked=asked: self._asked() > asked)
            self.terminal.run_for(0.2)
        self.terminal.press(end + "\r")
        self._wait(self._typed)
        # zsh takes the slash behind a folder's name away again.
        return [word.removesuffix("/") for word in self._typed()]


@pytest.fixture(scope="module", params=SHELL.all())
def shell(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shell]:
    name = str(request.param)
    if shutil.which(name) is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is not installed (in CI each shell must be tested)", pytrace=False)
        pytest.skip(f"{name} is not installed")
    made = Shell(name, tmp_path_factory.mktemp(name))
    with made.terminal:
        made.start()
        yield made


TYPED = [
    ("su⇥", ["summary"]),
    ("list no⇥", ["list", "nodes"]),
    ("help list name⇥", ["help", "list", "namespaces"]),
    ("summary --outp⇥j⇥", ["summary", "--output", "json"]),
    ("observe --output=di⇥", ["observe", "--output=dict"]),
    ("observe -o=di⇥", ["observe", "-o=dict"]),
    ("observe --verdict DRO⇥", ["observe", "--verdict", "DROPPED"]),
    ("observe --verdict 'DRO⇥", ["observe", "--verdict", "DROPPED"]),
    ("observe -t trace:to-st⇥", ["observe", "-t", "trace:to-stack"]),
    ("observe --type=trace:to-st⇥", ["observe", "--type=trace:to-stack"]),
    ("observe --tcp-flags syn,ac⇥", ["observe", "--tcp-flags", "syn,ACK"]),
    ("-n weather summary --max⇥5", ["-n", "weather", "summary", "--max-rows", "5"]),
    ("--not --drop-reason-desc NO_TUN⇥", [
        "--not", "--drop-reason-desc", "NO_TUNNEL_OR_ENCAPSULATION_ENDPOINT",
    ]),
    ("summary --input-file flo⇥", ["summary", "--input-file", "flows.jsonl"]),
    ("summary --input-file=flo⇥", ["summary", "--input-file=flows.jsonl"]),
    ("audit -f flo⇥", ["audit", "-f", "flows.jsonl"]),
    # A folder is wanted, and what else begins so isn't one.
    ("--export-dir folde⇥", ["--export-dir", "folder"]),
    # No name of a file where none is wanted.
    ("summary --namespace flo⇥", ["summary", "--namespace", "flo"]),
    ("summary flo⇥", ["summary", "flo"]),
    ("status --kube-context prod⇥", ["status", "--kube-context", "prod@eu"]),
]  # fmt: skip


@pytest.mark.parametrize(("line", "words"), TYPED, ids=[line for line, _ in TYPED])
def test_tab(shell: Shell, line: str, words: list[str]) -> None:
    assert shell.words(line) == words


def offered(*words: str) -> list[str]:
    return [word for word, _ in complete(words).candidates]


def test_what_is_offered_is_what_the_table_says() -> None:
    for verb in VERBS:
        words = verb.name.split()
        flags = {flag.name for group in verb.groups for flag in group.flags}
        assert {f"--{name}" for name in flags} <= set(offered(*words, "--"))
        for group in verb.groups:
            for flag in group.flags:
                if flag.choices is not None and flag.name != "kube-context":
                    assert offered(*words, f"--{flag.name}=") == list(flag.choices.all())
    assert offered("") == list(dict.fromkeys(v.name.split()[0] for v in VERBS if v.name))


@pytest.mark.parametrize(
    ("words", "found"),
    [
        # Given once, and that is enough; filters and lists may come again.
        (["summary", "-o", "json", "--outp"], []),
        (["observe", "--pod", "a", "--po"], ["--pod", "--port", "--port-forward", "--port-forward-port"]),
        (["summary", "--server", "x", "--serv"], ["--service", "--server"]),
        # A word behind a flag is its value, whatever it looks like.
        (["--pod", "summary", "--them"], ["--theme"]),
        (["-n", "x", "observe", "--them"], []),
        (["observe", "-fn"], []),
        (["observe", "-n"], []),
        (["--", ""], []),
        (["observe", "--nonsense=", "-o", "compa"], ["compact"]),
        (["export", "--outcome", "dropped,err"], ["dropped,error"]),
        (["export", "--outcome", "dropped,dr"], []),
    ],
)  # fmt: skip
def test_words_are_taken_as_the_parser_takes_them(words: list[str], found: list[str]) -> None:
    assert offered(*words) == found


def test_verbs_behind_a_verb_are_offered_though_it_is_one_itself() -> None:
    assert [word for word, _ in complete(["proof", ""]).candidates] == ["verify"]
    assert [word for word, _ in complete(["web", "d"]).candidates] == ["demo", "draft"]
    assert complete(["summary", ""]).candidates == []
    assert complete(["proof", "verify", ""]) == ([], FILES)


def test_where_files_and_folders_stand() -> None:
    assert complete(["audit", "-f", ""]).adds == FILES
    assert complete(["summary", "--tls-ca-cert-files", ""]).adds == FILES
    assert complete(["summary", "--keep-bad", ""]).adds == FOLDERS
    assert complete(["summary", ""]).adds == NOTHING_ELSE
    assert complete(["summary", "-o", ""]).adds == NOTHING_ELSE


def test_the_answer_is_cobras() -> None:
    """As kubectl asks a plugin's kubectl_complete-… for it."""
    told = flowwatch("__complete", "list", "n")
    assert told.stdout == (
        "nodes\tnodes that relay knows\nnamespaces\tnamespaces with flows of late\n:4\n"
    )
    assert (told.returncode, told.stderr) == (0, "")


@pytest.mark.parametrize(
    "text",
    ["", "contexts: 5", "contexts: [5, {name: 7}]", "{", "\x00", "- a", "contexts: [{name: \"a\\nb\"}]"],
)  # fmt: skip
def test_a_kubeconfig_that_says_nothing_has_no_contexts(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    assert offered("--kubeconfig", str(path), "--kube-context", "") == []
    assert offered("--kubeconfig", str(tmp_path), "--kube-context", "") == []


def test_contexts_are_those_of_the_kubeconfig_that_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(KUBECONFIG)
    assert offered(f"--kubeconfig={path}", "--kube-context", "") == ["staging", "prod@eu"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], '"flowwatch completion" needs to know the shell: bash, zsh or fish'),
        (["bahs"], "invalid shell: bahs: did you mean bash? one of bash, zsh, fish"),
        (["\x1b[2J"], r"invalid shell: \x1b[2J: one of bash, zsh, fish"),
        (["bash", "zsh"], "only one shell at a time: bash, zsh or fish"),
    ],
)
def test_a_shell_that_is_none(arguments: list[str], words: str) -> None:
    told = flowwatch("completion", *arguments)
    assert (told.returncode, told.stdout) == (2, "")
    assert one_line(told) == f"flowwatch: {words}"


@pytest.mark.parametrize("name", SHELL.all())
def test_help_readme_and_script_say_the_same_line(name: str) -> None:
    """How to have it in every new shell."""
    line = INSTALL[name]
    shown = flowwatch("completion", "--help").stdout.splitlines()
    assert line in [one.partition(":")[2].strip() for one in shown]
    assert f"#   {line}\n" in flowwatch("completion", name).stdout
    assert f"\n{line}\n" in (ROOT / "README.md").read_text("utf-8")
