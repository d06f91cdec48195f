"""What two sets of policies decide differently, without traffic: by classes that documents tell apart."""

from flowwatch.policy.difference.compare import (
    DIRECTIONS,
    KINDS,
    Change,
    Difference,
    Example,
    Kind,
    compare,
)
from flowwatch.policy.difference.pods import TooMany

__all__ = ["DIRECTIONS", "KINDS", "Change", "Difference", "Example", "Kind", "TooMany", "compare"]
