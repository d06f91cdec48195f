"""``flowwatch diff``: what two sets of policies decide differently, without traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowwatch.api.policy_files import read_policies
from flowwatch.cli.shared.policies import agent_options
from flowwatch.cli.shared.reading import telling_apart
from flowwatch.cli.shared.style import style
from flowwatch.errors import UsageError
from flowwatch.output import open_output, say
from flowwatch.policy.difference import TooMany, compare
from flowwatch.report.difference import Compared, write_difference
from flowwatch.text import plural

if TYPE_CHECKING:
    from flowwatch.audits.seen_pods import SeenPods
    from flowwatch.cli.flags import Parsed

CLUSTER = "cluster"


def run(parsed: Parsed) -> int:
    """Compare, print; 0, or 1 when something differs, 2 for bad input."""
    with telling_apart():
        return _compare(parsed)


def _compare(parsed: Parsed) -> int:
    paths = parsed.rest
    if len(paths) != 2:
        raise UsageError(
            f"two sets of policies are compared, not {len(paths)}",
            "flowwatch diff OLD NEW, each a file, a folder, or -",
        )
    wanted = parsed.list("pods")
    options = agent_options(parsed)
    if [*paths, *wanted, parsed.text("cilium-config")].count("-") > 1:
        raise UsageError("standard input was given twice", "name - once")
    old, new = (read_policies([path], say, options=options) for path in paths)
    pods = _pods(parsed, wanted, options.cluster) if wanted else None
    try:
        found = compare(
            old,
            new,
            known=None if pods is None else list(pods),
            cluster=options.cluster or "default",
        )
    except TooMany:
        raise UsageError(
            "the selectors of these policies overlap in more ways than can be gone through",
            "name fewer policies at a time, or the pods that there are (--pods)",
        ) from None
    form = parsed.text("output")
    with open_output(None, form) as out:
        write_difference(Compared(old, new, found, pods or {}), form, out, style=style(parsed))
    return int(bool(found.changes))


def _pods(parsed: Parsed, wanted: list[str], own: str) -> SeenPods:
    """The pods of captures, or the cluster's. Raises InputError, UsageError, ServerError."""
    from flowwatch.audits.seen_pods import of_endpoints, of_flows

    found: SeenPods = {}
    if CLUSTER in wanted:
        from flowwatch.hubble.client import config
        from flowwatch.hubble.kube import kubeconfig

        settings = config.load(parsed)
        access = kubeconfig.load(settings.kubeconfig, settings.kube_context)
        from flowwatch.hubble.kube.cluster_policies import read_endpoints

        found |= of_endpoints(read_endpoints(access, timeout=settings.request_timeout))
    if captures := [one for one in wanted if one != CLUSTER]:
        from flowwatch.sources.files import FileSource

        source = FileSource(captures)
        try:
            found |= of_flows(source.batches(), own)
        finally:
            source.close()
    if not found:
        raise UsageError(
            "no pod with labels is there to compare for", "leave out --pods for all that may be"
        )
    say(f"compared for {plural(len(found), 'set')} of labels that pods have")
    return found
