"""Filters that no flow of a file passes: which name none of them has, and what is near it there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from flowwatch.flows.coverage import NAMED
from flowwatch.flows.model import Endpoint
from flowwatch.hubble.filters.flags import Filters
from flowwatch.text import safe

SEEN = 1000
"""Different pods remembered: enough to name five that are near."""

_LONGEST = 64
# Of a name, for its likeness: a name in Kubernetes is a DNS label of 63, a hostile one is anything.


class Sought:
    """The namespaces and pods that ``filters`` show, and those of the records that were read."""

    def __init__(self, filters: Filters) -> None:
        values = [
            value
            for one in filters.allow
            for value in (*one.source_pod, *one.destination_pod)
            if value.strip("/")
        ]
        self._wanted = list(dict.fromkeys(values))
        self._seen: dict[tuple[str, str], None] = {}
        self._refused = 0

    def again(self) -> None:
        """Begin anew: the flows come once more."""
        self._seen, self._refused = {}, 0

    def refused(self, ends: Callable[[], Iterable[Endpoint]]) -> None:
        """Take in a flow that doesn't pass; ``ends`` tells its two, where a name is asked for."""
        self._refused += 1
        for end in ends() if self._wanted else ():
            if end.namespace and len(self._seen) < SEEN:
                self._seen[end.namespace, end.pod] = None

    def words(self) -> list[str]:
        """Of a source of which nothing passed: a safe line for each name that no record has, else one."""
        if not self._refused:
            return []
        missing = (
            [line for value in self._wanted for line in self._missing(value)] if self._seen else []
        )
        flows, were = ("flow", "was") if self._refused == 1 else ("flows", "were")
        return missing or [
            f"{self._refused:,} {flows} {were} read, none of which passes these filters"
        ]

    def _missing(self, value: str) -> Iterator[str]:
        """What is amiss with one name as the filter has it: pkg/hubble/filters of Cilium, pod.go."""
        namespace, slash, rest = value.partition("/")
        if not slash:
            namespace, rest = "default", value
        prefix = rest.partition("/")[0]
        if any(self._fits(namespace, prefix)):
            return
        elsewhere = [f"{ns}/{pod}" for ns, pod in self._seen if prefix and pod.startswith(prefix)]
        given = "" if slash else " (without a namespace it is default)"
        if elsewhere:
            yield _told(
                f"pod {namespace}/{prefix}{given}", _nearest(f"{namespace}/{prefix}", elsewhere)
            )
        elif not prefix or (slash and not any(self._fits(namespace, ""))):
            yield _told(f"namespace {namespace}", _nearest(namespace, {ns for ns, _ in self._seen}))
        else:
            pods = [f"{ns}/{pod}" for ns, pod in self._seen if pod]
            yield _told(f"pod {namespace}/{prefix}{given}", _nearest(f"{namespace}/{prefix}", pods))

    def _fits(self, namespace: str, prefix: str) -> Iterator[bool]:
        for ns, pod in self._seen:
            yield (not namespace or ns == namespace) and pod.startswith(prefix)


def _told(what: str, near: list[str]) -> str:
    more = f" and {len(near) - NAMED} more" if len(near) > NAMED else ""
    seen = ", ".join(safe(name) for name in near[:NAMED])
    return f"no record of {safe(what)}; seen: {seen}{more}"


def _nearest(name: str, known: Iterable[str]) -> list[str]:
    """``known``, what is most like ``name`` first."""
    from difflib import SequenceMatcher

    like = SequenceMatcher(b=name[:_LONGEST])

    def likeness(one: str) -> tuple[float, str]:
        like.set_seq1(one[:_LONGEST])
        return -like.ratio(), one

    return sorted(known, key=likeness)
