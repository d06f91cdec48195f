"""Flags of what records, looks after a history, and holds traffic to what was."""

from __future__ import annotations

from flowwatch.cli import values
from flowwatch.cli.flag_kinds import LIST, NUMBER, SWITCH, TEXT, Flag, Group
from flowwatch.cli.policy_flags import CILIUM_CONFIG, DEBUG, DEMO_TRAFFIC, DIRECTION, output
from flowwatch.cli.values import outputs

RECORD = Group(
    "Record",
    (
        Flag(
            "to",
            TEXT,
            "keep what comes there: a folder, s3://BUCKET/PREFIX, clickhouse://HOST/DATABASE",
            "DIR",
        ),
        Flag("for", TEXT, "end after this long", "DURATION", check=values.DURATION),
        Flag("keep", TEXT, "delete what is older: 7d, 12h", "AGE", check=values.AGE),
        Flag(
            "max-size", TEXT, "delete the oldest hours beyond this: 10GB", "SIZE", check=values.SIZE
        ),
        Flag("raw", SWITCH, "keep whole records beside: several times as large"),
        Flag("spill", TEXT, "where what comes waits while ClickHouse doesn't answer", "DIR"),
    ),
)
GATE = Group(
    "Gate",
    (
        Flag(
            "for",
            TEXT,
            "look at a server for this long from now on, else at what it holds",
            "DURATION",
            check=values.DURATION,
        ),
        Flag("max-dropped", NUMBER, "more dropped attempts are too many", "N"),
        Flag("max-new-destinations", NUMBER, "more that the baseline hasn't are too many", "N"),
        Flag("baseline", TEXT, "what was there before: a history (flowwatch record)", "DIR"),
        DEMO_TRAFFIC,
        DIRECTION,
        output(outputs("text", "json", "junit", "github", "markdown")),
    ),
)
PROOF = Group(
    "Proof",
    (
        Flag(
            "filename",
            LIST,
            "policies to judge by: YAML or JSON, a folder, or - (repeat for several)",
            "FILE",
            short="f",
        ),
        CILIUM_CONFIG,
        Flag("expect", TEXT, "must reach / must not reach, as YAML", "FILE"),
        Flag(
            "applied-at", TEXT, "when the policies were applied, else as verdicts show it", "TIME"
        ),
        Flag(
            "with-flows", SWITCH, "put the flows in, so that it can be replayed without the history"
        ),
        Flag("output", TEXT, "write here, whole or not at all; - is standard output", "FILE", "o"),
    ),
)
VERIFIED = Group(
    "Replay",
    (
        Flag("history", TEXT, "replay it from what flowwatch record has kept there", "DIR"),
        Flag("input-file", LIST, "replay it from captures; - is standard input", "FILE"),
        DEBUG,
    ),
)
INFO = Group("Output", (output(outputs("text", "json")), DEBUG))
UPKEEP = Group("History", (DEBUG,))
FORGET = Group(
    "Which records (of either)",
    (
        Flag("before", TEXT, "before this time, or this long ago: 720h, 2026-01-31", "TIME"),
        Flag("namespace", LIST, "of which one end is in it (repeat for several)", "NAMESPACE", "n"),
        Flag("pod", LIST, "of which one end is that pod (repeat for several)", "NAMESPACE/POD"),
        DEBUG,
    ),
)
ASK = Group(
    "Question",
    (
        Flag("list", SWITCH, "tell the questions, and end"),
        Flag(
            "since", TEXT, "attempts from this time, or this long ago; of some, the moment", "TIME"
        ),
        Flag("until", TEXT, "attempts before this time, or this long ago", "TIME"),
        Flag("namespace", LIST, "of pods in it (repeat for several)", "NAMESPACE", "n"),
        Flag("workload", LIST, "of its pods (repeat for several)", "NAME"),
        Flag(
            "peer",
            TEXT,
            "to that destination; * at its beginning or end stands for anything",
            "NAME",
        ),
        DIRECTION,
        Flag("limit", NUMBER, "rows at most, 0 for all", "N", default="100"),
        Flag(
            "engine",
            TEXT,
            "who answers of files: {choices}",
            "ENGINE",
            default="duckdb",
            choices=values.ENGINE,
        ),
        output(outputs("text", "json", "csv")),
        DEBUG,
    ),
)
