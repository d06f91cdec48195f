"""How the dashboard looks: colours by role, and the signs it draws with.

Nothing is told by colour alone, and the background is always the terminal's own. Colours are
given as numbers of the 256-colour palette or as the terminal's own sixteen, never as RGB, so that
tmux, SSH and old terminals show what was meant, in few bytes.

========  ======================================================================
theme     when it is chosen by ``auto``
========  ======================================================================
dark      256 colours and a dark background (asked by OSC 11, else COLORFGBG)
light     256 colours and a light background
ansi      background unknown, or 16 colours (``TERM=linux``)
mono      ``NO_COLOR`` is set, or ``TERM`` is a terminal without colours
========  ======================================================================

``contrast`` and ``contrast-light`` are for who sees little: WCAG's 7 to 1 and not 4.5. Of ``ansi`` the
terminal says what its colours are: it has red alone, which can be read on black (where bold is bright)
and on white. Others are the user's own (:mod:`flowwatch.tui.own_themes`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.style import Style

from flowwatch.tui.named import NAMES, KeyNames

THEMES: dict[str, str] = {
    "auto": "as the terminal's background asks for",
    "dark": "256 colours on a dark background",
    "light": "256 colours on a light background",
    "contrast": "the highest contrast, on a dark background",
    "contrast-light": "the highest contrast, on a light background",
    "ansi": "the terminal's own sixteen colours",
    "mono": "no colours: bold, underline and reverse only",
}

# role: what it is for. Each theme below gives every role a style, in the words of rich.
ROLES: dict[str, str] = {
    "text": "ordinary text",
    "strong": "text that is looked for",
    "dim": "text that may be overlooked",
    "head": "headings of tables and panels",
    "drop": "dropped: the word, the sign, the number",
    "warn": "audited, errors, lost events, warnings",
    "ok": "forwarded",
    "accent": "names of keys, of the place we read from",
    "badge": "a state that changes what is shown: PAUSED, drops only",
    "banner": "the server is lost",
    "input": "what is being typed",
    "caret": "the place in it",
}

BLANK = frozenset({"text", "strong", "dim", "drop", "warn", "ok"})
"""Roles in which a space looks the same: no theme gives them a background or an underline."""

Colors = Mapping[str, str]
"""The styles of a theme by role, in the words of rich; ``cursor`` is the selected row's."""

COLORS: dict[str, Colors] = {
    "dark": {
        "text": "", "strong": "bold", "dim": "color(247)", "head": "bold color(247)",
        "drop": "bold color(203)", "warn": "bold color(221)", "ok": "color(114)",
        "accent": "color(117)", "badge": "bold color(16) on color(221)",
        "banner": "bold color(231) on color(160)", "input": "bold", "caret": "reverse",
        "cursor": "on color(237)", "cursor:drop": "bold color(210)",
    },
    "light": {
        "text": "", "strong": "bold", "dim": "color(241)", "head": "bold color(241)",
        "drop": "bold color(124)", "warn": "bold color(94)", "ok": "color(22)",
        "accent": "color(25)", "badge": "bold color(231) on color(94)",
        "banner": "bold color(231) on color(160)", "input": "bold", "caret": "reverse",
        "cursor": "on color(254)",
    },
    "contrast": {
        "text": "", "strong": "bold", "dim": "color(252)", "head": "bold color(252)",
        "drop": "bold color(217)", "warn": "bold color(226)", "ok": "color(120)",
        "accent": "bold color(123)", "badge": "bold color(16) on color(231)",
        "banner": "bold color(16) on color(217)", "input": "bold", "caret": "reverse",
        "cursor": "reverse",
    },
    "contrast-light": {
        "text": "", "strong": "bold", "dim": "color(238)", "head": "bold color(238)",
        "drop": "bold color(88)", "warn": "bold color(54)", "ok": "",
        "accent": "bold color(18)", "badge": "bold color(231) on color(16)",
        "banner": "bold color(231) on color(88)", "input": "bold", "caret": "reverse",
        "cursor": "reverse",
    },
    "ansi": {
        "text": "", "strong": "bold", "dim": "", "head": "bold",
        "drop": "bold red", "warn": "bold", "ok": "",
        "accent": "bold", "badge": "bold reverse",
        "banner": "bold reverse", "input": "bold", "caret": "reverse",
        "cursor": "reverse",
    },
    "mono": {
        "text": "", "strong": "bold", "dim": "", "head": "bold underline",
        "drop": "bold", "warn": "bold", "ok": "",
        "accent": "underline", "badge": "bold reverse",
        "banner": "bold reverse", "input": "bold", "caret": "reverse",
        "cursor": "reverse",
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Signs:
    """What is drawn; every sign is one column wide."""

    dropped: str
    warned: str
    forwarded: str
    unknown: str
    bars: str
    """From the lowest bar to the highest."""
    rule: str
    edge: str
    ellipsis: str
    cursor: str
    to: str
    of: str
    """From a peer to the pod (ingress)."""
    dot: str
    secure: str
    gap: str
    """A time whose records are gone."""
    folded: str
    unfolded: str
    joint: str
    """Between a workload and what tells its pod from the others."""
    times: str
    mark: str
    """When policies changed."""
    window: str
    """In place of the rule: the time that numbers are of."""


FANCY = Signs(
    "✗", "!", "✓", "?", "▁▂▃▄▅▆▇█", "─", "│", "…", "▌", "→", "←", "·", "TLS", "░", "▸", "▾", "·", "×",
    "▲", "━",
)  # fmt: skip
PLAIN = Signs(
    "x", "!", "+", "?", ".:-=+*#@", "-", "|", "~", ">", ">", "<", "-", "TLS", "/", "+", "-", ".", "x",
    "^", "=",
)  # fmt: skip
"""For terminals that aren't UTF-8, or whose font is the Linux console's."""

CURSOR = "cursor:"
"""Before a role: the same on the selected row."""


class Look:
    """One theme with one set of signs and of keys' names, ready to use."""

    def __init__(
        self,
        theme: str,
        signs: Signs = FANCY,
        colors: Colors | None = None,
        keys: KeyNames = NAMES,
    ) -> None:
        """``theme`` is a key of THEMES other than ``auto``; else ``colors`` are its own. ``keys``: what keys
        are called."""
        self.name = theme
        self.signs = signs
        self.keys = keys
        self._styles = _styles(COLORS[theme] if colors is None else colors)

    def style(self, role: str) -> Style:
        """The style for a role of ROLES, or for ``cursor:`` and a role."""
        return self._styles[role]


def _styles(colors: Mapping[str, str]) -> dict[str, Style]:
    # Textual's base style would leave "None" colours as they are: nothing to set here.
    styles = {role: Style.parse(colors[role]) for role in ROLES}
    bar = Style.parse(colors["cursor"])
    for role in ROLES:
        own = styles[role]
        if bar.reverse:
            # In reverse a colour would become the background: only the weight stays.
            own = Style(bold=own.bold, underline=own.underline)
        elif role in ("dim", "head"):
            # On the bar it would be too faint.
            own = Style(bold=own.bold)
        elif CURSOR + role in colors:
            own = Style.parse(colors[CURSOR + role])
        styles[CURSOR + role] = own + bar
    return styles


def auto_theme(environ: Mapping[str, str], background: str) -> str:
    """The theme for a terminal. ``background`` is ``dark``, ``light`` or "" when it isn't known."""
    term = environ.get("TERM", "")
    if environ.get("NO_COLOR") or term in ("dumb", "vt100", "vt220"):
        return "mono"
    many = "256color" in term or environ.get("COLORTERM", "") in ("truecolor", "24bit")
    if not many and not term.startswith(("xterm-", "alacritty", "foot", "ghostty")):
        return "ansi"
    return background or _colorfgbg(environ.get("COLORFGBG", "")) or "ansi"


def _colorfgbg(value: str) -> str:
    """rxvt, Konsole and iTerm put their colours there, as ``15;0``: the last is the background."""
    number = value.rpartition(";")[2]
    if not (number.isascii() and number.isdigit()):
        return ""
    return "light" if int(number) in (7, 15) else "dark"


def signs_for(environ: Mapping[str, str], encoding: str) -> Signs:
    """The signs that a terminal can be trusted to show."""
    if environ.get("TERM", "") in ("linux", "vt100", "vt220", "dumb"):
        return PLAIN
    # Python writes UTF-8 there all the same, and says so in LC_CTYPE (PEP 538).
    kind = environ.get("LC_CTYPE", "").replace("C.UTF-8", "")
    if (environ.get("LC_ALL") or kind or environ.get("LANG")) in ("C", "POSIX"):
        return PLAIN
    return FANCY if encoding.lower().replace("-", "") == "utf8" else PLAIN
