"""Rules of the API server that need several fields: of ``schema.json`` by their CEL text, of ours by name.

Each answers what is wrong, or None, as in checks.py. From the CRDs' ``x-kubernetes-validations``; from
kubernetes 1.36, pkg/apis/networking/validation; from apimachinery 0.36, pkg/api/validation/objectmeta.go.
"""

from __future__ import annotations

from collections.abc import Callable

from flowwatch.goyaml.nodes import Value

_MAX_ANNOTATIONS = 256 * 1024
"""Bytes of an object's annotations, keys and values together."""
_OUTSIDE = ("networks", "nodes", "domainNames")
_EXCLUSIVE = ("orphan", "foregroundDeletion")


def _some_spec(value: Value) -> str | None:
    return None if value.given().keys() & {"spec", "specs"} else "spec or specs must be given"


def _ascending(value: Value) -> str | None:
    """Start port must be less than End port."""
    given = value.given()
    if {"start", "end"} <= given.keys() and given["start"].integer() >= given["end"].integer():
        return "start must be less than end"
    return None


def _is_cidr(value: Value) -> str | None:
    """netip.ParsePrefix, and no IPv4-mapped IPv6 (k8s.io/apiserver, pkg/cel/library/cidr.go)."""
    if "/" not in value.text():
        return "a block of addresses (10.0.0.0/8) is wanted"
    return "IPv4 addresses are wanted as such" if _mapped(value.text()) else None


def _mapped(text: str) -> bool:
    import ipaddress

    try:
        address = ipaddress.ip_address(text.partition("/")[0])
    except ValueError:
        return False
    return isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None


def _names_inside(value: Value) -> str | None:
    """networks/nodes/domainNames peer cannot be set with namedPorts."""
    given = value.given()
    peers = given["to"].items() if "to" in given else []
    outside = any(name in one.given() for one in peers for name in _OUTSIDE)
    ports = given["protocols"].items() if "protocols" in given else []
    if outside and any("destinationNamedPort" in one.given() for one in ports):
        return f"{', '.join(_OUTSIDE)} have no named ports (destinationNamedPort)"
    return None


def _port_range(value: Value) -> str | None:
    given = value.given()
    if "endPort" not in given:
        return None
    port = given["port"].number_or_text() if "port" in given else ""
    if isinstance(port, str):
        return "endPort needs a port that is a number"
    return "endPort must not be less than port" if given["endPort"].integer() < port else None


def _excepted(value: Value) -> str | None:
    """Each exception is smaller than the block; that it lies inside the reader asks."""
    given = value.given()
    if "cidr" not in given or "except" not in given:
        return None
    length = given["cidr"].text().rpartition("/")[2]
    for one in given["except"].items():
        if one.text().rpartition("/")[2] == length:
            return f'except must be smaller than the block: "{one.text()}"'
    return None


def _annotations(value: Value) -> str | None:
    size = sum(len(key.encode()) + len(one.text().encode()) for key, one in value.fields().items())
    return None if size <= _MAX_ANNOTATIONS else f"more than {_MAX_ANNOTATIONS:,} bytes together"


def _finalizers(value: Value) -> str | None:
    given = {one.text() for one in value.items()}
    return f"only one of {', '.join(_EXCLUSIVE)} may be given" if given >= {*_EXCLUSIVE} else None


def _owner(value: Value) -> str | None:
    given = value.given()
    for name in ("apiVersion", "kind", "name", "uid"):
        if name not in given or not given[name].text():
            return f"{name} must be given"
    if (given["apiVersion"].text(), given["kind"].text()) == ("v1", "Event"):
        return "an Event owns nothing"
    return "apiVersion has no version" if given["apiVersion"].text().endswith("/") else None


def _owners(value: Value) -> str | None:
    given = [one.given() for one in value.items()]
    leading = [one for one in given if "controller" in one and one["controller"].boolean()]
    return "only one can be the controller" if len(leading) > 1 else None


RULES: dict[str, Callable[[Value], str | None]] = {
    "has(self.spec) || has(self.specs)": _some_spec,
    "self.start < self.end": _ascending,
    "isCIDR(self)": _is_cidr,
    "!(self.to.exists(peer, has(peer.networks) || has(peer.nodes) || has(peer.domainNames)) && "
    "has(self.protocols) && self.protocols.exists(protocol, "
    "has(protocol.destinationNamedPort)))": _names_inside,
    "port-range": _port_range,
    "except": _excepted,
    "annotations": _annotations,
    "finalizers": _finalizers,
    "owner": _owner,
    "owners": _owners,
}
