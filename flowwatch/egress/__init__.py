"""The aggregate: attempts in, rows out, the same for every view."""
