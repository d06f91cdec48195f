"""The policies that a command line names; what is odd about them is told on standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowwatch.api.agent_options import read_options
from flowwatch.api.policies_in_force import read_cluster
from flowwatch.api.policy_files import read_policies
from flowwatch.errors import UsageError
from flowwatch.output import say

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed
    from flowwatch.policy.agent_options import AgentOptions
    from flowwatch.policy.engine import PolicySet

_FROM_STANDARD_INPUT = ("filename", "policies", "current", "input-file")


def from_cluster(parsed: Parsed) -> bool:
    """Whether the cluster is to be asked. A verb without the flag doesn't ask."""
    return "policies-from-cluster" in parsed.flags and parsed.switch("policies-from-cluster")


def agent_options(parsed: Parsed) -> AgentOptions:
    """Those of ``--cilium-config``; unknown without it. Raises UsageError."""
    path = parsed.text("cilium-config")
    flags = [name for name in _FROM_STANDARD_INPUT if name in parsed.flags]
    if path == "-" and any("-" in parsed.list(flag) for flag in flags):
        raise UsageError("standard input was given twice", "name - once")
    return read_options(path)


def in_force(parsed: Parsed) -> PolicySet | None:
    """Those of ``--policies`` or of the cluster; None without either. Raises UsageError, ServerError."""
    paths = parsed.list("policies")
    if not paths and not from_cluster(parsed):
        if parsed.was_set("cilium-config"):
            raise UsageError(
                "--cilium-config says how policies decide", "give --policies FILE, too"
            )
        return None
    if paths and from_cluster(parsed):
        raise UsageError("cannot set both --policies and --policies-from-cluster")
    policies = _read(parsed, paths, agent_options(parsed))
    if policies.options.known:
        say(policies.options.judged_by)
    return policies


def given_of(parsed: Parsed, options: AgentOptions) -> PolicySet | None:
    """Those of ``--policies``, whose words a draft takes; None without. Raises UsageError."""
    paths = parsed.list("policies")
    if "-" in paths and "-" in parsed.list("input-file"):
        raise UsageError("policies and flows can't both come from standard input")
    return read_policies(paths, say, options=options, groups_alone=True) if paths else None


def read_set(
    parsed: Parsed, flag: str = "filename", options: AgentOptions | None = None
) -> PolicySet:
    """The policies that ``-f`` names, or those of the cluster. Raises UsageError without any.

    ``options``: those of the agents, where they were read already.
    """
    paths = parsed.list(flag) + parsed.rest
    if from_cluster(parsed) and paths:
        raise UsageError("cannot set both --filename and --policies-from-cluster")
    if not paths and not from_cluster(parsed):
        raise UsageError("no policy was given", f"--{flag} FILE, a folder, or - for standard input")
    if "-" in paths and "-" in parsed.list("input-file"):
        raise UsageError("policies and flows can't both come from standard input")
    return _read(parsed, paths, agent_options(parsed) if options is None else options)


def _read(parsed: Parsed, paths: list[str], options: AgentOptions) -> PolicySet:
    if from_cluster(parsed):
        return read_cluster(parsed, say, options)
    return read_policies(paths, say, options=options)
