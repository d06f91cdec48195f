"""``status`` and ``list`` beside the real CLI, on one server; what counts on between is compared in form."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.command import flowwatch, one_line
from tests.interop.real import Observer, Relay, free_port, hubble

STATUS = ("compact", "dict", "table", "json", "JSON", "jsonpb", "tab")
LIST = ("table", "wide", "json")


@pytest.fixture(scope="module")
def observer() -> Iterator[Observer]:
    with Observer(generate=5000) as one:
        yield one


@pytest.fixture(scope="module")
def relay() -> Iterator[Relay]:
    """Over two nodes, and one that never was there."""
    with (
        Observer(node="c1/one", generate=1234) as one,
        Observer(node="c1/two", generate=777, seed=2) as two,
        Relay([one, two, ("c1/three", f"127.0.0.1:{free_port()}")]) as relay,
    ):
        relay.wait_until_serving()
        relay.wait_for("c1/three", "NODE_UNAVAILABLE")
        yield relay


def settled(text: str) -> str:
    """Uptime and rates, which differ between two calls, as signs of their kind; blanks as one."""
    text = re.sub(r'("uptime_ns":\s*)"\d+"', r'\1"U"', text)
    text = re.sub(r'("flows_rate":\s*)[\d.e+-]+', r"\1R", text)
    text = re.sub(r"(?<![\w.])(?:\d+h)?(?:\d+m)?\d+(?:\.\d+)?(?:s|ms|µs|ns)\b", "UPTIME", text)
    text = re.sub(r"(FLOWS PER SECOND: |Flows/s: )\S+", r"\1RATE", text)
    # The column behind the age, in tables: a rate has two decimals.
    text = re.sub(r"(UPTIME +)\d+\.\d\d\b", r"\1RATE", text)
    text = re.sub(r"(\d{1,3}(?:,\d{3})* +)\d+\.\d\d( +UPTIME)", r"\1RATE\2", text)
    return re.sub(r" +", " ", text)


def agree(*words: str, server: Observer | Relay) -> str:
    ours = flowwatch(*words, "--server", server.address)
    theirs = hubble(*words, server=server)
    assert (ours.returncode, ours.stderr) == (theirs.returncode, theirs.stderr) == (0, "")
    # protojson puts a blank after some colons and commas, at random.
    assert loose(settled(ours.stdout)) == loose(settled(theirs.stdout))
    return ours.stdout


def loose(text: str) -> str:
    return re.sub(r"([:,]) ", r"\1", text) if text.lstrip().startswith(("{", "[")) else text


@pytest.mark.parametrize("form", STATUS)
def test_status_of_an_observer(form: str, observer: Observer) -> None:
    assert "5,001" in agree("status", "-o", form, server=observer).replace("5001", "5,001")


@pytest.mark.parametrize("form", STATUS)
def test_status_of_relay_with_a_node_away(form: str, relay: Relay) -> None:
    shown = agree("status", "-o", form, server=relay)
    if form == "compact":
        assert "Connected Nodes: 2/3\nUnavailable Nodes: 1\n  - c1/three\n" in shown


@pytest.mark.parametrize("form", LIST)
def test_nodes(form: str, relay: Relay) -> None:
    shown = agree("list", "nodes", "-o", form, server=relay)
    assert shown.index("c1/one") < shown.index("c1/three") < shown.index("c1/two")
    assert len(re.findall("(?i)unavailable", shown)) == 1


def test_columns_stand_where_hubble_puts_them(relay: Relay) -> None:
    for words in (("list", "nodes", "-o", "wide"), ("status", "-o", "table")):
        ours = flowwatch(*words, "--server", relay.address).stdout.splitlines()
        theirs = hubble(*words, server=relay).stdout.splitlines()
        # The head's columns move with the longest cell: an age may gain a digit between the calls.
        starts = [
            [m.start() for m in re.finditer(r"\S+(?: \S+)*", line)] for line in (ours[0], theirs[0])
        ]
        assert all(abs(a - b) <= 2 for a, b in zip(*starts, strict=True))


@pytest.mark.parametrize("form", LIST)
def test_namespaces(form: str, observer: Observer, relay: Relay) -> None:
    for server in (observer, relay):
        ours = flowwatch("list", "namespaces", "-o", form, "--server", server.address)
        theirs = hubble("list", "namespaces", "-o", form, server=server)
        assert (ours.returncode, ours.stderr) == (0, "")
        if form == "json":
            assert loose(ours.stdout) == loose(theirs.stdout)
        else:
            assert ours.stdout == theirs.stdout
        assert "weather" in ours.stdout


def test_nodes_of_an_observer_are_refused(observer: Observer) -> None:
    told = flowwatch("list", "nodes", "--server", observer.address)
    assert told.returncode == hubble("list", "nodes", server=observer).returncode == 1
    assert "only relay does" in one_line(told)


def test_a_relay_without_nodes_is_not_healthy() -> None:
    with Relay([("c1/gone", f"127.0.0.1:{free_port()}")]) as relay:
        ours = flowwatch("status", "--server", relay.address)
        theirs = hubble("status", server=relay)
        assert (ours.returncode, ours.stdout) == (theirs.returncode, theirs.stdout)
        assert ours.returncode == 1
        assert one_line(ours) == f"flowwatch: {theirs.stderr.strip()}" == "flowwatch: not healthy"


@pytest.mark.parametrize(
    "words",
    [
        ("status", "-o", "yaml"),
        ("list", "nodes", "-o", "yaml"),
        ("list", "namespaces", "-o", "dict"),
    ],
)
def test_a_form_that_is_none(words: tuple[str, ...], relay: Relay) -> None:
    told = flowwatch(*words, "--server", relay.address)
    assert told.returncode == 2
    # Word for word; what may be written instead is ours.
    theirs = hubble(*words, server=relay).stderr.strip()
    assert one_line(told).startswith(f"flowwatch: {theirs}: ")
