"""The page: a terminal that fills the window, and a line where it has ended. It loads from here alone."""

from __future__ import annotations

from html import escape

FONT_SIZES = range(6, 49)
"""Pixels."""

HEADERS = {
    "Cache-Control": "no-store",
    # The token is part of the address.
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Of every answer."""

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/static/css/xterm.css">
<script src="/static/js/textual.js"></script>
<style>
body {{ background: #000; color: #fff; font: 16px sans-serif; overflow: hidden; }}
.xterm .xterm-viewport {{ overflow: hidden; }}
.ended {{ display: none; position: fixed; inset: auto 0 0 0; z-index: 10; }}
.ended {{ padding: 8px 16px; background: #222; }}
.ended a {{ color: #8cf; }}
body.-closed .ended {{ display: block; }}
</style>
</head>
<body>
<div class="textual-terminal" data-session-websocket-url="{socket}" data-font-size="{size}"></div>
<p class="ended" role="status">The dashboard has ended. <a href="{again}">Start it again</a></p>
</body>
</html>
"""


def page(title: str, host: str, token: str, size: int, *, secure: bool) -> tuple[str, str]:
    """The page, and the policy (CSP) that goes with it.

    ``host``: by which it was asked for. ``size``: of the letters. ``secure``: over TLS, which a proxy speaks.
    """
    way = "wss" if secure else "ws"
    text = _PAGE.format(
        title=escape(title),
        socket=escape(f"{way}://{host}/tab/{token}"),
        size=size,
        again=escape(f"/?token={token}&fontsize={size}"),
    )
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        f"font-src 'self'; connect-src {way}://{host}; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return text, policy
