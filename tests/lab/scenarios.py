"""What happens in the lab: each scenario is a page of tries and policies, and a sentence on what it shows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.lab import network
from tests.lab.lab import Lab

FIVE, SIXTYSIX, FIVE6, SIXTYSIX6 = (
    "203.0.113.5",
    "203.0.113.66",
    "2001:db8:cb::5",
    "2001:db8:cb::66",
)
TELEMETRY, CACHE = "198.51.100.9", network.PEER[0]
Try = dict[str, Any]


def tcp(peer: str, port: int = 443, **more: Any) -> Try:
    """A connection with one request."""
    return {"do": "tcp", "peer": peer, "port": port, **more}


def udp(peer: str, port: int = 5000, **more: Any) -> Try:
    """A datagram, and its answer."""
    return {"do": "udp", "peer": peer, "port": port, **more}


def dns(name: str, **more: Any) -> Try:
    """A question to the cluster's DNS."""
    return {"do": "dns", "peer": network.DNS, "port": 53, "name": name, **more}


def ping(peer: str) -> Try:
    """Two echo requests."""
    return {"do": "ping", "peer": peer}


def http(peer: str, path: str, **more: Any) -> Try:
    """One HTTP request."""
    return {"do": "http", "peer": peer, "port": 80, "path": path, **more}


def fetch(lab: Lab, name: str, peer: str, *, times: int = 1) -> None:
    """As an application does: the name first, then its address."""
    for _ in range(times):
        lab.tries(dns(name))
        lab.tries(tcp(peer))


def elsewhere(lab: Lab) -> None:
    """What else the weather app tries."""
    lab.tries(tcp(TELEMETRY, 8080), tcp(SIXTYSIX), tcp(CACHE, 5432), udp(SIXTYSIX), tcp(FIVE, 80))


def story(lab: Lab) -> None:
    """The weather app fetches its forecast and tries other places; then its policy comes into force."""
    lab.say("the weather app fetches its forecast, and tries other places: nothing holds it")
    for _ in range(2 + round(6 * lab.pace)):
        fetch(lab, "api.openweathermap.org", FIVE)
        elsewhere(lab)
        lab.pause(0.8)
    lab.say("its policy comes into force")
    lab.policy("weather.yaml" if lab.own is None else "own.yaml", text=lab.own)
    for _ in range(2 + round(3 * lab.pace)):
        fetch(lab, "api.openweathermap.org", FIVE)
        elsewhere(lab)
        lab.pause(0.5)
    lab.say("the story is told")


def connections(lab: Lab) -> None:
    """Retries, refusals, resets and late answers, allowed and denied: what is no policy's doing stays so."""
    lab.policy("only-five.yaml")
    lab.tries(
        *(tcp(FIVE, port) for port in (443, 9001, 9009)),
        tcp(FIVE, 9004, timeout=3),
        tcp(FIVE, 9003, reset=True),
        *(tcp(SIXTYSIX, 443, timeout=2.5) for _ in range(3)),
        tcp(TELEMETRY, 8080),
        tcp(network.SILENT, 443),
    )


def datagrams(lab: Lab) -> None:
    """UDP: answered, late, refused by the peer's kernel, many on one socket, and denied."""
    lab.policy("only-five.yaml")
    lab.tries(
        udp(FIVE), udp(FIVE, exchanges=10), udp(FIVE, 5001), udp(FIVE, 5002, timeout=3),
        udp(SIXTYSIX), udp(FIVE6), udp(SIXTYSIX6), dns("api.openweathermap.org"),
    )  # fmt: skip


def pings(lab: Lab) -> None:
    """Pings of both families, allowed and denied."""
    peers = (FIVE, SIXTYSIX, FIVE6, SIXTYSIX6)
    lab.tries(*(ping(peer) for peer in peers))
    lab.policy("pings.yaml")
    lab.tries(*(ping(peer) for peer in peers))


def ipv6(lab: Lab) -> None:
    """Happy eyeballs: where IPv6 is denied the application falls back to IPv4, and works."""
    lab.tries(tcp(FIVE6), tcp(SIXTYSIX6))
    lab.policy("plain.yaml")
    lab.begin(tcp(FIVE6, timeout=1.2))
    time.sleep(0.25)
    lab.begin(tcp(FIVE))
    lab.wait()


def names(lab: Lab) -> None:
    """toFQDNs works after the lookup, until the TTL ends, and for all names at an address."""
    lab.policy("names.yaml")
    lab.tries(tcp(FIVE, timeout=0.8))
    fetch(lab, "api.openweathermap.org", FIVE)
    fetch(lab, "bad.cdn.example.net", "203.0.113.80")
    fetch(lab, "good.cdn.example.net", "203.0.113.80")
    fetch(lab, "short.example.org", "203.0.113.90")
    lab.begin(tcp("203.0.113.90", exchanges=4, every=0.7))
    time.sleep(1.6)
    # The name's time is over, but the connection lives: so does the name.
    lab.tries(tcp("203.0.113.90"))
    lab.wait()
    time.sleep(1.0)
    lab.tries(tcp("203.0.113.90", timeout=0.8))


def cut(lab: Lab) -> None:
    """A policy cuts running connections, rescues none, and what began denied succeeds when it goes."""
    lab.begin(
        tcp(FIVE, exchanges=4, every=0.8, timeout=3),
        tcp(SIXTYSIX, exchanges=3, every=1.0, timeout=3),
    )
    time.sleep(0.4)
    lab.policy("only-five.yaml")
    lab.wait()
    lab.begin(*(tcp(SIXTYSIX, timeout=4) for _ in range(2)))
    time.sleep(1.5)
    lab.policy("")
    lab.wait()


def reuse(lab: Lab) -> None:
    """One source port again: allowed then denied, denied then allowed, denied twice."""
    lab.tries(tcp(SIXTYSIX, sport=40002, reset=True))
    lab.policy("only-five.yaml")
    lab.tries(*(tcp(SIXTYSIX, sport=port, timeout=2.2) for port in (40001, 40002, 40003)))
    time.sleep(4.0)
    lab.tries(tcp(SIXTYSIX, sport=40001, timeout=1.2))
    lab.policy("")
    lab.tries(tcp(SIXTYSIX, sport=40003))


def both_ends(lab: Lab) -> None:
    """The other pod's ingress refuses what the application's egress allows."""
    lab.tries(tcp(CACHE), tcp(CACHE, 5432))
    lab.policy("both-ends.yaml")
    lab.tries(tcp(CACHE), tcp(CACHE, 5432, timeout=1.2), tcp(FIVE))


def audit(lab: Lab) -> None:
    """In audit mode everything passes, and the records say what would not."""
    lab.policy("only-five.yaml", audit=True)
    lab.tries(tcp(FIVE), tcp(SIXTYSIX), udp(SIXTYSIX), tcp(TELEMETRY, 8080))


def requests(lab: Lab) -> None:
    """HTTP: the proxy lets one path through and refuses another."""
    lab.policy("http.yaml")
    lab.tries(http(FIVE, "/forecast"))
    lab.tries(http(FIVE, "/admin"))
    lab.tries(http(FIVE, "/forecast", method="PUT"))


def swap(lab: Lab) -> None:
    """One policy is replaced by another of the same name, and that by one that denies by a rule."""
    for name in ("only-five.yaml", "only-sixtysix.yaml", "deny.yaml"):
        lab.policy(name)
        lab.tries(*(tcp(peer, timeout=1.2) for peer in (FIVE, SIXTYSIX) for _ in range(2)))


def rate(lab: Lab) -> None:
    """200 connections a second for five seconds, half of them denied."""
    lab.policy("only-five.yaml")
    begun = time.monotonic()
    for number in range(1000):
        lab.begin(tcp(FIVE if number % 2 else SIXTYSIX, timeout=2.5))
        time.sleep(max(0.0, begun + number / 200 - time.monotonic()))


def processors(lab: Lab) -> None:
    """Short connections whose records come through the rings of several CPUs, read one after the other."""
    for _ in range(100):
        lab.tries(*(tcp(SIXTYSIX) for _ in range(4)))


def lost(lab: Lab) -> None:
    """More records than the ring holds: Hubble says how many are lost, and flowwatch says so too."""
    lab.policy("only-five.yaml")
    with lab.unread():
        lab.tries(*(tcp(SIXTYSIX if at % 2 else FIVE, timeout=0.2) for at in range(100)))
    lab.tries(tcp(FIVE))


@dataclass(frozen=True)
class Scenario:
    """One of the lab's, by its name on the command line."""

    name: str
    run: Callable[[Lab], None]
    pages: int = 64
    spread: bool = False

    @property
    def what(self) -> str:
        """What it shows, in a sentence."""
        return (self.run.__doc__ or "").strip()


SCENARIOS = {
    one.name: one
    for one in (
        Scenario("story", story),
        Scenario("tcp", connections),
        Scenario("udp", datagrams),
        Scenario("icmp", pings),
        Scenario("ipv6", ipv6),
        Scenario("names", names),
        Scenario("cut", cut),
        Scenario("reuse", reuse),
        Scenario("both-ends", both_ends),
        Scenario("audit", audit),
        Scenario("http", requests),
        Scenario("swap", swap),
        Scenario("rate", rate),
        Scenario("cpus", processors, spread=True),
        Scenario("lost", lost, pages=1),
    )
}


def play(name: str) -> Lab:
    """The lab for a scenario: `with play("cut") as lab: SCENARIOS["cut"].run(lab)`."""
    one = SCENARIOS[name]
    return Lab(one.name, one.what, pages=one.pages, spread=one.spread)
