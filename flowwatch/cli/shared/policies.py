"""The policies that a command line names; what is odd about them is told on standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowwatch.api.policies_in_force import read_cluster
from flowwatch.api.policy_files import read_policies
from flowwatch.errors import UsageError
from flowwatch.output import say

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed
    from flowwatch.policy.engine import PolicySet


def from_cluster(parsed: Parsed) -> bool:
    """Whether the cluster is to be asked. A verb without the flag doesn't ask."""
    return "policies-from-cluster" in parsed.flags and parsed.switch("policies-from-cluster")


def in_force(parsed: Parsed) -> PolicySet | None:
    """Those of ``--policies`` or of the cluster; None without either. Raises UsageError, ServerError."""
    paths = parsed.list("policies")
    if from_cluster(parsed):
        if paths:
            raise UsageError("cannot set both --policies and --policies-from-cluster")
        return read_cluster(parsed, say)
    return read_policies(paths, say) if paths else None


def read_set(parsed: Parsed, flag: str = "filename") -> PolicySet:
    """The policies that ``-f`` names, or those of the cluster. Raises UsageError without any."""
    paths = parsed.list(flag) + parsed.rest
    if from_cluster(parsed):
        if paths:
            raise UsageError("cannot set both --filename and --policies-from-cluster")
        return read_cluster(parsed, say)
    if not paths:
        raise UsageError("no policy was given", f"--{flag} FILE, a folder, or - for standard input")
    if "-" in paths and "-" in parsed.list("input-file"):
        raise UsageError("policies and flows can't both come from standard input")
    return read_policies(paths, say)
