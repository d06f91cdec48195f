"""A live source through the phases of its connections, and the health of its stream. Times are seconds."""

from __future__ import annotations

import socket
from itertools import pairwise

import pytest

from flowwatch.errors import FlowwatchError, Refused, Unreachable
from flowwatch.flows.model import Gap
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.relay import relay_pb2
from flowwatch.sources import health
from flowwatch.sources.clock import SystemClock
from flowwatch.sources.health import HELD_BACK, OVERLAP, QUIET
from flowwatch.sources.live import LiveSource
from flowwatch.sources.nodes import NodeNow, ServerNow
from flowwatch.sources.opening import open_source
from flowwatch.sources.phases import FIRST_RETRY, LONGEST_RETRY, Retries
from flowwatch.sources.polls import EVERY
from flowwatch.sources.repeats import Seen
from flowwatch.sources.request import PlainOptions, flow_request
from flowwatch.sources.server import Server
from tests.unit.sources.scripted import (
    BEGAN,
    SECOND,
    Connection,
    HandClock,
    PolledByHand,
    ScriptedServer,
    Step,
    lost,
    play,
    record,
    status,
)

CUT: Step = (0.0, Unreachable("connection reset"))


def at(seconds: float, name: str) -> bytes:
    """A record of so many seconds after the beginning."""
    return record(BEGAN + seconds, name=name)


def silence(seconds: int) -> list[Step]:
    """Nothing comes, and the stream says so every second."""
    return [(1.0, [])] * seconds


# A stream that ends ---------------------------------------------------------------------------


def test_what_ends_is_read_once() -> None:
    clock = HandClock()
    server = ScriptedServer(clock, Connection([(1, [at(0, "a")]), (1, [at(1, "b")])]))
    played = play(clock, server, follow=False)
    assert played.names == ["a", "b"]
    assert played.phases == ["connecting", "reading", "ended"]
    assert (server.opened, server.closed, server.connections) == ([None], 2, [])


def test_a_break_of_it_is_its_failure() -> None:
    clock = HandClock()
    played = play(clock, ScriptedServer(clock, Connection([(1, [at(0, "a")]), CUT])), follow=False)
    assert (played.names, str(played.failure)) == (["a"], "connection reset")
    assert played.phases == ["connecting", "reading", "failed"]
    assert played.source.state().message == "connection reset"


def test_the_loss_that_a_full_ring_reports_at_its_start_is_none() -> None:
    clock = HandClock()
    said = [lost(1), lost(3), lost(1, flow_pb2.PERF_EVENT_RING_BUFFER)]
    played = play(clock, ScriptedServer(clock, Connection([(0, said)])), follow=False)
    assert [one.count for batch in played.batches for one in batch.lost] == [3, 1]


def test_that_a_node_is_away_is_told_behind_its_last_flows() -> None:
    clock = HandClock()
    away = status(relay_pb2.NODE_UNAVAILABLE, "node-2", message="no route")
    script = Connection(
        [(0, [status(relay_pb2.NODE_CONNECTED, "node-1"), away]), (1, [at(0, "a")])]
    )
    played = play(clock, ScriptedServer(clock, script), follow=False)
    assert [[one.nodes for one in batch.nodes] for batch in played.batches] == [
        [("node-1",), ("node-2",)],
        [],
        [("node-2",)],
    ]


@pytest.mark.parametrize(
    ("chunks", "refused"),
    [
        ([[b"\xff\xff"], [b"\xff"]], True),
        ([[b"\xff\xff"], [at(0, "a")]], False),
        ([[at(0, "a")], [b"\xff\xff"]], False),
        ([[]], False),
    ],
    ids=["nothing", "later one", "one before", "no record"],
)
def test_a_server_of_which_nothing_can_be_read_is_refused(
    chunks: list[list[bytes]], refused: bool
) -> None:
    clock = HandClock()
    script = Connection([(0, chunk) for chunk in chunks])
    played = play(clock, ScriptedServer(clock, script), follow=False)
    assert isinstance(played.failure, Refused) == refused
    if refused:
        assert str(played.failure).startswith("here sent no record that can be read (")


def progress(*steps: Step) -> list[float | None]:
    """What is said of it while each step's batch is read, of a stream opened at the beginning."""
    clock = HandClock()
    server = ScriptedServer(clock, Connection(list(steps)))
    source = LiveSource(
        server.connect, where="here", follow=True, polling=PolledByHand(clock), clock=clock
    )
    batches = source.batches()
    return [source.state().progress for _ in zip(steps, batches, strict=False)]


def test_how_much_of_a_ring_is_read_is_told_by_the_times_of_its_records() -> None:
    past: list[Step] = [(0.1, [at(second, f"r{second}")]) for second in (-100, -75, -50)]
    # As long as a batch is read, what was before it counts.
    assert progress((0.1, []), *past) == [None, 0.0, 0.0, 0.25]
    # What has come since the stream was opened is none of it, nor what nothing is left of.
    new: Step = (0.1, [at(1, "new")])
    assert progress(*past, new, new) == [0.0, 0.0, 0.25, 0.5, None]
    assert progress(*past, (1.0, []), (1.0, [at(-1, "late")])) == [0.0, 0.0, 0.25, 0.5, None]
    assert progress(new, new) == [None, None]


# The phases of a stream that is followed -------------------------------------------------------


def test_a_first_connection_that_fails_is_the_end() -> None:
    clock = HandClock()
    played = play(clock, ScriptedServer(clock, Connection(refused=Unreachable("nobody there"))))
    assert (played.phases, str(played.failure)) == (["connecting", "failed"], "nobody there")


def test_unless_it_is_waited_for() -> None:
    clock = HandClock()
    nobody = Connection(refused=Unreachable("nobody there"))
    server = ScriptedServer(clock, nobody, nobody, Connection([(1, [at(3, "a")])]))
    played = play(clock, server, keep_trying=True)
    assert played.names == ["a"]
    assert played.phases == ["connecting", "lost", "following", "lost"]
    # Nothing was lost: there was nothing before.
    assert server.opened == [None]


def test_who_accepts_and_says_nothing_is_no_server_yet() -> None:
    late = Unreachable("no answer within 12 s")
    for keep_trying, phases in ((False, ["connecting", "failed"]), (True, ["connecting", "lost"])):
        clock = HandClock()
        server = ScriptedServer(clock, Connection([*silence(12), (0, late)]))
        server.reached = False
        played = play(clock, server, keep_trying=keep_trying)
        assert (played.phases, played.source.state().had) == (phases, False)


def test_a_port_that_accepts_and_says_nothing_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        options = PlainOptions({"server": where, "timeout": "300ms"})
        source = open_source(flow_request(options, follow=True, environ={}), keep_trying=True)
        next(batch for batch in source.batches() if source.state().phase != "connecting")
        state = source.state()
        source.close()
    assert (state.phase, state.had) == ("lost", False)
    assert "accepts the connection and says nothing" in state.message


@pytest.mark.parametrize("keep_trying", [False, True])
def test_a_refusal_at_first_is_final_and_later_it_is_not(keep_trying: bool) -> None:
    clock = HandClock()
    no = Connection(refused=Refused("not for you"))
    first = play(clock, ScriptedServer(clock, no), keep_trying=keep_trying)
    assert (first.phases, str(first.failure)) == (["connecting", "failed"], "not for you")

    server = ScriptedServer(clock, Connection([(1, [at(1, "a")])]), no, Connection([(1, [])]))
    later = play(clock, server, keep_trying=keep_trying)
    assert (later.failure, later.phases) == (
        None,
        ["connecting", "following", "lost", "following", "lost"],
    )


def test_the_end_of_what_is_followed_is_a_loss() -> None:
    """Relay ends a stream with status OK when it has no node left."""
    clock = HandClock()
    played = play(clock, ScriptedServer(clock, Connection([(1, [at(1, "a")])])))
    state = played.source.state()
    assert (state.phase, state.message) == ("lost", "the server ended the stream")


def test_each_try_waits_longer_up_to_a_bound_and_flows_make_it_short_again() -> None:
    clock = HandClock()
    nobody = Connection(refused=Unreachable("nobody there"))
    sound = Connection([(1, [at(100, "b")]), CUT])
    server = ScriptedServer(clock, Connection([(1, [at(1, "a")]), CUT]), *[nobody] * 7, sound)
    played = play(clock, server)
    lengths = _waits(clock.waited)
    wanted = [FIRST_RETRY * 2**n for n in range(5)] + [LONGEST_RETRY] * 3 + [FIRST_RETRY]
    assert [0.75 * w <= length <= 1.25 * w for length, w in zip(lengths, wanted, strict=True)] == [
        True
    ] * 9
    assert played.names == ["a", "b"]


def _waits(ticks: list[float]) -> list[float]:
    """Sums of ticks, each up to the one that is shorter than the rest."""
    found = [0.0]
    for tick in ticks:
        found[-1] += tick
        if tick < 0.1:
            found.append(0.0)
    return found[:-1]


def test_a_stream_that_was_sound_for_a_while_is_tried_again_soon_though_it_brought_nothing() -> (
    None
):
    clock = HandClock()
    retries = Retries()
    for _ in range(5):
        retries.take()
    server = ScriptedServer(clock, Connection([*silence(12), CUT]))
    source = LiveSource(
        server.connect, where="here", follow=True, retries=retries,
        polling=PolledByHand(clock), clock=clock,
    )  # fmt: skip
    states = []
    for _ in source.batches():
        states.append(source.state())
        if states[-1].phase == "lost":
            source.close()
    assert states[-1].retry_in <= FIRST_RETRY * 1.25


def test_what_came_before_a_loss_is_asked_for_again_and_left_out() -> None:
    clock = HandClock()
    server = ScriptedServer(
        clock,
        Connection([(10, [at(9, "a"), at(10, "b")]), CUT]),
        Connection([(1, [at(9, "a"), at(10, "b"), at(10.5, "c")])]),
    )
    assert play(clock, server).names == ["a", "b", "c"]
    assert server.opened == [None, (BEGAN + 10) * SECOND - OVERLAP]


def test_closing_ends_it_while_it_reads() -> None:
    clock = HandClock()
    server = ScriptedServer(clock, Connection([(1, [at(n, str(n))]) for n in range(9)]))
    source = LiveSource(
        server.connect, where="here", follow=True, polling=PolledByHand(clock), clock=clock
    )
    names = []
    for batch in source.batches():
        names += [flow.uuid for flow in batch.flows]
        if "2" in names:
            source.close()
            source.close()
    assert names == ["0", "1", "2"]
    assert source.state().phase == "ended"
    assert list(source.batches()) == []


# The health of a stream ------------------------------------------------------------------------


def test_a_quiet_network_is_no_dead_stream() -> None:
    clock = HandClock()
    server = ScriptedServer(clock, Connection([(1, [at(1, "a")]), *silence(120)]))
    played = play(clock, server)
    assert played.phases == ["connecting", "following", "lost"]
    assert played.source.state().message == "the server ended the stream"
    # Asked for what came after the last record, once it had been quiet.
    assert len(server.peeked) == pytest.approx((120 - QUIET) / EVERY, abs=1)
    assert set(server.peeked) == {(BEGAN + 1) * SECOND + 1}


def test_a_stream_that_doesn_t_bring_what_the_server_has_is_dead() -> None:
    clock = HandClock()
    server = ScriptedServer(clock, Connection([(1, [at(1, "a")]), *silence(120)]))
    server.held = [at(20, "b")]
    played = play(clock, server)
    assert played.source.state().message == (
        "the stream stalled: the server has records that it did not send"
    )
    # The first such answer may just be ahead of the stream.
    assert len(server.peeked) == 2


def test_one_answer_alone_makes_no_stream_dead() -> None:
    """What the server has comes before it is asked again; so it goes twice, and after a loss."""
    clock = HandClock()
    late: list[Step] = [*silence(42), (0, [at(40, "b")]), *silence(42), (0, [at(80, "c")])]
    server = ScriptedServer(
        clock,
        Connection([(1, [at(1, "a")]), *late, *silence(60)]),
        Connection([*silence(42), (0, [at(200, "d")]), *silence(5)]),
    )

    def has(since: int) -> list[bytes]:
        server.peeked.append(since)
        seconds = clock.seconds - BEGAN
        return [at(seconds, f"of {seconds}")]

    server.peek = has  # type: ignore[method-assign]
    played = play(clock, server)
    assert played.names == ["a", "b", "c", "d"]
    assert len(server.peeked) == 1 + 1 + 2 + 1
    assert played.phases == ["connecting", "following", "lost", "following", "lost"]
    assert played.source.state().message == "the server ended the stream"


def test_what_it_has_brought_already_is_no_sign_of_that() -> None:
    clock = HandClock()
    server = ScriptedServer(clock, Connection([(1, [at(1, "a")]), *silence(60)]))
    server.held = [at(1, "a")]
    assert play(clock, server).source.state().message == "the server ended the stream"


def test_nor_while_something_waits_to_be_read() -> None:
    clock = HandClock()
    server = ScriptedServer(clock, Connection([(1, [at(1, "a")]), *silence(60)]))
    server.held, server.backlog = [at(20, "b")], 7
    assert play(clock, server).source.state().message == "the server ended the stream"


def silent() -> ServerNow:
    raise Unreachable("timed out")


def test_a_server_that_gives_no_sign_of_life_is_lost() -> None:
    clock = HandClock()
    server = ScriptedServer(clock, Connection([(1, [at(1, "a")]), *silence(120)]))
    server.now = silent
    played = play(clock, server)
    assert played.source.state().message == "no sign of life: timed out"
    assert clock.seconds - BEGAN < 4 * EVERY + LONGEST_RETRY


def test_one_that_brings_flows_is_alive_whatever_it_answers() -> None:
    clock = HandClock()
    server = ScriptedServer(clock, Connection([(1, [at(n, str(n))]) for n in range(60)]))
    server.now = silent
    played = play(clock, server)
    assert len(played.names) == 60
    assert played.source.state().message == "the server ended the stream"


def gaps_after(
    clock: HandClock,
    server: ScriptedServer,
    uptime: float | None,
    held: int = 10,
    after: float = 30,
) -> list[Gap]:
    """What is told to be missing by a server that is of that age when asked after so many seconds.

    Its ring has 100 places. Without an age it never ended.
    """
    born = None if uptime is None else clock.now() + round(after * SECOND)

    def now() -> ServerNow:
        began = BEGAN * SECOND - 3600 * SECOND
        if born is not None and clock.now() > born:
            began = clock.now() - round((uptime or 0) * SECOND)
        return ServerNow(
            "v1", (NodeNow("node-1", "NODE_CONNECTED", clock.now() - began, held, 100),), 1, 0
        )

    server.now = now
    return [gap for batch in play(clock, server).batches for gap in batch.gaps]


def script(clock: HandClock) -> ScriptedServer:
    """30 s of records, a break, and half a minute of nothing."""
    steps: list[Step] = [(1, [at(n, str(n))]) for n in range(1, 31)]
    return ScriptedServer(clock, Connection([*steps, CUT]), Connection(silence(3)))


def test_a_loss_after_which_all_can_still_be_had_leaves_no_gap() -> None:
    clock = HandClock()
    assert gaps_after(clock, script(clock), None) == []


def test_what_a_server_had_before_it_was_restarted_is_a_gap() -> None:
    clock = HandClock()
    [gap] = gaps_after(clock, script(clock), 0.1)
    # From what it may have held back when the stream broke, to its start.
    assert gap.start == (BEGAN + 30) * SECOND - HELD_BACK
    assert 0 < gap.end - (BEGAN + 30) * SECOND < SECOND
    assert gap.nodes == ("node-1",)
    assert gap.why == "the node was restarted; connection reset"


def test_a_broken_stream_was_whole_until_the_server_was_last_heard() -> None:
    clock = HandClock()
    server = ScriptedServer(clock, Connection([(1, [at(1, "a")]), *silence(25), CUT]), Connection())
    [gap] = gaps_after(clock, server, 0.1, after=26)
    assert gap.start == (BEGAN + 21) * SECOND - HELD_BACK  # the third poll


def test_one_that_was_found_dead_only_until_its_last_message() -> None:
    clock = HandClock()
    server = ScriptedServer(clock, Connection([(1, [at(1, "a")]), *silence(60)]), Connection())
    server.held = [at(20, "b")]
    [gap] = gaps_after(clock, server, 0.1, after=41.05)
    assert gap.start == (BEGAN + 1) * SECOND - HELD_BACK
    assert "stalled" in gap.why


def test_of_several_tries_the_first_cause_is_told_and_of_several_losses_each() -> None:
    clock = HandClock()
    nobody = Connection(refused=Unreachable("nobody there"))
    worn: Step = (0.0, Unreachable("worn out"))
    server = ScriptedServer(
        clock,
        *(Connection([(1, [at(1, "a")]), CUT]), nobody, nobody),
        *(Connection([(1, [at(9, "b")]), worn]), Connection([(1, [])])),
    )
    # A server that is restarted each time.
    server.now = lambda: ServerNow("v1", (NodeNow("node-1", uptime=SECOND // 10),), 1, 0)
    played = play(clock, server)
    assert list(dict.fromkeys(g.why for b in played.batches for g in b.gaps)) == [
        "the node was restarted; connection reset",
        "the node was restarted; worn out",
    ]


def test_what_nobody_can_tell_from_a_repeat_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "Seen", lambda: Seen(kept=2))
    clock = HandClock()
    records = [at(n, str(n)) for n in range(1, 8)]
    old = [at(1.5, "old"), at(1.6, "older")]
    steps: list[Step] = [*((1.0, [one]) for one in records), (1, old), (1, []), (1, [at(9, "9")])]
    played = play(clock, ScriptedServer(clock, Connection(steps)))
    assert "old" not in played.names
    assert [b.set_aside for b in played.batches if b.set_aside is not None] == [{"node-1": 2}]


def test_what_a_full_ring_let_go_meanwhile_is_a_gap() -> None:
    clock = HandClock()
    server = script(clock)
    server.rings = {"node-1": (BEGAN + 32) * SECOND}
    [gap] = gaps_after(clock, server, None, held=100)
    assert gap.end == pytest.approx((BEGAN + 32) * SECOND, abs=SECOND)
    assert gap.why == "the ring had wrapped; connection reset"


def test_a_server_that_tells_nothing_of_itself_is_followed_all_the_same() -> None:
    def refuse() -> ServerNow:
        raise Refused("unimplemented")

    clock = HandClock()
    server = script(clock)
    server.now = refuse
    played = play(clock, server)
    assert played.phases == ["connecting", "following", "lost", "following", "lost"]
    assert not any(batch.gaps for batch in played.batches)


def test_the_state_says_what_the_server_says_of_itself() -> None:
    clock = HandClock()
    away = status(relay_pb2.NODE_UNAVAILABLE, "node-2", message="no route")
    server = ScriptedServer(clock, Connection([(1, [at(1, "a"), away]), *silence(5)]))
    nodes = (NodeNow("node-1"), NodeNow("node-2", "NODE_UNAVAILABLE"))
    server.now = lambda: ServerNow("v1.20.2", nodes, 1, 1)
    state = play(clock, server).source.state()
    assert (state.where, state.version) == ("here", "v1.20.2")
    assert (state.nodes_connected, state.nodes_unavailable) == (1, 1)
    assert state.unavailable == ("node-2",)
    [change] = state.changes
    assert (change.name, change.state, change.why) == ("node-2", "unavailable", "no route")
    assert state.heard == BEGAN + 1


def test_a_phase_that_goes_on_keeps_its_beginning() -> None:
    clock = HandClock()

    def nobody() -> ScriptedServer:
        clock.seconds += 1
        raise Unreachable("nobody there")

    source = LiveSource(nobody, where="here", follow=True, keep_trying=True, clock=clock)
    sinces = set()
    for _ in source.batches():
        sinces.add(source.state().since)
        if clock.seconds > BEGAN + 9:
            source.close()
    assert sinces == {BEGAN}


def test_the_machine_s_clock_goes() -> None:
    clock = SystemClock()
    times = [clock.now() for _ in range(3)] + [clock.now()]
    assert all(one <= other for one, other in pairwise(times))
    assert times[0] > 1_700_000_000 * SECOND


def test_an_error_that_is_no_servers_comes_through() -> None:
    """A port-forward that can't be: nothing is tried again."""

    def connect() -> ScriptedServer:
        raise FlowwatchError("no kubeconfig")

    source = LiveSource(connect, where="here", follow=True, keep_trying=True, clock=HandClock())
    with pytest.raises(FlowwatchError, match="no kubeconfig"):
        list(source.batches())


def test_a_try_that_is_asked_for_isnt_waited_for() -> None:
    """The next of them by itself would be an hour later."""
    tries: list[float] = []
    clock = HandClock()

    def connect() -> Server:
        tries.append(clock.seconds)
        raise Unreachable("connection refused")

    source = LiveSource(
        connect,
        where="relay",
        follow=True,
        keep_trying=True,
        retries=Retries(3600.0, 3600.0),
        clock=clock,
    )
    assert not source.state().had
    batches = source.batches()
    next(batches)
    assert source.state().phase == "lost"
    assert not source.state().had
    source.retry()
    next(batches)
    assert len(tries) == 2
    assert tries[1] - tries[0] < 1.0
    source.close()
