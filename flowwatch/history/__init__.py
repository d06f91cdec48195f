"""Records kept in Parquet, and read again as a source: every verb then answers as it did live.

``columns`` says what is kept, ``tables`` makes it of flows and flows of it, ``store`` knows the folder and
its files, ``recorder`` writes, ``reading`` reads, ``resume`` goes on where an earlier recorder ended. See
docs/history.md.
"""
