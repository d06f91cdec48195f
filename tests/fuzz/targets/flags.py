"""What a person types: every flag of every verb, with values that make no sense."""

from __future__ import annotations

from pathlib import Path
from random import Random

from flowwatch.cli.flag_kinds import SWITCH, Flag
from flowwatch.cli.flag_table import VERBS
from tests.fuzz import corpus, mutate
from tests.fuzz.inputs import Input
from tests.fuzz.program import loopback_only, run
from tests.fuzz.readers import POLICY
from tests.interop import odd_flows

# These wait for ever, or write where they are told to.
_LEFT_OUT = {
    "follow",
    "output",
    "export-dir",
    "keep-bad",
    "serve",
    "debug",
    "request-timeout",
    "timeout",
}
_SAID: tuple[str, ...] = (
    *odd_flows.PODS, *odd_flows.LABELS, *odd_flows.ADDRESSES, *odd_flows.NAMES, *odd_flows.SELECTORS,
    *odd_flows.PATTERNS, *odd_flows.NODES, "1", "0", "-5m", "5m", "2026-01-31", "10:00", "DROPPED", "GET",
    "4xx", "trace:to-stack", "drop", "world", "l7", "{\"source_pod\":[\"x\"]}",
    "verdict == 1", "_flow.verdict", "a,b",
)  # fmt: skip
_OFFLINE = {
    "summary": ("--input-file", "flows.jsonl"),
    "export": ("--input-file", "flows.jsonl", "-o", "-"),
    "observe": ("--input-file", "flows.jsonl"),
    "audit": ("--input-file", "flows.jsonl", "-f", "policy.yaml"),
    "whatif": ("--input-file", "flows.jsonl", "-f", "policy.yaml"),
    "explain": ("-f", "policy.yaml"),
}
_LIVE = ("status", "doctor", "list nodes", "list namespaces", "summary", "observe")


class Flags:
    """One to three of a verb's flags at a time, over a capture, or against a server that isn't there."""

    name = "flags"
    what = "command lines"

    def __init__(self) -> None:
        self._flows = b"\n".join(corpus.line(record) for record in corpus.RECORDS)
        self._flags = {
            verb.name: [
                flag for group in verb.groups for flag in group.flags if flag.name not in _LEFT_OUT
            ]
            for verb in VERBS
        }

    def make(self, random: Random) -> Input:
        live = random.random() < 0.1
        verb = random.choice(_LIVE if live else tuple(_OFFLINE))
        words = (
            ["--server", "127.0.0.1:1", "--request-timeout", "1s"] if live else list(_OFFLINE[verb])
        )
        for flag in random.choices(self._flags[verb], k=random.randint(1, 3)):
            words += _typed(random, flag)
        return Input((*verb.split(), *words), {})

    def run(self, given: Input, place: Path) -> None:
        (place / "flows.jsonl").write_bytes(self._flows)
        (place / "policy.yaml").write_bytes(POLICY)
        environ = {"KUBECONFIG": "none", "grpc_proxy": "http://127.0.0.1:1"}
        with loopback_only():
            run(list(given.call), place, environ=environ)

    def close(self) -> None:
        pass


def _typed(random: Random, flag: Flag) -> list[str]:
    value = random.choice((*mutate.TEXTS, *_SAID, *map(str, mutate.NUMBERS)))
    # As Python has the arguments of a process: no NUL, and what is no UTF-8 in lone surrogates.
    value = (
        value.replace("\0", "").encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
    )
    if flag.kind == SWITCH or flag.alone:
        return [f"--{flag.name}"] if random.random() < 0.7 else [f"--{flag.name}={value}"]
    return random.choice(
        ([f"--{flag.name}", value], [f"--{flag.name}={value}"], [f"--{flag.name}"])
    )
