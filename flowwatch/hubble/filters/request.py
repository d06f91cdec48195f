"""Which flows: hubble's ``--last``, ``--first``, ``--all``, ``--since``, ``--until``, ``--follow``.

What a combination means to a server (Cilium 1.20.2, read and run) is in the table of
``GetFlowsRequest``; here the flags become a :class:`Window`, and a window a request.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
from google.protobuf import field_mask_pb2, timestamp_pb2

from flowwatch.errors import UsageError
from flowwatch.gotext import parse_duration
from flowwatch.hubble.filters.flags import Filters
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.observer import observer_pb2
from flowwatch.text import safe

LAST_BY_DEFAULT = 20
"""What ``hubble observe`` shows when nothing says which flows."""

ALL = 2**64 - 1
"""``--all`` asks for the newest 2⁶⁴−1; number 0 alone is the whole ring too."""

_BEGINNING = 1
"""The first nanosecond of 1970: with follow, "since then" is the ring and then what comes."""


class Window(msgspec.Struct, frozen=True):
    """Which flows are wanted. Times are nanoseconds since 1970; None is not given."""

    number: int = 0
    first: bool = False
    follow: bool = False
    since: int | None = None
    until: int | None = None


class RequestFlags:
    """The values of the flags above, as a command line or the Python API gives them."""

    def __init__(self, get: Callable[[str], object]) -> None:
        self.last = _int(get("last"))
        self.first = _int(get("first"))
        self.all = get("all") is True
        self.follow = get("follow") is True
        self.since = str(get("since") or "")
        self.until = str(get("until") or "")


def _int(value: object) -> int:
    return value if isinstance(value, int) else int(str(value or "0"))


def window(flags: RequestFlags, *, default: int, now: int | None = None) -> Window:
    """The window that ``flags`` mean; ``default`` is the number when nothing says which, 0 for all.

    ``now`` is the time that durations count back from (ns). Raises UsageError in hubble's words.
    """
    for one, other in (("first", "last"), ("first", "all"), ("first", "follow"), ("last", "all")):
        if getattr(flags, one) and getattr(flags, other):
            raise UsageError(f"cannot set both --{one} and --{other}")
    since = parse_time(flags.since, "since", now) if flags.since else None
    # hubble drops --until silently when it follows; a request can't have both.
    until = parse_time(flags.until, "until", now) if flags.until and not flags.follow else None
    number = flags.first or flags.last
    # With since or until, no number at all means all of them.
    if since is None and until is None and not flags.first:
        if flags.all:
            number = ALL
        elif not flags.last and not flags.follow:
            number = default
    return Window(number, bool(flags.first), flags.follow, since, until)


def to_request(
    wanted: Window,
    filters: Filters,
    *,
    mask: tuple[str, ...] = (),
    with_ring: bool = False,
    resume: int | None = None,
) -> observer_pb2.GetFlowsRequest:
    """The request for a window and filters.

    ``with_ring``: when following, start with all that the ring holds (the dashboard). ``resume``
    (ns): a stream that was lost goes on from there. When following with a ``since``, number is 1:
    it only sizes relay's sorting queue, which else holds each flow back until 100 have come.
    """
    request = observer_pb2.GetFlowsRequest(
        number=wanted.number,
        first=wanted.first,
        follow=wanted.follow,
        whitelist=filters.allow,
        blacklist=filters.deny,
    )
    since = wanted.since
    if wanted.follow and resume is not None:
        since = resume
    elif wanted.follow and with_ring and since is None and not wanted.number:
        since = _BEGINNING
    if since is not None:
        request.since.CopyFrom(_timestamp(since))
    if wanted.until is not None:
        request.until.CopyFrom(_timestamp(wanted.until))
    if wanted.follow and since is not None and (resume is not None or not wanted.number):
        request.number = 1
    if mask:
        _check_mask(mask)
        request.field_mask.paths.extend(mask)
    return request


def _timestamp(value: int) -> timestamp_pb2.Timestamp:
    stamp = timestamp_pb2.Timestamp()
    stamp.FromNanoseconds(value)
    return stamp


def _check_mask(paths: tuple[str, ...]) -> None:
    for path in paths:
        mask = field_mask_pb2.FieldMask(paths=[path])
        if not mask.IsValidForDescriptor(flow_pb2.Flow.DESCRIPTOR):
            # hubble's words; it puts a no-break space after "proto:" at random, we never do.
            raise UsageError(
                f'failed to construct field mask: proto: invalid path "{safe(path)}" for message "flow.Flow"'
            )


_DATE = r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)"
_ZONE = r"(?P<zone>Z|[-+]\d\d:\d\d)"
_SECONDS = r"(?P<hour>\d\d?):(?P<minute>\d\d):(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?"
# The layouts of hubble/pkg/time, as Go's time.Parse reads them: an hour may have one digit, the
# fraction any number, the day of the week need not be right.
_FORMS = (
    _DATE,
    rf"{_DATE}T(?P<hour>\d\d?){_ZONE}",
    rf"{_DATE}T(?P<hour>\d\d?):(?P<minute>\d\d){_ZONE}",
    rf"{_DATE}T{_SECONDS}{_ZONE}",
    r"(?i:Mon|Tue|Wed|Thu|Fri|Sat|Sun), +(?P<day>\d\d) +(?P<month>[A-Za-z]{3}) +(?P<year>\d{4})"
    rf" +{_SECONDS} +(?P<zone>[-+]\d{{4}})",
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_FIRST, _LAST = -62_135_596_800, 253_402_300_799
"""What a protobuf timestamp holds: the years 1 to 9999, in seconds since 1970."""


def parse_time(text: str, which: str, now: int | None = None) -> int:
    """A time as hubble's flags take it, in nanoseconds since 1970.

    ``3s``, ``1h30m``: that long ago; ``2026-01-31`` (UTC), ``2026-01-31T15Z``,
    ``2026-01-31T15:04+02:00``, RFC 3339 with any fraction, RFC 1123 with a numeric zone.
    Raises UsageError in hubble's words; ``which`` is since or until.
    """
    try:
        back = parse_duration(text)
    except ValueError:
        pass
    else:
        return (time.time_ns() if now is None else now) - back
    for form in _FORMS:
        if (found := re.fullmatch(form, text, re.ASCII)) and (
            moment := _absolute(found)
        ) is not None:
            return _held(moment, which)
    days = re.fullmatch(r"(\d{1,5})d", text, re.ASCII)
    raise UsageError(
        f"failed to parse the {which} time: failed to convert {safe(text)} to time",
        f"{int(days[1]) * 24}h is that long ago"
        if days
        else "5m (ago), 2026-01-31 or 2026-01-31T10:00:00Z are times",
    )


def _absolute(found: re.Match[str]) -> int | None:
    """Nanoseconds since 1970; None for a 30th of February and the like."""
    part = {name: text or "0" for name, text in found.groupdict().items()}
    month = part["month"].lower()
    number = _MONTHS.index(month) + 1 if month in _MONTHS else int(month) if month.isdigit() else 0
    zone = part.get("zone", "Z")
    offset = 0
    if zone != "Z":
        hours, minutes = int(zone[1:3]), int(zone[-2:])
        # Go allows both, as people do write them.
        if hours > 24 or minutes > 60:
            return None
        offset = (hours * 3600 + minutes * 60) * (-1 if zone[0] == "-" else 1)
    hour, minute, second = (int(part.get(name, "0")) for name in ("hour", "minute", "second"))
    # Go knows a year 0, datetime doesn't: look at it 400 years later, when the calendar repeats.
    year = int(part["year"])
    try:
        moment = datetime(year or 400, number, int(part["day"]), hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    seconds = int((moment - _EPOCH).total_seconds()) - (0 if year else _400_YEARS) - offset
    return seconds * 1_000_000_000 + int(part.get("fraction", "0")[:9].ljust(9, "0"))


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_400_YEARS = 146_097 * 86_400


def _held(moment: int, which: str) -> int:
    seconds = moment // 1_000_000_000
    if not _FIRST <= seconds <= _LAST:
        bound = "before 0001-01-01" if seconds < _FIRST else "after 9999-12-31"
        raise UsageError(
            f"failed to convert `{which}` timestamp to proto: "
            f"proto: timestamp (seconds:{seconds}) {bound}"
        )
    return moment
