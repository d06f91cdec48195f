"""The filter while it is typed: what it finds, what it could become, and where it is wrong."""

from __future__ import annotations

from flowwatch.egress.filters import ALIASES, KEYS, BadFilter, read_filter, words
from flowwatch.egress.query import Query
from flowwatch.egress.vocabulary import beginning
from flowwatch.text import plural, safe
from flowwatch.tui.desk import Desk
from flowwatch.tui.parts.rows import Rows

_SHOWN = 6
"""Values that are suggested at once."""


def bad_word(text: str) -> tuple[int, int]:
    """Where the word stands that is no filter: its place and its length; (0, 0): there is none."""
    try:
        read_filter(text)
    except BadFilter as error:
        return error.at, error.length
    return 0, 0


def advice(desk: Desk, text: str) -> str:
    """What is wrong, else what could be typed next, else how much is found."""
    if not text:
        return f"tab completes {': '.join(KEYS)}:  or words; ! not, | or, * anything"
    try:
        read_filter(text)
    except BadFilter as error:
        return str(error).replace("?: ", "? ")
    answer = desk.answer(Rows)
    found = "" if answer is None else plural(answer.value.snapshot.matched, "row")
    values = candidates(desk, text) if text[-1:] != " " else []
    if values and not (len(values) == 1 and text.endswith(values[0])):
        return f"{found}  {'  '.join([safe(value) for value in values[:_SHOWN]])}"
    return f"{found}  enter keeps, esc clears"


def candidates(desk: Desk, text: str) -> list[str]:
    """What the last word may become: keys, and values that were seen."""
    before, value = _last(text)
    key = ALIASES.get(before.rpartition(":")[0].rpartition("|")[2].lstrip("!"), "")
    key = key or before.rpartition(":")[0].rpartition("|")[2].lstrip("!")
    if before.endswith(":") and key in KEYS:
        if desk.readings is None:
            return []
        rest = text[: len(text) - len(before) - len(value)].strip()
        query = Query(direction=desk.chosen.query.direction, text=rest) if rest else None
        values = desk.readings.monitor.seen(key, query)
        return beginning(values, value.strip('"=').rpartition("|")[2])
    return [f"{one}:" for one in KEYS if value and one.startswith(value.lstrip("!"))]


def completed(desk: Desk, text: str) -> str:
    """``text``, as far as all candidates for its last word agree."""
    found = candidates(desk, text)
    if not found:
        return text
    common = found[0]
    while not all(one.casefold().startswith(common.casefold()) for one in found):
        common = common[:-1]
    before, value = _last(text)
    kept, bar, last = value.rpartition("|")
    if len(common) < len(last.strip('"=!')):
        return text
    start = text[: len(text) - len(before) - len(value)]
    sign = "!" if value.startswith("!") and not before else ""
    end = " " if len(found) == 1 and not common.endswith(":") else ""
    return f"{start}{before}{kept}{bar}{sign}{common}{end}"


def _last(text: str) -> tuple[str, str]:
    """The last word: what stands up to its colon, and the rest."""
    parts = list(words(text))
    if not parts or (text[-1:].isspace() and text.count('"') % 2 == 0):
        return "", ""
    word = parts[-1][0]
    key, colon, value = word.partition(":")
    return (key + colon, value) if colon else ("", word)
