"""Rules of ``flowwatch watch``, spoilt: carried out, or refused in one line that says where."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random
from typing import Any

import yaml

from flowwatch.cli.watch import EXAMPLE
from tests.fuzz import corpus, mutate
from tests.fuzz.inputs import Input
from tests.fuzz.program import Fault, loopback_only, run

_CHECKED = ("watch", "rules.yaml", "--check")
_RUN = ("watch", "rules.yaml", "--input-file", "flows.jsonl", "-o", "json")
_PLACE = re.compile(r"flowwatch: rules\.yaml:\d+:")
_MORE: dict[str, Any] = {
    "alert": "more", "when": "drop-share", "workload": "weather/*", "peer": "*.example", "direction": "both",
    "labels": {"severity": "page"}, "annotations": {"runbook": "x"}, "limit": 5, "attempts": 3,
    "window": "10s", "above": 0.5, "learn": "1m", "clear": "1h30m",
}  # fmt: skip
_ODD = (
    "<<: *x", "&x [*x]", "!!python/name:os.system", "? [a]\n: b", "---", "%YAML 9", "\ufeff", "\t", "\x85",
    "- " * 300, "[" * 2000, "{a: " * 500, "'", "\u202e",
)  # fmt: skip


class RuleFiles:
    """One file at a time: the example's tree, or its text."""

    name = "rules"
    what = "files"

    def make(self, random: Random) -> Input:
        sound = yaml.safe_load(EXAMPLE)
        sound["rules"].append(dict(_MORE))
        call = random.choice((_CHECKED, _CHECKED, _RUN))
        if call is _RUN:
            # Receivers that nobody is would be waited for.
            del sound["receivers"]
            for rule in sound["rules"]:
                rule.pop("notify", None)
        text = EXAMPLE
        if call is _RUN or random.random() < 0.5:
            spoilt = mutate.tree(random, sound)
            if call is _RUN and isinstance(spoilt, dict):
                spoilt.pop("receivers", None)
            text = yaml.safe_dump(spoilt, allow_unicode=True)
        raw = text.encode("utf-8", "surrogatepass")
        if call is _CHECKED and random.random() < 0.5:
            raw = mutate.data(random, raw)
            at = random.randrange(len(raw) + 1)
            raw = raw[:at] + random.choice(_ODD).encode() * random.randint(0, 1) + raw[at:]
        flows = b"\n".join(corpus.line(record) for record in corpus.RECORDS)
        return Input(call, {"rules.yaml": raw, "flows.jsonl": flows})

    def run(self, given: Input, place: Path) -> None:
        given.write(place)
        with loopback_only():
            ran = run(list(given.call), place)
        if ran.code != 2:
            return
        lines = ran.err.splitlines()
        if len(lines) != 1 or ran.out or not _PLACE.match(lines[0]):
            raise Fault(f"no line of the file in {ran.err[:300]!r}, or more than that")

    def close(self) -> None:
        pass
