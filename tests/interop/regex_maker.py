"""Random regular expressions: most of them Go takes, some it refuses; and texts that may match."""

from collections.abc import Callable
from random import Random

_LETTERS = "abkKsSſ\u212aéÉßẞ١1_-/. \n\v\x00\U0001f600Ǆǅǆ𐐀𐐨"
_ATOMS = r"""
. ^ $ \A \z \b \B \d \D \s \S \w \W \pL \PL \pN \p{Lu} \P{Ll} \p{Greek} \p{^Latin} \p{letter} \p{Any}
\p{Cn} \p{C} \p{LC} \p{ascii} \p{Assigned} \p{Nd} \n \t \v \a \101 \0 \07 \x41 \x{212A} \x{1F600} \. \/ \- \_
\Qa.b\E \Q*\E \Q [a] [^a] [a-k] [^a-k] [\d] [^\d\s] [[:alpha:]] [[:^alpha:]] [^[:word:]] []a] [^]a] [a-] [-a]
[\w-] [a\]] [\pL\d] [^\PL] [é-١] [ſ] [K] [[:a] [[:] {,2} { } (?) (?i) (?s) (?m) (?U) (?-i) (?i-s) (?is) () (|)
[[:upper:]] [[:lower:]k] [\x{0}-\x{10FFFF}] [^\x{0}-\x{10FFFF}]
"""
_BAD = r"""
\C \Z \1 \8 \q \x \x{ \x{110000} \xg \p{Nope} \p \p{ \p{Old_Italic} [ [a [b-a] [[:foo:]] [a-\d] \ ( ) (?
(?= (?! (?<= (?P= (?P< (?P<> (?<n (?P<é>x) ** +* {2}{3} {1001} {3,2} {1,1001} * a*+ (?# (?> (?i-) é{2000}
[\b] [\Q] [\é] \é \E
"""
_REPEATS = ("*", "+", "?", "{0}", "{1}", "{2}", "{0,2}", "{2,}", "{1,3}", "{0,}")


def pattern(random: Random, depth: int = 3) -> str:
    """An expression, mostly well-formed."""
    made = _either(random, depth)
    if random.random() < 0.12:
        at = random.randint(0, len(made))
        made = made[:at] + random.choice(_BAD.split()) + made[at:]
    if random.random() < 0.1:
        at = random.randint(0, len(made))
        made = made[:at] + made[at + random.randint(1, 2) :]
    return made


def _either(random: Random, depth: int) -> str:
    return "|".join(_sequence(random, depth) for _ in range(random.choice((1, 1, 1, 2, 3))))


def _sequence(random: Random, depth: int) -> str:
    return "".join(_repeated(random, depth) for _ in range(random.choice((0, 1, 1, 2, 3, 4))))


def _repeated(random: Random, depth: int) -> str:
    kinds: tuple[Callable[[], str], ...] = (
        lambda: random.choice(_LETTERS[:8]),
        lambda: random.choice(_LETTERS[:8]),
        lambda: random.choice(_LETTERS),
        lambda: random.choice(_ATOMS.split()),
    )
    made = random.choice(kinds)()
    if depth and random.random() < 0.3:
        opened = random.choice(("(", "(?:", "(?i:", "(?s:", "(?m-i:", "(?P<n>", "(?<n1>", "(?-U:"))
        made = f"{opened}{_either(random, depth - 1)})"
    if random.random() < 0.3:
        made += random.choice(_REPEATS) + random.choice(("", "", "?"))
    return made


def texts(random: Random, wanted: str, count: int = 12) -> list[str]:
    """Short texts of the same letters, some with parts of the expression."""
    found = ["", "a"]
    for _ in range(count - len(found)):
        letters = _LETTERS[:8] if random.random() < 0.6 else _LETTERS
        made = "".join(random.choice(letters) for _ in range(random.randint(1, 6)))
        if wanted and random.random() < 0.3:
            at = random.randrange(len(wanted))
            made += wanted[at : at + random.randint(1, 4)]
        found.append(made)
    return found
