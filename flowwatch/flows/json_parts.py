"""Endpoints and layer 7 of a JSON record, read straight where they have Hubble's own form.

That is a twentieth of the long way round, through a protobuf message. Anything else (camelCase, a
field newer than we are, a value of another type) gives None, and goes that way.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec

from flowwatch.flows.model import Endpoint, Layer7
from flowwatch.flows.shared_values import make_endpoint

_Unsigned = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
_L7_TYPES = {"UNKNOWN_L7_TYPE": 0, "REQUEST": 1, "RESPONSE": 2, "SAMPLE": 3}
_DIGITS = 19
"""Digits that a uint64 may have whatever they are."""


class _Part(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """In the order in which Hubble writes it, as all of them."""


class _Workload(_Part):
    name: str = ""
    kind: str = ""


class _Endpoint(_Part):
    ID: _Unsigned = 0
    identity: _Unsigned = 0
    cluster_name: str = ""
    namespace: str = ""
    labels: tuple[str, ...] = ()
    pod_name: str = ""
    workloads: tuple[_Workload, ...] = ()


class _Dns(_Part):
    query: str = ""
    ips: tuple[str, ...] = ()
    ttl: _Unsigned = 0
    cnames: tuple[str, ...] = ()
    observation_source: str = ""
    rcode: _Unsigned = 0
    qtypes: tuple[str, ...] = ()
    rrtypes: tuple[str, ...] = ()


class _Header(_Part):
    key: str = ""
    value: str = ""


class _Http(_Part):
    code: _Unsigned = 0
    method: str = ""
    url: str = ""
    protocol: str = ""
    headers: tuple[_Header, ...] = ()


class _Layer7(_Part):
    type: str = "UNKNOWN_L7_TYPE"
    latency_ns: str = "0"
    dns: _Dns | None = None
    http: _Http | None = None


_Any = TypeVar("_Any", bound=_Part)


def _read(decoder: msgspec.json.Decoder[_Any], text: bytes) -> _Any | None:
    try:
        return decoder.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        return None


_endpoint = msgspec.json.Decoder(_Endpoint)
_layer7 = msgspec.json.Decoder(_Layer7)


def endpoint(text: bytes) -> Endpoint | None:
    """The endpoint that ``text`` describes."""
    one = _read(_endpoint, text)
    if one is None:
        return None
    workload = one.workloads[0].name if one.workloads else ""
    return make_endpoint(
        one.identity, one.namespace, one.pod_name, one.labels, workload, one.cluster_name
    )


def layer7(text: bytes) -> Layer7 | None:
    """What the proxy saw, as ``text`` tells it."""
    one = _read(_layer7, text)
    if one is None or one.type not in _L7_TYPES or (one.dns and one.http):
        return None
    latency = one.latency_ns
    if not (latency.isascii() and latency.isdecimal() and len(latency) <= _DIGITS):
        return None
    dns, http = one.dns or _NO_DNS, one.http or _NO_HTTP
    return Layer7(
        _L7_TYPES[one.type],
        dns.query.rstrip("."),
        dns.ips,
        dns.ttl,
        dns.cnames,
        http.method,
        http.url,
        http.code,
        tuple([(header.key, header.value) for header in http.headers]),
    )


_NO_DNS, _NO_HTTP = _Dns(), _Http()
