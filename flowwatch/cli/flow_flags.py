"""Flags by which flows are asked for: filters, how many, and of whom.

Names, short forms and meaning of hubble's flags are those of Cilium 1.20.2 (hubble/cmd); the words
are ours.
"""

from __future__ import annotations

from flowwatch.cli import values
from flowwatch.cli.flag_kinds import FILTER, LIST, NUMBER, SWITCH, TEXT, Flag, Group
from flowwatch.cli.values import Choices


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
        Flag(
            "input-file",
            LIST,
            "read captures instead of a server: files, folders, - (standard input)",
            "FILE",
        ),
        Flag(
            "history", TEXT, "read what flowwatch record has kept there instead of a server", "DIR"
        ),
        Flag("keep-bad", TEXT, "keep each record that can't be read there, as a file", "DIR"),
    ),
)

WHICH_LONG = Group(WHICH.title, tuple(flag._replace(short="") for flag in WHICH.flags))
"""The same where ``-f`` is a file, as with kubectl."""

RECORDED = Group(WHICH.title, tuple(flag for flag in WHICH.flags if flag.name != "history"))
"""The same for who makes a history."""

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
