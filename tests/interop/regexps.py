"""Go's `regexp`, and Cilium's and Hubble's names with stars, beside ours.

    python -m tests.interop.regexps --patterns 200000 --seed 5    compares, and prints counts
    python -m tests.interop.regexps                               writes flowwatch/re2/unicode.txt anew

`Regexps` runs `hubble/regexps`, a program of ours around Go's package and Cilium 1.20.2's.
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self

import flowwatch.re2
from flowwatch import re2
from tests.interop.build import build
from tests.interop.program import Program
from tests.interop.regex_maker import pattern, texts

UNICODE = Path(flowwatch.re2.__file__).parent / "unicode.txt"
"""Go's tables, as ours reads them."""
_HEADER = (
    "# Unicode's data files, as Go 1.26 has them in package unicode: "
    "Unicode license, https://www.unicode.org/license.txt",
    "# Written by: python -m tests.interop.regexps",
)


class Regexps:
    """The running program; it ends with the test."""

    def __init__(self) -> None:
        """Start it, built if need be."""
        self._program = Program([build().regexps])

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        self._program.kill()

    def ask(self, **request: Any) -> dict[str, Any]:
        """Return its answer; `error` is in it where Go or Cilium refuses."""
        self._program.send(json.dumps(request) + "\n")
        answer: dict[str, Any] = json.loads(self._program.line())
        return answer


class Different(AssertionError):
    """Ours isn't what Go does."""


def compare(regexps: Regexps, wanted: str, tried: list[str]) -> Counter[str]:
    """Count what came of an expression and of texts for it.

    Raises:
        Different: ours is refused or matches where Go's isn't or doesn't, or the other way round.
    """
    theirs = regexps.ask(pattern=wanted, texts=tried)
    try:
        ours = re2.Expression(wanted)
    except re2.RegexError as error:
        if str(error) != theirs.get("error"):
            raise Different(f"{wanted!r}: ours {error}, Go {theirs.get('error')}") from None
        return Counter(refused=1)
    except re2.TooCostly:
        return Counter({"too costly": 1})
    if "error" in theirs:
        raise Different(f"{wanted!r}: ours takes it, Go says {theirs['error']}")
    counts = Counter(taken=1)
    for at, text in enumerate(tried):
        for kind, find in (("found", ours.search), ("whole", ours.fullmatch)):
            try:
                answer = find(text)
            except re2.TooCostly:
                counts["too costly"] += 1
                continue
            if answer != theirs[kind][at]:
                raise Different(f"{wanted!r}, {text!r}, {kind}: ours {answer}, Go {not answer}")
            counts["compared"] += 1
            counts["matched"] += answer
    return counts


def run(count: int, seed: int) -> Counter[str]:
    """Compare so many random expressions."""
    random = Random(seed)
    total: Counter[str] = Counter()
    with Regexps() as regexps:
        for _ in range(count):
            wanted = pattern(random)
            total += compare(regexps, wanted, texts(random, wanted))
    return total


def unicode_table(regexps: Regexps) -> str:
    """The text of `unicode.txt`, from Go's tables."""
    return "\n".join((*_HEADER, *regexps.ask(unicode=True)["lines"])) + "\n"


def main(arguments: list[str]) -> int:
    """Run as a program; 1 when there is a difference."""
    parser = argparse.ArgumentParser(prog="regexps", description=__doc__)
    parser.add_argument("--patterns", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    if not given.patterns:
        with Regexps() as regexps:
            UNICODE.write_text(unicode_table(regexps))
        return 0
    try:
        print(describe(run(given.patterns, given.seed)))
    except Different as different:
        print(different)
        return 1
    return 0


def describe(total: Counter[str]) -> str:
    """The counts in words."""
    return (
        f"expressions taken {total['taken']:,}, refused {total['refused']:,}; answers compared "
        f"{total['compared']:,}, matches {total['matched']:,}, too costly {total['too costly']:,}, "
        "different 0"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
