"""An S3 server on loopback, and a proxy before it that lets calls fail."""

from __future__ import annotations

import http.client
import os
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

from tests.interop.build import build
from tests.interop.program import Program, free_port, wait_until

ACCESS, SECRET = "a-key-of-a-test", "a-secret-of-a-test"


class S3Server:
    """versitygw over a folder, while it is entered, on a leash: it ends with this process, however that
    ends. What it holds are plain files there."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._port = free_port()
        self._made = 0

    def __enter__(self) -> S3Server:
        self._folder = tempfile.TemporaryDirectory()
        self.root = Path(self._folder.name, "data")
        for name in ("data", "about"):
            Path(self._folder.name, name).mkdir()
        self._running = Program(
            [
                build().leash,
                self._program, "--port", f"127.0.0.1:{self._port}", "--quiet", "posix",
                "--sidecar", Path(self._folder.name, "about"), self.root,
            ],
            {**os.environ, "ROOT_ACCESS_KEY": ACCESS, "ROOT_SECRET_KEY": SECRET},
        )  # fmt: skip
        wait_until(self._answers, "the S3 server")
        return self

    def _answers(self) -> bool:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
            connection.request("GET", "/")
            connection.getresponse().read()
        except OSError:
            return False
        return True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._running.kill()
        self._folder.cleanup()

    @property
    def port(self) -> int:
        return self._port

    def bucket(self) -> str:
        """The name of a new one."""
        self._made += 1
        name = f"bucket-{self._made}"
        (self.root / name).mkdir()
        return name


def environment(port: int) -> dict[str, str]:
    """Who asks the server at that port of 127.0.0.1; nobody else is asked, for a role neither."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ENDPOINT_URL_S3": "",
        "AWS_ACCESS_KEY_ID": ACCESS,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


class Failing:
    """Passes on what comes to a server, but every so-many-th call: that fails, by turns with 500, with 503
    and as a connection that ends."""

    def __init__(self, to: int, every: int) -> None:
        self.calls = self.failed = 0
        self.every = every
        """May be changed at any time."""
        lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass(self) -> None:
                body = self._body()
                with lock:
                    outer.calls += 1
                    fails = outer.calls % outer.every == 0
                    outer.failed += fails
                    how = outer.failed % 3
                if fails:
                    self.close_connection = True
                    if how:
                        self.send_response(500 if how == 1 else 503)
                        self.send_header("Content-Length", "0")
                        self.end_headers()
                    return
                connection = http.client.HTTPConnection("127.0.0.1", to, timeout=20)
                connection.putrequest(
                    self.command, self.path, skip_host=True, skip_accept_encoding=True
                )
                for name, value in self.headers.items():
                    connection.putheader(name, value)
                connection.endheaders(body)
                answer = connection.getresponse()
                text = answer.read()
                self.send_response_only(answer.status, answer.reason)
                for name, value in answer.getheaders():
                    if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                        self.send_header(name, value)
                length = answer.getheader("Content-Length")
                self.send_header("Content-Length", length or str(len(text)))
                self.end_headers()
                self.wfile.write(text)
                connection.close()

            def _body(self) -> bytes:
                if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                # As it came: its end is a chunk of nothing, lines of trailers, and an empty one.
                body = b""
                while True:
                    line = self.rfile.readline()
                    size = int(line.partition(b";")[0], 16)
                    if not size:
                        break
                    body += line + self.rfile.read(size) + self.rfile.readline()
                while line.strip():
                    body += line
                    line = self.rfile.readline()
                return body + line

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Failing:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
