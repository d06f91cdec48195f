"""What was seen to tell when policies changed, as plain data, and back (:mod:`flowwatch.flows.keeping`).

Of one that has no judge, and forgets nothing; and as far as marks are found by it, not what stands beside
them. What others alike were counted as is found anew.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Sequence

import msgspec

from flowwatch.audits.keeping import KeptObserver, kept_observer, set_observer
from flowwatch.flows.keeping import Int, Table, held
from flowwatch.flows.model import Kind
from flowwatch.marks.changes import Changes
from flowwatch.marks.sightings import MAX_EDGES, REVISIONS, Cut, Edge, How, Pod, Sightings


class KeptSightings(msgspec.Struct, array_like=True):
    times: list[tuple[Pod, Edge, list[tuple[How, bytes]]]]
    cut: list[tuple[Pod, Edge, list[Cut]]]
    revisions: dict[tuple[str, str, str], dict[Int, tuple[Int, Int]]]


class KeptChanges(msgspec.Struct, array_like=True):
    attempts: Int
    observer: KeptObserver
    seen: KeptSightings


def kept_changes(changes: Changes, kinds: Table[Kind]) -> KeptChanges:
    """The state of ``changes`` between two batches; ``kinds`` as :func:`kept_observer` takes it."""
    seen = changes.seen
    return KeptChanges(
        changes.attempts,
        kept_observer(changes._observer, kinds),
        KeptSightings(
            [
                (*key, [(how, times.tobytes()) for how, times in hows.items()])
                for key, hows in seen.times.items()
            ],
            [(*key, cuts) for key, cuts in seen.cut.items()],
            {
                pod: {revision: (span[0], span[1]) for revision, span in known.items()}
                for pod, known in seen._revisions.items()
            },
        ),
    )


def set_changes(
    changes: Changes, kept: KeptChanges, kinds: Sequence[Kind], numbers: Collection[int]
) -> None:
    """Let one that was just made go on; see :func:`set_observer`.

    ValueError or LookupError for what contradicts itself.
    """
    held(kept.attempts >= 0)
    changes._attempts = kept.attempts
    set_observer(changes._observer, kept.observer, kinds, numbers)
    _set_sightings(changes.seen, kept.seen)


def _set_sightings(seen: Sightings, kept: KeptSightings) -> None:
    held(len(kept.times) <= MAX_EDGES)
    for pod, edge, hows in kept.times:
        # Equal ones are one object, as they were.
        seen.times[pod, edge] = {
            seen._known.setdefault(how, how): _times(content) for how, content in hows
        }
        held(len(seen.times[pod, edge]) == len(hows) > 0)
    seen.cut = {(pod, edge): cuts for pod, edge, cuts in kept.cut}
    held(len(seen.times) == len(kept.times))
    held(seen.times.keys() >= seen.cut.keys())
    held(all(len(known) <= REVISIONS for known in kept.revisions.values()))
    seen._revisions = {
        pod: {revision: list(span) for revision, span in known.items()}
        for pod, known in kept.revisions.items()
    }


def _times(content: bytes) -> array[int]:
    times = array("q", content)
    held(len(times) > 0)
    return times
