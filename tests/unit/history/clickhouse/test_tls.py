"""TLS to a server: what works, and what is told before anybody is asked. Faults: test_fault_table.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.in_process import flowwatch
from tests.unit.history.clickhouse.servers import PASSWORD, Old
from tests.unit.history.clickhouse.test_answers import WEATHER, shown
from tests.unit.history.clickhouse.tls import Secured, tls_before

pytestmark = pytest.mark.xdist_group("clickhouse")

PAIR = "client_cert and client_cert_key are no certificate and its key, in PEM and not locked"


@pytest.mark.parametrize("way", ["its CA", "unchecked", "a client certificate"])
def test_a_history_is_kept_and_read_through_tls(way: str, secured: Secured) -> None:
    url = {
        "its CA": lambda: secured.url("good"),
        "unchecked": lambda: secured.url("elsewhere", "&verify=0"),
        "a client certificate": lambda: secured.url("asking", secured.client("good")),
    }[way]()
    done = flowwatch("record", "--input-file", WEATHER, "--to", url)
    assert (done.returncode, done.stderr.count("\n")) == (0, 1), done.stderr
    of_file = flowwatch("summary", "-o", "json", "--input-file", WEATHER).stdout
    told = flowwatch("summary", "-o", "json", "--history", url).stdout
    assert told.replace(f"history {shown(url)}?secure=1", WEATHER.name) == of_file


def test_the_password_goes_beside_a_client_certificate(old: Old, secured: Secured) -> None:
    """The client would leave it out, and say nothing."""
    database = shown(old.url()).rpartition("/")[2]
    with tls_before(old.port, secured.of["good"], ask_client=True) as port:
        url = (
            f"clickhouse://flowwatch@localhost:{port}/{database}?secure=1&compress=0"
            f"&ca_cert={secured.of['good'].ca}{secured.client('good')}"
        )
        without = flowwatch("history", "info", url)
        assert "it asks for a password; CLICKHOUSE_PASSWORD has it" in without.stderr
        with_it = url.replace("flowwatch@", f"flowwatch:{PASSWORD.replace('/', '%2F')}@")
        done = flowwatch("record", "--input-file", WEATHER, "--to", with_it)
    assert (done.returncode, done.stderr.count("\n")) == (0, 1), done.stderr


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("ca_cert=TEXT", "ca_cert is of TLS, and this URL asks for none: add secure=1"),
        ("secure=1&ca_cert=TEXTS", "cannot read ca_cert: No such file or directory: TEXTS"),
        ("secure=1&ca_cert=TEXT", "ca_cert holds no certificate in PEM: TEXT"),
        ("secure=1&client_cert_key=TEXT", "client_cert_key is the key of client_cert: name both"),
        ("secure=1&client_cert=TEXT&client_cert_key=TEXT", f"{PAIR}: TEXT, TEXT"),
        ("secure=1&client_cert=TEXT", f"{PAIR}: TEXT, no key is named"),
    ],
)
def test_files_that_cannot_be_used(options: str, line: str, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no certificate\n", "utf-8")
    url = f"clickhouse://me:a-secret-word@localhost:1/kept?{options.replace('TEXT', str(text))}"
    done = flowwatch("summary", "--history", url)
    wanted = f"flowwatch: {line.replace('TEXT', str(text))}\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", wanted)
