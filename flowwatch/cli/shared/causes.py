"""What blocked attempts, where the command line gives policies: their part is loaded for no one else."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowwatch.audits.causes import RowCauses
    from flowwatch.audits.judge import Judge
    from flowwatch.cli.flags import Parsed
    from flowwatch.flows.join import Join

_GIVEN = ("policies", "policies-from-cluster", "cilium-config")


def asks_for_policies(parsed: Parsed) -> bool:
    """Whether the command line gives the policies in force, or how they decide."""
    return any(name in parsed.flags and parsed.was_set(name) for name in _GIVEN)


def judge_of(parsed: Parsed) -> Judge | None:
    """Who judges by the policies in force; None when none were given. Raises UsageError, ServerError."""
    if not asks_for_policies(parsed):
        return None
    from flowwatch.audits.judge import Judge
    from flowwatch.cli.shared.policies import in_force

    policies = in_force(parsed)
    return Judge(policies) if policies is not None else None


def row_causes(judge: Judge | None, join: Join) -> RowCauses | None:
    """What tells an aggregate that listens to ``join`` what blocked attempts; None without a judge."""
    if judge is None:
        return None
    from flowwatch.audits.causes import RowCauses

    return RowCauses(judge, join)
