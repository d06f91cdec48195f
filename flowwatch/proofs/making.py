"""What stands in an archive, made of what is judged: so it is made, and so it is made again to check it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowwatch import __version__
from flowwatch.audits.audit import Audit
from flowwatch.audits.expect import read_expected
from flowwatch.audits.findings import AuditReport
from flowwatch.egress.schema import SCHEMA_VERSION as ROWS_VERSION
from flowwatch.errors import InputError
from flowwatch.flows.model import Batch
from flowwatch.goyaml.nodes import DocumentError
from flowwatch.history.columns import FORMAT
from flowwatch.policy import AgentOptions, OptionsError, PolicySet, load, read_agent_options
from flowwatch.policy.agent_options import UNKNOWN
from flowwatch.proofs.archive import Content, digest_of
from flowwatch.proofs.digests import Digests
from flowwatch.report.audit.json import SCHEMA_VERSION as AUDIT_VERSION
from flowwatch.report.audit.json import audit_json
from flowwatch.report.audit.text import audit_lines
from flowwatch.report.coverage import COVERAGE, WINDOW, as_object
from flowwatch.report.jsontext import to_json
from flowwatch.report.summary_table import Style
from flowwatch.text import safe

VERSION = 1
"""Of the archive."""
AUDIT, TEXT, SEEN, DIGESTS = "audit.json", "audit.txt", "coverage.json", "digests.json"
MADE = (AUDIT, TEXT, SEEN, DIGESTS)
"""What is made of the flows."""
FILES = "files.json"
"""The files that the flows came from."""
EXPECTED, AGENTS = "expect.yaml", "cilium-config.yaml"
POLICIES = "policies/"


@dataclass(slots=True)
class Asked:
    """What is judged, and how: what a replay needs beside the flows."""

    documents: dict[str, str] = field(default_factory=dict)
    """Texts of policies by the names of their entries."""
    agents: str = ""
    """The agents' options, as text; "" where nobody said them."""
    expected: str = ""
    """What must be reached, and what must not, as text; "" for nothing."""
    options: dict[str, Any] = field(default_factory=dict)
    """Filters, window and the like, as the manifest has them."""

    @property
    def entries(self) -> dict[str, Content]:
        """The documents as entries."""
        texts = {**self.documents, AGENTS: self.agents, EXPECTED: self.expected}
        return {name: text.encode("utf-8", "surrogatepass") for name, text in texts.items() if text}

    def agent_options(self) -> AgentOptions:
        """Those that the policies are judged by. InputError."""
        try:
            return read_agent_options(self.agents, AGENTS) if self.agents else UNKNOWN
        except OptionsError as error:
            raise InputError(f"{AGENTS} can't be used: {safe(str(error))}") from None

    def policies(self) -> PolicySet:
        """They, compiled."""
        return load(self.documents.items(), options=self.agent_options())

    def auditor(self) -> Audit:
        """An audit of them, that waits for batches. InputError."""
        try:
            expected = read_expected(self.expected, EXPECTED) if self.expected else []
        except DocumentError as error:
            raise InputError(f"{EXPECTED}:{error.line}: {safe(error.reason)}") from None
        audit = Audit(self.policies(), applied_at=self.options.get("applied_at"), expected=expected)
        # Not where they lie: the same flows give the same answer wherever that is.
        audit.source = f"the flows of this proof {self.options.get('filters', '')}".strip()
        return audit


@dataclass(slots=True)
class Judged:
    """What became of it."""

    entries: dict[str, Content]
    """Those of :data:`MADE`."""
    summary: dict[str, Any]
    """What the manifest says of it."""
    failed: bool


class Judging:
    """Reads batches, and makes the entries of them.

    ``keep`` is given each batch before it is judged.
    """

    def __init__(self, asked: Asked, keep: Callable[[Batch], None] | None = None) -> None:
        self._audit = asked.auditor()
        self._digests = Digests()
        self._keep = keep

    def read(self, batches: Iterable[Batch]) -> None:
        """All of them, in their order."""
        for batch in batches:
            self._digests.add(batch.flows)
            if self._keep is not None:
                self._keep(batch)
            self._audit.join.add(batch)

    def finish(self) -> Judged:
        """The entries; nothing may be read afterwards."""
        report = self._audit.finish()
        tally = self._audit.tally
        seen = tally.coverage(tally.last_seen)
        hours = self._digests.hours
        told = {"schema_version": ROWS_VERSION, **as_object((WINDOW, *COVERAGE), seen)}
        entries = {
            AUDIT: audit_json(report),
            TEXT: "".join(f"{line}\n" for line in audit_lines(report, Style(width=0))),
            SEEN: to_json(told, indent=2) + "\n",
            DIGESTS: to_json({"records": self._digests.records, "hours": hours}, indent=2) + "\n",
        }
        summary = {
            "result": _result(report),
            "window": told["window"],
            "records": self._digests.records,
        }
        made: dict[str, Content] = {name: text.encode() for name, text in entries.items()}
        return Judged(made, summary, report.failed)


def made_by() -> dict[str, Any]:
    """The versions that an answer depends on."""
    return {
        "flowwatch": __version__,
        "audit_schema": AUDIT_VERSION,
        "coverage_schema": ROWS_VERSION,
        "history_format": FORMAT,
    }


def manifest(
    asked: Asked, judged: Judged, entries: Mapping[str, Content], by: Mapping[str, Any]
) -> bytes:
    """The manifest of an archive of ``entries``, made by the versions ``by``. Raises OSError."""
    every = {}
    for name in sorted(entries):
        size, digest = digest_of(entries[name])
        every[name] = {"bytes": size, "sha256": digest}
    told = {
        "flowwatch_proof": VERSION,
        "made_by": by,
        "options": asked.options,
        **judged.summary,
        "entries": every,
    }
    return (to_json(told, indent=2) + "\n").encode()


@contextlib.contextmanager
def kept_flows(folder: Path) -> Iterator[Callable[[Batch], None]]:
    """What keeps batches as a history in ``folder``: the same batches give the same names and rows."""
    from flowwatch.history import store
    from flowwatch.history.events import Event, Place, events_of, late
    from flowwatch.history.tables import Held
    from flowwatch.history.writing import Job, write

    store.create(folder)
    run = "proof"
    held, events, sequence, recorded, number = Held(run, 0), list[Event](), 0, 0, 0

    def flush() -> None:
        nonlocal held, events, number
        if held.flows or events:
            write(folder, Job(run, number, held, events))
            held, events, number = Held(run, sequence), [], number + 1

    def keep(batch: Batch) -> None:
        nonlocal recorded, sequence, events
        # Of the records' own times: who makes it again makes the same.
        newest = max([0, *[flow.time for flow in batch.flows]])
        recorded = max(recorded + 1, min(newest, _LATEST))
        place = Place(recorded, run, sequence, batch.origin)
        events += events_of(batch, place)
        if batch.late is not None:
            events += late(batch.late, Place(recorded, run, sequence, batch.origin))
        held.add(batch.flows, recorded, batch.origin)
        sequence += len(batch.flows)
        if len(held.flows) >= CUT:
            flush()

    yield keep
    flush()


CUT = 32_768
"""Flows that are written at once."""
_LATEST = 1 << 62
"""In 2116: a spoilt time leaves room for what comes after it."""


def _result(report: AuditReport) -> str:
    if report.failed:
        return "findings"
    return "as expected" if report.blind.judged else "no evidence"
