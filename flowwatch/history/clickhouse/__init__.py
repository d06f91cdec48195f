"""A history in a ClickHouse server: the same rows in tables, asked and looked after there.

``url`` reads where it is, ``database`` speaks to it, ``tables`` says what the tables are made of, ``sending``
writes, ``records`` reads, ``upkeep`` looks after it. See docs/history.md.
"""
