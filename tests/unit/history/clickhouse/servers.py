"""ClickHouse servers on loopback: a real one, which is old, and today's engine.

Debian's clickhouse-server is 18.16. clickhouse-connect asks one thing at its start that this doesn't know, a
column of ``system.settings``; a relay before it asks for a 0 instead, and passes on all else as it is.
"""

from __future__ import annotations

import http.client
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.command import ROOT
from tests.interop.program import free_port, wait_until
from tests.unit.history.clickhouse.front import body_of

USER, PASSWORD = "flowwatch", "a pass/word of tests"
PROGRAM = shutil.which("clickhouse-server", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
_ASKED, _KNOWN = (
    b"SELECT name, value, readonly FROM",
    b"SELECT name, value, toUInt8(0) AS readonly FROM",
)
_CONFIG = """<yandex>
<logger><level>error</level><console>1</console></logger>
<http_port>{port}</http_port><listen_host>127.0.0.1</listen_host>
<path>{folder}/data/</path><tmp_path>{folder}/tmp/</tmp_path>
<user_files_path>{folder}/files/</user_files_path><format_schema_path>{folder}/formats/</format_schema_path>
<users_config>users.xml</users_config><default_profile>default</default_profile>
<default_database>default</default_database><mark_cache_size>67108864</mark_cache_size>
<timezone>Asia/Kathmandu</timezone>
</yandex>
"""
_USERS = """<yandex><profiles><default/></profiles><quotas><default/></quotas><users>
<default><password></password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota></default>
<{user}><password>{password}</password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota></{user}>
</users></yandex>
"""


class _Server:
    port: int
    """Where it is asked."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def ask(self, sql: str) -> str:
        """What it answers, without our client."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", "/", sql.encode())
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        assert answer.status == 200, text
        return text

    def url(self, database: str = "") -> str:
        """That of a database, or of a new one."""
        if not database:
            database = f"kept_{next(self._numbers)}"
            self.ask(f"CREATE DATABASE {database}")
        return self._url(database)

    def _url(self, database: str) -> str:
        return f"clickhouse://127.0.0.1:{self.port}/{database}?compress=0"


class Old(_Server):
    """Debian's, over a folder of its own, and the relay before it. It may be stopped, and started again."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._port = free_port()
        root = Path(self._folder.name)
        for name in ("data", "tmp", "files", "formats"):
            (root / name).mkdir()
        (root / "config.xml").write_text(_CONFIG.format(port=self._port, folder=root))
        (root / "users.xml").write_text(_USERS.format(user=USER, password=PASSWORD))
        self._relay = ThreadingHTTPServer(("127.0.0.1", 0), _relay_to(self._port))
        self.port = self._relay.server_port
        threading.Thread(target=self._relay.serve_forever, daemon=True).start()
        self.start()

    def start(self) -> None:
        assert PROGRAM is not None
        # It ends with us, however we end.
        self._running = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", PROGRAM, "--config-file=config.xml"],
            cwd=self._folder.name,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers, "the ClickHouse server", timeout=60)

    def _answers(self) -> bool:
        try:
            return self.ask("SELECT 1") == "1\n"
        except (OSError, AssertionError, http.client.HTTPException):
            return False

    def stop(self) -> None:
        self._running.kill()
        self._running.wait(30)

    def restart(self) -> None:
        """Have it there again, if it was stopped."""
        if self._running.poll() is not None:
            self.start()

    def close(self) -> None:
        self.stop()
        self._relay.shutdown()
        self._relay.server_close()
        self._folder.cleanup()

    def _url(self, database: str) -> str:
        return super()._url(database).replace("://", f"://{USER}:{quote(PASSWORD, safe='')}@")


def _relay_to(port: int) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = body_of(self).replace(_ASKED, _KNOWN)
            left = ("content-length", "transfer-encoding", "connection")
            headers = {
                name: value for name, value in self.headers.items() if name.lower() not in left
            }
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            try:
                connection.request("POST", self.path, body, headers)
                answer = connection.getresponse()
                text = answer.read()
            except OSError:
                # As of a server that isn't there.
                self.close_connection = True
                return
            finally:
                connection.close()
            self.send_response_only(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in left:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


class Today(_Server):
    """The engine of chDB, behind the interface (:mod:`tests.unit.history.clickhouse.front`)."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._running = subprocess.Popen(
            [sys.executable, "-m", "tests.unit.history.clickhouse.front", self._folder.name],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._running.stdout is not None
        self.port = int(self._running.stdout.readline())

    def close(self) -> None:
        self._running.communicate(timeout=30)
        self._folder.cleanup()
