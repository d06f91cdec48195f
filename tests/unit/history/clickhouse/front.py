"""Today's ClickHouse behind its HTTP interface: the engine as a package (chDB), and as much of the interface
as a client needs. A program of its own, as there is one engine to a process; it ends with its standard input.

It is given a folder, and prints its port. Whoever asks may: users are the old server's part.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs, urlsplit

_FORMAT = re.compile(rb"\s+FORMAT\s+(\w+)\s*\Z")
_INSERT = re.compile(
    rb"\A\s*(INSERT INTO .*?)\s+FORMAT\s+(Arrow|ArrowStream|Native)[ \n]?", re.DOTALL
)


class Engine:
    """Answers SQL, one question at a time."""

    def __init__(self, folder: str) -> None:
        chdb: Any = import_module("chdb")
        self._asked = chdb.connect(os.path.join(folder, "data"))
        self._folder = folder
        self._lock = threading.Lock()

    def answer(self, database: str, said: bytes) -> bytes:
        """What a request of ``said`` brings. RuntimeError with the server's words."""
        with self._lock:
            if database:
                self._asked.query(f"USE `{database}`")
            if insert := _INSERT.match(said):
                return self._insert(insert[1].decode(), insert[2].decode(), said[insert.end() :])
            form = _FORMAT.search(said)
            text = said[: form.start()] if form else said
            found = self._asked.query(text.decode(), form[1].decode() if form else "TabSeparated")
            return bytes(found.bytes())

    def _insert(self, statement: str, form: str, data: bytes) -> bytes:
        with tempfile.NamedTemporaryFile(dir=self._folder) as file:
            file.write(data)
            file.flush()
            self._asked.query(f"{statement} FROM INFILE '{file.name}' FORMAT {form}")
        return b""


def handler_of(engine: Engine) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = parse_qs(urlsplit(self.path).query)
            said = asked.get("query", [""])[0].encode()
            said += (b"\n" if said else b"") + body_of(self)
            try:
                status, answer = 200, engine.answer(asked.get("database", [""])[0], said)
            except RuntimeError as error:
                status, answer = 500, str(error).encode()
            self.send_response(status)
            if code := re.match(rb"Code: (\d+)", answer) if status == 500 else None:
                self.send_header("X-ClickHouse-Exception-Code", code[1].decode())
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def body_of(request: BaseHTTPRequestHandler) -> bytes:
    """All of it, be it in chunks or not."""
    if "chunked" not in request.headers.get("Transfer-Encoding", ""):
        return request.rfile.read(int(request.headers.get("Content-Length") or 0))
    body = b""
    while size := int(request.rfile.readline(), 16):
        body += request.rfile.read(size)
        request.rfile.readline()
    request.rfile.readline()
    return body


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(Engine(sys.argv[1])))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()
    # The engine would take its time to tidy up what nobody wants any more.
    os._exit(0)


if __name__ == "__main__":
    main()
