"""What a ticket is given: the whole detail as Markdown, and commands that capture a row's packets."""

from __future__ import annotations

import base64
import shlex
from pathlib import Path

import pytest

from flowwatch.egress.rows import CloseUp, Fate
from flowwatch.flows.model import Endpoint
from flowwatch.tui.packet_commands import packet_filter, retina, tcpdump
from flowwatch.tui.parts.rows import RowsAnswer
from flowwatch.tui.ticket import ticket
from tests.unit.tui.driven import Played, played, run
from tests.unit.tui.made import NOON, denied, record, snapshot
from tests.unit.tui.test_fold import STORY

LABELS = ("k8s:app=weather-app", "k8s:env=prod", "k8s:io.kubernetes.pod.namespace=weather")
MORE = CloseUp(
    records=(record(1),),
    ends=(Endpoint(identity=7, labels=LABELS), Endpoint(labels=("reserved:world",))),
    pods=(
        Fate("weather", "weather-app-7d9f8-x2x4z", 1, "node-1", 7, 0, 12, 0),
        Fate("weather", "weather-app-7d9f8-other", 1, "node-2", 7, 3, 0, 0),
    ),
    pods_in_all=2,
)  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "filtered"),
    [
        ({}, "tcp and port 443 and host 142.250.74.36"),
        (
            {"protocol": "UDP", "port": 53, "peer_addresses": ("10.0.0.1", "fd00::1")},
            "udp and port 53 and (host 10.0.0.1 or host fd00::1)",
        ),
        ({"protocol": "ICMPv4", "port": 8}, "icmp and host 142.250.74.36"),
        ({"peer_addresses": ("; reboot",)}, "tcp and port 443"),
        ({"protocol": "", "port": 0, "peer_addresses": ()}, ""),
    ],
)
def test_the_filter_is_of_the_row_alone(fields: dict[str, object], filtered: str) -> None:
    assert packet_filter(denied(1, **fields)) == filtered


def test_a_folds_packets_are_those_of_its_most_dropped_pod_or_of_all_by_their_labels() -> None:
    fold = denied(-1, pod="", pods=2)

    assert shlex.split(tcpdump(fold, MORE)) == [
        "kubectl", "debug", "-n", "weather", "weather-app-7d9f8-x2x4z", "-it",
        "--image=nicolaka/netshoot", "--profile=netadmin", "--",
        "tcpdump", "-ni", "any", "tcp and port 443 and host 142.250.74.36",
    ]  # fmt: skip
    words = shlex.split(retina(fold, MORE))
    assert words[:4] == ["kubectl", "retina", "capture", "create"]
    assert words[words.index("--pod-selectors") + 1] == "app=weather-app,env=prod"
    assert "kubernetes.io/metadata.name=weather" in words


@pytest.mark.parametrize("name", ["-f", "a\x1b[2J", ""])
def test_what_can_t_be_typed_is_in_no_command(name: str) -> None:
    assert tcpdump(denied(1, namespace=name), MORE) == ""
    assert tcpdump(denied(1, pod=name), CloseUp()) == ""
    assert retina(denied(1, namespace=name), MORE) == ""


def test_a_ticket_has_all_that_the_detail_says_and_no_markup_of_others() -> None:
    row = denied(
        1, peer="*evil*`x`@team", attribution="default deny of weather/weather-egress: a|b"
    )
    text = ticket(row, RowsAnswer(snapshot((row,)), 1, MORE), NOON, ("hubble", "observe"))

    heading, _, *lines = text.splitlines()
    assert heading.startswith("### ``✗ weather/weather-app-7d9f8-x2x4z → *evil*`x`@")
    assert any(line.startswith("- **Why** `POLICY_DENIED (12): ") for line in lines)
    assert any(
        line.startswith("- **From** `app=weather-app env=prod; identity 7`") for line in lines
    )
    assert any(line.startswith("- **Pods** `weather-app·x2x4z 12✗, ") for line in lines)
    assert text.count("```") % 2 == 0
    assert lines[0] == "- **Window** 12:00:00.000 to 12:01:00.000 UTC"
    assert "kubectl debug -n weather" in text
    assert "\nhubble observe --from-pod weather/weather-app-7d9f8-x2x4z " in text
    assert "copies this" not in text


def test_one_key_copies_it_whether_the_detail_is_open_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    written: list[str] = []

    async def test() -> None:
        for size in ((80, 24), (110, 44)):
            async with played(Played(STORY), size=size) as driven:
                monkeypatch.setattr(driven.app, "write", written.append)
                await driven.sees("weather-app")
                await driven.press("Y")
                await driven.sees("Markdown copied")
                await driven.press("colon")
                await driven.type("copy tcpdump")
                await driven.press("enter")
                await driven.sees("command copied")

    run(test())
    texts = [base64.b64decode(one.split(";")[2].rstrip("\x07\x1b\\")).decode() for one in written]
    assert [text.startswith("### `✗ weather/weather-app (3 pods) → ") for text in texts[::2]] == [
        True,
        True,
    ]
    assert all("- **Pods** `weather-app·pk4k7 3✗ 1✓, " in text for text in texts[::2])
    assert all(
        text.startswith("kubectl debug -n weather weather-app-7d9f8-pk4k7 ") for text in texts[1::2]
    )
