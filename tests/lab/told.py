"""What flowwatch tells of the lab, beside what the application experienced and what the kernel counted."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from itertools import groupby
from typing import Any

from tests.command import flowwatch

Row = tuple[str, str, int]
"""Address, protocol, port (of pings 0)."""
SHARE = 0.015
"""What may be wrong where hundreds of tries follow one another: a denied SYN may be a retry or a new try."""
OUTCOMES = ("forwarded", "dropped", "audited", "errors", "unknown")


def knowable(tries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tries that records tell apart: not datagrams on one source port, nor pings, of one outcome."""
    by_ports: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for one in sorted(tries, key=lambda one: float(one["t"])):
        sport = 0 if one["proto"].startswith("ICMP") else one["sport"]
        by_ports[one["peer"], one["proto"], one["port"], sport].append(one)
    told: list[dict[str, Any]] = []
    for same in by_ports.values():
        if same[0]["proto"] == "TCP":
            told += same
        else:
            told += [next(group) for _, group in groupby(same, key=lambda one: one["outcome"])]
    return told


def of_the_client(truth: dict[str, Any]) -> Counter[tuple[Row, str]]:
    """By destination and outcome, how many tries the application made."""
    return Counter(
        ((one["peer"], one["proto"], one["port"]), one["outcome"])
        for one in knowable(truth["attempts"])
    )


def of_flowwatch(server: str, truth: dict[str, Any]) -> Counter[tuple[Row, str]]:
    """The same of `flowwatch summary`, asked of the lab's Hubble; of the application's pod."""
    pod = truth["pod"].partition("/")[2]
    done = flowwatch("summary", "--server", server, "--last", "65535", "-o", "json")
    assert done.returncode == 0, done.stderr
    named = {name: address for address, name in truth["peers"].items() if "." in address}
    found: Counter[tuple[Row, str]] = Counter()
    for row in json.loads(done.stdout)["rows"]:
        if row["pod"] != pod:
            continue
        [address] = row["peer_addresses"] or [named[row["peer"]]]
        port = 0 if row["protocol"].startswith("ICMP") else row["port"]
        for outcome in OUTCOMES:
            if row[outcome]:
                found[(address, row["protocol"], port), outcome] += row[outcome]
    return found


def compared(truth: dict[str, Any], told: Counter[tuple[Row, str]]) -> tuple[str, list[Row]]:
    """The table client × kernel × flowwatch as text, and the rows in which they differ."""
    made = of_the_client(truth)
    packets: dict[Row, Counter[str]] = defaultdict(Counter)
    for one in truth["attempts"]:
        packets[one["peer"], one["proto"], one["port"]].update(one["kernel"])
    rows = sorted({row for row, _ in made | told})
    lines = [
        f"{'destination':<34}{'application':<24}{'kernel, packets':<34}flowwatch",
    ]
    wrong = []
    for row in rows:
        client = {outcome: made[row, outcome] for outcome in OUTCOMES if made[row, outcome]}
        theirs = {outcome: told[row, outcome] for outcome in OUTCOMES if told[row, outcome]}
        kernel = {kind: n for kind, n in packets[row].items() if n and kind != "errors"}
        few = SHARE * sum(client.values())
        if any(abs(made[row, outcome] - told[row, outcome]) > few for outcome in OUTCOMES):
            wrong.append(row)
        name = f"{row[0]} {row[2]}/{row[1]}"
        lines.append(f"{name:<34}{_said(client):<24}{_said(kernel):<34}{_said(theirs)}")
    return "\n".join(lines), wrong


def _said(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {what}" for what, number in counts.items()) or "-"
