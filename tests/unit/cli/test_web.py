"""``flowwatch web``: where it listens, with what token, and what it is refused for."""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path

import pytest

from flowwatch.cli.flags import parse
from flowwatch.cli.web import Place, read_place, words
from flowwatch.errors import UsageError
from tests.command import one_line
from tests.in_process import flowwatch


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("127.0.0.1:8245", ("127.0.0.1", 8245)),
        ("[::1]:0", ("::1", 0)),
        (":80", ("0.0.0.0", 80)),
        ("flows.example:65535", ("flows.example", 65535)),
    ],
)
def test_a_place_is_read(text: str, place: tuple[str, int]) -> None:
    assert read_place(text) == place


def test_a_place_is_written_as_in_an_address() -> None:
    assert str(Place("::1", 80)) == "[::1]:80"
    assert str(Place("127.0.0.1", 80)) == "127.0.0.1:80"


@pytest.mark.parametrize(
    "text", ["", "8245", "::1", "::1:80", "a:", "a:65536", "a:-1", "a:٣", "a:99999999999"]
)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="invalid --listen"):
        read_place(text)


def test_a_tab_is_called_with_all_but_the_pages_flags() -> None:
    line = "web demo --token abc -n weather --speed=30 --host a --listen :1 --policy a,b.yaml"
    parsed = parse(line.split())
    assert words(parsed, "demo") == [
        "demo",
        "--namespace=weather",
        "--speed=30",
        "--policy=a,b.yaml",
    ]
    assert parse(words(parsed, "demo")).list("policy") == ["a,b.yaml"]
    order = parse(["web", "--not", "--from-pod", "a", "--to-pod", "b", "-P"])
    assert words(order, "") == ["--not=true", "--from-pod=a", "--to-pod=b", "--port-forward=true"]


def test_a_tab_of_a_draft_is_its_editor() -> None:
    for line in (["web", "draft", "-n", "weather"], ["web", "draft", "--edit", "-n", "weather"]):
        assert sorted(words(parse(line), "draft")) == [
            "--edit",
            "--namespace=weather",
            "draft",
        ] or ("--edit=true" in words(parse(line), "draft"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--listen 0.0.0.0:0", "let others in, who could act as you: give a --token"),
        ("--listen :0 --token short", "short enough to be guessed"),
        ("--listen 8245", "invalid --listen: 8245: ADDRESS:PORT, as 127.0.0.1:8245"),
        ("--token a/b", "invalid --token: letters, digits and -._~ alone"),
        ("--input-file -", "--input-file - can be read once, and each tab reads anew"),
        ("--policies -", "--policies - can be read once"),
        ("--until 2001", "2001"),
        ("--listen 192.0.2.1:0 --token abcdefghijklmnopqrst", "can't listen on 192.0.2.1:0"),
        ("--listen nowhere.invalid:1 --token abcdefghijklmnopqrst", "can't listen on nowhere.invalid:1"),
        ("--namspace weather", "did you mean --namespace?"),
        ("draft --demo=later", "invalid --demo"),
        ("demo --speed 0", "invalid speed: 0"),
    ],
)  # fmt: skip
def test_what_can_t_be_served_is_one_line(line: str, said: str) -> None:
    done = flowwatch("web", *line.split())
    assert done.returncode == 2
    assert said in one_line(done)
    assert done.stdout == ""


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        done = flowwatch("web", "--listen", place)
        assert done.returncode == 2
        line = one_line(done)
    assert line.startswith(f"flowwatch: can't listen on {place} (Address already in use)")
    assert "--listen ADDRESS:0 takes a free port" in line


def test_without_the_extra_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "textual_serve" else find(name)
    )
    done = flowwatch("web")
    assert done.returncode == 2
    assert "pip install 'flowwatch[web]'" in one_line(done)


def test_the_token_of_the_environment_counts(tmp_path: Path) -> None:
    done = flowwatch("web", "--listen", ":0", env={"FLOWWATCH_TOKEN": "a b"})
    assert "invalid --token" in one_line(done)
