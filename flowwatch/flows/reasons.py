"""Why a packet was dropped: Hubble's number, looked up in a table of plain sentences.

    >>> reason(133).name
    'POLICY_DENIED'
    >>> 133 in POLICY_REASONS, 158 in POLICY_REASONS
    (True, False)

The facts are in :mod:`flowwatch.flows.reasons_table`. Looking up is one dict access, as it happens
for each record of a live stream.
"""

from __future__ import annotations

import msgspec

from flowwatch.flows import reasons_table as table
from flowwatch.flows.reasons_table import L7_DENIED as L7_DENIED
from flowwatch.hubble.wire.enum_names import newer_name
from flowwatch.text import safe


class DropReason(msgspec.Struct, frozen=True):
    """One reason. ``plain`` and ``next`` are one English sentence each, for people new to eBPF."""

    number: int
    """Hubble's number (flow.DropReason), ``L7_DENIED`` for a denial by the proxy."""
    name: str
    """Hubble's name; the number as text where Hubble, or this version of ours, has none."""
    cilium_text: str
    """What ``cilium monitor`` and ``hubble observe`` print as the type; empty if they print none."""
    group: str
    """One of :data:`flowwatch.flows.reasons_table.CLASSES`."""
    plain: str
    """What happened."""
    next: str
    """What to look at next."""


REASONS: dict[int, DropReason] = {row[0]: DropReason(*row) for row in table.TABLE}
"""All reasons that this version knows, by number."""

_BY_NAME: dict[str, DropReason] = {known.name: known for known in REASONS.values()}

POLICY_REASONS: frozenset[int] = frozenset({133, 181})
"""A network policy decided: 133 no rule allows it, 181 a deny rule forbids it. The proxy's denials
are policy too, but have no number on the wire: ``L7_DENIED``."""

NOT_A_LOSS: frozenset[int] = frozenset(
    number for number, known in REASONS.items() if known.group == table.NOT_A_LOSS
)
"""Reported as drops, but nothing is missing at the other end: never counted as dropped."""


def reason(number: int) -> DropReason:
    """The reason with Hubble's ``number``; for one that we don't know, an entry that says so.

    Its name is then the number, or the newer name that a capture file gave it (not escaped).
    """
    known = REASONS.get(number)
    if known is not None:
        return known
    name = newer_name(number) or str(number)
    return DropReason(
        number,
        name,
        "",
        table.UNKNOWN,
        f"Hubble gave drop reason {safe(name)}, which this version of flowwatch doesn't know.",
        "A newer Cilium may have added it: see its release notes, or update flowwatch.",
    )


def by_name(name: str) -> DropReason | None:
    """The reason that Hubble calls ``name``, exactly as written (``POLICY_DENIED``, ``L7_DENIED``).

    A number as text (``"214"``) finds what :func:`reason` says of it; anything else is ``None``.
    """
    known = _BY_NAME.get(name)
    if known is None and name.isascii() and name.isdigit():
        return reason(int(name))
    return known
