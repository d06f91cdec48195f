"""Flags of verbs about policies, and those that they share with others; see flag_table.py."""

from __future__ import annotations

from flowwatch.cli import values
from flowwatch.cli.flag_kinds import LIST, SWITCH, TEXT, Flag, Group
from flowwatch.cli.flow_flags import SERVER
from flowwatch.cli.values import Choices, outputs

DEBUG = Flag("debug", SWITCH, "of a defect, show the traceback", short="D")
"""Where there is no server to say more of."""

DIRECTION = Flag(
    "direction", TEXT, "{choices}", "DIRECTION", default="egress", choices=values.DIRECTION
)


def output(choices: Choices) -> Flag:
    """``-o``; the first of the choices is what it is without."""
    return Flag("output", TEXT, "{choices}", "FORMAT", "o", choices.all()[0], choices=choices)


FILTER_WORDS = Flag(
    "filter",
    TEXT,
    "only what this finds, in the dashboard's language: 'ns:shop !to:*.example.com port:443'",
    "WORDS",
)
FOUND = Group("Rows", (FILTER_WORDS,))
"""Of verbs that show no table: what they tell is of the traffic of the rows that it finds."""

COLOR = Flag("color", TEXT, "{choices}", "WHEN", default="auto", choices=values.COLOR)

CILIUM_CONFIG = Flag(
    "cilium-config",
    TEXT,
    "the options that the agents decide by: the ConfigMap cilium-config, as kubectl prints it",
    "FILE",
)
FROM_CLUSTER = Flag(
    "policies-from-cluster", SWITCH, "read the policies from the cluster, by the kubeconfig"
)
DEMO_TRAFFIC = Flag(
    "demo",
    TEXT,
    "the embedded demo's traffic: all, or what came before or after its policy",
    "WHEN",
    alone="all",
    choices=values.DEMO,
)
DRAFT = Group(
    "Draft",
    (
        Flag(
            "for",
            TEXT,
            "a policy for each {choices}",
            "WHAT",
            default="workload",
            choices=values.DRAFT_FOR,
        ),
        Flag(
            "kind",
            TEXT,
            "{choices}: of Cilium, of Cilium for the cluster, of Kubernetes",
            "KIND",
            default="cnp",
            choices=values.DRAFT_KIND,
        ),
        DIRECTION,
        Flag(
            "allow",
            LIST,
            "allow this too, though it was dropped: api.github.com:443 (repeat for several)",
            "PEER[:PORT]",
        ),
        Flag(
            "onto",
            TEXT,
            "instead, the smallest addition to these policies that lets through what --allow names",
            "FILE",
        ),
        Flag(
            "edit",
            SWITCH,
            "decide on it row by row, on the screen: what the dashboard's key D opens",
        ),
        Flag(
            "policies",
            LIST,
            "what is there: CIDR groups and names of ports are said as these say them (repeat for several)",
            "FILE",
        ),
        Flag("l7", SWITCH, "allow only the HTTP methods and paths that a proxy saw"),
        Flag("dns-names", SWITCH, "let through only lookups of the names needed, not of all"),
        Flag(
            "stable",
            TEXT,
            "say of each rule whether it still learns: something new came in this time, as 2d; "
            "with --follow end when none does",
            "AGE",
            check=values.AGE,
        ),
        Flag("diff", SWITCH, "with --onto: what would change, as a unified diff; writes nothing"),
        CILIUM_CONFIG,
        Flag(
            "explain",
            TEXT,
            "instead, why this is allowed or not: api.github.com:443",
            "PEER[:PORT]",
        ),
        Flag(
            "output",
            TEXT,
            "write here, whole or not at all; in a folder a file for each; - is standard output",
            "FILE|DIR",
            "o",
        ),
        DEMO_TRAFFIC,
    ),
)
UNUSED = Group(
    "Unused",
    (
        FROM_CLUSTER,
        Flag(
            "recent",
            TEXT,
            "changed within this before the end of the evidence: told apart",
            "DURATION",
            default="24h",
            check=values.DURATION,
        ),
        Flag(
            "file-times",
            SWITCH,
            "a policy changed when its file was written, too (a fresh checkout writes them all)",
        ),
        output(outputs("text", "json", "markdown")),
        COLOR,
    ),
)

GAP = Group(
    "Gap",
    (
        FROM_CLUSTER,
        DIRECTION,
        Flag(
            "drop-in",
            TEXT,
            "write the narrowest policies that keep all that was used; in a folder a file for each",
            "FILE|DIR",
        ),
        output(outputs("text", "json", "markdown")),
        COLOR,
    ),
)

DIFF = Group(
    "Difference",
    (
        Flag(
            "pods",
            LIST,
            "compare for the pods of these captures alone, or of the cluster (repeat for several)",
            "FILE",
        ),
        CILIUM_CONFIG,
        output(outputs("text", "json", "markdown")),
        COLOR,
        DEBUG,
    ),
)
KUBERNETES = Group(
    "Kubernetes",
    tuple(flag for flag in SERVER.flags if flag.name in (
        "kubeconfig", "kube-context", "kube-namespace", "request-timeout", "config",
    )),
)  # fmt: skip
"""What the cluster's API takes, for verbs that ask no Hubble server."""
