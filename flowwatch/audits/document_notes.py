"""What is odd about the documents that traffic is judged by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from flowwatch.policy.documents import Documents
from flowwatch.policy.party import Party
from flowwatch.text import plural

_TOLD = 5


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
        are = plural(documents.skipped.total(), "object is no policy", "objects are no policies")
        were = "was" if documents.skipped.total() == 1 else "were"
        notes.append(f"{are} and {were} skipped: {kinds}")
    return tuple(notes)


def foreign_notes(documents: Documents, subjects: Iterable[tuple[Party, str]]) -> Iterator[str]:
    """Policies of other programs that select pods which were seen: nothing here is judged by them."""
    pods = list(subjects) if documents.foreign else []
    for one in documents.foreign:
        names = [name for party, name in pods if one.selects(party.namespace, party.label_set)]
        told = list(dict.fromkeys(names))
        if told:
            which = ", ".join(told[:_TOLD]) + (", …" if len(told) > _TOLD else "")
            yield f"{one} {one.word} {which}, and isn't Cilium's: what it allows or blocks is not judged here"


def foreign_of(documents: Documents, subject: Party) -> str:
    """To be put behind a drop that the policies don't explain: a policy of another program may; else ""."""
    found = [
        f"{one} {one.word} the pod too"
        for one in documents.foreign
        if one.selects(subject.namespace, subject.label_set)
    ]
    return f"; {', '.join(found[:_TOLD])}, and may have done it" if found else ""
