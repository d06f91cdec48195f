"""flowwatch: does your Cilium policy block what it should? Egress per pod and destination, from Hubble.

As a library::

    import flowwatch
    frame = flowwatch.read("flows.jsonl")                                  # rows, for pandas
    frame = flowwatch.read(server="localhost:4245", namespace="weather")
    report = flowwatch.audit("flows.jsonl", policies="policy.yaml")        # findings
    source = flowwatch.open_source(follow=True)                            # flows, batch by batch

and whatever yields batches can be read too: see :class:`flowwatch.Source`.
"""

from __future__ import annotations

# typing's own takes 5 ms to load, in which Ctrl-C would end in a traceback: see __main__.
TYPE_CHECKING = False

__version__ = "0.1.0"
__all__ = [
    "AuditReport",
    "Batch",
    "Flow",
    "FlowwatchError",
    "Source",
    "SourceState",
    "__version__",
    "audit",
    "decode",
    "open_source",
    "read",
]

if TYPE_CHECKING:
    from flowwatch.api.auditing import audit
    from flowwatch.api.traffic import decode, open_source, read
    from flowwatch.audits.findings import AuditReport
    from flowwatch.errors import FlowwatchError
    from flowwatch.flows.model import Batch, Flow
    from flowwatch.flows.source import Source, SourceState

_HOMES = {
    "AuditReport": "flowwatch.audits.findings",
    "Batch": "flowwatch.flows.model",
    "Flow": "flowwatch.flows.model",
    "FlowwatchError": "flowwatch.errors",
    "Source": "flowwatch.flows.source",
    "SourceState": "flowwatch.flows.source",
    "audit": "flowwatch.api.auditing",
    "decode": "flowwatch.api.traffic",
    "open_source": "flowwatch.api.traffic",
    "read": "flowwatch.api.traffic",
}
"""Where a public name is loaded from when it is first asked for: the command line asks for none."""


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
