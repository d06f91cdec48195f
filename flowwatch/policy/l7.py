"""The rules a proxy decides by: HTTP and DNS.

From Cilium 1.20: pkg/policy/api (http.go, l4.go, fqdn.go), pkg/envoy/policy.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from flowwatch.goyaml.nodes import Value
from flowwatch.policy.names import NameRule, read_name

# Python's expressions have these, Go's (RE2) do not.
_NOT_IN_GO = re.compile(r"\(\?(?:[=!>(]|<[=!]|P[=>])|(?<!\\)(?:\\\\)*\\[1-9]")
_REDACTED = "HUBBLE_REDACTED"
_RULES = frozenset({"http", "dns"})
_HTTP = frozenset({"path", "method", "host", "headers", "headerMatches"})
_HEADER_MATCH = frozenset({"mismatch", "name", "secret", "value"})
_TLS = frozenset({"secret", "trustedCA", "certificate", "privateKey"})
_LISTENER = frozenset({"envoyConfig", "name", "priority"})


@dataclass(frozen=True, slots=True)
class HttpRule:
    """What a request must have; empty parts ask for nothing. Path, method, host: anchored expressions."""

    path: str = ""
    method: str = ""
    host: str = ""
    headers: tuple[str, ...] = ()
    """``Name: value``, or a bare name that must be there; also what ``headerMatches`` asks for."""
    line: int = 0

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

    def passes_name(self, name: str) -> bool:
        """Whether a DNS query for ``name`` passes."""
        return any(rule.matches(name) for rule in self.dns)

    def passes_request(
        self, method: str, url: str, headers: Sequence[tuple[str, str]] | None
    ) -> bool | str:
        """Whether an HTTP request passes; a string says why that can't be told.

        Args:
            url: as Hubble's record has it, with the host.
            headers: of the request; None when the record has none.
        """
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        doubt = ""
        for rule in self.http:
            tests = ((rule.path, path), (rule.method, method), (rule.host, parts.netloc))
            if not all(not regex or _full_match(regex, text) for regex, text in tests):
                continue
            if not rule.headers:
                return True
            if headers is None:
                doubt = "the record has no HTTP headers"
            elif _has_headers(rule.headers, headers):
                return True
            elif any(value == _REDACTED for _, value in headers):
                doubt = "the agent hides values of HTTP headers"
        return doubt or False


def _has_headers(wanted: tuple[str, ...], headers: Sequence[tuple[str, str]]) -> bool:
    given = {name.lower(): value for name, value in headers}
    for one in wanted:
        name, colon, value = one.partition(":")
        if not colon:
            name, _, value = one.partition(" ")
        found = given.get(name.strip().lower())
        if found is None or (value.strip() and found != value.strip()):
            return False
    return True


@lru_cache(maxsize=4096)
def _expression(text: str) -> re.Pattern[str]:
    return re.compile(text)


def _full_match(text: str, value: str) -> bool:
    return _expression(text).fullmatch(value) is not None


def read_rules(
    item: Value, fields: dict[str, Value], *, ingress: bool, host: bool, has_ports: bool
) -> Layer7Rules | None:
    """Why traffic of an item of ``toPorts`` goes through the proxy; None if it does not.

    Raises:
        DocumentError: as Cilium refuses it.
    """
    redirect = _redirect(fields, ingress=ingress)
    rules = fields["rules"].known(_RULES) if "rules" in fields else {}
    http = fields["rules"].known(_RULES)["http"].items() if "http" in rules else []
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
        return Layer7Rules("http", http=tuple(map(_read_http, http)))
    if not has_ports:
        raise item.fault("port 53 must be specified for DNS rules")
    names = tuple(name for one in dns if (name := read_name(one)) is not None)
    return Layer7Rules("dns", dns=names, dns_written=True)


def _redirect(fields: dict[str, Value], *, ingress: bool) -> Layer7Rules | None:
    found = False
    if "serverNames" in fields:
        names = [one.text() for one in fields["serverNames"].items()]
        if "" in names:
            raise fields["serverNames"].fault("empty server name is not allowed")
        found = bool(names)
    for key in ("terminatingTLS", "originatingTLS"):
        if key in fields:
            fields[key].known(_TLS)
            found = True
    if "listener" in fields:
        fields["listener"].known(_LISTENER)
        if ingress:
            raise fields["listener"].fault("Listener is not allowed on ingress")
        found = True
    return Layer7Rules("tls", written=False) if found else None


def _read_http(value: Value) -> HttpRule:
    fields = value.known(_HTTP)
    texts = {key: fields[key].text() if key in fields else "" for key in ("path", "method", "host")}
    for key, text in texts.items():
        try:
            _expression(text)
        except re.error as error:
            raise fields[key].fault(f"error parsing regexp: {error}") from None
        if unknown := _NOT_IN_GO.search(text):
            raise fields[key].fault(f"error parsing regexp: Go has no {unknown[0]}")
    headers = [one.text() for one in fields["headers"].items()] if "headers" in fields else []
    for one in fields["headerMatches"].items() if "headerMatches" in fields else ():
        match = one.known(_HEADER_MATCH)
        if "name" not in match or not match["name"].text():
            raise one.fault("header match needs a name")
        if "mismatch" not in match:
            text = match["value"].text() if "value" in match else ""
            headers.append(f"{match['name'].text()}: {text}" if text else match["name"].text())
    return HttpRule(**texts, headers=tuple(headers), line=value.line)
