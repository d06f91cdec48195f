"""Every flag of every verb, declared once: parser, ``--help``, errors and completion read this table.

Names, short forms and meaning of hubble's flags are those of Cilium 1.20.2 (hubble/cmd); the words
are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from flowwatch.cli import values
from flowwatch.cli.values import Check, Choices, outputs

TEXT, NUMBER, SWITCH, LIST, FILTER = "text", "number", "switch", "list", "filter"


class Flag(NamedTuple):
    """One flag. A SWITCH needs no value; FILTER flags keep their order on the command line."""

    name: str
    kind: str
    help: str
    metavar: str = ""
    short: str = ""
    default: str = ""
    alone: str = ""
    """What it means when given without a value; "" if it needs one."""
    choices: Choices | None = None
    """Its values by name; ``{choices}`` in the help stands for them."""
    check: Check | None = None
    """What else a value must be."""

    @property
    def words(self) -> str:
        """What it means, with its values."""
        if self.choices is None or "{choices}" not in self.help:
            return self.help
        return self.help.replace("{choices}", self.choices.spelt())

    @property
    def takes_next(self) -> bool:
        """Whether the next word of the command line is its value."""
        return self.kind != SWITCH and not self.alone


class Group(NamedTuple):
    """Flags that stand together in ``--help``."""

    title: str
    flags: tuple[Flag, ...]


def _filter(
    name: str, help: str, metavar: str = "", short: str = "", choices: Choices | None = None
) -> Flag:
    alone = "" if metavar else "true"
    return Flag(name, FILTER, help, metavar, short, alone=alone, choices=choices)


def _sides(
    name: str, what: str, how: str, metavar: str, short: str = "", choices: Choices | None = None
) -> tuple[Flag, ...]:
    """The flag for either end, which explains, and those for the source and the destination."""
    either = f"{what} at either end{', ' + how if how else ''}"
    return (
        _filter(name, either, metavar, short, choices),
        _filter(f"from-{name}", f"{what} at the source", metavar, choices=choices),
        _filter(f"to-{name}", f"{what} at the destination", metavar, choices=choices),
    )


FILTERS = Group(
    "Filters (repeat a flag for OR, combine flags for AND; hubble's own)",
    (
        _filter("not", "turn the next filter into one that hides flows"),
        *_sides("namespace", "namespace", "", "NAMESPACE", "n"),
        _filter("all-namespaces", "a pod or service in any namespace at either end", short="A"),
        _filter("from-all-namespaces", "… at the source"),
        _filter("to-all-namespaces", "… at the destination"),
        *_sides("pod", "pod", "by the start of its name; without NS/ in default", "[NS/]POD"),
        *_sides("service", "service", "by the start of its name", "[NS/]NAME"),
        *_sides("workload", "workload", "exact", "[KIND/]NAME"),
        *_sides("fqdn", "DNS name", "* stands for any characters", "NAME"),
        *_sides("ip", "address or CIDR", "", "IP"),
        _filter("snat-ip", "address or CIDR after source NAT", "IP"),
        Flag("ipv4", FILTER, "only IPv4", short="4", alone="v4"),
        Flag("ipv6", FILTER, "only IPv6", short="6", alone="v6"),
        _filter("ip-version", "{choices}", "VERSION", choices=values.IP_VERSION),
        *_sides("port", "port", "", "PORT"),
        _filter("protocol", "{choices}", "PROTOCOL", choices=values.FILTER_PROTOCOL),
        *_sides("label", "labels", "as a Kubernetes selector", "SELECTOR", "l"),
        *_sides(
            "identity", "identity", "number or reserved name", "IDENTITY", choices=values.IDENTITY
        ),
        *_sides("cluster", "cluster", "exact", "NAME"),
        _filter("verdict", "{choices}", "VERDICT", choices=values.VERDICT),
        _filter(
            "drop-reason-desc",
            "drop reason, as POLICY_DENIED",
            "REASON",
            choices=values.DROP_REASON,
        ),
        _filter("type", "{choices}, or a number; :SUBTYPE", "TYPE", "t", values.TYPE),
        _filter(
            "traffic-direction",
            "{choices}, of the connection",
            "DIRECTION",
            choices=values.FILTER_DIRECTION,
        ),
        _filter("reply", "only replies"),
        _filter("not-reply", "only what isn't a reply"),
        _filter("tcp-flags", "all of these set: syn,ack …", "FLAGS", choices=values.TCP_FLAGS),
        _filter("http-status", "HTTP status, 404 or 4+", "STATUS"),
        _filter("http-method", "HTTP method", "METHOD", choices=values.HTTP_METHOD),
        _filter("http-path", "regular expression on the path", "REGEX"),
        _filter("http-url", "regular expression on the URL", "REGEX"),
        _filter("http-header", "header", "NAME:VALUE"),
        _filter("node-name", "node that saw it, * for any characters", "[CLUSTER/]NODE"),
        _filter("node-label", "labels of the node that saw it", "SELECTOR"),
        _filter("interface", "network interface", "NAME"),
        _filter("encrypted", "only encrypted packets"),
        _filter("unencrypted", "only unencrypted packets"),
        _filter("uuid", "the record with this uuid", "UUID"),
        _filter("trace-id", "OpenTelemetry trace", "ID"),
        _filter("ip-trace-id", "IP option trace", "ID"),
        _filter("cel-expression", "CEL over _flow: _flow.verdict == Verdict.DROPPED", "CEL"),
        Flag("allowlist", LIST, "FlowFilters as JSON, shown if one matches", "JSON"),
        Flag("denylist", LIST, "FlowFilters as JSON, hidden if one matches", "JSON"),
        Flag("print-raw-filters", SWITCH, "print the filters and end"),
    ),
)

WHICH = Group(
    "Which flows",
    (
        Flag("last", NUMBER, "the newest N (through relay: of each node)", "N"),
        Flag("first", NUMBER, "the oldest N", "N"),
        Flag("all", SWITCH, "all that the server holds"),
        Flag("since", TEXT, "from this time, or this long ago: 5m, 2026-01-31T10:00:00Z", "TIME"),
        Flag("until", TEXT, "up to this time, or this long ago", "TIME"),
        Flag("follow", SWITCH, "go on as new flows come", short="f"),
        Flag("input-file", LIST, "read captures instead of a server; - is standard input", "FILE"),
        Flag("keep-bad", TEXT, "keep each record that can't be read there, as a file", "DIR"),
    ),
)

WHICH_LONG = Group(WHICH.title, tuple(flag._replace(short="") for flag in WHICH.flags))
"""The same where ``-f`` is a file, as with kubectl."""

SERVER = Group(
    "Server (flag, else HUBBLE_… variable, else hubble's config file)",
    (
        Flag(
            "server",
            TEXT,
            "host:port, tls://host:port or unix:///path; several are merged by the "
            "dashboard, summary and export",
            "ADDRESS",
            default="localhost:4245",
        ),
        Flag("tls", SWITCH, "speak TLS"),
        Flag(
            "tls-allow-insecure",
            SWITCH,
            "take any certificate (then nobody vouches for the server)",
        ),
        Flag("tls-ca-cert-files", LIST, "CA certificates, else the system's", "FILES"),
        Flag("tls-client-cert-file", TEXT, "client certificate", "FILE"),
        Flag("tls-client-key-file", TEXT, "its key", "FILE"),
        Flag("tls-server-name", TEXT, "name in the server's certificate", "NAME"),
        Flag(
            "tls-from-secret", SWITCH, "take the certificates from relay's secrets in the cluster"
        ),
        Flag("basic-auth-username", TEXT, "for basic authentication (TLS only)", "NAME"),
        Flag("basic-auth-password", TEXT, "for basic authentication", "PASSWORD"),
        Flag("timeout", TEXT, "to get connected", "DURATION", default="5s"),
        Flag(
            "request-timeout", TEXT, "for an answer that isn't a stream", "DURATION", default="12s"
        ),
        Flag("port-forward", SWITCH, "through the Kubernetes API to relay", short="P"),
        Flag("no-port-forward", SWITCH, "not by itself either, when nothing answers on localhost"),
        Flag("port-forward-port", NUMBER, "local port of it, 0 for any", "PORT", default="4245"),
        Flag("kubeconfig", TEXT, "of the cluster, else kubectl's own", "FILE"),
        Flag(
            "kube-context",
            TEXT,
            "context in it, else its current one",
            "NAME",
            choices=values.KUBE_CONTEXT,
        ),
        Flag("kube-namespace", TEXT, "where relay runs", "NAME", default="kube-system"),
        Flag("config", TEXT, "hubble's config file", "FILE"),
        Flag("debug", SWITCH, "say more; of a defect, the traceback", short="D"),
    ),
)
DEBUG = Flag("debug", SWITCH, "of a defect, show the traceback", short="D")
"""Where there is no server to say more of."""

DIRECTION = Flag(
    "direction", TEXT, "{choices}", "DIRECTION", default="egress", choices=values.DIRECTION
)

TABLE = Group(
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


def _output(choices: Choices) -> Flag:
    """``-o``; the first of the choices is what it is without."""
    return Flag("output", TEXT, "{choices}", "FORMAT", "o", choices.all()[0], choices=choices)


COLOR = Flag("color", TEXT, "{choices}", "WHEN", default="auto", choices=values.COLOR)

OBSERVE = Group(
    "Output",
    (
        _output(values.OBSERVE_OUTPUT),
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

SUMMARY = Group("Output", (_output(outputs("table", "json", "csv", "markdown")), COLOR))

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
        Flag("print-policy", SWITCH, "print the policy that the story applies, and end"),
        DEBUG,
    ),
)

STATUS = Group("Output", (_output(values.STATUS_OUTPUT),))
DOCTOR = Group("Output", (_output(outputs("text", "json")),))
_DEMO_TRAFFIC = Flag(
    "demo",
    TEXT,
    "the embedded demo's traffic: all, or what came before or after its policy",
    "WHEN",
    alone="all",
    choices=values.DEMO,
)
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
        _DEMO_TRAFFIC,
    ),
)

GIVEN = Group(
    "Policies in force",
    (
        Flag(
            "policies",
            LIST,
            "tell of each drop what blocked it, by these: YAML or JSON, a folder, or - (repeat "
            "for several)",
            "FILE",
        ),
    ),
)
FROM_CLUSTER = Flag(
    "policies-from-cluster", SWITCH, "read the policies from the cluster, by the kubeconfig"
)
IN_FORCE = Group(GIVEN.title, (*GIVEN.flags, FROM_CLUSTER))

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
        _output(outputs("text", "json", "junit", "sarif", "github", "markdown", "html")),
        COLOR,
    ),
)

WHATIF = Group(
    "What if",
    (
        Flag("current", LIST, "the policies in force now, else what happened counts", "FILE"),
        Flag("allow-denied", NUMBER, "newly denied attempts without exit code 1", "N", default="0"),
        DIRECTION,
        _output(outputs("text", "json", "markdown")),
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
        Flag("from", TEXT, "NAMESPACE/NAME, DNS name, address or entity", "WHO"),
        Flag("to", TEXT, "the same, with the port: api.example.com:443, ns/app:53/UDP", "WHO"),
        Flag("from-labels", TEXT, "the labels of --from, exactly: app=a,k8s:b=c", "LABELS"),
        Flag("to-labels", TEXT, "the labels of --to; its port stays in --to (:443)", "LABELS"),
        Flag("protocol", TEXT, "{choices}", "PROTOCOL", default="TCP", choices=values.PROTOCOL),
        Flag("request", TEXT, "what is asked of an HTTP server: 'GET /path'", "REQUEST"),
        Flag("input-file", LIST, "who they are by this traffic: their labels, names", "FILE"),
        _DEMO_TRAFFIC,
        Flag("queries", TEXT, "many questions as JSON lines, - for standard input", "FILE"),
        Flag("reason", TEXT, "what a drop reason means", "NAME", choices=values.REASON),
        _output(outputs("text", "json")),
        DEBUG,
    ),
)

LIST_OUTPUT = Group("Output", (_output(values.LIST_OUTPUT),))


class Verb(NamedTuple):
    """A verb: its words, its module in flowwatch.cli, and the groups of its flags."""

    name: str
    help: str
    module: str
    groups: tuple[Group, ...]
    example: str = ""
    words: Choices | None = None
    """What may stand behind it, one of them; None: nothing."""
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
        (SUMMARY, TABLE, FILTERS, WHICH, SERVER),
        "flowwatch summary --namespace weather -o markdown",
    ),
    Verb(
        "export",
        "blocked attempts as CSV, one line each",
        "export",
        (EXPORT, IN_FORCE, TABLE, FILTERS, WHICH, SERVER),
        "flowwatch export --drops --namespace weather --output drops.csv",
    ),
    Verb(
        "observe",
        "flows, printed as hubble observe does",
        "observe",
        (OBSERVE, FILTERS, WHICH, SERVER),
        "flowwatch observe --namespace weather --verdict DROPPED -f",
    ),
    Verb(
        "audit",
        "does the policy block as expected, and only that?",
        "audit",
        (POLICIES, AUDIT, FILTERS, WHICH_LONG, SERVER),
        "flowwatch audit -f policy.yaml --namespace weather",
    ),
    Verb(
        "whatif",
        "what a draft would do to the traffic already seen",
        "whatif",
        (POLICIES, WHATIF, FILTERS, WHICH_LONG, SERVER),
        "flowwatch whatif -f draft.yaml --current current.yaml",
    ),
    Verb(
        "explain",
        "what policies say about a connection, without traffic",
        "explain",
        (EXPLAIN,),
        "flowwatch explain -f p.yaml --from ns/app --to api.example.com:443",
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
