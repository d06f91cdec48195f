"""What a record doesn't say, so that nobody can ask policies about its attempt: a mask, a key, redaction."""

from __future__ import annotations

from ipaddress import ip_address

from flowwatch.flows.model import Endpoint, Layer7
from flowwatch.flows.open_attempt import WITH_PORTS
from flowwatch.policy.l7 import REDACTED

UNSURE = "the record doesn't say whether it is of an answer: a field mask or an aggregate's key left it out"


_UNKNOWN = ("reserved:unknown",)


def redacted(layer7: Layer7) -> bool:
    """Whether the agent that wrote it hides values (``hubble.redact.enabled``)."""
    return any(value == REDACTED for _, value in layer7.http_headers)


def unknown(subject: Endpoint, protocol: str, port: int) -> str:
    """Why the policies of ``subject`` can't be asked, in words; else ""."""
    if not protocol:
        return "the record has no protocol"
    if not port and protocol in WITH_PORTS:
        return "the record has no port"
    if subject.labels or subject.entity:
        return ""
    return "the record has no labels of the pod: its identity was not known, or a field mask left them out"


def unknown_peer(peer: Endpoint, address: str) -> str:
    """The same for the other end. Of an address alone Hubble knows nothing: one that is routed in public
    is outside; any other may be a pod's, of which a mask left all out."""
    if peer.labels == _UNKNOWN:
        return "the agent did not know who the other end is (identity 0, reserved:unknown)"
    if peer.labels or peer.entity:
        return ""
    if address and not peer.identity and not peer.namespace:
        return "" if _public(address) else "the record doesn't say who the other end is"
    return "the record has no labels of the other end"


def _public(text: str) -> bool:
    try:
        return ip_address(text.partition("%")[0]).is_global
    except ValueError:
        return False
