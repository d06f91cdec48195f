"""Whether what is printed has colours."""

from __future__ import annotations

import os
from collections.abc import Mapping


def use_color(when: str, *, terminal: bool, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether ``--color when`` means colours; anything but always and never is auto, as in hubble.

    auto: on a ``terminal`` that isn't ``dumb``, and NO_COLOR is unset or empty.
    """
    when = when.lower()
    if when in ("always", "never"):
        return when == "always"
    if environment.get("NO_COLOR") or environment.get("TERM") == "dumb":
        return False
    return terminal
