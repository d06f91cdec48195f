"""Faults that come while the program follows: it must say so, come back by itself, and count right."""

from __future__ import annotations

import itertools
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from tests.interop.certificates import Certificates
from tests.interop.faults.follower import Follower, State
from tests.interop.faults.proxy import Link, Proxy
from tests.interop.faults.traffic import Traffic
from tests.interop.kubeapi import KubeApi
from tests.interop.real import Observer, Relay

OLD_POD, NEW_POD = "hubble-relay-7d4b9-x2x5k", "hubble-relay-5f6c8-b8q7z"
RECOVERED_WITHIN = 45.0
"""Seconds after the end of a fault; a test that takes so long has failed."""
_STAGES = itertools.count(1)
CPU_LIMIT = 0.05
"""Share of a core while a fault lasts."""


@dataclass(frozen=True)
class Outcome:
    """What a fault did, as the table in the docs has it."""

    shown: str
    """The line that a person sees, with a server's name for its address."""
    recovered: float | None
    """Seconds from the fault's end; None where a person has to act."""
    records: str
    """What became of the numbers."""
    cpu: float | None = None
    """Share of a core while the fault lasted."""
    wrong: tuple[str, ...] = ()
    """What isn't as it must be."""


@dataclass
class Stage:
    """Two real observers behind a real relay, behind the proxy, and the program that follows."""

    nodes: tuple[Observer, ...]
    relay: Relay
    between: Proxy
    program: Follower
    traffic: Traffic
    later: ExitStack
    """Ends what a fault started."""
    kube: KubeApi | None = None
    """Where the program reaches relay through the Kubernetes API."""

    def go_on(self, seconds: float, look: Callable[[State], None] | None = None) -> None:
        """Write some attempts a second for so long; ``look`` at the program meanwhile."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.traffic.write()
            time.sleep(0.2)
            if look is not None:
                look(self.program.state())

    def even(self, limit: float) -> float:
        """Wait until the account comes out even; the seconds that it took."""
        began = time.monotonic()
        while time.monotonic() < began + limit:
            state = self.program.state()
            if state.phase == "following" and not self.traffic.untold(state):
                break
            time.sleep(0.1)
        return time.monotonic() - began


class _Secured(TypedDict, total=False):
    tls: Certificates
    ask_client: bool


End = Callable[[], object]
Begin = Callable[[Stage], End]


@dataclass(frozen=True)
class Following:
    """A fault: what begins it, returning what ends it, and what may be seen of it."""

    name: str
    begin: Begin
    words: str = ""
    """What the line that is shown has in it; empty where nothing need be said: all goes on."""
    gap: bool = False
    """Whether records are gone for good, which a gap must tell."""
    lasts: float = 3.0
    server: str = "relay"
    """``relay``; ``observer`` for one of its nodes alone, ``tls`` for that with mutual TLS;
    ``kubernetes`` for relay by a port-forward."""

    def run(self) -> Outcome:
        """Play it."""
        with stage(self.server) as set_up:
            return disturbed(set_up, self)


@contextmanager
def stage(server: str = "relay", **follower: float) -> Iterator[Stage]:
    alone = server in ("observer", "tls")
    with (
        ExitStack() as before,
        Observer(node="worker1", capacity=4095, **_mutual_tls(server, before)) as one,
        Observer(node="worker2", capacity=4095) as two,
        Relay([] if alone else [one, two], retry_seconds=1) as relay,
        Proxy(one.address if alone else relay.address) as between,
        ExitStack() as later,
    ):
        nodes = (one,) if alone else (one, two)
        kube: KubeApi | None = None
        way = ["--server", between.address.replace("127.0.0.1", "localhost")]
        if one.tls is not None:
            way += ["--tls", "--tls-ca-cert-files", str(one.tls.ca)]
            way += ["--tls-client-cert-file", str(one.tls.client)]
            way += ["--tls-client-key-file", str(one.tls.client_key)]
        if server == "kubernetes":
            # Of its own: several may play at once.
            namespace = f"stage-{next(_STAGES)}"
            kube = later.enter_context(KubeApi(namespace=namespace))
            kube.put_relay(between.address, OLD_POD)
            config = kube.kubeconfig(Path(later.enter_context(tempfile.TemporaryDirectory())))
            way = ["-P", "--port-forward-port=0", "--kubeconfig", str(config)]
            way += ["--kube-namespace", namespace]
        program = later.enter_context(Follower(*way, "--request-timeout", "2s", **follower))
        set_up = Stage(nodes, relay, between, program, Traffic(*nodes), later, kube)
        set_up.go_on(1.0)
        set_up.even(10.0)
        yield set_up


def _mutual_tls(server: str, later: ExitStack) -> _Secured:
    if server != "tls":
        return {}
    folder = Path(later.enter_context(tempfile.TemporaryDirectory(prefix="faults-")))
    return {"tls": Certificates.make(folder, "localhost"), "ask_client": True}


def disturbed(set_up: Stage, fault: Following) -> Outcome:
    """Follow, disturb, and see what becomes of it."""
    traffic, program = set_up.traffic, set_up.program
    wrong: list[str] = []
    lines: list[str] = []

    def look(state: State) -> None:
        news = [state.message] if state.phase == "lost" else []
        news += [w for w in state.warnings if "unseen" in w]
        lines.extend(line for line in news if line)

    traffic.chapter += 1
    end = fault.begin(set_up)
    began, cpu = time.monotonic(), program.cpu()
    # Asking costs the program more than waiting: the last second goes without.
    set_up.go_on(fault.lasts - 1, look)
    waited, used = time.monotonic(), program.cpu()
    set_up.go_on(1.0)
    share = (program.cpu() - used) / (time.monotonic() - waited)
    look(program.state())
    end()
    ended = time.monotonic()
    traffic.chapter += 1
    traffic.write(3)
    set_up.even(RECOVERED_WITHIN)
    recovered = time.monotonic() - ended
    state = program.state()
    if untold := traffic.untold(state):
        wrong.append(f"not told: {untold}")
    if bool(state.gaps) != fault.gap:
        wrong.append(f"gaps: {state.gaps}")
    if share > CPU_LIMIT:
        wrong.append(f"{share:.0%} of a core, {program.cpu() - cpu:.1f} s in {ended - began:.0f} s")
    shown = next((line for line in lines if fault.words in line), "")
    if fault.words and not shown:
        wrong.append(f"not shown: {fault.words}, but {dict.fromkeys(lines)}")
    if "\n" in shown:
        wrong.append("more than one line")
    return Outcome(
        neutral(shown) or "nothing: the numbers go on",
        recovered,
        _records(state, traffic),
        share,
        tuple(wrong),
    )


def _records(state: State, traffic: Traffic) -> str:
    missing = sum(traffic.missing(state).values())
    if not state.gaps:
        return "none lost" if not missing else f"{missing} lost"
    why = "; ".join(dict.fromkeys(gap["why"].partition(";")[0] for gap in state.gaps))
    return f"gap told: {neutral(why)}"


def neutral(line: str) -> str:
    """Without what differs from run to run: ports, seconds, dates, temporary folders."""
    line = re.sub(r"https?://127\.0\.0\.1:\d+", "api-server:6443", line)
    line = re.sub(r"(127\.0\.0\.1|localhost):\d+", "relay:4245", line)
    line = re.sub(r"\d{4}-\d\d-\d\d", "YYYY-MM-DD", line)
    line = re.sub(r"/\S*/(?=[\w.-]+)", "", line)
    # Relay's own reason for a node comes with some polls and not with others.
    line = re.sub(r" \(rpc error: [^)]*\)", "", line)
    return re.sub(r"for \d+(\.\d+)? s\b", "for 3 s", line)


# The faults -------------------------------------------------------------------------------------


def _link(link: Link, *, cut: bool = False) -> Begin:
    def begin(set_up: Stage) -> End:
        set_up.between.link = link
        if cut:
            set_up.between.cut()
        return set_up.between.calm

    return begin


def _killed(set_up: Stage) -> End:
    set_up.nodes[0].kill()
    return set_up.nodes[0].start


def _renewed(set_up: Stage) -> End:
    """A CA, a server's and a client's certificate, all new, in the files of the old ones."""
    node = set_up.nodes[0]
    assert node.tls is not None
    node.kill()
    Certificates.make(node.tls.folder, "localhost")
    return node.start


def _relay_killed(set_up: Stage) -> End:
    set_up.relay.kill()
    return set_up.relay.start


def _replaced(set_up: Stage) -> End:
    """Another relay under the same address, over another node; nothing comes from the old ones."""
    third = set_up.later.enter_context(Observer(node="worker3", capacity=4095))
    relay = set_up.later.enter_context(Relay([third], retry_seconds=1))
    set_up.relay.kill()
    set_up.between.lead_to(relay.address)
    set_up.traffic.nodes = (third,)
    return lambda: None


def _pod_replaced(set_up: Stage) -> End:
    """As by a rollout: the new pod is there, the old one ends, and its forwards with it."""
    assert set_up.kube is not None
    set_up.kube.put_pod(NEW_POD, set_up.between.address)
    set_up.kube.end_pod(OLD_POD)
    return lambda: None


def _forward_cut(set_up: Stage) -> End:
    """As by a proxy's idle timeout on the way to the API server."""
    assert set_up.kube is not None
    set_up.kube.cut(OLD_POD)
    return lambda: None


def _slow(set_up: Stage) -> End:
    """More than the link takes in the time that it is slow: some 300 KB."""
    set_up.between.link = Link(rate=50_000)
    set_up.traffic.write(300)
    return set_up.between.calm


def _node_died(set_up: Stage) -> End:
    set_up.nodes[1].kill()
    return set_up.nodes[1].start


def _stalled(set_up: Stage) -> End:
    set_up.between.stall()
    return set_up.between.calm


def _hung(set_up: Stage) -> End:
    set_up.relay.hang()
    return set_up.relay.go_on


def _cut(after: int) -> Begin:
    def begin(set_up: Stage) -> End:
        set_up.between.cut(after)
        return lambda: None

    return begin


def _nobody(set_up: Stage) -> End:
    set_up.between.close()
    set_up.between.cut()
    return set_up.between.calm


def _large(set_up: Stage) -> End:
    """Two records of 20 MB, as labels may be; the way is the network's own speed."""
    set_up.traffic.write(padding=20_000_000)
    return lambda: None


def _nameless(set_up: Stage) -> End:
    set_up.program.forget_names()
    set_up.between.cut()
    return lambda: set_up.program.forget_names(False)


FOLLOWING = (
    Following("server killed and restarted", _killed, "lost", gap=True, server="observer"),
    Following("relay killed and restarted", _relay_killed, "lost"),
    Following("relay replaced by one with other nodes", _replaced, "lost"),
    Following("node dies under relay and returns", _node_died, "1 of 2 nodes unseen", gap=True),
    Following("relay hangs", _hung, "no sign of life", lasts=7.0),
    Following("stall without close (half-open)", _stalled, "no sign of life", lasts=7.0),
    Following("connection reset", _cut(0), "lost"),
    Following("reset in mid-message", _cut(701), "lost"),
    Following("50 KB/s", _slow),
    Following("2 s latency", _link(Link(latency=2.0)), lasts=5.0),
    Following("20 MB message", _large, server="observer"),
    Following("30% of connections refused", _link(Link(refused=0.3), cut=True), lasts=5.0),
    Following("nothing listens for a while", _nobody, "connection refused"),
    Following("the name stops resolving", _nameless, "name or service not known"),
    Following(
        "certificates renewed on disk (mutual TLS)", _renewed, "lost", gap=True, server="tls"
    ),
    Following(
        "relay's pod replaced under a port-forward", _pod_replaced, "lost", server="kubernetes"
    ),
    Following("port-forward cut", _forward_cut, "lost", server="kubernetes"),
)
