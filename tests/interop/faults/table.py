"""The table of faults in docs/faults.md: made from what the tests' own cases saw, and read again."""

from __future__ import annotations

import re
from pathlib import Path

from tests.command import ROOT
from tests.interop.faults.at_once import AT_ONCE
from tests.interop.faults.follower import Cost
from tests.interop.faults.following import CPU_LIMIT, FOLLOWING, Outcome
from tests.interop.faults.kubernetes import KUBERNETES

PAGE = ROOT / "docs" / "faults.md"
RECONNECTS = 100
LEFT_BEHIND = Cost(threads=2, descriptors=4, memory=8.0)
"""What a process may hold more after so many: one connection being made, and records to know again."""
HEAD = ("fault", "what is shown", "recovered in", "records lost or told")
# What is written by hand, to the page's end.
_BY_HAND = re.compile(r"\n## Hostile input\n.*", re.DOTALL)
# The soak's own lines, which `soak --page` writes, stand between these.
_SOAK = re.compile(r"(?<=<!-- soak -->\n).*?(?=<!-- /soak -->)", re.DOTALL)
_BEFORE = """# Faults, and what becomes of the numbers

Made by `python -m tests.interop.faults --table docs/faults.md`, which plays each fault against the
real observer and relay (Cilium 1.20.2), or a server of ours where the real one can't misbehave so.
The tests play them all too, in `tests/interop/faults`. Times are from the end of the fault, with polls
every 0.5 s instead of 10 s and a request timeout of 2 s.

"""
_MORE = LEFT_BEHIND
AFTER = f"""
Where a fault comes and goes while flowwatch follows, its process used at most {CPU_LIMIT:.0%} of a core
in the fault's last second, when it waits. {RECONNECTS} reconnects leave threads, descriptors and memory as
they were: a test allows {_MORE.threads} threads, {_MORE.descriptors} descriptors and
{_MORE.memory:.0f} MiB more, for the one that is being made and for what is remembered of records.
Where no time stands, a person has to act on the line.

## Soak

A fault every 20 s on two real observers behind a real relay: `python -m tests.interop.faults.soak`.

<!-- soak -->
<!-- /soak -->
"""


def names() -> list[str]:
    """Every fault, in the table's order."""
    return [case.name for case in (*FOLLOWING, *AT_ONCE, *KUBERNETES)]


def rows(text: str) -> list[tuple[str, ...]]:
    """The cells of the table of faults in ``text``, without its head."""
    lines = [line for line in _BY_HAND.sub("", text).splitlines() if line.startswith("| ")]
    cells = [
        tuple(cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1])
        for line in lines
    ]
    return [row for row in cells if row != HEAD]


def write(outcomes: dict[str, Outcome], page: Path = PAGE) -> None:
    """Write the page anew, with the soak's lines that stand in it, and what is written by hand."""
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    for name, outcome in outcomes.items():
        recovered = "–" if outcome.recovered is None else f"{outcome.recovered:.1f} s"
        cells = (name, outcome.shown, recovered, outcome.records)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    text = _BEFORE + "\n".join(lines) + "\n" + AFTER
    before = page.read_text() if page.exists() else ""
    for soak in _SOAK.findall(before):
        text = _SOAK.sub(soak.replace("\\", r"\\"), text)
    if by_hand := _BY_HAND.search(before):
        text += by_hand[0]
    page.write_text(text)


def write_soak(lines: list[str], page: Path = PAGE) -> None:
    """Put a soak's lines into the page."""
    listed = "".join(f"* {line}\n" for line in lines)
    page.write_text(_SOAK.sub(lambda _: listed, page.read_text()))
