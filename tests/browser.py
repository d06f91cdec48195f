"""A real Chromium without a window, driven by its own DevTools protocol over a websocket.

    with Browser(tmp_path) as browser:
        tab = browser.open("http://127.0.0.1:8245/?token=…")
        tab.wait_for(lambda: "live" in tab.screen.text)
        tab.press("j")

What a terminal's page draws is pixels; the text is read from what its websockets receive, by the same
emulator that stands for a terminal elsewhere.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import pytest
from httpx_ws import WebSocketNetworkError, WebSocketSession, connect_ws

from tests.benchmarks.pty_driver import Screen

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
# In CI it must be there: .ci/run installs it.
needs_browser = pytest.mark.skipif(
    not BROWSER and not os.environ.get("CI"), reason="no Chromium on this machine"
)
PATIENCE = 60.0
LARGEST_MESSAGE = 64 << 20
NAMED = {"\r": ("Enter", 13), "\x1b": ("Escape", 27), "\t": ("Tab", 9)}
"""Keys that type no letter: by what a terminal is sent, their names and numbers."""


def websocket(url: str, client: httpx.Client) -> AbstractContextManager[WebSocketSession]:
    """A websocket that says nothing by itself."""
    way: AbstractContextManager[WebSocketSession] = connect_ws(
        url,
        client,
        max_message_size_bytes=LARGEST_MESSAGE,
        keepalive_ping_interval_seconds=None,
    )
    return way


class Browser:
    """The program; its tabs share one connection."""

    def __init__(self, home: Path, *arguments: str, size: tuple[int, int] = (1000, 600)) -> None:
        self._home = home / "browser"
        self._arguments = [f"--window-size={size[0]},{size[1]}", *arguments]
        self._numbers = itertools.count(1)
        self._tabs: dict[str, Tab] = {}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
             f"--user-data-dir={self._home}", "--no-first-run", *self._arguments, "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        told = self._home / "DevToolsActivePort"
        end = time.monotonic() + PATIENCE
        while not (told.exists() and told.read_text().count("\n")):
            assert time.monotonic() < end, "Chromium didn't start"
            time.sleep(0.05)
        port, path = told.read_text().splitlines()
        self._client = httpx.Client(trust_env=False)
        self._way = websocket(f"ws://127.0.0.1:{port}{path}", self._client)
        self._socket = self._way.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._send("Browser.close", {}, None)
            self._process.wait(PATIENCE)
        except (WebSocketNetworkError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait(PATIENCE)
        finally:
            self._client.close()

    def open(self, url: str) -> Tab:
        """A tab that shows ``url``."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = self._tabs[session] = Tab(self, target, session)
        for domain in ("Page", "Network", "Runtime", "Log"):
            tab.call(f"{domain}.enable")
        tab.call("Page.navigate", url=url)
        return tab

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """The answer to a command; what is told meanwhile is noted."""
        number = self._send(method, parameters, session)
        end = time.monotonic() + PATIENCE
        while True:
            assert time.monotonic() < end, f"no answer to {method}"
            message = self.hear(1.0)
            if message is not None and message.get("id") == number:
                assert "error" not in message, message
                found: dict[str, Any] = message["result"]
                return found

    def hear(self, seconds: float) -> dict[str, Any] | None:
        """The next message, noted by its tab; None if none came."""
        try:
            message: dict[str, Any] = json.loads(self._socket.receive_text(timeout=seconds))
        except TimeoutError:
            return None
        except Exception as error:
            if type(error).__name__ == "Empty":
                return None
            raise
        tab = self._tabs.get(message.get("sessionId", ""))
        if tab is not None and "method" in message:
            tab.note(message["method"], message["params"])
        return message

    def _send(self, method: str, parameters: dict[str, Any], session: str | None) -> int:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        self._socket.send_text(json.dumps(message | ({"sessionId": session} if session else {})))
        return number


class Tab:
    """A page, with the terminal that it shows."""

    def __init__(self, browser: Browser, target: str, session: str) -> None:
        self._browser, self._target, self._session = browser, target, session
        self.screen = Screen(80, 24)
        self.statuses: dict[str, int] = {}
        """Of what was loaded, by URL."""
        self.complaints: list[str] = []
        """What the browser's console says is wrong."""

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **parameters)

    def note(self, method: str, told: dict[str, Any]) -> None:
        match method:
            case "Network.webSocketFrameReceived" if told["response"]["opcode"] == 2:
                data = base64.b64decode(told["response"]["payloadData"])
                self.screen.feed(data.decode("utf-8", "replace"))
            case "Network.webSocketFrameSent":
                said = json.loads(told["response"]["payloadData"])
                if said[0] == "resize" and said[1] != self.size:
                    self.screen = Screen(said[1]["width"], said[1]["height"])
            case "Network.responseReceived":
                self.statuses[told["response"]["url"]] = told["response"]["status"]
            case "Log.entryAdded" if told["entry"]["level"] == "error":
                self.complaints.append(told["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(told["exceptionDetails"]))

    @property
    def size(self) -> dict[str, int]:
        """Of the terminal, in columns and lines."""
        return {"width": self.screen.columns, "height": self.screen.lines}

    def wait_for(self, there: Callable[[], object], what: str = "") -> None:
        """Until ``there`` holds; the screen is told where it never does."""
        end = time.monotonic() + PATIENCE
        while not there():
            assert time.monotonic() < end, f"never came: {what}\n{self.screen.text}"
            self._browser.hear(0.1)

    def sees(self, *texts: str) -> None:
        """Wait until all of ``texts`` are on the screen."""
        for text in texts:
            self.wait_for(lambda text=text: text in self.screen.text, text)  # type: ignore[misc]

    def focus(self) -> None:
        """Click on the terminal, as a person does before typing."""
        self.click(0.5, 0.5)

    def click(self, x: float, y: float) -> None:
        """At a place of the window, from 0 to 1."""
        width, height = self.run("[innerWidth, innerHeight]")
        for kind in ("mousePressed", "mouseReleased"):
            self.call(
                "Input.dispatchMouseEvent",
                type=kind, x=x * width, y=y * height, button="left", clickCount=1,
            )  # fmt: skip

    def press(self, *keys: str) -> None:
        """Keys as a terminal is sent them: ``j``, ``\\r``; ``\\x1a`` is ctrl-z."""
        for key in keys:
            told: dict[str, Any] = {"text": key, "key": key}
            if key in NAMED:
                name, number = NAMED[key]
                told = {"key": name, "windowsVirtualKeyCode": number}
                told |= {"text": key} if key == "\r" else {}
            elif key < " ":
                letter = chr(ord(key) + 64)
                told = {"key": letter.lower(), "windowsVirtualKeyCode": ord(letter), "modifiers": 2}
            self.call("Input.dispatchKeyEvent", type="keyDown", **told)
            self.call("Input.dispatchKeyEvent", type="keyUp", **told)

    def resize(self, width: int, height: int) -> None:
        """The window, in pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def run(self, expression: str) -> Any:
        """The value of some JavaScript."""
        found = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        return found["result"].get("value")

    def picture(self) -> bytes:
        """What is seen, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])

    def close(self) -> None:
        """As a person closes it."""
        self._browser.call("Target.closeTarget", targetId=self._target)
