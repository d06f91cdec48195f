"""Fixtures for tests against the real Hubble and the real Kubernetes API server.

Every test in this folder needs the parts built from Cilium's Go module, and some those built from
Kubernetes'. Where there is no Go the tests skip and say so; in CI (`CI` set) that is a failure, and a
failed build is one everywhere.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from tests.interop import control_plane
from tests.interop.build import build_metrics, build_s3
from tests.interop.control_plane import ControlPlane
from tests.interop.objects import S3Server
from tests.interop.oracle import Oracle
from tests.interop.real import Binaries, BuildFailed, GoMissing, build

Built = TypeVar("Built")


def _if_it_can_be_built(make: Callable[[], Built]) -> Built:
    try:
        return make()
    except GoMissing as missing:
        if os.environ.get("CI"):
            pytest.fail(f"{missing} (in CI the real parts must be tested)", pytrace=False)
        pytest.skip(str(missing))
    except BuildFailed as failed:
        pytest.fail(str(failed), pytrace=False)


@pytest.fixture(scope="session", autouse=True)
def binaries() -> Binaries:
    """The real parts, built if need be."""
    return _if_it_can_be_built(build)


@pytest.fixture(scope="package")
def api() -> ControlPlane:
    """The real API server, built if need be; all tests of the process share it."""
    return _if_it_can_be_built(control_plane.shared)


@pytest.fixture(scope="package", autouse=True)
def _no_api_for_other_tests() -> Iterator[None]:
    """The API server ends with these tests: idle it takes 3% of a core, in each process."""
    yield
    control_plane.end_shared()


@pytest.fixture(scope="package")
def s3() -> Iterator[S3Server]:
    """A real S3 server, built if need be; all tests of the process share it, with a bucket each."""
    with S3Server(_if_it_can_be_built(build_s3)) as running:
        yield running


@pytest.fixture(scope="session")
def metrics() -> Path:
    """The folder of what reads metrics and dashboards, built if need be."""
    return _if_it_can_be_built(build_metrics)


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    """Cilium's engine."""
    with Oracle() as running:
        yield running


@pytest.fixture(scope="module")
def report(request: pytest.FixtureRequest) -> Iterator[Callable[[str], None]]:
    """Counts what it is called with, and prints that at the end of the module, named after it."""
    counts: Counter[str] = Counter()
    yield lambda what: counts.update([what])
    told = ", ".join(f"{what} {n:,}" for what, n in sorted(counts.items()))
    print(f"\n{request.module.__name__.rpartition('test_')[2]}: {told}")
