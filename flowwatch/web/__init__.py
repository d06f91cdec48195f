"""The dashboard in a browser: each tab has one of its own, in a pseudo-terminal.

Its page is textual-serve's terminal (xterm.js), which is shown what the program writes; loaded for
``flowwatch web`` alone.
"""
