"""Regular expressions as Go reads and matches them (RE2), and DNS names with stars.

    expression = re2.compile(r"/v[12]/\\pL+")
    expression.fullmatch("/v1/é")

Python's ``re`` reads other expressions, finds other things by the same ones, and can take days for a text
of sixty letters; texts here come from whoever runs a pod, and expressions from whoever wrote a policy. So
the work is bounded, and what would pass the bound is :class:`TooCostly`: nobody can tell, in time.

The answers come from an automaton of ours; where google-re2 is installed (the extra ``re2``), it has those on
long texts, and those that ours gives up on. tests/interop holds both against Go.
"""

from __future__ import annotations

from flowwatch.re2.expression import Expression, compile
from flowwatch.re2.stars import Stars
from flowwatch.re2.syntax import RegexError, TooCostly

__all__ = ["Expression", "RegexError", "Stars", "TooCostly", "compile"]
