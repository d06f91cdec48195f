"""An attempt as it is exported: one try of an application to reach a peer."""

from __future__ import annotations

import msgspec

from flowwatch.flows.model import PolicyRef


class Attempt(msgspec.Struct, gc=False):
    """One attempt, with what all of its records said together. Times are ns since 1970 (UTC)."""

    direction: str
    """``egress`` or ``ingress``: of the pod it is counted for."""
    outcome: str
    """``forwarded``, ``dropped``, ``audited``, ``error``, ``unknown``."""
    namespace: str
    pod: str
    workload: str
    pod_address: str
    source_port: int
    peer: str
    peer_kind: str
    peer_address: str
    port: int
    protocol: str
    drop_reason: str
    """Hubble's name, ``L7_DENIED`` for the proxy's denials (they carry none), "" if not dropped.
    Of an attempt that was late, what held it up."""
    drop_reason_number: int
    first_seen: int
    last_seen: int
    records: int
    node: str
    """The node whose record came first."""
    allowed_by: tuple[PolicyRef, ...] = ()
    denied_by: tuple[PolicyRef, ...] = ()
    cluster: str = ""
    """The pod's, as Hubble names it."""
    server: str = ""
    """The server it was seen through, where there are several."""
    detail: str = ""
    """What the proxy saw when it denied: ``GET http://…`` or ``DNS google.com``."""
    attribution: str = ""
    """What blocked it by the policies that were given, in words; "" without any."""
    answer: str = ""
    """Of :data:`flowwatch.flows.open_attempt.ANSWERS`, or ``none`` where an answer would have been seen."""
    waited: float = 0.0
    """Seconds until it was let through, where it was denied at first; else 0."""
    retries: int = 0
    """SYNs that were sent again, as far as records show them."""
    noise: str = ""
    """Of :data:`flowwatch.flows.noise.KINDS`, where it was dropped and is such."""
    uncounted: bool = False
    """Whether it may be several: of aggregated lines, or of records without the client's port."""
    unsure: bool = False
    """Whether it may be of answers: nothing records if it is."""
    encrypted: bool = False
    """Whether an encrypted packet of it was seen."""
    policy_log: tuple[str, ...] = ()
    """``log: value`` of the policies that decided."""
