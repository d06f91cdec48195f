"""Records as no cluster writes them, and filters that reach their corners: both made up, by number.

Each field holds what one of Cilium's filters treats apart: names with slashes, addresses that are
none, URLs that Go refuses, labels without source or value.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

PODS = ("", "a", "ab", "b", "a-b", "A", "web-1", "x/y")
NAMESPACES = ("", "default", "a", "weather", "kube-system")
LABELS = (
    "k8s:app=x", "k8s:app=y", "any:app=x", "app=x", "app", "k8s:app", "reserved:host", "$host",
    "reserved:=host", "cidr:10.0.0.0/8", "cidr:10.1.0.0/16", "cidr:0--1/128", "cidr:0.0.0.0/0",
    "cidr:bad", "k8s:io.kubernetes.pod.namespace=weather", "k8s:n=5", "k8s:n=-5", "k8s:n=+7",
    "k8s:n=x", "k8s:n=99999999999999999999", "unspec:z=1", "k8s:a/b=c", ":q=1", "k8s:", "", "k8s:=v",
    "k8s:app=x=y", "k8s.app=x", "k8s:any.app=x",
)  # fmt: skip
ADDRESSES = (
    "", "10.0.0.1", "10.244.0.5", "1.1.1.1", "::1", "fe80::1", "fe80::1%eth0", "::ffff:10.0.0.1",
    "2001:db8::1", "2001:0db8::1", "bad", "10.0.0.01",
)  # fmt: skip
NAMES = (
    "", "a.org", "x.a.org", "api.openweathermap.org", "A.org", "a.org.", "ä.org", "a_b.org", "x y.org",
)  # fmt: skip
NODES = ("", "k1", "default/k1", "c1/k1", "c1/k2.example", "K1", "a/b/c", "default/", "/k1", "k1 ")
URLS = (
    "", "/", "/a/b?c=d", "http://h/a", "http://h:80/a%2fb", "http://h", "http://h?x", "*", "foo",
    "mailto:x", "//h/a", "///a", "/a#b", "/a%zz", "/a%e2%82", "/ä", "http://u:p@h/a", "/A", "/a\tb",
    "http://[::1]:8/x", "http://[::1%25eth0]/x", "http://[1.2.3.4]/x", "http://a:b:c/x", "/page/12",
    "ftp://a:1:2/x", "http://h:x/y", "http://h /y", "http://h^/y", "1a:/x", ":/x", "a+b://h/x",
    "http://h%41/x", "http://%c3%a4/x", "http://h/\u2028", "/a\nb", "http:///x", "http:/x", "http:x",
)  # fmt: skip
SELECTORS = (
    "app=x", "k8s:app=x", "!app", "app", "app in (x,y)", "app notin (x)", "app!=x", "reserved:host",
    "n>4", "n<4", "cidr:10.0.0.0/8", "cidr:0--1/128", "any:app", "unspec:app", "app=", "app in (,x)",
    "k8s:n>1,app", "", "a/b", "q", "z", "k8s.app", "any.app", "app==x", "!reserved:host,!app", "!a=b",
)  # fmt: skip
PATTERNS = (
    "a", "^/a$", "^/a", "b$", "(?i)^/A", "[[:digit:]]+", r"\d+$", ".", "^.$", "a.b", r"\s", r"\w+",
    r"\bb\b", r"\B", r"^\B$", "(?m)^b", "(?s)a.b", r"\x{2028}", "ä", "[^a]", "^[^/]", r"\Q/a%\E",
    "a|^$", "()", "(|x)a", "a{2}", "/{3}", "^*a", "(?i:P)AGE", r"[\D]", r"(?i)[^\W]", r"(?i)\W",
    "(?i)k", "\ufffd", "\ufffd\ufffd", "(", "a**", r"\1", "org$",
)  # fmt: skip


def record(random: Random, uuid: str) -> dict[str, Any]:
    """A record; every field may be absent."""
    some = random.random
    pick = random.choice
    flow: dict[str, Any] = {
        "verdict": pick(("FORWARDED", "DROPPED", "AUDIT", "REDIRECTED", "ERROR")),
        "drop_reason_desc": pick(("POLICY_DENIED", "POLICY_DENY")),
        "source": _endpoint(random),
        "destination": _endpoint(random),
        "IP": {
            "source": pick(ADDRESSES),
            "destination": pick(ADDRESSES),
            "source_xlated": pick(ADDRESSES),
            "ipVersion": pick(("IPv4", "IPv6", "IP_NOT_USED")),
            "encrypted": some() < 0.5,
        },
        "l4": _layer4(random),
        "l7": _layer7(random),
        "event_type": {"type": pick((0, 1, 4, 5, 129)), "sub_type": pick((0, 3, 133))},
        "is_reply": some() < 0.5,
        "traffic_direction": pick(("INGRESS", "EGRESS", "TRAFFIC_DIRECTION_UNKNOWN")),
        "source_names": random.sample(NAMES, random.randint(0, 2)),
        "destination_names": random.sample(NAMES, random.randint(0, 2)),
        "node_name": pick(NODES),
        "node_labels": random.sample(LABELS, 2),
        "source_service": {"namespace": pick(NAMESPACES), "name": pick(PODS)},
        "destination_service": {"namespace": pick(NAMESPACES), "name": pick(PODS)},
        "interface": {"index": pick((0, 1)), "name": pick(("", "eth0"))},
        "trace_context": {"parent": {"trace_id": pick(("", "abc"))}},
        "ip_trace_id": {"trace_id": pick((0, 5))},
    }
    kept = {name: value for name, value in flow.items() if some() < 0.7}
    return {**kept, "uuid": uuid}


def _endpoint(random: Random) -> dict[str, Any]:
    pick = random.choice
    workload = {"name": pick(("x", "y", "")), "kind": pick(("Deployment", "Pod", ""))}
    endpoint = {
        "identity": pick((0, 1, 2, 1234)),
        "namespace": pick(NAMESPACES),
        "pod_name": pick(PODS),
        "labels": random.sample(LABELS, random.randint(0, 4)),
        "workloads": [workload] * random.randint(0, 1),
        "cluster_name": pick(("", "c1", "default")),
    }
    return {name: value for name, value in endpoint.items() if random.random() < 0.6}


def _layer4(random: Random) -> dict[str, Any]:
    kind = random.choice(("TCP", "TCP", "UDP", "SCTP", "ICMPv4", "ICMPv6", "VRRP", "IGMP"))
    if kind not in ("TCP", "UDP", "SCTP"):
        return {kind: {}}
    # The field is wider than a port.
    ports = (0, 53, 80, 443, 65535, 65536 + 443)
    packet: dict[str, Any] = {
        name: random.choice(ports) for name in ("source_port", "destination_port")
    }
    if kind == "TCP" and random.random() < 0.7:
        flags = random.sample(("SYN", "ACK", "FIN", "RST"), random.randint(0, 3))
        packet["flags"] = dict.fromkeys(flags, True)
    return {kind: packet}


def _layer7(random: Random) -> dict[str, Any]:
    pick = random.choice
    if random.random() < 0.3:
        return {"dns": {"query": pick(NAMES)}}
    http = {
        "method": pick(("", "GET", "get", "Post")),
        "url": pick(URLS),
        "code": pick((0, 0, 5, 42, 99, 200, 404, 4040, 503)),
        "headers": [{"key": pick(("a", "A")), "value": pick(("b", ""))}],
    }
    return {"type": "REQUEST", "http": http}


# flag → values; ENDS also with from- and to- before it.
ENDS: dict[str, tuple[str, ...]] = {
    "pod": ("a", "/a", "weather/", "default/ab", "/", "x/y/z", "/x", ""),
    "namespace": NAMESPACES,
    "service": ("a", "/a", "weather/", "/", "a/b/c"),
    "workload": ("x", "Deployment/", "Deployment/x", "/y", ""),
    "fqdn": ("*", "a.org", "*.org", "A.ORG.", "*a*", "api.*.org", "a_b.org", "**", "a b"),
    "ip": ("10.0.0.0/8", "10.0.0.1", "::/0", "0.0.0.0/0", "fe80::/10", "::1", "::ffff:0:0/96",
           "2001:db8::1", "10.0.0.77/24", "fe80::1%eth0", "10.0.0"),
    "port": ("80", "443", "53", "0", "65535", "65536"),
    "label": SELECTORS,
    "identity": ("world", "0", "1234"),
    "cluster": ("c1", "default", ""),
}  # fmt: skip
OTHERS: dict[str, tuple[str, ...]] = {
    "snat-ip": ("10.0.0.0/8", "1.1.1.1"),
    "protocol": ("tcp", "UDP", "icmp", "ICMPv6", "vrrp", "igmp", "dns", "http", "x"),
    "verdict": ("DROPPED", "FORWARDED", "AUDIT"),
    "drop-reason-desc": ("POLICY_DENIED",),
    "type": ("drop", "l7", "trace", "drop:133", "0", "0:3"),
    "traffic-direction": ("ingress", "egress"),
    "tcp-flags": ("syn", "syn,ack", "fin"),
    "http-status": ("200", "4+", "40+", "404", "5+", "4"),
    "http-method": ("get", "POST"),
    "http-path": PATTERNS,
    "http-url": PATTERNS,
    "http-header": ("a:b", "A:"),
    "node-name": ("k1", "c1/k1", "*", "c1/", "/k1", "k*", "*/*", "K1", "a/b", "/", "a/b/c"),
    "node-label": SELECTORS,
    "interface": ("eth0", ""),
    "trace-id": ("abc", ""),
    "ip-trace-id": ("5",),
    "uuid": ("1", ""),
}
SWITCHES = ("--reply", "--not-reply", "--encrypted", "--unencrypted", "-4", "-6")
RAW: tuple[dict[str, Any], ...] = (
    {}, {"reply": [True, False]}, {"tcp_flags": [{}]}, {"source_workload": [{}]}, {"interface": [{}]},
    {"interface": [{"index": 1}]}, {"event_type": [{}]}, {"event_type": [{"sub_type": 133}]},
    {"event_type": [{"match_sub_type": True, "sub_type": 133}]}, {"verdict": ["VERDICT_UNKNOWN"]},
    {"ip_trace_id": ["0"]}, {"http_header": [{"key": "a"}]}, {"experimental": {}},
    {"ip_version": ["IP_NOT_USED"]}, {"dns_query": ["org$"]}, {"dns_query": ["("]},
)  # fmt: skip


def arguments(random: Random) -> list[str]:
    """One to three filters, some behind --not."""
    words: list[str] = []
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        kind = random.random()
        if kind < 0.08:
            words += [random.choice(("--allowlist", "--denylist")), json.dumps(random.choice(RAW))]
            continue
        if random.random() < 0.2:
            words.append("--not")
        if kind < 0.14:
            words.append(random.choice(SWITCHES))
        elif kind < 0.5:
            name = random.choice(tuple(ENDS))
            words += [f"--{random.choice(('', 'from-', 'to-'))}{name}", random.choice(ENDS[name])]
        else:
            name = random.choice(tuple(OTHERS))
            words += [f"--{name}", random.choice(OTHERS[name])]
    return words
