"""Filters that were saved, by name and number: a line each in ``~/.config/flowwatch/filters``.

drops of the shop = ns:shop verdict:dropped
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flowwatch import userfile
from flowwatch.egress.filters import BadFilter, read_filter
from flowwatch.text import safe
from flowwatch.tui.desk import Desk

MOST = 99
"""Filters that are kept."""


def saved_file(environ: Mapping[str, str]) -> Path:
    """Where they are kept."""
    return Path(userfile.config_folder(environ)) / "filters"


def read_saved(path: Path | None) -> dict[str, str]:
    """By name, in the order of the file; nothing where there is none. Raises OSError, UnicodeError."""
    if path is None or not path.exists():
        return {}
    found = {}
    for line in userfile.read(path, 1 << 16).decode("utf-8").splitlines():
        name, equals, text = line.partition(" = ")
        if equals and name.strip() and not line.startswith("#"):
            found[name.strip()] = text.strip()
    return found


def write_saved(path: Path, filters: Mapping[str, str]) -> None:
    """Write them whole or not at all. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.new")
    beside.write_text("".join(f"{name} = {text}\n" for name, text in filters.items()), "utf-8")
    beside.replace(path)


def _known(desk: Desk) -> dict[str, str] | None:
    """All of them; None when they can't be read, which is said."""
    if desk.options.saved is None:
        return dict(desk.chosen.saved)
    try:
        return read_saved(desk.options.saved)
    except (OSError, UnicodeError) as error:
        desk.say(f"can't read {safe(str(desk.options.saved))}: {safe(str(error))}", "drop", 8.0)
        return None


def _keep(desk: Desk, filters: dict[str, str], said: str) -> None:
    desk.chosen.saved = filters
    if desk.options.saved is not None:
        try:
            write_saved(desk.options.saved, filters)
        except OSError as error:
            desk.say(f"can't save: {safe(str(error))}", "drop", 8.0)
            return
    desk.say(said)


def keep(desk: Desk, name: str) -> None:
    """Keep the filter that is chosen."""
    text, known = desk.chosen.query.text, _known(desk)
    if known is None:
        return
    if not name or "=" in name or name.isdigit():
        desk.say("a name of letters is needed: :keep NAME", "warn")
    elif not text:
        desk.say(desk.look.keys.told("there is no filter: {filter} begins one"), "warn")
    elif len(known) >= MOST and name not in known:
        desk.say(f"{MOST} filters are kept at most: :forget NAME", "warn")
    else:
        known[name] = text
        number = [*known].index(name) + 1
        _keep(desk, known, f"kept: :use {safe(name)}, or :use {number}")


def names(desk: Desk) -> list[str]:
    """Of those that were kept, while one is typed: a file that can't be read is told by who uses it."""
    if desk.options.saved is None:
        return list(desk.chosen.saved)
    try:
        return list(read_saved(desk.options.saved))
    except (OSError, UnicodeError):
        return []


def _meant(desk: Desk, known: Mapping[str, str], name: str) -> str:
    """Which one a name, its beginning or a number means; "" for none or several, which is said."""
    every = list(known)
    if name.isdigit() and 0 < int(name) <= len(every):
        return every[int(name) - 1]
    found = [one for one in every if one == name] or [
        one for one in every if name and one.startswith(name)
    ]
    if len(found) == 1:
        return found[0]
    there = ", ".join(every) or "none"
    desk.say(f"no filter was kept as '{safe(name)}': there are {safe(there)}", "warn")
    return ""


def use(desk: Desk, name: str) -> None:
    """Choose a filter that was saved, by its name, number or the beginning of its name."""
    known = _known(desk)
    if known is None:
        return
    if not name:
        texts = [f"{number} {one} ({text})" for number, (one, text) in enumerate(known.items(), 1)]
        desk.say(
            safe("  ".join(texts)) or "none was kept: :keep NAME keeps the filter", seconds=8.0
        )
        return
    found = _meant(desk, known, name)
    if not found:
        return
    try:
        read_filter(known[found])
    except BadFilter as error:
        desk.say(f"{safe(found)}: {error}", "warn", 8.0)
        return
    desk.choose(text=known[found])


def forget(desk: Desk, name: str) -> None:
    """Drop one that was saved."""
    known = _known(desk)
    if known is None:
        return
    if found := _meant(desk, known, name):
        del known[found]
        _keep(desk, known, f"forgotten: {safe(found)}")
