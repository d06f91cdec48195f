"""What the dashboard is told of the command line."""

from __future__ import annotations

import pytest

from flowwatch.cli.flags import parse
from flowwatch.cli.shared.options import filter_words
from flowwatch.cli.shared.screen import hubble_command


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
