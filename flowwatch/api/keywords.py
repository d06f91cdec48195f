"""The keywords of a call: which flows, of which server. Each is the flag that it is named for.

    flowwatch.read(server="localhost:4245", namespace="weather", to_fqdn=["a", "b"], since="5m")

``_`` stands for ``-``; several values of a filter are OR, several filters are AND, and their order
is that of the call. What they mean is told by ``flowwatch summary --help``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import TypedDict, get_type_hints

from flowwatch.errors import UsageError
from flowwatch.gotext import comma_list, parse_uint, quote
from flowwatch.sources.request import texts
from flowwatch.text import safe

Switch = bool
Number = int
Text = str
Path = str | os.PathLike[str]
Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
Texts = str | int | Sequence[str | int]
"""One value, or several."""


class Filters(TypedDict, total=False):
    """Hubble's filters."""

    not_: Switch
    """Turns the filter after it into what hides flows."""
    namespace: Texts
    from_namespace: Texts
    to_namespace: Texts
    all_namespaces: Switch
    from_all_namespaces: Switch
    to_all_namespaces: Switch
    pod: Texts
    from_pod: Texts
    to_pod: Texts
    service: Texts
    from_service: Texts
    to_service: Texts
    workload: Texts
    from_workload: Texts
    to_workload: Texts
    fqdn: Texts
    from_fqdn: Texts
    to_fqdn: Texts
    ip: Texts
    from_ip: Texts
    to_ip: Texts
    snat_ip: Texts
    ipv4: Switch
    ipv6: Switch
    ip_version: Texts
    port: Texts
    from_port: Texts
    to_port: Texts
    protocol: Texts
    label: Texts
    from_label: Texts
    to_label: Texts
    identity: Texts
    from_identity: Texts
    to_identity: Texts
    cluster: Texts
    from_cluster: Texts
    to_cluster: Texts
    verdict: Texts
    drop_reason_desc: Texts
    type: Texts
    traffic_direction: Texts
    reply: Switch
    not_reply: Switch
    tcp_flags: Texts
    http_status: Texts
    http_method: Texts
    http_path: Texts
    http_url: Texts
    http_header: Texts
    node_name: Texts
    node_label: Texts
    interface: Texts
    encrypted: Switch
    unencrypted: Switch
    uuid: Texts
    trace_id: Texts
    ip_trace_id: Texts
    cel_expression: Texts


class Which(TypedDict, total=False):
    """Which of the flows that pass the filters."""

    allowlist: Texts
    """FlowFilters as JSON, shown if one matches."""
    denylist: Texts
    last: Number
    first: Number
    all: Switch
    since: Text
    """``5m`` (ago), ``2026-01-31T10:00:00Z``."""
    until: Text
    follow: Switch
    input_file: Paths
    """Captures instead of a server, as the arguments before the keywords."""
    history: Path
    """What ``flowwatch record`` has written, a folder, ``s3://BUCKET/PREFIX`` or
    ``clickhouse://HOST/DATABASE``, instead of a server."""
    keep_bad: Path
    """A folder: each record that can't be read becomes a file there."""


class Server(TypedDict, total=False):
    """How to reach Hubble; what isn't given is taken as the command line takes it, from HUBBLE_…
    variables and from hubble's config file."""

    server: Texts
    """``host:port``, ``tls://host:port``, ``unix:///path``; several are read as one."""
    tls: Switch
    tls_allow_insecure: Switch
    tls_ca_cert_files: Paths
    tls_client_cert_file: Path
    tls_client_key_file: Path
    tls_server_name: Text
    tls_from_secret: Switch
    basic_auth_username: Text
    basic_auth_password: Text
    timeout: Text
    """``5s``, as the next."""
    request_timeout: Text
    port_forward: Switch
    no_port_forward: Switch
    port_forward_port: Number
    kubeconfig: Path
    kube_context: Text
    kube_namespace: Text
    config: Path
    debug: Switch


class Keywords(Filters, Which, Server, total=False):
    """All of them."""


_FILTERS = frozenset(get_type_hints(Filters))
_KINDS = get_type_hints(Keywords)
_COMMAS = ("tls_ca_cert_files",)
_ALSO = {"not": "not_"}
"""A word of Python's own: it can be given as ``**{"not": True}`` alone."""
_SWITCHES = {"true": True, "false": False}


class GivenKeywords:
    """The keywords of one call, checked (flowwatch.sources.request.RequestOptions).

    Raises UsageError for a keyword that there isn't, and for a value of a wrong kind.
    """

    def __init__(self, keywords: Mapping[str, object], files: Sequence[Path] = ()) -> None:
        self.filters: list[tuple[str, str]] = []
        self.servers: list[str] = []
        self._values: dict[str, object] = {}
        for keyword, value in keywords.items():
            self._take(_ALSO.get(keyword, keyword), value)
        if files:
            named = texts(self._values.get("input-file"))
            self._values["input-file"] = [*named, *(_text(path) for path in files)]

    def _take(self, keyword: str, value: object) -> None:
        if keyword not in _KINDS:
            raise _unknown(keyword)
        name = keyword.removesuffix("_").replace("_", "-")
        if keyword in _FILTERS:
            if keyword != "not_" or value is not False:
                self.filters += [(name, _text(one)) for one in _each(value)]
            return
        try:
            taken = _READERS[_KINDS[keyword]](value)
            if keyword in _COMMAS:
                taken = [one for text in texts(taken) for one in comma_list(text)]
            if keyword == "port_forward_port":
                parse_uint(str(taken), 16)
        except ValueError as error:
            raise UsageError(
                f"invalid argument {quote(_text(value))} for {keyword}: {error}"
            ) from None
        if keyword == "server":
            self.servers = list(dict.fromkeys(texts(taken)))
            taken = self.servers[-1] if self.servers else ""
        self._values[name] = taken

    def get(self, name: str) -> object:
        """The value of the flag ``name``; None when it wasn't given."""
        return self._values.get(name)

    def was_set(self, name: str) -> bool:
        """Whether it was given."""
        return name in self._values

    def advice(self, name: str, text: str) -> str:
        """Nothing beside hubble's own words."""
        return ""


def _each(value: object) -> Sequence[object]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return value
    return [value]


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)


def _several(value: object) -> list[str]:
    return [_text(one) for one in _each(value)]


def _number(value: object) -> int:
    return parse_uint(_text(value), 64, base=0)


def _switch(value: object) -> bool:
    found = _SWITCHES.get(_text(value))
    if found is None:
        raise ValueError("not true or false")
    return found


_READERS: dict[object, Callable[[object], object]] = {
    Switch: _switch,
    Number: _number,
    Text: _text,
    Path: _text,
    Paths: _several,
    Texts: _several,
}
"""By the kind of a keyword, what reads its value; raises ValueError."""


def _unknown(keyword: str) -> UsageError:
    near = get_close_matches(keyword, _KINDS, 1, 0.7)
    return UsageError(
        f"unknown keyword: {safe(keyword)}",
        f"did you mean {near[0]}?"
        if near
        else "they are the flags of flowwatch summary --help, with _ for -",
    )
