"""Every verb and its flags, declared once: parser, ``--help``, errors and completion read this table.

Names, short forms and meaning of hubble's flags are those of Cilium 1.20.2 (hubble/cmd).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from flowwatch.cli import values
from flowwatch.cli.flag_kinds import LIST, NUMBER, SWITCH, TEXT, Flag, Group
from flowwatch.cli.flow_flags import FILTERS, RECORDED, SERVER, WHICH, WHICH_LONG
from flowwatch.cli.history_flags import ASK, FORGET, GATE, INFO, PROOF, RECORD, UPKEEP, VERIFIED
from flowwatch.cli.policy_flags import (
    CILIUM_CONFIG,
    COLOR,
    DEBUG,
    DEMO_TRAFFIC,
    DIFF,
    DIRECTION,
    DRAFT,
    FILTER_WORDS,
    FOUND,
    FROM_CLUSTER,
    GAP,
    KUBERNETES,
    UNUSED,
    output,
)
from flowwatch.cli.values import Choices, outputs
from flowwatch.cli.watch_flags import WATCH
from flowwatch.cli.web_flags import PAGE

ROWS = Group(
    "Table",
    (
        DIRECTION,
        Flag(
            "max-rows",
            NUMBER,
            "rows kept; the least recent are folded into one",
            "N",
            default="100000",
            check=values.ENOUGH_ROWS,
        ),
    ),
)
NOISE = Flag(
    "noise", SWITCH, "list also what no policy was asked about: neighbour discovery, multicast …"
)
TABLE = Group(ROWS.title, (*ROWS.flags, FILTER_WORDS, NOISE))
LISTED = Group(ROWS.title, (*ROWS.flags, FILTER_WORDS))


OBSERVE = Group(
    "Output",
    (
        output(values.OBSERVE_OUTPUT),
        Flag("print-node-name", SWITCH, "show which node saw it"),
        Flag("print-policy-names", SWITCH, "show which policy decided"),
        Flag("numeric", SWITCH, "numbers instead of names"),
        Flag("ip-translation", SWITCH, "names instead of addresses", default="true"),
        Flag(
            "time-format",
            TEXT,
            "StampMilli, RFC3339, RFC3339Milli …",
            "FORMAT",
            default="StampMilli",
            choices=values.TIME_FORMAT,
        ),
        COLOR,
        Flag("silent-errors", SWITCH, "nothing on standard error", short="s"),
        Flag(
            "field-mask",
            LIST,
            "ask the server for these fields only (json)",
            "FIELDS",
            choices=values.FIELDS,
        ),
        Flag(
            "use-default-field-masks",
            SWITCH,
            "ask only for what the format prints, as hubble does (DNS names are not in it)",
            default="true",
        ),
    ),
)

SUMMARY = Group(
    "Output",
    (
        Flag(
            "by",
            TEXT,
            "fold rows: pod, workload, namespace or label:KEY, and then peer, port: workload,peer,port",
            "WHAT",
        ),
        Flag(
            "waiting",
            SWITCH,
            "only who is blocked at the end of what was read: the longest waits first, by workload",
        ),
        output(outputs("table", "json", "csv", "markdown")),
        COLOR,
    ),
)

EXPORT = Group(
    "Output",
    (
        Flag("drops", SWITCH, "blocked attempts, one line each: the default, spelt out"),
        Flag("outcome", LIST, "{choices} instead", "OUTCOME", choices=values.OUTCOME),
        Flag("raw", SWITCH, "one line per record"),
        Flag("grouped", SWITCH, "one line per pod and destination"),
        Flag("format", TEXT, "{choices}", "FORMAT", default="csv", choices=values.EXPORT_FORMAT),
        Flag("output", TEXT, "write here, whole or not at all; - is standard output", "FILE", "o"),
    ),
)

DASHBOARD = Group(
    "Dashboard",
    (
        Flag("theme", TEXT, "{choices}", "THEME", default="auto", choices=values.THEME),
        Flag("export-dir", TEXT, "where the key e writes its CSV", "FOLDER", default="."),
        Flag(
            "staged",
            LIST,
            "policies not in force yet: what they would do, beside each row; a folder, or files (repeat)",
            "FILE",
        ),
        Flag(
            "private",
            SWITCH,
            "pseudonyms in place of names and addresses, also in what leaves it: for screenshots",
        ),
        Flag("plain", SWITCH, "a line for each change instead, for screen readers and logs"),
    ),
)

DEMO = Group(
    "Demo",
    (
        Flag(
            "serve",
            TEXT,
            "only serve, for any Hubble client; the address may follow as --serve=HOST:PORT",
            "ADDRESS",
            alone="127.0.0.1:4245",
        ),
        Flag("seed", NUMBER, "another cast, the same story", "N", default="1"),
        Flag("speed", TEXT, "times as fast", "FACTOR", default="1", check=values.SPEED),
        Flag("duration", TEXT, "end after this long", "DURATION", check=values.DURATION),
        Flag("policy", LIST, "apply these instead to its weather app (repeat for several)", "FILE"),
        Flag(
            "print-policy",
            TEXT,
            "print the weather app's policies, or =all of the story's, and end",
            alone="weather",
            choices=values.PRINTED_POLICIES,
        ),
        DEBUG,
    ),
)

STATUS = Group("Output", (output(values.STATUS_OUTPUT),))
DOCTOR = Group("Doctor", (CILIUM_CONFIG, output(outputs("text", "json"))))
POLICIES = Group(
    "Policies",
    (
        Flag(
            "filename",
            LIST,
            "policies: YAML or JSON, a folder, or - for standard input (repeat for several); also --policies",
            "FILE",
            short="f",
        ),
        CILIUM_CONFIG,
        DEMO_TRAFFIC,
    ),
)


def _given(short: str = "") -> Group:
    """``short``: where -f isn't --follow."""
    words = "tell of each drop what blocked it, by these: YAML or JSON, a folder, or - (repeat for several)"
    return Group(
        "Policies in force", (Flag("policies", LIST, words, "FILE", short=short), CILIUM_CONFIG)
    )


GIVEN = _given("f")
IN_FORCE = Group(GIVEN.title, (*_given().flags, FROM_CLUSTER))

AUDIT = Group(
    "Audit",
    (
        FROM_CLUSTER,
        Flag("expect", TEXT, "must reach / must not reach, as YAML", "FILE"),
        Flag(
            "applied-at", TEXT, "when the policies were applied, else as verdicts show it", "TIME"
        ),
        Flag("for", TEXT, "with --follow, end after this long", "DURATION", check=values.DURATION),
        Flag("strict", SWITCH, "exit with 3 when the evidence is not enough"),
        output(outputs("text", "json", "junit", "sarif", "github", "markdown", "html")),
        COLOR,
    ),
)

WHATIF = Group(
    "What if",
    (
        Flag("current", LIST, "the policies in force now, else what happened counts", "FILE"),
        Flag("allow-denied", NUMBER, "newly denied attempts without exit code 1", "N", default="0"),
        DIRECTION,
        output(outputs("text", "json", "markdown")),
        COLOR,
    ),
)

CHANGES = Group(
    "Changes",
    (
        Flag(
            "mark",
            LIST,
            "compare before and after this time (repeat for several), else marks are found",
            "TIME",
        ),
        DEMO_TRAFFIC,
        DIRECTION,
        output(outputs("text", "json", "markdown")),
        COLOR,
    ),
)

EXPLAIN = Group(
    "Question",
    (
        Flag(
            "filename",
            LIST,
            "policies: a file, a folder, or - (repeat); also --policies",
            "FILE",
            short="f",
        ),
        CILIUM_CONFIG,
        Flag("from", TEXT, "NAMESPACE/NAME, DNS name, address or entity", "WHO"),
        Flag("to", TEXT, "the same, with the port: api.example.com:443, ns/app:53/UDP", "WHO"),
        Flag("from-labels", TEXT, "the labels of --from, exactly: app=a,k8s:b=c", "LABELS"),
        Flag("to-labels", TEXT, "the labels of --to; its port stays in --to (:443)", "LABELS"),
        Flag("protocol", TEXT, "{choices}", "PROTOCOL", default="TCP", choices=values.PROTOCOL),
        Flag("request", TEXT, "what is asked of an HTTP server: 'GET /path'", "REQUEST"),
        Flag("input-file", LIST, "who they are by this traffic: their labels, names", "FILE"),
        DEMO_TRAFFIC,
        Flag("queries", TEXT, "many questions as JSON lines, - for standard input", "FILE"),
        Flag("reason", TEXT, "what a drop reason means", "NAME", choices=values.REASON),
        output(outputs("text", "json")),
        DEBUG,
    ),
)

LIST_OUTPUT = Group("Output", (output(values.LIST_OUTPUT),))


class Verb(NamedTuple):
    """A verb: its words, its module in flowwatch.cli, and the groups of its flags."""

    name: str
    help: str
    module: str
    groups: tuple[Group, ...]
    example: str = ""
    words: Choices | None = None
    """What may stand behind it, one of them; None: nothing."""
    files: str = ""
    """What the files are called that stand behind it; "": none may."""
    more: tuple[str, ...] = ()
    """Lines that ``--help`` ends with."""


def _verb_names(_given: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(verb.name for verb in VERBS if verb.name)


VERBS: tuple[Verb, ...] = (
    Verb(
        "",
        "Egress per pod and destination, live: what is forwarded, what is dropped, and why.",
        "dashboard",
        (DASHBOARD, IN_FORCE, TABLE, FILTERS, WHICH, SERVER),
        "flowwatch --namespace weather",
    ),
    Verb(
        "demo",
        "the weather app's story on a Hubble server inside",
        "demo",
        (DEMO, DASHBOARD, GIVEN, TABLE, SUMMARY, FILTERS),
        "flowwatch demo",
    ),
    Verb(
        "summary",
        "the egress table once",
        "summary",
        (SUMMARY, IN_FORCE, TABLE, FILTERS, WHICH, SERVER),
        "flowwatch summary --namespace weather -o markdown",
    ),
    Verb(
        "export",
        "blocked attempts as CSV, one line each",
        "export",
        (EXPORT, IN_FORCE, LISTED, FILTERS, WHICH, SERVER),
        "flowwatch export --drops --namespace weather --output drops.csv",
    ),
    Verb(
        "observe",
        "flows, printed as hubble observe does",
        "observe",
        (OBSERVE, FOUND, FILTERS, WHICH, SERVER),
        "flowwatch observe --namespace weather --verdict DROPPED -f",
    ),
    Verb(
        "audit",
        "does the policy block as expected, and only that?",
        "audit",
        (POLICIES, AUDIT, FOUND, FILTERS, WHICH_LONG, SERVER),
        "flowwatch audit -f policy.yaml --namespace weather",
    ),
    Verb(
        "whatif",
        "what a draft would do to the traffic already seen",
        "whatif",
        (POLICIES, WHATIF, FOUND, FILTERS, WHICH_LONG, SERVER),
        "flowwatch whatif -f draft.yaml --current current.yaml",
    ),
    Verb(
        "changes",
        "what a policy changed: before and after it took effect",
        "changes",
        (CHANGES, IN_FORCE, FOUND, FILTERS, WHICH, SERVER),
        "flowwatch changes --namespace weather --last 10000",
    ),
    Verb(
        "draft",
        "the least policy that lets through what was let through",
        "draft",
        (DRAFT, FOUND, FILTERS, WHICH, SERVER),
        "flowwatch draft --namespace weather --last 10000 -o weather.yaml",
    ),
    Verb(
        "explain",
        "what policies say about a connection, without traffic",
        "explain",
        (EXPLAIN,),
        "flowwatch explain -f p.yaml --from ns/app --to api.example.com:443",
    ),
    Verb(
        "unused",
        "policies, rules, peers and ports that nothing in the evidence needed",
        "unused",
        (POLICIES, UNUSED, FOUND, FILTERS, WHICH_LONG, SERVER),
        "flowwatch unused -f policies/ --input-file flows.jsonl",
    ),
    Verb(
        "gap",
        "what policies allow beside what was used, and the narrowest that keep it",
        "gap",
        (POLICIES, GAP, FOUND, FILTERS, WHICH_LONG, SERVER),
        "flowwatch gap -f p.yaml --input-file flows.jsonl --drop-in narrow/",
    ),
    Verb(
        "diff",
        "what two sets of policies decide differently, without traffic",
        "diff",
        (DIFF, KUBERNETES),
        "flowwatch diff old.yaml new.yaml",
        files="OLD NEW",
        more=("OLD and NEW are each a file, a folder, or - for standard input.",),
    ),
    Verb(
        "web",
        "the dashboard in a browser, on this machine alone",
        "web",
        (PAGE, DASHBOARD, IN_FORCE, TABLE, FILTERS, WHICH, SERVER),
        "flowwatch web --namespace weather",
    ),
    Verb(
        "web demo",
        "the demo in a browser",
        "web",
        (PAGE, DEMO, DASHBOARD, GIVEN, TABLE, FILTERS),
    ),
    Verb(
        "web draft",
        "the draft's editor in a browser",
        "web",
        (PAGE, DRAFT, FILTERS, WHICH, SERVER),
    ),
    Verb(
        "record",
        "keep what comes, small, to ask every verb about it later: --history",
        "record",
        (RECORD, FILTERS, RECORDED, SERVER),
        "flowwatch record --to flows/ --keep 7d",
    ),
    Verb(
        "gate",
        "do rows stay within what is allowed? for pipelines: exit 0 or 1",
        "gate",
        (GATE, FOUND, FILTERS, WHICH, SERVER),
        "flowwatch gate --namespace weather --for 5m --max-dropped 0",
    ),
    Verb(
        "watch",
        "alerts when something is newly blocked, quiet or cut; metrics",
        "watch",
        (WATCH, FILTERS, WHICH, SERVER),
        files="RULES",
    ),
    Verb(
        "history info",
        "what lies in a history: span, nodes, gaps, sizes",
        "history",
        (INFO,),
        "flowwatch history info flows/",
        files="DIR",
    ),
    Verb(
        "history ask",
        "ask its attempts a question, at once: --list tells which there are",
        "history",
        (ASK,),
        "flowwatch history ask blocked flows/ --since 24h",
        words=values.QUESTION,
        files="QUESTION DIR",
        more=(
            "Needs DuckDB and Ibis: pip install 'flowwatch[ask]'",
            "Of clickhouse://HOST/DATABASE the server answers.",
        ),
    ),
    Verb(
        "history compact",
        "merge its small files, make attempts of its records",
        "history",
        (UPKEEP,),
        files="DIR",
    ),
    Verb("history verify", "check all of it by its checksums", "history", (UPKEEP,), files="DIR"),
    Verb(
        "history forget",
        "delete records by time, namespace or pod",
        "history",
        (FORGET,),
        "flowwatch history forget flows/ --namespace shop",
        files="DIR",
    ),
    Verb(
        "proof",
        "an archive that an auditor can replay: policies, digests of flows, findings",
        "proof",
        (PROOF, FILTERS, WHICH_LONG, SERVER),
        "flowwatch proof -f policies/ --history flows/ --since 24h -o proof.zip",
    ),
    Verb(
        "proof verify",
        "replay one: equal, or what differs",
        "proof",
        (VERIFIED,),
        "flowwatch proof verify proof.zip --history flows/",
        files="FILE.zip",
    ),
    Verb("status", "how the server is", "status", (STATUS, SERVER), "flowwatch status"),
    Verb(
        "doctor",
        "what stands between here and the first flow",
        "doctor",
        (DOCTOR, SERVER),
        "flowwatch doctor",
    ),
    Verb("list nodes", "nodes that relay knows", "list", (LIST_OUTPUT, SERVER)),
    Verb("list namespaces", "namespaces with flows of late", "list", (LIST_OUTPUT, SERVER)),
    Verb(
        "completion",
        "what makes a shell complete flowwatch's words on TAB",
        "completion",
        (),
        words=values.SHELL,
        more=(
            "For every new shell:",
            "  bash:  echo 'source <(flowwatch completion bash)' >> ~/.bashrc",
            '  zsh:   flowwatch completion zsh > "${fpath[1]}/_flowwatch"',
            "  fish:  flowwatch completion fish > ~/.config/fish/completions/flowwatch.fish",
        ),
    ),
    Verb("version", "flowwatch's version", "main", ()),
    Verb("help", "the words of a verb", "main", (), words=Choices(_verb_names)),
)
"""All verbs; "" is what runs without one."""
