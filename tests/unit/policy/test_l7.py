"""HTTP and DNS rules on what records have of a request."""

from __future__ import annotations

import pytest

from flowwatch.policy import Party, load
from flowwatch.policy.l7 import Layer7Rules

HTTP = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: p, namespace: default}
spec:
  endpointSelector: {}
  egress:
    - toPorts:
        - ports: [{port: "80", protocol: TCP}]
          rules:
            http:
              - {method: GET, path: "/v[12]/.*"}
              - {method: POST, path: "/login", host: "api[.]example[.]com"}
              - {method: PUT, headers: ["X-Token: secret", X-Any]}
"""


@pytest.fixture(scope="module")
def rules() -> Layer7Rules:
    pod = Party(("k8s:io.kubernetes.pod.namespace=default",))
    [port] = load([("p.yaml", HTTP)]).ask("egress", pod, Party(ip="192.0.2.1"), "TCP", 80).ports
    assert port.l7 is not None
    return port.l7


@pytest.mark.parametrize(
    ("method", "url", "headers", "passes"),
    [
        ("GET", "http://x.io/v1/a", None, True),
        ("GET", "http://x.io/v1/a?b=c", None, True),  # the query string is part of the path
        ("GET", "http://x.io/v3/a", None, False),
        ("GET", "http://x.io/x/v1/a", None, False),  # anchored
        ("get", "http://x.io/v1/a", None, False),
        ("POST", "http://api.example.com/login", None, True),
        ("POST", "http://api-example.com/login", None, False),
        ("POST", "http://api.example.com/login?x", None, False),
        ("PUT", "http://x.io/", (("x-token", "secret"), ("x-any", "1")), True),
        ("PUT", "http://x.io/", (("x-token", "wrong"), ("x-any", "1")), False),
        ("PUT", "http://x.io/", (("x-token", "secret"),), False),
        ("PUT", "http://x.io/", None, "the record has no HTTP headers"),
        ("PUT", "http://x.io/", (("x-token", "HUBBLE_REDACTED"), ("x-any", "1")),
         "the agent hides values of HTTP headers"),
    ],
)  # fmt: skip
def test_requests(
    rules: Layer7Rules,
    method: str,
    url: str,
    headers: tuple[tuple[str, str], ...] | None,
    passes: bool | str,
) -> None:
    assert rules.passes_request(method, url, headers) == passes


SECRET = "{name: X-Key, secret: {name: keys}}"


@pytest.mark.parametrize(
    ("rule", "headers", "passes"),
    [
        ('headers: ["X-A: b"]', [("x-a", "b")], True),
        ('headers: ["X-A b"]', [("x-a", "b")], True),
        # Cilium parts them at the space alone: no header has this name.
        ('headers: ["X-A:b"]', [("x-a", "b")], False),
        ('headers: ["X-A:"]', [("x-a", "b")], False),
        ('headers: ["X-A:  b"]', [("x-a", "b")], False),
        ('headers: ["X-A: "]', [("x-a", "b")], True),
        ('headers: ["X-A: b,c"]', [("x-a", "b"), ("X-A", "c")], True),
        ('headers: ["X-A: c"]', [("x-a", "b"), ("X-A", "c")], False),
        ("headerMatches: [{name: X-A, value: b}]", [("x-a", "b")], True),
        ("headerMatches: [{name: X-A}]", [("x-a", "b")], True),
        ("headerMatches: [{name: X-A, value: c, mismatch: LOG}]", [("x-a", "b")], True),
        (f"headerMatches: [{SECRET}]", [("x-a", "b")], False),
        (
            f"headerMatches: [{SECRET}]",
            [("x-key", "b")],
            "the value of header X-Key is compared with a secret",
        ),
    ],
)
def test_headers(rule: str, headers: list[tuple[str, str]], passes: bool | str) -> None:
    pod = Party(("k8s:io.kubernetes.pod.namespace=default",))
    text = HTTP.partition("              - {method: GET")[0] + f"              - {{{rule}}}\n"
    [port] = load([("p.yaml", text)]).ask("egress", pod, Party(ip="192.0.2.1"), "TCP", 80).ports
    assert port.l7 is not None
    assert port.l7.passes_request("GET", "http://x.io/", headers) == passes


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ('path: "/("', "error parsing regexp: missing closing ): `/(`"),
        ('path: "/a**"', "error parsing regexp: invalid nested repetition operator: `**`"),
        ('path: "(?=a)"', "error parsing regexp: invalid or unsupported Perl syntax: `(?=`"),
        (r'method: "\\C"', r"error parsing regexp: invalid escape sequence: `\C`"),
        ('method: "(a{50}){50}"', "error parsing regexp: invalid repeat count: `{50}`"),
        # Cilium takes it, and its proxy then refuses the whole policy.
        (
            'host: "[b-a]"',
            "Cilium's proxy would refuse it: error parsing regexp: invalid character cl",
        ),
    ],
)
def test_an_expression_that_is_none_is_refused_with_its_line(rule: str, words: str) -> None:
    text = HTTP.replace('{method: GET, path: "/v[12]/.*"}', f"{{{rule}}}")
    refused = load([("p.yaml", text)]).documents.rejected
    assert [(one.line, words in str(one)) for one in refused] == [(11, True)]


@pytest.mark.parametrize(
    "rule",
    [
        r'path: "/\\p{Greek}+(?i:x)[[:^alpha:]]"',
        r'path: "\\Qa*\\E"',
        'path: "(?P<n>a)(?<m>b)"',
        'path: "{,2}"',
    ],
)
def test_what_go_takes_is_taken(rule: str) -> None:
    text = HTTP.replace('{method: GET, path: "/v[12]/.*"}', f"{{{rule}}}")
    assert not load([("p.yaml", text)]).documents.rejected
