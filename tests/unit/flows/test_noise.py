"""What is noise, and that it is told apart wherever drops are counted: rows, shares, export, Python."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

import flowwatch as library
from flowwatch.flows.noise import LINK_LOCAL, MULTICAST, NEIGHBOURS, UNSETTLED, noise
from flowwatch.flows.reasons import L7_DENIED
from tests.in_process import flowwatch
from tests.unit.audits.told import Capture


@pytest.mark.parametrize(
    ("source", "destination", "protocol", "port", "reason", "kind"),
    [
        # A pod comes up: its link-local address looks for routers and neighbours, and joins groups.
        ("fe80::1c05", "ff02::2", "ICMPv6", 133, 132, NEIGHBOURS),
        ("::", "ff02::1:ff54:6a3c", "ICMPv6", 135, 150, NEIGHBOURS),
        ("fe80::1c05", "2001:db8::1", "ICMPv6", 136, 132, NEIGHBOURS),
        ("fe80::1c05", "ff02::16", "ICMPv6", 143, 132, MULTICAST),
        ("10.0.0.7", "224.0.0.251", "UDP", 5353, 140, MULTICAST),
        ("10.0.0.7", "224.0.0.22", "IGMP", 0, 142, MULTICAST),
        ("0.0.0.0", "255.255.255.255", "UDP", 67, 132, MULTICAST),
        ("2001:db8::7", "fe80::1%eth0", "TCP", 179, 169, LINK_LOCAL),
        ("fe80::1c05", "2001:db8::7", "TCP", 443, 182, LINK_LOCAL),
        # It asks before its address is its own: DAD isn't over.
        ("fe80::1c05", "2001:db8::53", "UDP", 53, 132, UNSETTLED),
        ("169.254.7.7", "10.0.0.9", "TCP", 80, 132, UNSETTLED),
        # An address that belongs to another is no such thing, nor is the metadata service.
        ("10.0.9.9", "10.0.0.10", "UDP", 53, 132, ""),
        ("10.0.0.7", "169.254.169.254", "TCP", 80, 169, ""),
        ("2001:db8::7", "2001:db8::1", "ICMPv6", 128, 169, ""),
        # What policies decide is never noise.
        ("10.0.0.7", "224.0.0.251", "UDP", 5353, 133, ""),
        ("fe80::1c05", "ff02::16", "ICMPv6", 143, 181, ""),
        ("10.0.0.7", "224.0.0.251", "TCP", 80, L7_DENIED, ""),
    ],
)
def test_what_noise_is(
    source: str, destination: str, protocol: str, port: int, reason: int, kind: str
) -> None:
    assert noise(reason, protocol, port, source, destination) == kind


@pytest.fixture
def starting(tmp_path: Path) -> Path:
    """A pod that comes up: noise first, then one thing that a policy drops, and three that get through."""
    flows = Capture()
    for peer, kind in (("ff02::2", 133), ("ff02::2", 133), ("ff02::16", 143)):
        flows.add("shop/web", "→", peer, kind, "DROPPED", protocol="ICMPv6", drop_reason=132)
    flows.add("shop/web", "→", "224.0.0.251", 5353, "DROPPED", protocol="UDP", drop_reason=140)
    flows.add("shop/web", "→", "198.51.100.9", 443, "DROPPED")
    for port in (443, 444, 445):
        flows.add("shop/web", "→", "198.51.100.1", port)
    return flows.write(tmp_path)


def test_the_summary_folds_it_and_keeps_the_share_without_it(starting: Path) -> None:
    lines = flowwatch("summary", "--input-file", starting).stdout.splitlines()
    assert [line.split()[3] for line in lines[1:5]] == [
        "198.51.100.9:443", "198.51.100.1:443", "198.51.100.1:444", "198.51.100.1:445",
    ]  # fmt: skip
    assert lines[6:8] == [
        "4 attempts: 3 forwarded, 1 dropped (25.0%)",
        "+ 3 dropped before any policy was asked: multicast 2, neighbour discovery 1 (--noise lists them)",
    ]


def test_a_flag_lists_it_below_what_a_policy_blocked(starting: Path) -> None:
    lines = flowwatch("summary", "--noise", "--input-file", starting).stdout.splitlines()
    assert [line[0] for line in lines[1:8]] == ["✗", "✓", "✓", "✓", "·", "·", "·"]
    assert "4 attempts: 3 forwarded, 1 dropped (25.0%)" in lines
    assert lines[-2].endswith("multicast 2, neighbour discovery 1 (marked · above)")


def test_what_programs_read_has_every_row_and_says_which_are_noise(starting: Path) -> None:
    told = json.loads(flowwatch("summary", "-o", "json", "--input-file", starting).stdout)
    assert told["totals"]["noise"] == {"multicast": 2, "neighbour discovery": 1}
    assert (told["totals"]["dropped"], told["totals"]["dropped_share"]) == (1, 0.25)
    rows = {row["peer"]: row["noise"] for row in told["rows"] if row["dropped"]}
    assert rows == {
        "198.51.100.9": {},
        "224.0.0.251": {"multicast": 1},
        "ff02::2": {"neighbour discovery": 1},
        "ff02::16": {"multicast": 1},
    }
    frame = library.read(starting)
    assert {
        p: n for p, n, d in zip(frame.peer, frame.noise, frame.dropped, strict=True) if d
    } == rows


def test_the_export_has_every_line_with_the_kind_of_noise_in_a_column(starting: Path) -> None:
    text = flowwatch("export", "--input-file", starting).stdout
    lines = list(csv.DictReader(io.StringIO(text)))
    assert {line["peer"]: line["noise"] for line in lines} == {
        "ff02::2": "neighbour discovery",
        "ff02::16": "multicast",
        "224.0.0.251": "multicast",
        "198.51.100.9": "",
    }


def test_a_row_of_noise_and_a_policy_s_drops_counts_as_what_the_policy_did(tmp_path: Path) -> None:
    """Multicast, lost without a policy twice, and then denied by one."""
    flows = Capture()
    for reason in (140, 140, 133):
        flows.add(
            "shop/web", "→", "224.0.0.251", 5353, "DROPPED", protocol="UDP", drop_reason=reason
        )
    lines = flowwatch("summary", "--input-file", flows.write(tmp_path)).stdout.splitlines()
    assert lines[1].startswith("✗ shop/web-0")
    assert lines[3:5] == [
        "1 attempt: 0 forwarded, 1 dropped (100.0%)",
        "+ 2 dropped before any policy was asked: multicast 2 (--noise lists them)",
    ]


def test_rows_that_are_folded_for_want_of_room_keep_it(tmp_path: Path) -> None:
    flows = Capture()
    for number in range(9):
        flows.add(
            "shop/web", "→", f"224.0.1.{number}", 5353, "DROPPED", protocol="UDP", drop_reason=140
        )
    path = flows.write(tmp_path)
    told = json.loads(
        flowwatch("summary", "-o", "json", "--max-rows", "4", "--input-file", path).stdout
    )
    assert told["totals"]["noise"] == {"multicast": 9}
    assert sum(row["noise"]["multicast"] for row in told["rows"]) == 9
