"""The lab where it can be: root on Linux with bpf(), namespaces, clang and the real Hubble parts."""

from __future__ import annotations

import functools
import os

import pytest

from tests.interop.build import BuildFailed, GoMissing
from tests.lab.lab import possible
from tests.lab.network import NoLab


@functools.cache
def why_not() -> str:
    try:
        possible()
    except (NoLab, GoMissing) as reason:
        return str(reason)
    except BuildFailed as failed:
        pytest.fail(str(failed), pytrace=False)
    return ""


@pytest.fixture(scope="session")
def here() -> None:
    """Skip, and say why, where the lab can't be."""
    if reason := why_not():
        pytest.skip(reason)
    assert os.geteuid() == 0
