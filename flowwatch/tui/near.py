"""Why a filter finds nothing: which word it is, and what was seen that is like it."""

from __future__ import annotations

from flowwatch.egress.filters import ALIASES, KEYS, quoted, words
from flowwatch.egress.query import Query
from flowwatch.egress.vocabulary import near
from flowwatch.text import safe
from flowwatch.tui.question import Readings


def why_nothing(of: Readings, query: Query) -> list[str]:
    """Which word of a filter finds nothing, and what was seen that is like it; safe lines."""
    lines = []
    for word, _ in words(query.text):
        alone = of.monitor.snapshot(Query(query.direction, limit=0, text=word))
        if alone.matched:
            continue
        key, colon, value = word.lstrip("!").partition(":")
        key = ALIASES.get(key, key)
        known = key if colon and key in KEYS else ""
        seen = [one for each in ([known] if known else KEYS) for one in of.monitor.seen(each)]
        meant = near(seen, (value if known else word).strip('"'))
        again = f"{known}:{quoted(meant)}" if known else quoted(meant)
        told = f": did you mean {safe(again)}?" if meant and again != word else ""
        lines.append(f"nothing seen has {safe(word)}{told}")
    if not lines and len(list(words(query.text))) > 1:
        lines.append("each word finds something, but no row has them all")
    return lines
