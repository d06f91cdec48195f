"""``flowwatch web`` in a real browser."""

from __future__ import annotations

import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from httpx_ws import WebSocketUpgradeError

from tests.browser import PATIENCE, Browser, Tab, needs_browser, websocket
from tests.command import ROOT, clean_environment

pytestmark = [needs_browser, pytest.mark.xdist_group("browser"), pytest.mark.timeout(300)]

DEMO = ("web", "demo", "--speed", "30")
EVIL = "evil.example"


class Page:
    """A ``flowwatch web`` that runs."""

    def __init__(self, process: subprocess.Popen[str], home: Path) -> None:
        self.process = process
        self.home = home
        assert process.stdout is not None
        self.url = process.stdout.readline().strip()
        self.place = urlsplit(self.url).netloc
        self.token = self.url.partition("token=")[2]
        self.socket = f"ws://{self.place}/tab/{self.token}"

    @property
    def programs(self) -> list[psutil.Process]:
        """What its tabs run."""
        found: list[psutil.Process] = psutil.Process(self.process.pid).children(recursive=True)
        return found

    def until_programs_are(self, number: int) -> None:
        wait_until(lambda: len(self.programs) == number, f"{number} programs")

    def end(self, number: int) -> int:
        """The exit code after a signal."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


def wait_until(there: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not there():
        assert time.monotonic() < end, what
        time.sleep(0.05)


@contextmanager
def served(home: Path, *words: str, env: dict[str, str] | None = None) -> Iterator[Page]:
    with subprocess.Popen(
        [sys.executable, "-m", "flowwatch", *words, "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=clean_environment(str(home)) | (env or {}),
    ) as process:
        try:
            yield Page(process, home)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with served(tmp_path_factory.mktemp("home"), *DEMO) as page:
        yield page


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    rules = f"--host-resolver-rules=MAP {EVIL} 127.0.0.1"
    with Browser(tmp_path_factory.mktemp("chromium"), rules) as program:
        yield program


@contextmanager
def opened(browser: Browser, page: Page) -> Iterator[Tab]:
    """A tab with its first rows, that is closed again."""
    with opened_beside(browser, page) as tab:
        yield tab
    page.until_programs_are(0)


def test_it_opens_keys_work_and_so_does_a_resize(web: Page, browser: Browser) -> None:
    with opened(browser, web) as tab:
        assert "DROPPED" in tab.screen.text
        before = tab.size
        tab.press("A")
        tab.sees("Audit: does the traffic")
        tab.resize(1500, 900)
        tab.wait_for(lambda: tab.size["width"] > before["width"] + 40)
        tab.sees("Audit: does the traffic")
        tab.press("q")
        tab.sees("▌", "│")
        tab.press("/")
        tab.press(*"weather-app")
        tab.sees("/weather-app")
        tab.press("\x1b")
        tab.sees("shop/frontend")
        assert tab.complaints == []
        assert len(shades(tab.picture())) > 20


def shades(png: bytes) -> set[bytes]:
    """The bytes that a picture's lines consist of, in pieces of three; a blank one has few."""
    place, data = 8, b""
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        if png[place + 4 : place + 8] == b"IDAT":
            data += png[place + 8 : place + 8 + length]
        place += 12 + length
    plain = zlib.decompress(data)
    return {plain[at : at + 3] for at in range(1, len(plain) - 3, 3)}


def test_all_that_the_page_loads_is_its_own(web: Page, browser: Browser) -> None:
    with opened(browser, web) as tab:
        assert {urlsplit(url).netloc for url in tab.statuses if not url.startswith("data:")} == {
            web.place
        }
        assert set(tab.statuses.values()) == {200}


def test_two_tabs_dont_disturb_each_other(web: Page, browser: Browser) -> None:
    with opened(browser, web) as one:
        with opened_beside(browser, web) as other:
            assert len(web.programs) == 2
            other.press("5")
            other.sees("[5 Causes]")
            one.press("?")
            one.sees("keys and commands")
            assert "[5 Causes]" in other.screen.text
        web.until_programs_are(1)
        one.press("q")
        one.sees("[1 Edges]")


@contextmanager
def opened_beside(browser: Browser, page: Page) -> Iterator[Tab]:
    tab = browser.open(page.url)
    try:
        tab.sees("▌")
        tab.focus()
        yield tab
    finally:
        tab.close()


def test_q_ends_the_program_and_the_page_says_so(web: Page, browser: Browser) -> None:
    with opened(browser, web) as tab:
        tab.press("q")
        ended = "document.querySelector('.ended')"
        tab.wait_for(lambda: tab.run(f"getComputedStyle({ended}).display") == "block", "the end")
        web.until_programs_are(0)
        assert tab.run(f"{ended}.innerText") == "The dashboard has ended. Start it again"
        tab.run(f"{ended}.querySelector('a').click()")
        web.until_programs_are(1)


def test_there_is_no_shell_behind_it(web: Page, browser: Browser) -> None:
    with opened(browser, web) as tab:
        tab.press("\x1a")
        tab.sees("a browser's tab has no shell to go back to")
        tab.press("?")
        tab.sees("keys and commands")


def test_what_is_copied_comes_to_the_browsers_clipboard(web: Page, browser: Browser) -> None:
    with opened(browser, web) as tab:
        browser.call(
            "Browser.grantPermissions",
            permissions=["clipboardReadWrite", "clipboardSanitizedWrite"],
            origin=f"http://{web.place}",
        )
        tab.call("Emulation.setFocusEmulationEnabled", enabled=True)
        tab.press("y")
        tab.sees("command copied")
        tab.wait_for(
            lambda: str(tab.run("navigator.clipboard.readText()")).startswith("hubble observe"),
            "the clipboard",
        )


def test_the_editor_works_also_by_hand(browser: Browser, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\necho "TTY $(tty </dev/tty)"; stty size; read line; exit 0\n')
    editor.chmod(0o755)
    with (
        served(tmp_path, "web", "draft", "--demo", "--namespace", "weather",
               env={"EDITOR": str(editor)}) as page,
    ):  # fmt: skip
        tab = browser.open(page.url)
        tab.sees("weather-app", "api.openweathermap.org")
        tab.focus()
        tab.press(" ")
        tab.press("E")
        tab.sees("TTY /dev/")
        tab.press("\r")
        tab.sees("api.openweathermap.org")
        tab.close()
        page.until_programs_are(0)


def test_the_key_for_the_editor(web: Page, browser: Browser) -> None:
    with opened(browser, web) as tab:
        tab.press("D")
        tab.sees("COMES IN", "GOES TO", "policy ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_all_programs(tmp_path: Path, browser: Browser, number: int) -> None:
    with served(tmp_path, *DEMO) as page:
        tabs = [browser.open(page.url) for _ in range(2)]
        for tab in tabs:
            tab.sees("▌")
        programs = page.programs
        assert len(programs) == 2
        assert page.end(number) == 128 + number
        assert not any(one.is_running() for one in programs)
        assert page.process.stderr is not None
        lines = page.process.stderr.read().splitlines()
        assert len(lines) == 2, lines
        for tab in tabs:
            tab.close()


def test_a_program_that_lost_its_server_ends_by_itself(tmp_path: Path, browser: Browser) -> None:
    with served(tmp_path, *DEMO) as page:
        browser.open(page.url).sees("▌")
        programs = page.programs
        page.end(signal.SIGKILL)
        wait_until(lambda: not any(one.is_running() for one in programs), "the end")


def test_a_wrong_token_sees_nothing(web: Page) -> None:
    with httpx.Client(trust_env=False) as client:
        for query in ("", "?token=", "?token=wrong", f"?token={web.token[:-1]}", "?token=%00"):
            answer = client.get(f"http://{web.place}/{query}")
            assert answer.status_code == 401
            assert answer.text.count("\n") == 1
        for token in ("", "wrong", web.token.lower() + "x"):
            with pytest.raises(WebSocketUpgradeError) as refused:
                websocket(f"ws://{web.place}/tab/{token}", client).__enter__()
            assert refused.value.response.status_code in (401, 404)
    assert web.programs == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": f"{EVIL}:80"},
        {"Origin": f"http://{EVIL}"},
        {"Origin": "null"},
        {"Host": EVIL, "Origin": f"http://{EVIL}"},
    ],
    ids=str,
)
def test_another_site_is_refused_even_with_the_token(web: Page, headers: dict[str, str]) -> None:
    with httpx.Client(trust_env=False, headers=headers) as client:
        assert client.get(web.url).status_code == 403
        assert client.get(f"http://{web.place}/static/js/textual.js").status_code == 403
        with pytest.raises(WebSocketUpgradeError) as refused:
            websocket(web.socket, client).__enter__()
        assert refused.value.response.status_code == 403
    assert web.programs == []


def test_a_name_that_was_made_to_lead_here_is_refused(web: Page, browser: Browser) -> None:
    url = web.url.replace("127.0.0.1", EVIL)
    tab = browser.open(url)
    tab.wait_for(lambda: tab.statuses.get(url) == 403, "the refusal")
    # The answer's head is told before its text is shown.
    told = "this host name is not allowed"
    tab.wait_for(lambda: told in tab.run("document.body?.innerText ?? ''"), told)
    tab.close()


class Other(BaseHTTPRequestHandler):
    """A page of another site that has found out the token."""

    socket = ""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(
            f"<script>s = new WebSocket('{self.socket}?width=80&height=24');"
            "s.onopen = () => document.title = 'open'; s.onerror = () => document.title = 'refused'"
            "</script>".encode()
        )

    def log_message(self, format: str, *args: object) -> None:
        return None


def test_another_sites_page_gets_no_websocket(web: Page, browser: Browser) -> None:
    handler = type("Handler", (Other,), {"socket": web.socket})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        tab = browser.open(f"http://127.0.0.1:{other.server_port}/")
        tab.wait_for(lambda: tab.run("document.title") in ("open", "refused"), "its websocket")
        assert tab.run("document.title") == "refused"
        tab.close()
        other.shutdown()
    assert web.programs == []


def test_what_no_page_sends_ends_nothing(web: Page) -> None:
    """Words that aren't the script's, and sizes that no window has."""
    with (
        httpx.Client(trust_env=False) as client,
        websocket(f"{web.socket}?width=99999999&height=0", client) as socket,
    ):
        for text in ("", "[", "7", '["resize", {"width": -5, "height": 1000000000}]', '["stdin"]'):
            socket.send_text(text)
        socket.send_bytes(b"\xff\xfe")
        web.until_programs_are(1)
        assert socket.receive_bytes(timeout=PATIENCE)
        socket.send_text('["resize", {"width": 80, "height": 24}]')
        seen = b""
        while b"DROPPED" not in seen:
            seen += socket.receive_bytes(timeout=PATIENCE)
    web.until_programs_are(0)


def test_the_page_stays_small(web: Page) -> None:
    """A message that is larger than a paste closes its tab, and no other."""
    with httpx.Client(trust_env=False) as client, websocket(web.socket, client) as socket:
        web.until_programs_are(1)
        socket.send_text('["stdin", "' + "x" * (3 << 20) + '"]')
        web.until_programs_are(0)
        assert client.get(web.url).status_code == 200
