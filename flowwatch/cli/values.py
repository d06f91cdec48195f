"""What the values of flags may be: for the parser, ``--help``, errors and completion alike.

The names are hubble's (flowwatch.hubble.wire.names; Cilium 1.20.2, hubble/cmd/observe) or our formats', which
are written out here because completion may load nothing that takes time. A test holds them to where
they are decided.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import NamedTuple

from flowwatch.hubble.wire import names

_NEAR = 0.6
"""How alike two words must be for one to be meant by the other (difflib's ratio)."""

_SPELT = 16
"""Values that are named one by one in a message."""


_NOTHING: Mapping[str, str] = {}


class Choices(NamedTuple):
    """The values of a flag by name."""

    values: tuple[str, ...] | Callable[[Mapping[str, str]], tuple[str, ...]]
    """Those that are shown, in order; where they must be looked up, a function of the other flags'
    values."""
    also: tuple[str, ...] = ()
    """Taken too: second names, and what nobody needs."""
    any_case: bool = False
    refusal: str | None = None
    """How a refusal begins (then comes the value); None: who gets the value judges it."""
    comma: bool = False
    """Whether several may stand in one value, with commas between them."""
    named: bool = False
    """Whether whoever refuses a value names them all."""
    below: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Values that another may stand behind, after a colon."""

    def all(self, given: Mapping[str, str] = _NOTHING) -> tuple[str, ...]:
        """The values that are shown, beside the flags that are ``given``."""
        return self.values(given) if callable(self.values) else self.values

    def takes(self, text: str) -> bool:
        """Whether ``text`` is one of them."""
        known = (*self.all(), *self.also)
        return text.lower() in map(str.lower, known) if self.any_case else text in known

    def within(self, text: str, given: Mapping[str, str] = _NOTHING) -> tuple[str, tuple[str, ...]]:
        """What of ``text`` is there already, and what may follow it: after its last comma or colon."""
        for name, values in self.below:
            if text.startswith(f"{name}:"):
                return f"{name}:", values
        if not self.comma or "," not in text:
            return "", self.all(given)
        before, _, _ = text.rpartition(",")
        taken = before.lower().split(",")
        return f"{before},", tuple(one for one in self.all() if one.lower() not in taken)

    def advice(self, text: str) -> str:
        """What to write instead of ``text``: the nearest, and all if they aren't too many."""
        from difflib import get_close_matches

        before, values = self.within("" if self.comma else text)
        parts = text.split(",") if self.comma else [text[len(before) :]]
        wrong = next((part for part in parts if part and not self.takes(part)), "")
        by_lower = {one.lower(): one for one in values}
        near = get_close_matches(wrong.lower(), by_lower, 1, _NEAR)
        words = f"did you mean {before}{by_lower[near[0]]}?" if near else ""
        if self.named or len(values) > _SPELT:
            return words
        return f"{words} one of {', '.join(values)}".lstrip()

    def spelt(self) -> str:
        """``a, b or c``, for help."""
        *first, last = self.all()
        return f"{', '.join(first)} or {last}" if first else last


class Check(NamedTuple):
    """A condition on a flag's value that no list of names says."""

    holds: Callable[[str], bool]
    expected: str
    """Said after the value that doesn't: ``as 30s or 5m``."""
    what: str = ""
    """What the value is, as in ``invalid duration``; the flag's name if empty."""


def _is_duration(text: str) -> bool:
    from flowwatch.gotext import parse_duration

    try:
        return parse_duration(text) > 0
    except ValueError:
        return False


def _is_speed(text: str) -> bool:
    try:
        return SLOWEST <= float(text) <= FASTEST
    except ValueError:
        return False


def _is_enough(text: str) -> bool:
    from flowwatch.gotext import parse_uint

    return parse_uint(text, 64, base=0) >= MIN_ROWS


_SIZES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZES |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_DAY = 86_400 * 10**9


def size_of(text: str) -> int:
    """Bytes of ``10GB``, ``500MiB``, ``1000000``. Raises ValueError."""
    number = text.rstrip("BbIiKkMmGgTt ")
    unit = text[len(number) :].strip().upper()
    if unit not in _SIZES or not number.isascii() or not number.isdecimal():
        raise ValueError(text)
    return int(number[:18]) * _SIZES[unit]


def age_of(text: str) -> int:
    """Nanoseconds of ``7d``, and of what Go calls a duration. Raises ValueError."""
    from flowwatch.gotext import parse_duration

    days = text.removesuffix("d")
    if days != text and days.isascii() and days.isdecimal():
        return int(days[:6]) * _DAY
    return parse_duration(text)


def _holds(read: Callable[[str], int]) -> Callable[[str], bool]:
    def holds(text: str) -> bool:
        try:
            return read(text) > 0
        except ValueError:
            return False

    return holds


SLOWEST, FASTEST = 0.01, 1000.0
"""Bounds of ``--speed``."""
MIN_ROWS = 4
"""The least that ``--max-rows`` may say."""

DURATION = Check(_is_duration, "as 30s or 5m", "duration")
SIZE = Check(_holds(size_of), "as 10GB or 500MiB", "size")
AGE = Check(_holds(age_of), "as 7d or 12h", "age")
SPEED = Check(_is_speed, f"{SLOWEST:g} to {FASTEST:g}")
ENOUGH_ROWS = Check(_is_enough, f"too few, {MIN_ROWS} at least", "--max-rows")


def outputs(*formats: str, also: tuple[str, ...] = ()) -> Choices:
    """The formats of ``-o``; refused in hubble's words."""
    return Choices(formats, also, refusal="invalid output format")


WEBHOOK = Choices(("alertmanager", "alertmanager-api", "slack"), refusal="invalid webhook format")
ENVIRONMENT = "environment"
"""Of ``--otlp`` alone: where to, its variables say."""
WATCH_PRINTS = Choices(("example", "rules", "grafana"), refusal="nothing to print is called")
ENGINE = Choices(("duckdb", "chdb", "spark"), refusal="invalid engine")
QUESTION = Choices(
    (
        "blocked",
        "blocked-workloads",
        "blocked-pods",
        "blocked-peers",
        "reasons",
        "reasons-by-minute",
        "reasons-by-hour",
        "outcomes-by-minute",
        "outcomes-by-hour",
        "outcomes",
        "destinations",
        "who",
        "new",
        "quiet",
        "never",
        "cut",
        "spread",
        "outside",
        "across",
        "namespaces",
        "ports",
        "nodes",
        "denied-by",
        "default-denied-by",
        "allowed-by",
        "audited",
        "unanswered",
        "refused",
        "late",
        "retried",
        "proxy",
        "unencrypted",
        "noise",
    )
)


def _drop_reasons(_given: Mapping[str, str]) -> tuple[str, ...]:
    from flowwatch.flows.reasons_table import TABLE

    # The proxy's denials have no name in Hubble, and two numbers none either.
    return tuple(row[1] for row in TABLE if row[0] > 0 and not row[1].isdigit())


_THEMES = ("auto", "dark", "light", "contrast", "contrast-light", "ansi", "mono")


def _themes(_given: Mapping[str, str]) -> tuple[str, ...]:
    from flowwatch.userfile import theme_names

    return (*_THEMES, *theme_names(os.environ))


def _contexts(given: Mapping[str, str]) -> tuple[str, ...]:
    from flowwatch.hubble.kube.contexts import contexts

    return contexts(given.get("kubeconfig", ""))


OBSERVE_OUTPUT = outputs("compact", "dict", "table", "json", "jsonpb", "csv", also=("tab", "JSON"))
STATUS_OUTPUT = outputs("compact", "dict", "json", "table", also=("JSON", "jsonpb", "tab"))
LIST_OUTPUT = Choices(("table", "wide", "json"), refusal="unknown output format")
EXPORT_FORMAT = Choices(("csv", "jsonl", "parquet"), any_case=True, refusal="invalid format")
OUTCOME = Choices(
    ("dropped", "audited", "forwarded", "error", "unknown", "all"),
    any_case=True,
    refusal="invalid outcome",
    comma=True,
)
DIRECTION = Choices(("egress", "ingress", "both"), any_case=True, refusal="invalid direction")
THEME = Choices(_themes, refusal="invalid theme")
# hubble takes every other word for auto, without a word.
COLOR = Choices(("auto", "always", "never"), any_case=True)
DRAFT_FOR = Choices(("workload", "pod", "namespace"), refusal="invalid --for")
DRAFT_KIND = Choices(("cnp", "ccnp", "knp"), refusal="invalid --kind")
PRINTED_POLICIES = Choices(("weather", "all"), refusal="invalid --print-policy")
DEMO = Choices(("all", "before", "after"), refusal="invalid --demo")
# explain refuses others with its question.
PROTOCOL = Choices(("TCP", "UDP", "SCTP", "ICMP", "ICMPv6"), any_case=True)
# The same with these: an unknown one is StampMilli.
TIME_FORMAT = Choices(
    (
        "StampMilli",
        "RFC3339",
        "RFC3339Milli",
        "RFC3339Micro",
        "RFC3339Nano",
        "RFC1123Z",
        "YearMonthDay",
        "YearMonthDayHour",
        "YearMonthDayHourMinute",
    ),
    any_case=True,
)
KUBE_CONTEXT = Choices(_contexts)
SHELL = Choices(("bash", "zsh", "fish"), refusal="invalid shell")

# Of hubble's filters: hubble's parser, or the server, says what is wrong with a value.
_FIRST = ("FORWARDED", "DROPPED", "AUDIT", "REDIRECTED")  # what is asked for most
VERDICT = Choices(
    (*_FIRST, *(name for name in names.VERDICTS[1:] if name not in _FIRST)),
    also=names.VERDICTS[:1],
)
DROP_REASON = Choices(_drop_reasons)
# explain takes numbers too, and refuses the rest.
REASON = Choices(lambda given: (*_drop_reasons(given), "L7_DENIED"))
TYPE = Choices(
    ("trace", "drop", "policy-verdict", "l7", "trace-sock", "capture"),
    also=("agent", "debug"),
    below=(("trace", names.TRACE_POINTS),),
)
FILTER_PROTOCOL = Choices(names.PROTOCOLS, any_case=True)
FILTER_DIRECTION = Choices(("ingress", "egress"), any_case=True, named=True)
IP_VERSION = Choices(
    ("v4", "v6", "none"), also=("4", "6", "ip4", "ip6", "ipv4", "ipv6"), any_case=True
)
TCP_FLAGS = Choices(
    # As hubble lists them: SYN first.
    tuple(sorted(names.TCP_FLAGS, key=lambda name: name != "SYN")),
    any_case=True,
    comma=True,
)
IDENTITY = Choices(
    tuple(name for name in names.RESERVED.values() if not name.startswith("aggregate-")),
    also=tuple(name for name in names.RESERVED.values() if name.startswith("aggregate-")),
    named=True,
)
HTTP_METHOD = Choices(
    ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT"), any_case=True
)
FIELDS = Choices(
    (
        "time",
        "uuid",
        "emitter",
        "verdict",
        "drop_reason",
        "drop_reason_desc",
        "auth_type",
        "ethernet",
        "IP",
        "l4",
        "tunnel",
        "source",
        "destination",
        "Type",
        "node_name",
        "node_labels",
        "source_names",
        "destination_names",
        "l7",
        "reply",
        "is_reply",
        "event_type",
        "source_service",
        "destination_service",
        "traffic_direction",
        "policy_match_type",
        "trace_observation_point",
        "trace_reason",
        "file",
        "ip_trace_id",
        "debug_capture_point",
        "interface",
        "proxy_port",
        "trace_context",
        "sock_xlate_point",
        "socket_cookie",
        "cgroup_id",
        "Summary",
        "extensions",
        "egress_allowed_by",
        "ingress_allowed_by",
        "egress_denied_by",
        "ingress_denied_by",
        "policy_log",
        "aggregate",
    ),
    comma=True,
)
"""Of ``--field-mask``: the fields of a flow."""
