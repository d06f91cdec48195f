"""Flags of ``watch``."""

from __future__ import annotations

from flowwatch.cli import values
from flowwatch.cli.flag_kinds import LIST, SWITCH, TEXT, Flag, Group
from flowwatch.cli.policy_flags import DEMO_TRAFFIC, output
from flowwatch.cli.values import outputs

WATCH = Group(
    "Watch",
    (
        Flag(
            "webhook", LIST, "post alerts there, as Alertmanager does (repeat for several)", "URL"
        ),
        Flag("webhook-format", TEXT, "{choices}", "FORMAT", choices=values.WEBHOOK),
        Flag("exec", LIST, "run it for each alert, JSON on its standard input", "COMMAND"),
        Flag("metrics", TEXT, "serve metrics to Prometheus there, on /metrics", "ADDR:PORT"),
        Flag(
            "otlp",
            TEXT,
            "push the metrics to an OpenTelemetry Collector; without URL: OTEL_EXPORTER_OTLP_ENDPOINT",
            "URL",
            alone=values.ENVIRONMENT,
        ),
        Flag("state", TEXT, "keep there what is known and not yet delivered, for a restart", "DIR"),
        Flag("baseline", TEXT, "what is normal: a history (flowwatch record)", "DIR"),
        Flag("for", TEXT, "end after this long", "DURATION", check=values.DURATION),
        Flag("check", SWITCH, "read the rules, say what they are, and end"),
        Flag("print", TEXT, "print it, and end: {choices}", "WHAT", choices=values.WATCH_PRINTS),
        DEMO_TRAFFIC,
        output(outputs("text", "json")),
    ),
)
