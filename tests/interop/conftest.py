"""Fixtures for tests against the real Hubble.

Every test in this folder needs the parts built from Cilium's Go module. Where there is no Go
the tests skip and say so; in CI (`CI` set) that is a failure, and a failed build is one everywhere.
"""

import os
from pathlib import Path

import pytest

from tests.interop.real import CAPTURES, Binaries, BuildFailed, GoMissing, build


@pytest.fixture(scope="session", autouse=True)
def binaries() -> Binaries:
    """The real parts, built if need be."""
    try:
        return build()
    except GoMissing as missing:
        if os.environ.get("CI"):
            pytest.fail(f"{missing} (in CI the real parts must be tested)", pytrace=False)
        pytest.skip(str(missing))
    except BuildFailed as failed:
        pytest.fail(str(failed), pytrace=False)


@pytest.fixture(scope="session")
def captures() -> Path:
    """The folder of real captures beside the checkout."""
    if not CAPTURES.is_dir():
        pytest.skip("the shared captures are not beside this checkout (../shared/captures)")
    return CAPTURES
