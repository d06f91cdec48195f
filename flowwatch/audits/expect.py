"""``--expect``: what pods must reach and must not reach, each proven by traffic, contradicted, or unproven.

- from: weather/weather-app
  reach:
    - api.openweathermap.org:443
  notReach:
    - "*.telemetry.example"
    - world:80
"""

from __future__ import annotations

import fnmatch
import shlex
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network

from flowwatch.audits.evidence import Observation
from flowwatch.audits.findings import Expectation, Proof
from flowwatch.flows import meaning
from flowwatch.gotext import whole_number
from flowwatch.goyaml.nodes import DocumentError, Value, read_nodes
from flowwatch.policy.peers import ENTITIES, Entity

_FIELDS = frozenset({"from", "reach", "notReach"})
_PROTOCOLS = ("TCP", "UDP", "SCTP", "ICMP")
_WEB = {443: "https", 80: "http"}
_TIMES = 100_000
_SECONDS = 5
"""Given to a probe: a dropped packet is never answered."""
_IPV4_BITS, _MAPPED = 32, 0xFFFF
"""``::ffff:1.2.3.4``: what stands before the IPv4 address."""


@dataclass(slots=True)
class Expected:
    """One expectation and what was seen of it."""

    subject: str
    peer: str
    port: int
    protocol: str
    must_reach: bool
    line: int
    file: str = ""
    forwarded: int = 0
    dropped: int = 0
    other: int = 0
    passed: dict[int, array[int]] = field(default_factory=dict)
    """Times of what should not have passed, by what applies to the pod: some was before the policy."""

    def see(self, seen: Observation, applying: int) -> None:
        """Take in an attempt, if it is one that this is about; ``applying`` tells what selects the pod."""
        if seen.direction != "egress" or (self.port and seen.port != self.port):
            return
        if (self.protocol and seen.protocol != self.protocol) or not self._is_subject(seen):
            return
        if not self._is_peer(seen):
            return
        if seen.outcome == meaning.FORWARDED:
            self.forwarded += 1
            if not self.must_reach:
                times = self.passed.setdefault(applying, array("q"))
                if len(times) < _TIMES:
                    times.append(seen.first)
        elif seen.outcome == meaning.DROPPED and seen.by_policy:
            self.dropped += 1
        else:
            self.other += 1

    def _is_subject(self, seen: Observation) -> bool:
        wanted = self.subject if "/" in self.subject else f"{self.subject}/*"
        return fnmatch.fnmatchcase(seen.subject_name, wanted)

    def _is_peer(self, seen: Observation) -> bool:
        peer, party = self.peer, seen.peer
        if peer in ENTITIES:
            return Entity(peer, "default").matches(party) is True
        if fnmatch.fnmatchcase(seen.peer_name, peer):
            return True
        names = party.names or ()
        if any(fnmatch.fnmatchcase(name.lower().rstrip("."), peer.lower()) for name in names):
            return True
        if party.address is None:
            return False
        try:
            network = ip_network(peer, strict=False)
        except ValueError:
            return False
        version, number = party.address
        if version != network.version and number >> _IPV4_BITS == _MAPPED:
            # IPv6 to Cilium's policies; who expects something of IPv4 means it, too.
            version, number = network.version, number & ((1 << _IPV4_BITS) - 1)
        first, last = network.network_address, network.broadcast_address
        return version == network.version and int(first) <= number <= int(last)

    def result(self, enforced: Mapping[int, int]) -> Expectation:
        """What the traffic says.

        Args:
            enforced: since when verdicts show the policies in force, by what applies to a pod; what
                passed before then contradicts nothing.
        """
        early = sum(
            time < enforced.get(applying, 0)
            for applying, times in self.passed.items()
            for time in times
        )
        forwarded = self.forwarded - early
        good, bad = (forwarded, self.dropped) if self.must_reach else (self.dropped, forwarded)
        state: Proof = "contradicted" if bad else "proven" if good else "unproven"
        seen = [f"{forwarded} forwarded"] * bool(forwarded)
        seen += [f"{early} forwarded before the policy"] * bool(early)
        seen += [f"{self.dropped} dropped by a policy"] * bool(self.dropped)
        seen += [f"{self.other} without a clear end"] * bool(self.other)
        port = f"{self.port}/{self.protocol or 'TCP'}" if self.port else "any port"
        return Expectation(
            self.subject, self.peer, port, self.must_reach,
            state, self.forwarded + self.dropped + self.other, ", ".join(seen) or "nothing tried it",
            "" if state != "unproven" else self.probe(), self.line, self.file,
        )  # fmt: skip

    def probe(self) -> str:
        """The command that would try it; never run from here."""
        namespace, _, name = self.subject.partition("/")
        pod = "POD" if not name or "*" in name else f"deploy/{name}"
        host = self.peer
        space, slash, name = host.partition("/")
        if host in ENTITIES or "*" in host:
            host = {"world": "example.com"}.get(host, "HOST")
        elif slash and name.isdigit():
            host = space  # the first address of a block
        elif slash:
            host = f"{name}.{space}"  # as a service is called
        port = self.port or 443
        if port in _WEB and self.protocol in ("", "TCP"):
            inner = f"curl -sS -o /dev/null -m {_SECONDS} {_WEB[port]}://{host}/"
        else:
            inner = f"nc -z{'u' if self.protocol == 'UDP' else ''}v -w {_SECONDS} {host} {port}"
        return f"kubectl -n {shlex.quote(namespace)} exec {shlex.quote(pod)} -- {inner}"


def read_expected(text: str, file: str = "") -> list[Expected]:
    """The expectations of a file's text; ``file`` is its name, for reports.

    Raises:
        DocumentError: not of this form, with the line.
    """
    expected: list[Expected] = []
    for document in read_nodes(text):
        for item in document.items():
            fields = item.known(_FIELDS)
            if "from" not in fields or not ("reach" in fields or "notReach" in fields):
                raise item.fault("an expectation needs from, and reach or notReach")
            subject = fields["from"].text()
            for key, must in (("reach", True), ("notReach", False)):
                peers = fields[key].items() if key in fields else []
                expected += [_one(subject, peer, file, must_reach=must) for peer in peers]
    if not expected:
        raise DocumentError("no expectation in it", 1)
    return expected


def _one(subject: str, value: Value, file: str, *, must_reach: bool) -> Expected:
    text = value.text()
    peer, protocol = text, ""
    head, slash, tail = text.rpartition("/")
    if slash and tail.upper() in _PROTOCOLS:
        peer, protocol = head, tail.upper()
    port = 0
    head, colon, tail = peer.rpartition(":")
    number = whole_number(tail)
    # The last group of a bare IPv6 address is no port.
    if colon and number is not None and (":" not in head or head.startswith("[")):
        peer, port = head.strip("[]"), number
    if not peer or port > 65535:
        raise value.fault(
            f'"{text}" is no destination: NAME:PORT, ADDRESS:PORT or NAMESPACE/NAME:PORT'
        )
    return Expected(subject, peer, port, protocol, must_reach, value.line, file)
