"""Programs that run beside a test: started, read line by line, and surely ended."""

import atexit
import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

ANSWER_SECONDS = 30.0
"""How long a program may take for a line of output that it owes."""


class PartFailed(Exception):
    """A program ended, or didn't do what was waited for; the message ends with its last output."""


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], bool], what: str, timeout: float = 10.0) -> None:
    """Ask `condition` every 50 ms until it holds.

    Raises:
        PartFailed: it didn't within `timeout` seconds; `what` names it.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise PartFailed(f"waited {timeout:g} s for {what}")
        time.sleep(0.05)


class Program:
    """A running program whose output is read line by line, and which surely ends."""

    def __init__(self, command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> None:
        """Start it, in a process group of its own, with a pipe for standard input."""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 — closed in kill()
        self._process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=dict(env) if env is not None else None,
            start_new_session=True,
        )
        self.name = Path(str(command[0])).name
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        _running.add(self)

    @property
    def pid(self) -> int:
        """The process id (under a leash: the leash's)."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it hasn't ended."""
        return self._process.poll() is None

    def line(self, timeout: float = ANSWER_SECONDS) -> str:
        """Return the next line of its output, without the line's end.

        Raises:
            PartFailed: the program ended, or wrote nothing for `timeout` seconds.
        """
        try:
            line = self._lines.get(timeout=timeout)
        except queue.Empty:
            raise PartFailed(f"{self.name} wrote nothing for {timeout:g} s\n{self.log()}") from None
        if line is None:
            self._lines.put(None)
            code = self._process.wait()
            raise PartFailed(f"{self.name} ended with code {code}\n{self.log()}")
        return line.decode(errors="surrogateescape").rstrip("\n")

    def answer(self, timeout: float = ANSWER_SECONDS) -> dict[str, Any]:
        """Return the next line as a JSON object; an `{"error": …}` is raised as PartFailed."""
        answer: dict[str, Any] = json.loads(self.line(timeout))
        if "error" in answer:
            raise PartFailed(f"{self.name}: {answer['error']}")
        return answer

    def send(self, text: str) -> None:
        """Write to its standard input.

        Raises:
            PartFailed: it has ended.
        """
        try:
            self._stdin.write(text.encode())
            self._stdin.flush()
        except (BrokenPipeError, ValueError) as err:
            raise PartFailed(f"{self.name} takes no more input\n{self.log()}") from err

    def log(self) -> str:
        """The last 4000 bytes of what it wrote to standard error."""
        if self._log.closed:
            return ""
        # pread, because the file's offset is shared with the program that writes it.
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), 4000, max(0, size - 4000)).decode(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and its children: SIGINT to interrupt, SIGSTOP to make it hang."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """End it at once, as a crash would; no harm if it has ended."""
        if self.running:
            self.signal(signal.SIGKILL)
        self._process.wait()
        self._reader.join(5)
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()
        _running.discard(self)

    def wait(self, timeout: float = ANSWER_SECONDS) -> int:
        """Wait for its own end and return the exit code."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise PartFailed(f"{self.name} still runs after {timeout:g} s\n{self.log()}") from None

    def rest(self) -> list[str]:
        """After its end: the lines of its output that weren't taken."""
        lines = []
        while (line := self._lines.get(timeout=ANSWER_SECONDS)) is not None:
            lines.append(line.decode(errors="surrogateescape").rstrip("\n"))
        self._lines.put(None)
        return lines

    @property
    def _stdin(self) -> IO[bytes]:
        stdin = self._process.stdin
        assert stdin is not None
        return stdin

    def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        for line in stdout:
            self._lines.put(line)
        self._lines.put(None)


_running: weakref.WeakSet[Program] = weakref.WeakSet()


@atexit.register
def _kill_all() -> None:
    for program in list(_running):
        program.kill()
