"""Cutting a stream of bytes into JSON objects, whatever the line breaks, and whatever is broken."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

import msgspec

from flowwatch.hubble.wire.errors import CUT_OFF, NO_FLOW, NOT_JSON, TOO_LONG, ZEROS

RECORD_LIMIT = 64 * 1024 * 1024
"""Longest record in bytes. A flow has 0.5 to 2 KB, and gRPC's default limit for one is 4 MiB."""

DEEPEST = 200
"""Brackets inside of brackets. A flow has 8, protobuf's own readers of JSON stop at 100."""

_PLAIN = rb'[^"{}\[\]\n]++'
_STRING = rb'"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+"'


def _within(more: bytes) -> bytes:
    """A pattern for an object or array in one line that holds plain text, strings and ``more``."""
    inside = rb"(?:" + b"|".join(part for part in (_PLAIN, _STRING, more) if part) + rb")*+"
    return rb"\[" + inside + rb"\]|\{" + inside + rb"\}"


# Three levels of brackets are passed over in one go; each more costs every failed try one scan.
_PAIR = _within(_within(_within(b"")))

# A line that can only be the start of a record: where an unfinished one before it was cut off.
_START = (
    rb'\{\s*+"(?:flow|lost_?[eE]vents|node_?[sS]tatus|agent_?[eE]vent|debug_?[eE]vent|time|uuid'
    rb'|verdict|node_?[nN]ame)"\s*+:'
)
_RECORD_START = re.compile(_START)
_START_LENGTH = 64

# Everything up to the next bracket outside of strings (pairs of them excepted), or line break before
# what is the start of a record, or may be when more is read; or up to a quote whose string isn't
# finished (in this line, or in what was read yet). Possessive: no backtracking, linear.
_TO_NEXT = rb"(?:%b|\n(?=[^{]|\{[\s\S]{%d})(?!%b)|%b|%b)*+([{}\[\]\n\"]?)" % (
    _PLAIN,
    _START_LENGTH,
    _START,
    _STRING,
    _PAIR,
)
_INNER_ARRAY = rb"(?=\[)(?:" + _PAIR + rb")"
_EMPTY_ARRAYS = re.compile(rb"(?:\[[\s,]*+\][\s,]*+)++")
_IN_STRING = re.compile(rb'[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+')
_SPACE = re.compile(rb"[\s,]*+")
_ZEROS = re.compile(rb"\0++")
_SCALAR = re.compile(
    rb'(?:null|true|false|-?\d[\d.eE+-]*+|"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+")(?=\s*+[,\]])'
)

# Lines up to this length are tried as a whole before their brackets are counted.
_LINE = 64 * 1024

_valid = msgspec.json.Decoder(msgspec.Raw).decode


@cache
def _compiled(pattern: bytes) -> re.Pattern[bytes]:
    """Of the long ones, which take 3 ms to compile, and which files of lines don't need."""
    return re.compile(pattern)


def is_json(data: bytes) -> bool:
    """Whether ``data`` is one complete JSON value."""
    try:
        _valid(data)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return False
    return True


def plain_lines(block: bytes) -> list[bytes] | None:
    """The lines of ``block`` when each is one object; None when the splitter must look."""
    lines = block.split(b"\n")
    if not lines[-1]:
        lines.pop()
    plain = all(line[:1] == b"{" and line[-1:] == b"}" and is_json(line) for line in lines)
    return lines if plain else None


class RecordSplitter:
    """Takes bytes as they come and gives the complete JSON objects in them.

    Objects at the top, and those that are elements of an array at the top, are records. Everything
    else is passed over and counted once per line or element through ``count(reason)``, and given to
    ``keep``, if any, with its beginning; of a line at the top that is no JSON, ``unwrap``, if any, is
    first asked for the records in it. A record that isn't finished when a line begins that is one
    by itself was cut off there.
    """

    def __init__(
        self,
        limit: int,
        count: Callable[[str], None],
        keep: Callable[[str, bytes], None] | None = None,
        unwrap: Callable[[bytes], list[bytes]] | None = None,
    ) -> None:
        self._limit = limit
        self._unwrap = unwrap
        self._told = count
        self._keep = keep
        self._buffer = bytearray()
        self._at = 0
        # Depth of brackets at _at, and whether the outermost is an array.
        self._depth = 0
        # Depth around the unfinished record: 1 in an array, else 0.
        self._base = 0
        # Lines that end before here were tried as a whole.
        self._tried = 0
        self._in_array = False
        self._array_is_new = False
        self._in_string = False
        # Where the unfinished record begins in the buffer; -1 between records.
        self._start = -1
        self._too_long = False
        # This line is known to be broken: its remains are not counted again.
        self._line_is_bad = False
        self._in_zeros = False
        # Whether there was anything but what may stand between records; and empty arrays, commas.
        self._found = False
        self._empty = 0
        self._commas = False
        self._last = False

    @property
    def idle(self) -> bool:
        """Whether nothing is unfinished, so that the next bytes may be read by another way."""
        return not self._depth and not self._buffer and not self._line_is_bad

    def feed(self, data: bytes) -> list[bytes]:
        """The records that ``data`` completes."""
        self._buffer += data
        records: list[bytes] = []
        while self._step(records):
            pass
        self._forget()
        return records

    def finish(self) -> list[bytes]:
        """The last records, at the end of the input; what is unfinished counts as cut off."""
        self._last = True
        records = self.feed(b"")
        if self._start >= 0 or self._too_long:
            self._count(TOO_LONG if self._too_long else CUT_OFF, self._start)
        elif self._depth:
            self._count(CUT_OFF, self._at)
        elif not self._found and (self._commas or self._empty > 1):
            # One empty array is an answer without records; this is nothing that anybody writes.
            self._count(NO_FLOW if self._empty else NOT_JSON, self._at)
        return records

    def _count(self, reason: str, start: int, end: int = -1) -> None:
        """Count what stands from ``start`` to ``end``, or to the end of its line."""
        self._found = True
        self._told(reason)
        if self._keep is None:
            return
        buffer, start = self._buffer, max(start, 0)
        if end < 0:
            found = buffer.find(b"\n", start, start + _LINE)
            end = found if found >= 0 else start + _LINE
        self._keep(reason, bytes(buffer[start:end]))

    def _step(self, records: list[bytes]) -> bool:
        """Go one bracket, line or string further; False when more input is needed."""
        if self._in_string:
            return self._leave_string()
        if self._start < 0 and not self._too_long:
            return self._between(records)
        return self._inside(records)

    def _between(self, records: list[bytes]) -> bool:
        """Between records, at the top or in an array."""
        buffer = self._buffer
        if self._line_is_bad:
            return self._skip_line()
        before = self._at
        at = self._at = _SPACE.match(buffer, before).end()  # type: ignore[union-attr]
        if at == len(buffer):
            self._commas |= not self._found and b"," in buffer[before:at]
            return False
        byte = buffer[at]
        if not byte:
            return self._zeros()
        self._in_zeros = False
        if byte == 0x5D and self._in_array:  # ]
            self._empty += self._array_is_new
            self._in_array, self._depth = False, 0
            self._at += 1
        elif byte == 0x5B and not self._depth:  # [
            if run := _EMPTY_ARRAYS.match(buffer, at):
                self._empty += buffer.count(b"]", at, run.end())
                self._at = run.end()
                return True
            self._in_array, self._depth = True, 1
            self._array_is_new = True
            self._at += 1
        elif byte == 0x5B and (array := _compiled(_INNER_ARRAY).match(buffer, at)):
            self._array_is_new = False
            self._count(NOT_JSON, at, array.end())
            self._at = array.end()
        elif byte == 0x7B or byte == 0x5B:  # {, or an array in an array
            self._array_is_new = False
            self._found = True
            return self._begin(records)
        elif self._depth and (scalar := _SCALAR.match(buffer, at)):
            self._array_is_new = False
            self._count(NOT_JSON, at, scalar.end())
            self._at = scalar.end()
        else:
            return self._other_line(records)
        return True

    def _other_line(self, records: list[bytes]) -> bool:
        """A line that is no JSON; False when its end isn't there yet, and it may hold records."""
        buffer, at = self._buffer, self._at
        if self._unwrap is not None and (self._array_is_new or not self._depth):
            end = buffer.find(b"\n", at, at + _LINE)
            if end < 0 and len(buffer) - at < _LINE:
                if not self._last:
                    return False
                end = len(buffer)
            found = self._unwrap(bytes(buffer[at:end])) if end >= 0 else []
            if found:
                records += found
                self._found, self._at = True, end
                self._in_array, self._depth = False, 0
                return True
        from flowwatch.hubble.captures.hubble_text import LOOKED_AT, why_not

        self._count(why_not(bytes(buffer[at : at + LOOKED_AT]).partition(b"\n")[0]), at)
        self._line_is_bad = True
        # What began like an array was a line of a log.
        if self._array_is_new:
            self._in_array, self._depth = False, 0
        return True

    def _zeros(self) -> bool:
        """Bytes that are 0, as a crash leaves them where records should be: a run counts once."""
        end = _ZEROS.match(self._buffer, self._at).end()  # type: ignore[union-attr]
        if not self._in_zeros:
            self._count(ZEROS, self._at, self._at)
        self._in_zeros, self._at = True, end
        return True

    def _begin(self, records: list[bytes]) -> bool:
        # Nearly always the record is this line (or, in an array, this line without its comma). Tried
        # once for each line: one that holds thousands of objects would take quadratic time.
        buffer, at = self._buffer, self._at
        if at >= self._tried:
            end = buffer.find(b"\n", at, at + _LINE)
            self._tried = min(at + _LINE, len(buffer)) if end < 0 else end + 1
            line = bytes(buffer[at:end]).rstrip(b" \t\r,") if end >= 0 else b""
            if line.endswith(b"}") and is_json(line):
                records.append(line)
                self._at = end
                return True
        self._start, self._at = at, at + 1
        self._base = self._depth
        self._depth += 1
        return True

    def _inside(self, records: list[bytes]) -> bool:
        """Amid a record: on to its next line break or its end, and from bracket to bracket till then."""
        to_next, buffer = _compiled(_TO_NEXT).match, self._buffer
        while True:
            match = to_next(buffer, self._at)
            assert match is not None
            found, end = match[1], match.end()
            if found == b"\n":
                cut_off = self._resync(end)
                if cut_off is None:
                    return False
                if cut_off:
                    return True
            self._at = end
            if not found:
                return False
            if found == b'"':
                self._in_string = True
                return True
            if found in b"{[":
                self._depth += 1
                if self._depth - self._base > DEEPEST:
                    self._too_deep()
                    return True
            elif found in b"}]":
                self._depth -= 1
                if self._depth == self._base:
                    self._complete(records)
                    return True

    def _too_deep(self) -> None:
        self._count(NOT_JSON, self._start)
        self._start, self._too_long = -1, False
        self._depth, self._line_is_bad = self._base, True

    def _complete(self, records: list[bytes]) -> None:
        if self._too_long:
            self._count(TOO_LONG, self._at, self._at)
        else:
            record = bytes(self._buffer[self._start : self._at])
            if record[0] == 0x7B and is_json(record):
                records.append(record)
            else:
                self._count(NOT_JSON, self._start, self._at)
                self._line_is_bad = record[0] == 0x7B
        self._start, self._too_long = -1, False

    def _resync(self, line: int) -> bool | None:
        """At the start of a line amid a record: True when the record before was cut off here.

        False when it goes on; None when that can't be told before more is read.
        """
        buffer = self._buffer
        if len(buffer) - line < _START_LENGTH and not self._last:
            if len(buffer) == line or buffer[line] == 0x7B:
                return None
            return False
        if not _RECORD_START.match(buffer, line):
            return False
        end = buffer.find(b"\n", line)
        if end < 0:
            if not self._last:
                return None if len(buffer) - line <= self._limit else False
            end = len(buffer)
        if not is_json(bytes(buffer[line:end]).rstrip(b" \t\r,")):
            return False
        self._count(TOO_LONG if self._too_long else CUT_OFF, self._start, line)
        self._start, self._too_long = -1, False
        self._depth, self._at = self._base, line
        return True

    def _leave_string(self) -> bool:
        match = _IN_STRING.match(self._buffer, self._at)
        assert match is not None
        at = self._at = match.end()
        if at == len(self._buffer) or (self._buffer[at] == 0x5C and at + 1 == len(self._buffer)):
            return False
        # A line break ends a string that has no end (JSON has none inside); so does a backslash
        # before one.
        self._in_string = False
        self._at += self._buffer[at] != 0x0A
        return True

    def _skip_line(self) -> bool:
        end = self._buffer.find(b"\n", self._at)
        self._at = len(self._buffer) if end < 0 else end + 1
        self._line_is_bad = end < 0
        return end >= 0

    def _forget(self) -> None:
        """Drop what is done with, and a record that has grown past the limit."""
        if self._start >= 0 and len(self._buffer) - self._start > self._limit:
            self._start, self._too_long = -1, True
        keep = self._at if self._start < 0 else self._start
        if keep:
            del self._buffer[:keep]
            self._at -= keep
            self._tried -= keep
            self._start = 0 if self._start >= 0 else -1
