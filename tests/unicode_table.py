"""The table of flowwatch/text.py, from Unicode's data: ``python -m tests.unicode_table``.

The data is that of the library regex, which is made from Unicode's files (DerivedCoreProperties.txt).
"""

from __future__ import annotations

import sys

import regex


def ignorable() -> tuple[tuple[int, int], ...]:
    """First and last of each run of default ignorable code points."""
    found = regex.compile(r"\p{Default_Ignorable_Code_Point}")
    runs: list[list[int]] = []
    for code in range(sys.maxunicode + 1):
        if found.match(chr(code)):
            if runs and runs[-1][1] == code - 1:
                runs[-1][1] = code
            else:
                runs.append([code, code])
    return tuple((first, last) for first, last in runs)


if __name__ == "__main__":
    for one in ignorable():
        print("    (0x{:04X}, 0x{:04X}),".format(*one))
