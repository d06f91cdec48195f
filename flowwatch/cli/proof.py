"""``flowwatch proof``: an archive that an auditor can replay; ``flowwatch proof verify`` replays it."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from flowwatch.api.policy_files import policy_files, read_text, shown, told_of
from flowwatch.cli.shared.options import filter_words
from flowwatch.cli.shared.reading import Reading, telling_apart
from flowwatch.errors import InputError, OutputError, UsageError
from flowwatch.hubble.filters.flags import build, raw_filters
from flowwatch.hubble.filters.request import ALL, Window, parse_time
from flowwatch.output import is_terminal, open_output, put, say
from flowwatch.proofs.archive import (
    FLOWS,
    MANIFEST,
    MOST_ENTRIES,
    Archive,
    Content,
    counted,
    digest_of,
    pack,
    same_bytes,
)
from flowwatch.proofs.checking import asked_of, differences, read_manifest, unlike
from flowwatch.proofs.making import (
    FILES,
    POLICIES,
    Asked,
    Judging,
    kept_flows,
    made_by,
    manifest,
)
from flowwatch.report.jsontext import to_json
from flowwatch.sources.opening import open_source
from flowwatch.sources.request import FlowRequest, PlainOptions, flow_request
from flowwatch.text import plural, safe, size_words

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed
    from flowwatch.flows.model import Batch
    from flowwatch.flows.source import Source
    from flowwatch.history.place import Place
    from flowwatch.history.store import Piece
    from flowwatch.proofs.checking import Manifest

NOT_REPLAYED = 3
"""As where an audit's evidence is not enough: what is there is sound, and proves nothing yet."""


def run(parsed: Parsed) -> int:
    """Make one: 0. Verify one: 0 equal, 1 something differs, 2 no proof or bad input, 3 not replayed."""
    with telling_apart(), _room():
        return _verify(parsed) if parsed.verb.name == "proof verify" else _make(parsed)


@contextmanager
def _room() -> Iterator[None]:
    """Errors of the folder for what is made meanwhile."""
    try:
        yield
    except OSError as error:
        where = safe(error.filename or tempfile.gettempdir())
        raise OutputError(f"can't write {where}: {error.strerror or error}") from None


# Making -------------------------------------------------------------------------------------------


def _make(parsed: Parsed) -> int:
    wanted = _wanted(parsed)
    if parsed.switch("print-raw-filters"):
        put(raw_filters(wanted.filters), "json")
        return 0
    path = parsed.text("output")
    if not path:
        raise UsageError("nothing says where to write the proof", "flowwatch proof -o FILE.zip")
    if path == "-" and is_terminal():
        raise UsageError("a terminal can't show a zip", "give -o FILE, or pipe it")
    if not (wanted.history or wanted.files):
        raise UsageError(
            "a proof is of flows that are kept", "--history DIR (flowwatch record), or --input-file"
        )
    asked = _asked(parsed, wanted)
    with tempfile.TemporaryDirectory(prefix="flowwatch-proof-") as made:
        entries, result = _judged(asked, wanted, Path(made), flows=parsed.switch("with-flows"))
        if len(entries) > MOST_ENTRIES:
            raise UsageError(f"a proof of {len(entries):,} files is too large", "--since, --until")
        packed = Path(made, "packed.zip")
        with packed.open("wb") as file:
            pack(entries, file)
        size, digest = digest_of(packed)
        with open_output(path, "zip") as out, packed.open("rb") as file:
            while piece := file.read(1 << 20):
                out.write_bytes(piece)
    where = "standard output" if path == "-" else safe(path)
    say(f"{result}; {counted(list(entries))}, {size_words(size)} written to {where}")
    say(f"sha256 {digest}: kept elsewhere, it shows that the proof is still this one")
    return 0


def _wanted(parsed: Parsed) -> FlowRequest:
    """What is judged; of a history up to its newest record, so that one that grows is no other."""
    wanted = flow_request(parsed)
    window = wanted.window
    if window.follow:
        raise UsageError("a proof ends", "leave out --follow")
    if window.number >= ALL:
        window = replace(window, number=0)
    if wanted.history and window.until is None:
        from flowwatch.history.store import listing

        found = listing(wanted.history, since=window.since)
        newest = [group.times[1] for piece in found.flows for group in piece.groups]
        window = replace(window, until=max(newest, default=None))
    return replace(wanted, window=window)


def _asked(parsed: Parsed, wanted: FlowRequest) -> Asked:
    """The documents and options, read once. UsageError for what can't be read, or would be refused."""
    from flowwatch.hubble.wire.jsonprint import message_to_json

    paths = parsed.list("filename") + parsed.rest
    if "-" in paths and "-" in parsed.list("input-file"):
        raise UsageError("policies and flows can't both come from standard input")
    asked = Asked()
    names = {}
    for number, file in enumerate(policy_files(paths), 1):
        plain = "stdin.yaml" if file == "-" else os.path.basename(file)
        name = f"{POLICIES}{number:04d}-{re.sub('[^A-Za-z0-9_.-]', '_', plain)[-100:]}"
        asked.documents[name] = read_text(file)
        names[name] = shown(file)
    if path := parsed.text("cilium-config"):
        asked.agents = read_text(path, "a ConfigMap")
    if path := parsed.text("expect"):
        asked.expected = read_text(path, "expectations")
    applied = parsed.text("applied-at")
    window, filters = wanted.window, wanted.filters
    asked.options = {
        "filters": filter_words(parsed),
        "allow": [message_to_json(one) for one in filters.allow],
        "deny": [message_to_json(one) for one in filters.deny],
        "since": window.since,
        "until": window.until,
        "first": window.first,
        "number": window.number,
        "applied_at": parse_time(applied, "applied-at") if applied else None,
    }
    if paths:
        told_of(asked.policies(), paths, lambda line: say(_as_named(line, names)))
    try:
        asked.auditor()
    except InputError as error:
        raise UsageError(error.message, error.hint) from None
    return asked


def _as_named(line: str, names: dict[str, str]) -> str:
    """``line`` with the names that the user gave instead of those of entries."""
    for entry, name in names.items():
        line = line.replace(entry, name)
    return line


def _judged(
    asked: Asked, wanted: FlowRequest, folder: Path, *, flows: bool
) -> tuple[dict[str, Content], str]:
    """All entries of the archive, and the result in words."""
    entries: dict[str, Content] = dict(asked.entries)
    entries[FILES] = (to_json(_files(wanted), indent=2) + "\n").encode()
    judged = None
    if flows:
        with kept_flows(folder / FLOWS) as keep:
            judged = _read(asked, open_source(wanted), keep)
        for path in sorted((folder / FLOWS).rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                entries[str(path.relative_to(folder))] = path
    else:
        judged = _read(asked, open_source(wanted))
    finished = judged.finish()
    entries |= finished.entries
    entries[MANIFEST] = manifest(asked, finished, entries, made_by())
    records = plural(finished.summary["records"], "record")
    return entries, f"{records}: {finished.summary['result']}"


def _read(asked: Asked, source: Source, keep: Callable[[Batch], None] | None = None) -> Judging:
    """All of ``source`` judged; what ends it early is raised: half a proof is none."""
    judging = Judging(asked, keep)
    judging.read(Reading(source).whole())
    return judging


def _files(wanted: FlowRequest) -> dict[str, object]:
    """The files that the flows come from, each with its digest."""
    if not wanted.history:
        captures = [pair for one in wanted.files if one != "-" for pair in _captures(Path(one))]
        return {"from": "captures", "files": [_file(*pair) for pair in captures]}
    from flowwatch.history.store import listing

    window = wanted.window
    found = listing(wanted.history, since=window.since, until=window.until)
    pieces = sorted((*found.flows, *found.events), key=lambda piece: piece.path)
    files = [_kept(piece) for piece in pieces]
    return {"from": "history", "files": files}


def _captures(path: Path) -> list[tuple[str, Path]]:
    """The file there, or those of a folder that hold records, each with its name."""
    if not path.is_dir():
        return [(path.name, path)]
    from flowwatch.hubble.captures.folders import look_into

    series = look_into(str(path)).series
    found = sorted(Path(one.path) for members in series for one in members)
    return [(one.relative_to(path.parent).as_posix(), one) for one in found]


def _file(name: str, path: Path) -> dict[str, object]:
    try:
        size, digest = digest_of(path)
    except OSError as error:
        raise InputError(f"cannot read {safe(str(path))}: {error.strerror}") from None
    return {"path": name, "bytes": size, "sha256": digest}


def _kept(piece: Piece) -> dict[str, object]:
    try:
        data = piece.place.read(piece.path)
    except OSError as error:
        where = safe(piece.place.url(piece.path))
        raise InputError(f"cannot read {where}: {error.strerror}") from None
    return {"path": piece.path, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


# Verifying ----------------------------------------------------------------------------------------


def _verify(parsed: Parsed) -> int:
    if len(parsed.rest) != 1:
        raise UsageError(
            "flowwatch proof verify is about one file", "flowwatch proof verify FILE.zip"
        )
    [path] = parsed.rest
    history, files = parsed.text("history"), parsed.list("input-file")
    if history and files:
        raise UsageError("cannot set both --input-file and --history", "leave out one of them")
    with (
        Archive(path) as archive,
        tempfile.TemporaryDirectory(prefix="flowwatch-proof-") as scratch,
    ):
        entries = archive.unpack(Path(scratch))
        manifest = entries[MANIFEST]
        assert isinstance(manifest, bytes)
        said = read_manifest(manifest, path)
        wrong = unlike(said, entries)
        if not wrong and not same_bytes(entries, path, Path(scratch)):
            wrong = [
                "its entries are as they were, but it was packed otherwise, or holds more bytes"
            ]
        if wrong:
            return _ended(path, wrong)
        asked = asked_of(said, entries, path)
        put(f"{safe(path)}: {counted(list(entries))}, as its {MANIFEST} says\n")
        put(f"sha256 {digest_of(Path(path))[1]}\n")
        if said.made_by != made_by():
            by = safe(str(said.made_by.get("flowwatch")))
            say(f"made by flowwatch {by}, replayed by {made_by()['flowwatch']}: answers may differ")
        replays = _replays(said, entries, Path(scratch), history, files)
        for words, source in replays:
            judged = _read(asked, source).finish()
            if wrong := differences(said, asked, entries, judged):
                return _ended(f"replayed {words}", wrong)
            put(f"replayed {words}: {plural(judged.summary['records'], 'record')}, all is equal\n")
        if history:
            put(f"{_still(entries[FILES], history)}\n")
    if not replays:
        say("not replayed, as it holds no flows: give --history DIR, or --input-file")
        return NOT_REPLAYED
    return 0


def _still(files: Content, history: str) -> str:
    """How many of the history's files are still there, as they were: merging makes others of them."""
    from flowwatch.history.places import place_of

    told = msgspec.json.decode(files, type=_Files).files if isinstance(files, bytes) else []
    place = place_of(history)
    try:
        sizes = {file.path: file.size for file in place.files()}
        # What is empty is none of a history's, and may be a pipe.
        there = [one for one in told if sizes.get(one.path, 0) == one.bytes > 0]
        same = sum(_digest(place, one.path) == one.sha256 for one in there)
    except OSError as error:
        raise InputError(f"cannot read {place.name}: {error.strerror}") from None
    return f"of its {plural(len(told), 'file')} {same:,} lie there unchanged"


def _digest(place: Place, path: str) -> str:
    """Of a file; "" where it went just now."""
    try:
        return hashlib.sha256(place.read(path)).hexdigest()
    except FileNotFoundError:
        return ""


class _File(msgspec.Struct):
    path: str
    bytes: int
    sha256: str


class _Files(msgspec.Struct):
    files: list[_File]


def _ended(what: str, wrong: list[str]) -> int:
    put("".join(f"{safe(what)}: {line}\n" for line in wrong))
    return 1


def _replays(
    said: Manifest,
    entries: dict[str, Content],
    scratch: Path,
    history: str,
    files: list[str],
) -> list[tuple[str, Source]]:
    """What it can be replayed from, in words, and as a source."""
    found = []
    if any(name.startswith(FLOWS) for name in entries):
        # What is in it has passed the filters already.
        found.append(("from its own flows", _source({"history": str(scratch / FLOWS)})))
    if history:
        found.append((f"from {safe(history)}", _source({"history": history}, said)))
    if files:
        words = ", ".join(shown(one) for one in files)
        found.append((f"from {words}", _source({"input-file": files}, said)))
    return found


def _source(where: dict[str, object], said: Manifest | None = None) -> Source:
    """The flows that lie there, through the manifest's filters; nobody's settings come in between."""
    wanted = flow_request(PlainOptions(where), environ={})
    wanted = replace(wanted, filters=build(()), window=Window())
    if said is not None:
        told = said.options
        wanted = replace(
            wanted,
            filters=build((), told.allow, told.deny),
            window=Window(told.number, told.first, False, told.since, told.until),
        )
    return open_source(wanted)
