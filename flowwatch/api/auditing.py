"""The audit as a call: traffic, policies, report."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from flowwatch.api.agent_options import read_options
from flowwatch.api.keywords import GivenKeywords, Keywords, Path, Paths
from flowwatch.api.policies_in_force import read_cluster
from flowwatch.api.policy_files import read_policies, read_text
from flowwatch.api.traffic import ended_source, filter_text
from flowwatch.audits.audit import Audit
from flowwatch.audits.expect import read_expected
from flowwatch.egress.chosen import ChosenJoin
from flowwatch.errors import UsageError
from flowwatch.flows.join import Join
from flowwatch.flows.model import BOTH
from flowwatch.goyaml.nodes import DocumentError
from flowwatch.hubble.filters.request import parse_time
from flowwatch.text import safe

if TYPE_CHECKING:
    from flowwatch.audits.expect import Expected
    from flowwatch.audits.findings import AuditReport
    from flowwatch.flows.source import Source
    from flowwatch.policy.agent_options import AgentOptions
    from flowwatch.policy.engine import PolicySet


def audit(
    *files: Path,
    policies: Paths = (),
    policies_from_cluster: bool = False,
    cilium_config: Path = "",
    expect: Path = "",
    applied_at: str = "",
    source: Source | None = None,
    filter: str = "",
    **keywords: Unpack[Keywords],
) -> AuditReport:
    """Does the policy block as expected, and only that? Traffic judged by policies.

        report = flowwatch.audit("flows.jsonl", policies="policy.yaml", namespace="weather")
        report.failed, report.findings

    Args:
        files: paths of captures, ``-`` for standard input; without any, a server is asked.
        policies: YAML or JSON files, and folders of them.
        policies_from_cluster: instead, those of the cluster, by the kubeconfig.
        cilium_config: a file with the ConfigMap ``cilium-config``, whose options the cluster's agents decide
            by; else those are asked for with the policies, or taken for Cilium's defaults.
        expect: a file that says what must be reached, and what must not.
        applied_at: when the policies were applied (``5m`` ago, ``2026-01-31T10:00:00Z``); else
            since verdicts show it.
        source: read this instead, as :func:`flowwatch.read` does.
        filter: only the traffic of the rows that it finds, in the dashboard's language: ``ns:shop port:443``.
            All that is read is then held in memory, as rows are known at the end.
        keywords: as :func:`flowwatch.open_source` takes them.

    What is odd about the policies comes as UserWarning; what wasn't seen of the traffic stands in
    the report. Raises FlowwatchError, one line that says what to do.
    """
    told: list[str] = []
    options = read_options(os.fspath(cilium_config))
    chosen = ChosenJoin(filter_text(filter), BOTH) if filter else None
    audit = auditor(
        _policies(_paths(policies), policies_from_cluster, GivenKeywords(keywords), told, options),
        applied_at=applied_at,
        expect=os.fspath(expect),
        join=chosen,
    )
    source, warned = ended_source(source, files, keywords, "an audit ends")
    audit.source = source.state().where
    try:
        batches = source.batches()
        report = audit.read(batches if chosen is None else chosen.chosen(batches))
    finally:
        source.close()
    for line in (*told, *warned):
        warnings.warn(line, UserWarning, stacklevel=2)
    return report


def auditor(
    policies: PolicySet, *, applied_at: str = "", expect: str = "", join: Join | None = None
) -> Audit:
    """An audit that waits for batches of ``join``. The rest as above; raises UsageError."""
    return Audit(
        policies,
        applied_at=parse_time(applied_at, "applied-at") if applied_at else None,
        expected=_expected(expect) if expect else [],
        join=join,
    )


def _expected(path: str) -> list[Expected]:
    try:
        return read_expected(read_text(path, "expectations"), path)
    except DocumentError as error:
        column = f":{error.column}" if error.column else ""
        raise UsageError(f"{safe(path)}:{error.line}{column}: {safe(error.reason)}") from None


def _paths(named: Paths) -> list[str]:
    if isinstance(named, str | os.PathLike):
        return [os.fspath(named)]
    return [os.fspath(path) for path in named]


def _policies(
    paths: Sequence[str],
    from_cluster: bool,
    given: GivenKeywords,
    told: list[str],
    options: AgentOptions,
) -> PolicySet:
    if from_cluster and paths:
        raise UsageError("cannot set both policies and policies_from_cluster")
    if from_cluster:
        return read_cluster(given, told.append, options)
    if not paths:
        raise UsageError("no policy was given", "policies names files, or folders of them")
    try:
        return read_policies(paths, told.append, options=options)
    except UsageError as error:
        # On the command line they stand above the error; here it is all that is seen.
        raise UsageError("; ".join([*told, error.message]), error.hint) from None
