"""The library's front door: what ``import flowwatch`` offers, and what the command line stands on."""
