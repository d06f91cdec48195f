"""The one way out: results to standard output or a file, words to standard error.

    say("3 records were skipped")              # a line to the user, beside the result
    put("Healthcheck: Ok\\n")                  # a short result
    with open_output(path, "csv") as out:      # a long one: None or "-" is standard output
        out.write("a,b\\n")

Nothing else in flowwatch prints: what can't be encoded, is closed, or is full is met here alone.
"""

from flowwatch.output.base import ClosedPipe, Output, Writer
from flowwatch.output.files import open_output
from flowwatch.output.standard import StandardError, columns, is_terminal, put, say, shows

__all__ = [
    "ClosedPipe",
    "Output",
    "StandardError",
    "Writer",
    "columns",
    "is_terminal",
    "open_output",
    "put",
    "say",
    "shows",
]
