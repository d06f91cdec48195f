"""What a record says, in few and typed words: :class:`Flow` and the things it points to.

A :class:`Flow` is one Hubble record, narrowed to what is counted. Both decoders (of the wire and of
capture files) produce it, and everything to the right of them sees nothing else. Most of it repeats
from record to record: its :class:`Kind` (a node's trace of a SYN at to-stack …) and its :class:`Ends`
(the two pods) are each one object, shared. Generated traffic has 141 kinds and 10,737 pairs of ends in
65,535 records, but 26,047 of both together: so they are two.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgspec

from flowwatch.hubble.wire.names import EVENT_TYPES


class Verdict(IntEnum):
    """flow.Verdict: what Hubble wrote. A newer server's number stays a plain int in the Flow."""

    VERDICT_UNKNOWN = 0
    FORWARDED = 1
    DROPPED = 2
    ERROR = 3
    AUDIT = 4
    REDIRECTED = 5
    TRACED = 6
    TRANSLATED = 7


class Direction(IntEnum):
    """flow.TrafficDirection: the connection's, as the local endpoint sees it."""

    UNKNOWN = 0
    INGRESS = 1
    EGRESS = 2


DIRECTION_WORDS: dict[int, str] = {Direction.EGRESS: "egress", Direction.INGRESS: "ingress"}
"""As every output, every flag and the policies' engine say it."""
BOTH = frozenset(DIRECTION_WORDS.values())


class EventType(IntEnum):
    """flow.CiliumEventType.type: those that are told apart here."""

    UNKNOWN = 0
    DROP = EVENT_TYPES["drop"]
    CAPTURE = EVENT_TYPES["capture"]
    TRACE = EVENT_TYPES["trace"]
    POLICY_VERDICT = EVENT_TYPES["policy-verdict"]
    TRACE_SOCK = EVENT_TYPES["trace-sock"]
    L7 = EVENT_TYPES["l7"]


class Endpoint(msgspec.Struct, frozen=True, gc=False):
    """One end of a flow, as Hubble names it; empty strings where it doesn't. Shared, never changed."""

    identity: int = 0
    namespace: str = ""
    pod: str = ""
    workload: str = ""
    """The first workload's name; empty for pods that the observing node doesn't run."""
    cluster: str = ""
    labels: tuple[str, ...] = ()
    entity: str = ""
    """``host``, ``world`` …: from the ``reserved:`` label, else from a reserved identity's number."""


class PolicyRef(msgspec.Struct, frozen=True, gc=False):
    """A policy as Hubble names it in a record (flow.Policy)."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    selects: bool = False
    """Whether it only selects the pod that a default deny was about: it has no rule that denied."""

    def __str__(self) -> str:
        owner = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{owner} ({self.kind})" if self.kind else owner


class Layer7(msgspec.Struct, frozen=True, gc=False):
    """The proxy's record (flow.Layer7): of DNS and HTTP what is shown and learnt from."""

    type: int = 0
    """1 request, 2 response, 3 sample."""
    dns_query: str = ""
    """Without the final dot."""
    dns_ips: tuple[str, ...] = ()
    dns_ttl: int = 0
    dns_cnames: tuple[str, ...] = ()
    http_method: str = ""
    http_url: str = ""
    http_code: int = 0
    http_headers: tuple[tuple[str, str], ...] = ()
    """Name and value; "HUBBLE_REDACTED" in place of a value that the agent hides."""


class Tunnel(msgspec.Struct, frozen=True, gc=False):
    """The outer headers of a packet that was read inside of a tunnel (flow.Tunnel)."""

    protocol: str = ""
    """``VXLAN`` or ``GENEVE``; a newer one's number."""
    source_ip: str = ""
    destination_ip: str = ""
    vni: int = 0
    """Virtual network number."""


class Standing(msgspec.Struct, frozen=True, gc=False):
    """How many records an aggregated line stands for, by their direction (flow.Aggregate)."""

    ingress: int = 0
    egress: int = 0
    unknown: int = 0

    @property
    def records(self) -> int:
        """All of them; a line is written for one at least."""
        return max(self.ingress + self.egress + self.unknown, 1)


class Extras(msgspec.Struct, frozen=True, gc=False):
    """What few records carry."""

    policy_log: tuple[str, ...] = ()
    """``log: value`` of the policies that decided; on policy verdicts."""
    encrypted: bool = False
    """Whether the packet was seen as IPsec or WireGuard had made it; only trace records say so."""
    trace_id: int = 0
    """What the sender put into an IP option, to follow the packet by; 0 for none."""
    tunnel: Tunnel | None = None
    standing: Standing | None = None
    """Of a line that stands for several records, which an exporter aggregated."""


class Kind(msgspec.Struct, gc=False):
    """What records of one kind say alike, and what follows from it: made once, shared, never changed.

    Made by :func:`flowwatch.flows.known.make_kind` alone, which asks those who hold the rules.
    """

    verdict: int
    drop_reason: int
    """Hubble's number (drop_reason_desc, else the deprecated drop_reason); 0 when not a drop."""
    direction: int
    """Always one of :class:`Direction`."""
    is_reply: bool | None
    event_type: int
    sub_type: int
    protocol: str
    """``TCP``, ``UDP``, ``SCTP``, ``ICMPv4``, ``ICMPv6``, ``VRRP``, ``IGMP``, or "" when not parsed."""
    tcp_flags: int
    """Bits: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128, NS 256."""
    allowed_by: tuple[PolicyRef, ...]
    denied_by: tuple[PolicyRef, ...]
    match_type: int
    auth_type: int
    node: str
    revision: int
    """The highest revision of the agent's policies among those named; 0 where none is."""
    newer_direction: str
    """What Hubble wrote for the direction where it is none that we know; ``direction`` is 0 then."""
    emitter: str
    """Who wrote the record, as ``Hubble 1.20.2``; "" from servers before Cilium 1.19."""
    has_l7: bool
    """Whether its records have what the proxy saw; what that is varies."""

    bits: int = 0
    """Its evidence (:func:`flowwatch.flows.meaning.evidence`)."""
    reply: bool = False
    """Whether it goes from server to client, as far as a record with ports tells alone."""
    as_reply: Kind | None = None
    """The same as an answer, of a drop that doesn't say whether it is one; else None."""
    ingress: bool = False
    """Whether its direction is INGRESS."""
    dropped: bool = False
    syn: bool = False
    """SYN without ACK."""
    closes: bool = False
    """FIN or RST."""
    first: bool = False
    """Whether it shows an attempt's first packet (:func:`flowwatch.flows.meaning.shows_first`)."""
    named: bool = False
    """Whether it names policies."""
    plain: bool = False
    """Whether most of its records tell nothing but that one more came: a direction, no policies, no
    layer 7, no dropped answer."""
    mild: bool = False
    """Whether it is plain, no reset, and can't change the outcome of an attempt that is forwarded."""
    adds: int = 0
    """What its end is known by after it: its evidence, and whether the first packet was seen."""


class Ends(msgspec.Struct, gc=False):
    """Whom a record is between, with the names that Hubble gives them. Shared, never changed."""

    source: Endpoint
    destination: Endpoint
    source_names: tuple[str, ...]
    destination_names: tuple[str, ...]
    source_service: str
    """``namespace/name`` or "" (record's source address and port are a service's frontend)."""
    destination_service: str
    names: tuple[str, ...] = ()
    """Those of the destination, else those of the source."""

    def __post_init__(self) -> None:
        self.names = self.destination_names or self.source_names


class Flow(msgspec.Struct, gc=False):
    """One Hubble record, narrowed: its kind, its ends, and what varies.

    Absent values are 0, "" or (), and ``None`` only for ``is_reply`` and ``l7``. What the kind and the
    ends say can be read here too. :func:`flowwatch.flows.known.make_flow` makes one of single values.
    """

    kind: Kind
    ends: Ends
    time: int
    """Nanoseconds since 1970 (UTC), on the clock of the agent that read the event."""
    source_ip: str
    destination_ip: str
    source_port: int
    destination_port: int
    """For ICMP the message type."""
    uuid: str
    l7: Layer7 | None
    extras: Extras | None = None
    """What few records carry; None where nothing of it is there."""
    raw: bytes = b""
    """The whole record, a serialized GetFlowsResponse, where somebody keeps it; else empty."""

    @property
    def verdict(self) -> int:
        return self.kind.verdict

    @property
    def drop_reason(self) -> int:
        return self.kind.drop_reason

    @property
    def direction(self) -> int:
        return self.kind.direction

    @property
    def is_reply(self) -> bool | None:
        return self.kind.is_reply

    @property
    def event_type(self) -> int:
        return self.kind.event_type

    @property
    def sub_type(self) -> int:
        return self.kind.sub_type

    @property
    def protocol(self) -> str:
        return self.kind.protocol

    @property
    def tcp_flags(self) -> int:
        return self.kind.tcp_flags

    @property
    def allowed_by(self) -> tuple[PolicyRef, ...]:
        return self.kind.allowed_by

    @property
    def denied_by(self) -> tuple[PolicyRef, ...]:
        return self.kind.denied_by

    @property
    def match_type(self) -> int:
        return self.kind.match_type

    @property
    def auth_type(self) -> int:
        return self.kind.auth_type

    @property
    def node(self) -> str:
        return self.kind.node

    @property
    def revision(self) -> int:
        return self.kind.revision

    @property
    def newer_direction(self) -> str:
        return self.kind.newer_direction

    @property
    def emitter(self) -> str:
        return self.kind.emitter

    @property
    def source(self) -> Endpoint:
        return self.ends.source

    @property
    def destination(self) -> Endpoint:
        return self.ends.destination

    @property
    def source_names(self) -> tuple[str, ...]:
        return self.ends.source_names

    @property
    def destination_names(self) -> tuple[str, ...]:
        return self.ends.destination_names

    @property
    def source_service(self) -> str:
        return self.ends.source_service

    @property
    def destination_service(self) -> str:
        return self.ends.destination_service


class LostEvents(msgspec.Struct, frozen=True):
    """Records that were never seen (flow.LostEvent): a gap, not traffic."""

    source: str
    """Hubble's name, as ``HUBBLE_RING_BUFFER``, or the number when it is newer than we are."""
    count: int
    node: str
    time: int
    """Nanoseconds since 1970, 0 when unknown."""
    first: int = 0
    last: int = 0


class NodeStatus(msgspec.Struct, frozen=True):
    """Relay's word about nodes (relay.NodeStatusEvent)."""

    state: str
    """``NODE_CONNECTED``, ``NODE_UNAVAILABLE``, ``NODE_GONE``, ``NODE_ERROR`` or a number."""
    nodes: tuple[str, ...]
    message: str = ""
    since: int = 0
    """When it began, by our own clock in nanoseconds since 1970; 0 when unknown."""


class Gap(msgspec.Struct, frozen=True):
    """A time whose records nobody will ever see: the rings that held them are gone or wrapped."""

    start: int
    """Nanoseconds since 1970, as ``end``: until when everything was seen."""
    end: int
    """From when on everything was seen again."""
    why: str
    """What happened, one safe line."""
    nodes: tuple[str, ...] = ()
    """Whose records are missing; empty when there is but one node."""
    origin: str = ""
    """The server, where there are several."""

    @property
    def seconds(self) -> float:
        return (self.end - self.start) / 1e9


class Unread(msgspec.Struct, frozen=True):
    """A record that could not be read."""

    number: int
    """Its place among the records of its source since that began, from 1; 0 when it has none."""
    why: str
    """One of few safe lines."""
    data: bytes
    """The record as it came: a serialized GetFlowsResponse, or JSON."""


class Batch(msgspec.Struct):
    """What a source hands over at once: flows in the order they came, and what came between them."""

    flows: list[Flow] = msgspec.field(default_factory=list)
    lost: list[LostEvents] = msgspec.field(default_factory=list)
    nodes: list[NodeStatus] = msgspec.field(default_factory=list)
    skipped: dict[str, int] = msgspec.field(default_factory=dict)
    """Records that could not be read, counted by reason, as ``{"not JSON": 1}``."""
    unread: list[Unread] = msgspec.field(default_factory=list)
    """Those of them that should have been readable, with their bytes."""
    odd: dict[str, int] = msgspec.field(default_factory=dict)
    """Records with a value that can't be, or that we can't tell, counted by what it is; it was taken
    as unknown (:mod:`flowwatch.flows.ranges`)."""
    unwrapped: dict[str, int] = msgspec.field(default_factory=dict)
    """Records that stood inside of something else (a log pipeline's), counted by what that was; not
    made safe."""
    not_recorded: dict[str, int] = msgspec.field(default_factory=dict)
    """Records by the field of Hubble's that an exporter left out of them (:mod:`flowwatch.flows.masked`)."""
    more: int = 0
    """Flows beyond one a record: an aggregated line may be one for each direction."""
    notes: list[str] = msgspec.field(default_factory=list)
    """What may explain that so little came, safe lines."""
    gaps: list[Gap] = msgspec.field(default_factory=list)
    set_aside: dict[str, int] | None = None
    """Records by node that were left out, as nobody can tell whether they came before: all that
    there are by now, not only the newest."""
    origin: str = ""
    """The server that it came from, where there are several; else empty."""
    failed: str = ""
    """Why nothing more will come from ``origin``, one safe line."""
    late: dict[str, int] | None = None
    """By node, our own clock less the time of a record that came as it was made, in nanoseconds: all
    that is known by now."""

    @property
    def extras(self) -> bool:
        """Whether any of the flows has some (:class:`Extras`): asked of each, 15 ns, so ask once."""
        for flow in self.flows:  # noqa: SIM110 - any() takes twice as long
            if flow.extras is not None:
                return True
        return False

    def __bool__(self) -> bool:
        return bool(
            self.flows
            or self.lost
            or self.nodes
            or self.skipped
            or self.odd
            or self.unwrapped
            or self.notes
            or self.gaps
            or self.failed
            or self.set_aside is not None
            or self.late is not None
        )


Message = Any
"""A protobuf message from the generated code, whose classes are made at run time."""
