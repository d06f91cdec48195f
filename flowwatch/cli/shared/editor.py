"""What the dashboard's editor edits: the same flows, read to their end when it is opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from flowwatch.cli.shared.options import directions, stable_of

if TYPE_CHECKING:
    from flowwatch.audits.live import LiveAudit
    from flowwatch.cli.flags import Parsed
    from flowwatch.drafts.draft import Drafter
    from flowwatch.drafts.drafting import Drafting
    from flowwatch.flows.source import Source


def editor(parsed: Parsed, again: Callable[[], Source], audit: LiveAudit | None) -> Drafting:
    """What is edited, of the verb ``draft`` with its flags, else as that does without any.

    ``again`` opens what was seen once more.
    """
    from flowwatch.drafts.drafting import Drafting

    of_draft = "edit" in parsed.flags
    in_force = audit.policies if audit is not None else None

    def drafter() -> Drafter:
        from flowwatch.cli.shared.policies import agent_options, given_of
        from flowwatch.drafts.documents import KINDS
        from flowwatch.drafts.draft import Drafter
        from flowwatch.drafts.needs import SUBJECTS
        from flowwatch.policy.agent_options import UNKNOWN

        if not of_draft:
            both = frozenset({"egress", "ingress"})
            options = UNKNOWN if in_force is None else in_force.options
            return Drafter(directions=both, options=options, given=in_force)
        owner = next(one for one in SUBJECTS if one == parsed.text("for"))
        kind = next(one for one in KINDS if one == parsed.text("kind"))
        picked = tuple(parsed.list("allow"))
        options, stable = agent_options(parsed), stable_of(parsed)
        given = given_of(parsed, options)
        return Drafter(
            owner, kind, directions(parsed), picked, options, given,
            stable=stable, l7=parsed.switch("l7"), dns_names=parsed.switch("dns-names"),
        )  # fmt: skip

    piped = "input-file" in parsed.flags and "-" in parsed.list("input-file")
    return Drafting(
        again,
        drafter,
        refusal="standard input can't be read twice: name a file" if piped else "",
        path=parsed.text("output") if of_draft else "",
        in_force=in_force,
    )
