"""``RULES.yaml``: what to watch for, and whom to tell.

receivers:
  - name: ops
    url-file: /etc/flowwatch/slack      # or url:
    format: slack                       # alertmanager (the default), alertmanager-api
rules:
  - alert: WeatherIsBlocked
    when: new-blocked
    workload: weather/*
    labels: {severity: page}
    notify: [ops]
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from flowwatch.errors import FlowwatchError
from flowwatch.gotext import parse_duration
from flowwatch.goyaml.nodes import DocumentError, Value, did_you_mean, read_nodes
from flowwatch.text import safe

Kind = Literal["new-blocked", "drop-share", "gone-quiet", "unanswered", "cut"]
Format = Literal["alertmanager", "alertmanager-api", "slack"]

KINDS: dict[Kind, tuple[str, frozenset[str]]] = {
    "new-blocked": (
        "a destination of a workload is dropped that was not blocked before",
        frozenset({"attempts", "learn", "clear"}),
    ),
    "drop-share": (
        "a workload's share of drops is above its own normal",
        frozenset({"attempts", "window", "above", "learn", "clear"}),
    ),
    "gone-quiet": (
        "a destination that was reached again and again is tried no more",
        frozenset({"attempts", "quiet", "clear"}),
    ),
    "unanswered": (
        "attempts are let through, one after the other, and nobody answers",
        frozenset({"attempts", "clear"}),
    ),
    "cut": (
        "a policy that came or changed cut off what worked",
        frozenset({"clear"}),
    ),
}
"""What rules watch for: in words, and the fields that this kind has beside everybody's."""
FORMATS: tuple[Format, ...] = ("alertmanager", "alertmanager-api", "slack")

SECOND = 1_000_000_000
_MINUTE = 60 * SECOND
_DEFAULTS: dict[Kind, dict[str, int]] = {
    "new-blocked": {"attempts": 2, "learn": 5 * _MINUTE, "clear": 10 * _MINUTE},
    "drop-share": {
        "attempts": 10,
        "window": _MINUTE,
        "learn": 10 * _MINUTE,
        "clear": 10 * _MINUTE,
    },
    "gone-quiet": {"attempts": 5, "quiet": 10 * _MINUTE, "clear": 24 * 60 * _MINUTE},
    "unanswered": {"attempts": 5, "clear": 10 * _MINUTE},
    "cut": {"clear": 10 * _MINUTE},
}
_ABOVE = 0.2
_DURATIONS = ("window", "learn", "quiet", "clear")
_COMMON = frozenset(
    {
        "alert",
        "when",
        "workload",
        "peer",
        "direction",
        "labels",
        "annotations",
        "notify",
        "limit",
    }
)
_DIRECTIONS = ("egress", "ingress", "both")
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_LIMIT = 50


class WatchRule(msgspec.Struct, frozen=True):
    """One rule. Durations in nanoseconds."""

    alert: str
    """Its name, the label ``alertname``."""
    kind: Kind
    workload: str = "*"
    """``namespace/workload``, with stars."""
    peer: str = "*"
    direction: str = "egress"
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    notify: tuple[str, ...] = ()
    """Receivers by name; none: all."""
    limit: int = _LIMIT
    """Alerts told in ten minutes; what is beyond waits."""
    attempts: int = 1
    window: int = 0
    above: float = _ABOVE
    learn: int = 0
    quiet: int = 0
    clear: int = 0
    """After so long without the like an alert is over."""

    def about(self, direction: str, subject: str, peer: str = "*") -> bool:
        """Whether it watches this workload, and this destination of it."""
        return (
            self.direction in (direction, "both")
            and fnmatch.fnmatchcase(subject, self.workload)
            and (peer == "*" or fnmatch.fnmatchcase(peer, self.peer))
        )


class Receiver(msgspec.Struct, frozen=True):
    """Who is told by HTTP."""

    name: str
    url: str
    format: Format = "alertmanager"


class Rules(msgspec.Struct, frozen=True):
    """All of a file."""

    rules: tuple[WatchRule, ...]
    receivers: tuple[Receiver, ...] = ()


def read_rules(text: str, read_secret: Callable[[str], str]) -> Rules:
    """The rules of a file's text; ``read_secret`` gives the text of a ``url-file``.

    Raises:
        DocumentError: not of this form, with the line.
    """
    documents = list(read_nodes(text))
    if not documents:
        raise DocumentError("no rule in it", 1)
    if len(documents) > 1:
        raise documents[1].fault("a second document: all rules belong into one")
    fields = documents[0].known(frozenset({"rules", "receivers"}))
    receivers: dict[str, Receiver] = {}
    for item in fields["receivers"].items() if "receivers" in fields else []:
        one = _receiver(item, read_secret)
        if one.name in receivers:
            raise item.fault(f'two receivers are called "{one.name}"')
        receivers[one.name] = one
    rules: dict[str, WatchRule] = {}
    for item in fields["rules"].items() if "rules" in fields else []:
        rule = _rule(item, receivers)
        if rule.alert in rules:
            raise item.fault(f'two rules are called "{rule.alert}"')
        rules[rule.alert] = rule
    if not rules:
        raise documents[0].fault("no rule in it: rules is a list")
    return Rules(tuple(rules.values()), tuple(receivers.values()))


def _receiver(item: Value, read_secret: Callable[[str], str]) -> Receiver:
    fields = item.known(frozenset({"name", "url", "url-file", "format"}))
    if "name" not in fields:
        raise item.fault("a receiver needs a name")
    if ("url" in fields) == ("url-file" in fields):
        raise item.fault("a receiver needs url, or url-file with the URL in it")
    name = _not_empty(fields["name"])
    url = _url(fields, read_secret)
    named = fields.get("format")
    form = next((one for one in FORMATS if named is None or one == named.text()), None)
    if form is None:
        assert named is not None
        raise named.fault(_unknown("format", named.text(), FORMATS))
    return Receiver(name, url, form)


def _url(fields: Mapping[str, Value], read_secret: Callable[[str], str]) -> str:
    given = fields.get("url")
    if given is not None:
        url, of = given.text(), given
    else:
        of = fields["url-file"]
        try:
            url = read_secret(of.text()).strip()
        except FlowwatchError as error:
            raise of.fault(f"{of.path}: {error}") from None
        except ValueError:
            raise of.fault(f"{of.path}: no name of a file") from None
    if web_place(url) is None:
        raise of.fault(f"{of.path}: no URL as https://alerts.example/hook")
    return url


def web_place(url: str) -> str | None:
    """Scheme, host and port of a web address, which may be shown where the rest is a secret; None for what is
    none."""
    if not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host or port == 0:
        return None
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{safe(shown)}{f':{port}' if port else ''}"


def _not_empty(value: Value) -> str:
    text = value.text()
    if not text.strip():
        raise value.fault(f"{value.path}: a name is wanted, not nothing")
    return text


def _rule(item: Value, receivers: Mapping[str, Receiver]) -> WatchRule:
    first = item.fields()
    when = first.get("when")
    if when is None:
        raise item.fault(f"a rule needs when: one of {', '.join(KINDS)}")
    kind = next((one for one in KINDS if one == when.text()), None)
    if kind is None:
        raise when.fault(_unknown("rule", when.text(), KINDS))
    own = KINDS[kind][1]
    for name, value in first.items():
        for other, (_, theirs) in KINDS.items():
            if name in theirs and name not in own and name not in _COMMON:
                raise value.fault(f"{name} is of {other}, not of {kind}")
    fields = item.known(_COMMON | own)
    numbers: dict[str, int] = dict(_DEFAULTS[kind])
    for name in ("attempts", "limit"):
        if name in fields:
            numbers[name] = _at_least_one(fields[name])
    for name in _DURATIONS:
        if name in fields:
            numbers[name] = _duration(fields[name])
    above = _share(fields["above"]) if "above" in fields else _ABOVE
    alert = _not_empty(fields["alert"]) if "alert" in fields else kind
    direction = fields["direction"].text() if "direction" in fields else "egress"
    if direction not in _DIRECTIONS:
        raise fields["direction"].fault(_unknown("direction", direction, _DIRECTIONS))
    notify = []
    for one in fields["notify"].items() if "notify" in fields else []:
        if one.text() not in receivers:
            raise one.fault(_unknown("receiver", one.text(), tuple(receivers)))
        notify.append(one.text())
    return WatchRule(
        alert=alert,
        kind=kind,
        workload=fields["workload"].text() if "workload" in fields else "*",
        peer=fields["peer"].text() if "peer" in fields else "*",
        direction=direction,
        labels=_words(fields.get("labels")),
        annotations=_words(fields.get("annotations")),
        notify=tuple(notify),
        above=above,
        **numbers,
    )


def _unknown(what: str, text: str, names: Iterable[str]) -> str:
    known = list(names)
    listed = f": one of {', '.join(known)}" if known else ": none is declared"
    return f'unknown {what} "{text}"{did_you_mean(text, known) or listed}'


def _words(value: Value | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, one in value.fields().items() if value is not None else ():
        if not _NAME.match(name):
            raise one.fault(f'"{name}" is no name of a label: letters, digits and _')
        if name == "alertname":
            raise one.fault("alertname is the rule's own: alert says what it is")
        found[name] = one.text()
    return found


def _at_least_one(value: Value) -> int:
    number = value.integer()
    if not 1 <= number <= 1_000_000:
        raise value.fault(f"{value.path}: {number} is not from 1 to 1000000")
    return number


def _share(value: Value) -> float:
    number = value.decimal()
    if not 0 < number <= 1:
        raise value.fault(f"{value.path}: a share from 0 to 1 is wanted, as 0.2")
    return number


def _duration(value: Value) -> int:
    text = value.text()
    try:
        found = parse_duration(text)
    except ValueError as error:
        raise value.fault(f"{value.path}: {error}") from None
    if found < 0:
        raise value.fault(f"{value.path}: {text} is below 0")
    return found
