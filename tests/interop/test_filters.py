"""Our filters are hubble's: each command line against ``hubble observe --print-raw-filters``.

Two differences are meant, and not in the table: a word that is no flag is refused here and ignored
there, and characters that a terminal obeys are printed as ``\\u202e``, in JSON the same text.

What hubble accepts must become the same filters, byte for byte; what it refuses must be refused
with the same words (ours may go on with a hint, and JSON errors are worded by each one's parser).
"""

from __future__ import annotations

import shlex

import pytest

from flowwatch.cli.flags import parse
from flowwatch.errors import UsageError
from flowwatch.hubble.filters import request
from flowwatch.hubble.filters.flags import build, raw_filters
from tests.interop.real import hubble

COMMAND_LINES = r"""
-n weather
--namespace weather --verdict DROPPED
-n a -n b
--pod x
--pod ns/x
--pod /x
--pod ns/
--pod ''
--from-pod a --to-pod b
--from-pod a/b --from-pod c
--pod x --label a=b
--not --pod a --not --verdict DROPPED
--not --pod a --pod b
--not --not --pod a
--not
--pod a --not
-A
--from-all-namespaces
--to-all-namespaces --to-pod x
--from-namespace weather --to-fqdn x
-n weather --to-fqdn x
-n weather --service foo
--service ns/foo --service bar
--from-service a --to-service b
-n a --to-service b
--to-pod a/b --to-service c/d
--to-namespace a --to-pod b/c
--from-namespace a --from-pod b/c
--workload Deployment/x
--workload x --workload Deployment/
--from-workload ''
--fqdn '*.cilium.io'
--fqdn a --from-fqdn b
--to-fqdn X.Y. --to-fqdn z
--ip 1.1.1.1
--ip 10.0.0.0/8 --ip ::1
--ip nonsense
--from-ip 1.1.1.1 --to-ip 2.2.2.2
--snat-ip 1.2.3.4
-4
-6
-4 -6
--ipv4
--ip-version 4 --ip-version v6 --ip-version none
--ip-version foo
--port 80
--port 80 --to-port 90
--from-port 1 --to-port 2
--port abc
--protocol tcp --protocol dns
--protocol nonsense
-l app=x
--label 'a in (b,c)' --label reserved:world
--from-label a --to-label b
--label a --from-label b
--identity 1
--identity world
--identity nonsense
--identity kube-apiserver --identity 0x10
--from-identity host --to-identity remote-node
--identity 4294967296
--identity -1
--cluster c1
--from-cluster a --to-cluster b
--verdict DROPPED --verdict AUDIT
--verdict dropped
--verdict NONSENSE
--drop-reason-desc POLICY_DENIED
--drop-reason-desc ''
--drop-reason-desc policy_denied
--drop-reason-desc POLICY_DENIED --verdict FORWARDED
-t drop
-t drop:133
-t trace:to-endpoint -t trace:from-network
-t trace:0
-t trace:nope
-t l7 -t policy-verdict
-t 129
-t nope
-t agent:policy-updated
-t trace:
-t :3
-t trace-sock -t capture:1
-t recorder
-t debug
--traffic-direction egress
--traffic-direction INGRESS --traffic-direction egress
--traffic-direction up
--reply
--not-reply
--reply --not-reply
--reply=false
--not --reply
--tcp-flags syn,ack
--tcp-flags SYN --tcp-flags rst
--tcp-flags syn,nope
--tcp-flags ''
--http-status 404
--http-status 4+ --http-status 5xx
--http-method get
--http-path '/page/\d+'
--http-url 'http://.*'
--http-header foo:bar
--http-header foo
--http-header a:b:c
--http-status 404 -t drop
--node-name 'k8s*'
--node-name c/n
--node-label a=b
--interface eth0
--encrypted
--unencrypted
--encrypted --unencrypted
--uuid abc
--trace-id abc
--ip-trace-id 5
--ip-trace-id 0
--ip-trace-id abc
--ip-trace-id 18446744073709551616
--cel-expression '_flow.verdict == Verdict.DROPPED'
--cel-expression a --cel-expression b --pod x
--allowlist '{"source_pod":["a/b"]}'
--allowlist '{"source_pod":["a/"]}{"verdict":["DROPPED"]}' --verdict AUDIT
--denylist '{"verdict":["DROPPED"]}'
--allowlist nonsense
--allowlist '{"nope":1}'
--denylist '{"source_pod":'
--all-namespaces -n x
--pod a --from-pod b
--pod a --to-pod b
--pod a --ip 1.1.1.1
--fqdn a --ip 1.1.1.1
--from-fqdn a --from-ip 1.1.1.1
--from-fqdn a --from-pod b
--to-ip 1.1.1.1 --to-pod b
--to-ip 1.1.1.1 --to-namespace b
--service a --from-service b
--identity 1 --from-identity 2
--workload a --to-workload b
--port 1 --from-port 2
--from-namespace a --from-all-namespaces
--to-fqdn a --to-all-namespaces
-n a --pod b/c
-n a --pod b --pod a/c
-n a --from-label x=y
-n a --from-namespace b
-n a --to-namespace b
--not -n kube-system
--not --namespace a --not --to-port 53
--not --from-pod a --from-pod b --not --to-pod c
-nweather
-n=weather
--namespace=weather
-An x
-A=false
-fn x
--verdict
--nonsense
-z
-n
--last 5 --first 5
--first 5 --all
--first 5 -f
--last 5 --all
--last abc
--last -1
--since 5m
--since nonsense
--since 2026-01-31 --until 2026-02-01T10Z
--since 2026-01-31T15:04+02:00
--until 2026-13-01
--since 'Mon, 02 Jan 2006 15:04:05 -0700'
--since 1.5h --until -3s
--follow=maybe
--tls=nope
-t drop --type trace
--pod 'x"y\z'
--pod 'é<&>'
--label 'a=b' --not --label 'c=d' --verdict FORWARDED -n x --protocol tcp --port 443
-t 4294967295
-t 4294967296
-t drop:4294967295
-t 010
-t +1
-t ''
-t :
-t trace:to-endpoint:x
-t TRACE
-t policy-verdict:1
--identity 010
--identity 0b11
--identity 1_000
--identity 0x
--identity _1
--identity ''
--identity 4294967295
--identity WORLD
--identity unknown
--identity reserved:host
--ip-trace-id 00
--ip-trace-id 18446744073709551615
--tcp-flags SyN,aCk,ns,cwr,ece,urg,psh,rst,fin
--traffic-direction ''
--verdict 'a"b'
--verdict 'a\b'
--verdict VERDICT_UNKNOWN
--verdict 1
--drop-reason-desc 133
--drop-reason-desc POLICY_DENIED --drop-reason-desc POLICY_DENY
--http-header ':'
--workload /
--workload a/b/c
--namespace ''
--namespace a/b --pod c
--namespace '' --pod c
-n a --pod b --service c
-n a -n b --pod c --pod d
-n a --pod /b
--pod /b -n a
--from-namespace a --pod b
--from-namespace a --to-pod b
--from-namespace a --to-namespace b --service c
--to-namespace a --to-service b --to-pod c
--from-pod a/b --from-service c
--from-pod a/b --from-service a/c --from-service d
--service c --pod a/b
--pod a/b --pod c/d --service a/e
-n a --pod b/c --pod d/e
--from-namespace a --from-pod x/y --to-namespace b --to-pod z/w
-A --pod x
-A -A
-A --from-pod x
--not -A
--not -n a --not -n b --pod c
--not --pod x --not --not
--not=x --pod a
--not --last 5 --pod a
--encrypted=false
--unencrypted --not --encrypted
--reply=x
--ipv4=v6
-46
-4An x
-Anx
-n -x
--pod -x
--pod=
--pod=a=b
--pod --not
-la=b
-l -4
-tdrop
-ft drop
-fx
-f=x
-nx -z
--Pod a
---pod a
--=x
-=x
--last 0x10
--last 1_0
--last 18446744073709551616
--last 0 --first 5
--all=false --first 5
--all=yes
--follow=0 --first 5
--since +5m
--since 5M
--since .5s
--since .s
--since 5m3
--since 9999999h
--since 9223372036854775808ns
--since 1µs
--since 2026-02-29
--since 0000-01-01
--since 9999-12-31T23-01:00
--since 2026-01-31T24Z
--since 2026-01-31T15+24:60
--since 2026-01-31T15+25:00
--since 2026-01-31T15:04:60Z
--since 2026-01-31T15:04:05
--since 'Mon, 2 Jan 2006 15:04:05 -0700'
--since 'Mon, 02 Jan 2006 15:04:05 MST'
--until nonsense -f
--allowlist '{}{}'
--allowlist ' {} {} '
--allowlist '{},{}'
--allowlist null
--allowlist '[]'
--allowlist '{"source_pod":null}'
--allowlist '{"source_pod":["a"],"sourcePod":["b"]}'
--allowlist '{"verdict":["NOPE"]}'
--allowlist '{"verdict":[2]}'
--allowlist '{"verdict":[99]}'
--allowlist '{"reply":[true,false],"ip_trace_id":["5",6],"source_identity":["7"]}'
--allowlist '{"source_identity":[4294967296]}'
--allowlist '{"source_pod":"a"}'
--allowlist '{"event_type":[{"type":4,"match_sub_type":true,"sub_type":3}]}'
--allowlist '{"dns_query":["a"],"experimental":{"cel_expression":["x"]}}'
--allowlist '{"tcp_flags":[{"syn":true}]}'
--allowlist nonsense --denylist nonsense
--denylist nonsense --not
--pod "a'b''c"
--label 'a b  c'
--label '# x: y'
""".strip("\n").split("\n")

JSON_WORDS = "failed to decode"


def ours(arguments: list[str]) -> str:
    """What we would print; raises UsageError."""
    parsed = parse(["observe", *arguments])
    filters = build(parsed.filters, parsed.list("allowlist"), parsed.list("denylist"))
    request.window(request.RequestFlags(parsed.get), default=20)
    return raw_filters(filters)


@pytest.mark.parametrize("line", ["", *COMMAND_LINES])
def test_a_command_line_means_what_it_means_to_hubble(line: str) -> None:
    arguments = shlex.split(line)
    theirs = hubble("observe", "--print-raw-filters", *arguments, check=False)
    if theirs.returncode == 0:
        assert ours(arguments).strip() == theirs.stdout.strip()
        return
    with pytest.raises(UsageError) as refused:
        ours(arguments)
    words = " ".join(theirs.stderr.split())
    if JSON_WORDS in words:
        words = words.partition(JSON_WORDS)[0]
        assert refused.value.message.startswith(words)
    else:
        assert refused.value.message.strip() == words


def test_the_table_is_large_and_has_both_kinds() -> None:
    refused = 0
    for line in COMMAND_LINES:
        try:
            ours(shlex.split(line))
        except UsageError:
            refused += 1
    print(f"{len(COMMAND_LINES)} command lines, {refused} of them refused")
    assert len(set(COMMAND_LINES)) >= 120
    assert 30 <= refused <= len(COMMAND_LINES) - 60
