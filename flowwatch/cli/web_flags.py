"""Flags of the dashboard's page."""

from __future__ import annotations

from flowwatch.cli.flag_kinds import LIST, TEXT, Flag, Group

PAGE = Group(
    "Page",
    (
        Flag(
            "listen",
            TEXT,
            "where the page is served; port 0: any that is free. Elsewhere than on this machine's own "
            "addresses only with --token",
            "ADDRESS:PORT",
            default="127.0.0.1:8245",
        ),
        Flag(
            "token",
            TEXT,
            "what the page's address must hold, else a new one is made; FLOWWATCH_TOKEN holds one that no "
            "list of processes shows",
            "TOKEN",
        ),
        Flag(
            "host",
            LIST,
            "serve the page by this host name, too, as a proxy's (repeat for several)",
            "NAME",
        ),
    ),
)
