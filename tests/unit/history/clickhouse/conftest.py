"""The servers, which all tests of this folder share in a process, each with databases of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.unit.history.clickhouse.servers import PROGRAM, Old, Today
from tests.unit.history.clickhouse.tls import Secured, secured_before


@pytest.fixture(scope="package")
def old() -> Iterator[Old]:
    """A real server: without one the tests skip, and say so; in CI they fail."""
    if PROGRAM is None:
        why = "no clickhouse-server is found here (Debian's package of that name)"
        if os.environ.get("CI"):
            pytest.fail(f"{why}; in CI the real server must be tested", pytrace=False)
        pytest.skip(why)
    server = Old()
    yield server
    server.close()


@pytest.fixture(scope="package")
def today() -> Iterator[Today]:
    """Today's engine."""
    server = Today()
    yield server
    server.close()


@pytest.fixture(params=["old", "today"])
def server(request: pytest.FixtureRequest) -> Old | Today:
    """Each of them."""
    found: Old | Today = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="package")
def secured(today: Today, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """TLS before today's engine."""
    with secured_before(today, tmp_path_factory.mktemp("tls")) as found:
        yield found
