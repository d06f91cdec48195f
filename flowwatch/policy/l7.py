"""The rules a proxy decides by: HTTP and DNS.

From Cilium 1.20: pkg/policy/api (http.go, l4.go, fqdn.go), pkg/envoy/policy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from flowwatch import re2
from flowwatch.goyaml.nodes import Value
from flowwatch.policy.names import NameRule, read_name
from flowwatch.policy.requests import requested

REDACTED = "HUBBLE_REDACTED"
"""What Hubble writes in place of a value that it hides."""


_ANY_QUERY = "q=1"
"""Stands for what a query may have been: an expression that minds queries at all takes this one or not."""


@dataclass(frozen=True, slots=True)
class HeaderRule:
    """What a request must have among its headers."""

    name: str
    value: str = ""
    """All of it; empty: any."""
    secret: bool = False
    """The value is a secret's, which isn't known here."""

    @classmethod
    def read(cls, text: str) -> Self:
        """``Name: value``, or a name that must be there. Nothing but a space parts the two.

        As Cilium translates it for Envoy (pkg/envoy/policy/envoy_l7_rules_translator.go): of ``X:y`` it
        makes a name, which no header has.
        """
        name, space, value = text.partition(" ")
        return cls(name.rstrip(":") if space else name, value)

    def __str__(self) -> str:
        value = "a secret" if self.secret else self.value
        return f"{self.name}: {value}" if value else self.name

    def fits(self, headers: Mapping[str, str]) -> bool | str:
        """Whether one of ``headers``, by their names in lower case, is it; a string as for HttpRule."""
        found = headers.get(self.name.lower())
        if found is None:
            return False
        if self.secret:
            return f"the value of header {self.name} is compared with a secret"
        return not self.value or found == self.value


@dataclass(frozen=True, slots=True)
class HttpRule:
    """What a request must have; empty parts ask for nothing. Path, method, host: anchored expressions."""

    path: str = ""
    method: str = ""
    host: str = ""
    headers: tuple[HeaderRule, ...] = ()
    """Of ``headers``, and of ``headerMatches`` where a mismatch refuses the request."""
    line: int = 0

    def fits(self, method: str, url: str, *, hidden: bool = False) -> bool | str:
        """Whether method, host and path are as asked for; a string says why that can't be told.

        All of each must match, as Envoy asks RE2 (pkg/envoy/policy: SafeRegex); the URL is the record's.
        ``hidden``: it may have had a query, which the agent took out.
        """
        if self.method and (answer := _matches(self.method, (method,))) is not True:
            return answer
        if not (self.path or self.host):
            return True
        asked = requested(url)
        path = not self.path or asked.no_path or _matches(self.path, asked.paths)
        if (
            hidden
            and self.path
            and isinstance(path, bool)
            and path != self._with_query(asked.paths)
        ):
            path = "the agent hides queries of URLs, and the path is matched with them"
        if path is False or not self.host:
            return path
        host = asked.no_host or _matches(self.host, asked.hosts)
        return host if host is False or path is True else path

    def _with_query(self, paths: tuple[str, ...]) -> bool | str:
        return _matches(self.path, tuple(f"{path}?{_ANY_QUERY}" for path in paths))

    def __str__(self) -> str:
        parts = [self.method, f"host {self.host}" if self.host else "", self.path,
                 *(f"header {one}" for one in self.headers)]  # fmt: skip
        return " ".join(part for part in parts if part) or "every request"


@dataclass(frozen=True, slots=True)
class Layer7Rules:
    """Why traffic goes through a proxy, and what that lets pass."""

    kind: str
    """``http``, ``dns``, or ``tls`` for server names, TLS contexts and listeners."""
    http: tuple[HttpRule, ...] = ()
    dns: tuple[NameRule, ...] = ()
    dns_written: bool = False
    written: bool = True
    """Whether ``rules`` hold something: an empty list allows without a proxy."""
    tls: str = ""
    """Server names, TLS contexts and listener, as they are written: what a proxy does by them isn't known."""

    def passes_name(self, name: str) -> bool:
        """Whether a DNS query for ``name`` passes."""
        return any(rule.matches(name) for rule in self.dns)

    def passes_request(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]] | None,
        *,
        hidden: bool = False,
    ) -> bool | str:
        """Whether an HTTP request passes; a string says why that can't be told.

        Args:
            url: as Hubble's record has it, with the host.
            headers: of the request; None when the record has none.
            hidden: whether a query may have been taken out of the URL.
        """
        doubt = ""
        for rule in self.http:
            fits = rule.fits(method, url, hidden=hidden)
            if not fits:
                continue
            if isinstance(fits, str):
                doubt = fits
            elif not rule.headers:
                return True
            elif headers is None:
                doubt = "the record has no HTTP headers"
            else:
                answer = _has_headers(rule.headers, headers)
                if answer is True:
                    return True
                doubt = answer or doubt
        return doubt or False


def missed(rules: Sequence[Layer7Rules], method: str, url: str) -> str:
    """By what the closest HTTP rule misses a request, in words to be put behind it; "" without one."""
    closest: tuple[HttpRule, list[str]] | None = None
    for rule in (one for rules_ in rules for one in rules_.http):
        misses = list(_misses(rule, method, url))
        if misses and (closest is None or len(misses) < len(closest[1])):
            closest = rule, misses
    return f" (closest: {closest[0]}; {', '.join(closest[1])})" if closest else ""


def _misses(rule: HttpRule, method: str, url: str) -> Iterator[str]:
    if rule.method and _matches(rule.method, (method,)) is False:
        yield f"{method} isn't {rule.method}"
    asked = requested(url)
    if rule.path and asked.paths and _matches(rule.path, asked.paths) is False:
        path, mark, query = asked.paths[0].partition("?")
        if mark and _matches(rule.path, (path,)) is True:
            yield f"?{query} is matched with the path, and {rule.path} ends before it"
        else:
            yield f"{asked.paths[0]} isn't {rule.path}"
    if rule.host and asked.hosts and _matches(rule.host, asked.hosts) is False:
        yield f"host {asked.hosts[0]} isn't {rule.host}"


def _has_headers(wanted: Sequence[HeaderRule], headers: Sequence[tuple[str, str]]) -> bool | str:
    given: dict[str, str] = {}
    for written, value in headers:
        name = written.lower()
        # Envoy joins the values of a header that comes twice (HeaderUtility, getAllOfHeaderAsString).
        given[name] = f"{given[name]},{value}" if name in given else value
    answers = [one.fits(given) for one in wanted]
    if False in answers:
        hidden = any(value == REDACTED for _, value in headers)
        return "the agent hides values of HTTP headers" if hidden else False
    return next((answer for answer in answers if answer is not True), True)


_LONGEST_KNOWN = 512
"""Letters of a text whose answer is remembered."""


@lru_cache(maxsize=1 << 16)
def _expression(text: str) -> re2.Expression | str:
    """An expression; a string says why it can't be tried. Raises re2.RegexError as Go refuses it."""
    try:
        return re2.Expression(text)
    except re2.TooCostly as error:
        return f"an expression is too costly to read: {error}"


@lru_cache(maxsize=1 << 15)
def _answer(text: str, value: str) -> bool | str:
    expression = _expression(text)
    if isinstance(expression, str):
        return expression
    try:
        return expression.fullmatch(value)
    except re2.TooCostly as error:
        return str(error)


def _matches(text: str, values: tuple[str, ...]) -> bool | str:
    """Whether an expression matches all of what may have been sent; a string: why nobody can tell."""
    find = _answer if len(values[0]) <= _LONGEST_KNOWN else _answer.__wrapped__
    if len(values) == 1:
        return find(text, values[0])
    answers = [find(text, value) for value in values]
    if len(set(answers)) == 1:
        return answers[0]
    doubt = next((one for one in answers if isinstance(one, str)), "")
    return doubt or "the agent may have escaped the URL, and only one way of reading it matches"


def read_rules(
    item: Value, fields: dict[str, Value], *, ingress: bool, host: bool, has_ports: bool
) -> Layer7Rules | None:
    """Why traffic of an item of ``toPorts`` goes through the proxy; None if it does not.

    Raises:
        DocumentError: as Cilium refuses it.
    """
    redirect = _redirect(fields, ingress=ingress)
    rules = fields["rules"].given() if "rules" in fields else {}
    http = rules["http"].items() if "http" in rules else []
    dns = rules["dns"].items() if "dns" in rules else []
    if "rules" in fields and host and ingress and (http or dns):
        raise fields["rules"].fault("L7 policy is not supported on host ingress yet")
    if http and host:
        raise rules["http"].fault("L7 protocol HTTP is not supported on host egress yet")
    if dns and ingress:
        raise rules["dns"].fault("L7 protocol DNS is not supported on ingress yet")
    if not http and not dns:
        return redirect
    if http and dns:
        raise fields["rules"].fault("multiple L7 protocol rule types specified in single rule")
    if "serverNames" in fields and fields["serverNames"].items() and "terminatingTLS" not in fields:
        raise item.fault("ServerNames are not allowed with L7 rules without TLS termination")
    if "listener" in fields:
        raise item.fault("Listener is not allowed with L7 rules")
    if http:
        tls = redirect.tls if redirect else ""
        return Layer7Rules("http", http=tuple(map(_read_http, http)), tls=tls)
    if not has_ports:
        raise item.fault("port 53 must be specified for DNS rules")
    names = tuple(name for one in dns if (name := read_name(one)) is not None)
    return Layer7Rules("dns", dns=names, dns_written=True)


_REDIRECTS = ("serverNames", "terminatingTLS", "originatingTLS", "listener")


def _redirect(fields: dict[str, Value], *, ingress: bool) -> Layer7Rules | None:
    found = False
    if "serverNames" in fields:
        names = [one.text() for one in fields["serverNames"].items()]
        if "" in names:
            raise fields["serverNames"].fault("empty server name is not allowed")
        found = bool(names)
    found = found or "terminatingTLS" in fields or "originatingTLS" in fields
    if "listener" in fields:
        if ingress:
            raise fields["listener"].fault("Listener is not allowed on ingress")
        found = True
    tls = "; ".join(f"{key}: {fields[key].written}" for key in _REDIRECTS if key in fields)
    return Layer7Rules("tls", written=False, tls=tls) if found else None


def _read_http(value: Value) -> HttpRule:
    fields = value.given()
    texts = {key: fields[key].text() if key in fields else "" for key in ("path", "method", "host")}
    for key, text in texts.items():
        # Cilium compiles path and method by Go's regexp (api/http.go) and leaves the host to its proxy.
        try:
            _expression(text)
        except re2.RegexError as error:
            who = "Cilium's proxy would refuse it: " if key == "host" else ""
            raise fields[key].fault(f"{who}{error}") from None
    headers = [
        HeaderRule.read(one.text())
        for one in (fields["headers"].items() if "headers" in fields else ())
    ]
    for one in fields["headerMatches"].items() if "headerMatches" in fields else ():
        match = one.given()
        if "name" not in match or not match["name"].text():
            raise one.fault("header match needs a name")
        if "mismatch" not in match:
            text = match["value"].text() if "value" in match else ""
            headers.append(HeaderRule(match["name"].text(), text, "secret" in match))
    return HttpRule(**texts, headers=tuple(headers), line=value.line)
