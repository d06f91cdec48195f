"""What a server refuses in a request, and what to write instead."""

from __future__ import annotations

import re

from flowwatch.hubble.wire.names import PROTOCOLS

_PROTOCOL = re.compile(r'invalid protocol filter: unknown protocol: "(.*)"')


def way_out(words: str) -> str:
    """What follows a server's ``words``, of the request that it was sent; empty if nothing does.

    >>> way_out('invalid protocol filter: unknown protocol: "tpc"')[:17]
    'did you mean tcp?'
    """
    wrong = _PROTOCOL.search(words)
    if wrong is None:
        return ""
    from difflib import get_close_matches

    near = get_close_matches(wrong[1].lower(), PROTOCOLS, 1)
    meant = f"did you mean {near[0]}? " if near else ""
    return f"{meant}one of {', '.join(PROTOCOLS)}"
