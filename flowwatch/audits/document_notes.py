"""What is odd about the documents that traffic is judged by."""

from __future__ import annotations

from flowwatch.policy.documents import Documents


def document_notes(documents: Documents) -> tuple[str, ...]:
    """What an audit or a what-if has to say of the documents themselves: replaced, missing, skipped."""
    notes = [
        f"{old.reference} in {old.file}, line {old.line}, is replaced by "
        f"the one in {new.file}, line {new.line}"
        for old, new in documents.replaced
    ]
    notes += documents.missing
    if documents.skipped:
        kinds = ", ".join(f"{kind} ({count})" for kind, count in documents.skipped.most_common(5))
        notes.append(
            f"{documents.skipped.total()} objects are no policies and were skipped: {kinds}"
        )
    return tuple(notes)
