"""What the dashboard is told of the command line."""

from __future__ import annotations

import pytest

from flowwatch.cli.dashboard import _follows, run
from flowwatch.cli.flags import parse
from flowwatch.cli.shared.options import filter_words, limit_words
from flowwatch.cli.shared.screen import hubble_command
from flowwatch.errors import UsageError


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ([], "hubble observe"),
        (["-n", "weather"], "hubble observe"),
        (["--server", "a:1"], "hubble observe --server a:1"),
        (
            ["--tls", "--tls-ca-cert-files", "a,b", "--basic-auth-password", "secret"],
            "hubble observe --tls=true --tls-ca-cert-files a,b",
        ),
        (["--input-file", "x"], "hubble observe --input-file x"),
    ],
)
def test_the_hubble_command_names_the_same_server(arguments: list[str], command: str) -> None:
    assert " ".join(hubble_command(parse(arguments), "")) == command


def test_the_demo_s_server_is_named() -> None:
    assert hubble_command(parse(["demo"]), "x:1") == ["hubble", "observe", "--server", "x:1"]


def test_filters_are_shown_as_they_were_typed() -> None:
    typed = ["-n", "weather", "--not", "--verdict", "FORWARDED", "-4"]
    words = "--namespace weather --not --verdict FORWARDED --ipv4"
    assert filter_words(parse(typed)) == words


def test_the_window_limits_what_is_seen_as_well() -> None:
    typed = ["-n", "weather", "--since", "5m", "--until", "1m"]
    assert limit_words(parse(typed)) == "--namespace weather --since 5m --until 1m"
    assert limit_words(parse([])) == ""


@pytest.mark.parametrize(
    ("typed", "follows"),
    [([], True), (["--since", "5m"], True), (["--until", "1m"], False), (["--first", "9"], False)],
)
def test_a_window_that_ends_is_not_followed(typed: list[str], follows: bool) -> None:
    assert _follows(parse(typed)) is follows


def test_an_end_that_would_not_come_is_refused() -> None:
    """hubble says nothing and goes on (Cilium 1.20, hubble/cmd/observe/flows.go)."""
    for typed, why in (
        (["--until", "1m", "-f"], "cannot set both --until and --follow"),
        (["--until", "2099-01-01T00:00:00Z"], "--until is still to come"),
    ):
        with pytest.raises(UsageError) as caught:
            run(parse([*typed, "--server", "127.0.0.1:1"]))
        assert why in caught.value.message
