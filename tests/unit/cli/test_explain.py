"""``flowwatch explain`` through the program: one question in words, many as JSON lines."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowwatch.cli.main import run
from tests.command import one_line
from tests.in_process import flowwatch
from tests.interop.compared import CASES, Case, config_map
from tests.material import SHARED, needs
from tests.unit.audits.planted import CORRECT
from tests.unit.audits.told import Capture, endpoint

STORED = 16_749
"""Answers that the stored files hold."""
DENY = CORRECT + "  egressDeny:\n    - toCIDRSet: [{cidr: 93.184.0.0/16}]\n"
HTTP = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: api, namespace: api}
spec:
  endpointSelector: {matchLabels: {app: api}}
  ingress:
    - fromEndpoints: [{matchLabels: {app: web}}]
      toPorts:
        - ports: [{port: "80", protocol: TCP}]
          rules: {http: [{method: GET}]}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(CORRECT)
    return path


def explain(path: Path, source: str, to: str, *more: str) -> str:
    told = flowwatch("explain", "-f", path, "--from", source, "--to", to, *more)
    assert told.stderr == ""
    begins = ["ALLOWED: ", "DENIED: ", "", "CAN'T TELL: "][told.returncode]
    assert "json" in more or told.stdout.startswith(begins or "nothing ends so")
    return told.stdout


def test_allowed_by_a_rule_and_its_line(policy: Path) -> None:
    said = explain(policy, "weather/weather-app", "api.openweathermap.org:443").splitlines()
    assert said[0] == "ALLOWED: weather/weather-app to api.openweathermap.org, TCP 443"
    assert said[1] == (
        "egress of weather/weather-app to api.openweathermap.org, TCP 443: "
        "allowed by weather/weather-egress spec.egress.1 (line 12)"
    )
    assert said[2].endswith("spec.egress.0 (line 7) is not about api.openweathermap.org")
    assert said[3].endswith("spec.egress.1 (line 12) allows it")
    assert any("assumed: weather/weather-app has the labels app=weather-app" in x for x in said)
    assert any("assumed: the DNS proxy saw api.openweathermap.org answered" in x for x in said)


def test_a_near_miss_names_the_rule_and_the_port(policy: Path) -> None:
    said = explain(policy, "weather/weather-app", "api.openweathermap.org:80")
    assert "default deny of weather/weather-egress: no rule allows it" in said
    assert (
        "near miss: weather/weather-egress spec.egress.1 (line 12) would allow 443/TCP; this is 80/TCP"
        in said
    )


def test_a_name_decides_that_an_address_does_not_show(policy: Path) -> None:
    said = explain(policy, "weather/weather-app", "203.0.113.9:443")
    assert "can't tell: the DNS name of 203.0.113.9 was not seen" in said
    assert "spec.egress.1 (line 12) may match" in said
    told = json.loads(explain(policy, "weather/weather-app", "203.0.113.9:443", "-o", "json"))
    assert told["decision"] == "cant_tell"


def test_addresses_in_and_outside_a_block(policy: Path) -> None:
    block = "    - toCIDRSet: [{cidr: 203.0.113.0/24, except: [203.0.113.128/25]}]\n"
    policy.write_text(CORRECT + block)
    assert "allowed by" in explain(policy, "weather/weather-app", "203.0.113.9:22")
    assert "default deny" in explain(policy, "weather/weather-app", "203.0.113.200:22")
    assert "default deny" in explain(policy, "weather/weather-app", "[2001:db8::1]:22")


def test_ingress_from_outside(policy: Path) -> None:
    policy.write_text(HTTP)
    [_, first, *_] = explain(policy, "198.51.100.1", "api/api:80").splitlines()
    assert first.startswith("ingress of api/api from 198.51.100.1, TCP 80: default deny of api/api")


def test_a_port_by_name_is_no_answer(policy: Path) -> None:
    policy.write_text(CORRECT + "    - toPorts: [{ports: [{port: http}]}]\n")
    said = explain(policy, "weather/weather-app", "data/db:8080")
    assert "TCP 8080: can't tell: " in said
    assert "spec.egress.3 (line 17) may match: " in said


def test_a_ping_needs_no_port(policy: Path) -> None:
    policy.write_text(CORRECT + "    - icmps: [{fields: [{type: 8}]}]\n")
    said = explain(policy, "weather/weather-app", "192.0.2.7", "--protocol", "icmp")
    assert "ICMP 8: allowed by weather/weather-egress spec.egress.3" in said
    assert "an echo request (ping): type 8" in said
    assert "default deny" in explain(policy, "weather/weather-app", "192.0.2.7:3/icmp")


def test_tiers_are_named(policy: Path) -> None:
    policy.write_text(
        "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\n"
        "metadata: {name: base}\nspec:\n  tier: Baseline\n  priority: 10\n"
        "  subject: {namespaces: {}}\n"
        "  egress:\n    - {action: Deny, to: [{networks: [192.0.2.0/24]}]}\n"
    )
    said = explain(policy, "a/b", "192.0.2.7:80")
    assert "base spec.egress.0 (line 9) of the Baseline tier denies it" in said


def test_what_cilium_adds_to_a_rule_is_shown_only_where_it_takes_part(policy: Path) -> None:
    policy.write_text(
        "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\n"
        "metadata: {name: names}\nspec:\n  tier: Admin\n  priority: 10\n"
        "  subject: {namespaces: {}}\n"
        "  egress:\n    - {action: Accept, to: [{domainNames: [api.example]}]}\n"
    )
    assert (
        explain(policy, "a/b", "api.example:443").count("spec.egress.0 (line 9) of the Admin") == 1
    )


def test_many_rules_are_shown_only_where_they_take_part(policy: Path) -> None:
    more = "".join(f"    - toCIDR: [192.0.2.{n}/32]\n" for n in range(20))
    policy.write_text(CORRECT + more)
    said = explain(policy, "weather/weather-app", "192.0.2.7:443").splitlines()
    assert sum("is not about" in line for line in said) == 0
    assert "  - 21 rules are not about it (-o json has them all)" in said
    told = json.loads(explain(policy, "weather/weather-app", "192.0.2.7:443", "-o", "json"))
    assert len(told["answers"][0]["steps"]) == 23


def test_of_several_files_the_rules_name_theirs(policy: Path) -> None:
    other = policy.with_name("other.yaml")
    other.write_text(CORRECT.replace("name: weather-egress", "name: other"))
    said = explain(policy.parent, "weather/weather-app", "api.openweathermap.org:443")
    assert f"weather/other spec.egress.1 ({other}:12) allows it" in said
    assert f"weather/weather-egress spec.egress.1 ({policy}:12) allows it" in said


def test_a_deny_wins(policy: Path) -> None:
    policy.write_text(DENY)
    said = explain(policy, "weather/weather-app", "93.184.216.34:443")
    assert "denied by weather/weather-egress spec.egressDeny.0 (line 18)" in said


def test_both_ends_are_asked_and_put_together(policy: Path) -> None:
    policy.write_text(f"{CORRECT}---\n{HTTP}")
    said = explain(policy, "api/web", "api/api:80").splitlines()
    assert said[0] == "ALLOWED: api/web to api/api, TCP 80, as far as the L7 rules let it pass"
    assert (
        said[1]
        == "egress of api/web to api/api, TCP 80: no policy selects it: everything is allowed"
    )
    assert any(
        line.startswith("ingress of api/api from api/web, TCP 80: allowed by") for line in said
    )
    assert any("as far as its L7 rules let it pass" in line for line in said)
    said = explain(policy, "weather/weather-app", "api/api:80").splitlines()
    assert said[0] == "DENIED: weather/weather-app to api/api, TCP 80"


def test_json_says_the_same(policy: Path) -> None:
    told = json.loads(explain(policy, "weather/weather-app", "10.0.0.1:80/UDP", "-o", "json"))
    assert told["decision"] == "denied"
    [answer] = told["answers"]
    assert (answer["protocol"], answer["port"], answer["peer"]) == ("UDP", 80, "10.0.0.1")
    assert [step["line"] for step in answer["steps"]] == [7, 12, 14]
    assert answer["policies"] == ["CiliumNetworkPolicy weather/weather-egress"]


def test_labels_instead_of_a_name(policy: Path) -> None:
    told = flowwatch(
        *(
            "explain",
            "-f",
            policy,
            "--from-labels",
            "app=weather-app,io.kubernetes.pod.namespace=weather",
        ),
        *("--to", "api.openweathermap.org:443"),
    )
    assert "allowed by weather/weather-egress" in told.stdout


@pytest.mark.parametrize(
    ("request_", "first", "words"),
    [
        ("GET /status", "ALLOWED: ", "request: an L7 rule allows GET /status"),
        ("HEAD /status", "DENIED: ", "no L7 rule allows HEAD /status (closest: GET /status; HEAD isn't GET)"),
        ("GET /status?x=1", "DENIED: ", "?x=1 is matched with the path, and /status ends before it"),
        ("GET /other", "DENIED: ", "/other isn't /status"),
    ],
)  # fmt: skip
def test_which_request_passes_and_by_what_another_misses(
    request_: str, first: str, words: str, policy: Path
) -> None:
    policy.write_text(HTTP.replace("method: GET", "method: GET, path: /status"))
    said = explain(policy, "api/web", "api/api:80", "--request", request_)
    assert said.startswith(first)
    assert words in said
    told = flowwatch(
        *("explain", "-f", policy, "--from", "api/web", "--to", "api/api:80", "--request", "status")
    )
    assert '"status" is no request: GET /path' in one_line(told)


def test_traffic_says_who_the_ends_are(policy: Path, tmp_path: Path) -> None:
    """Labels that a name would be taken for never beat those that records have."""
    flows = Capture()
    flows.answer("weather/app", "api.openweathermap.org", "93.184.216.34", 60)
    flows.flows[0]["source"] = endpoint("weather/app", app="weather-app")
    seen = ("--input-file", str(flows.write(tmp_path)))
    said = explain(policy, "weather/app", "api.openweathermap.org:443", *seen)
    assert said.startswith("ALLOWED")
    assert "seen: weather/app has the labels of weather/app-0" in said
    assert "seen: api.openweathermap.org was answered with 93.184.216.34" in said
    assert "assumed" not in said
    without = explain(policy, "weather/app", "api.openweathermap.org:443")
    assert "no policy selects it" in without  # app=app is assumed
    said = explain(policy, "weather/appp", "api.openweathermap.org:443", *seen)
    assert "assumed: the traffic has no weather/appp (of weather it has weather/app)" in said


def test_m11_labels_keep_the_namespace() -> None:
    folder = SHARED / "cases" / "m11-explain-namespace"
    if not folder.is_dir():
        pytest.skip("no m11-explain-namespace beside the checkout")
    for more in ((), ("--from-labels", "app=billing")):
        said = explain(folder / "policy.yaml", "pay/billing", "192.0.2.1:443", *more)
        assert said.startswith("DENIED: ")


def test_labels_may_name_a_cluster(policy: Path) -> None:
    """Policies are those of the subject's cluster, whatever its name."""
    end = "io.kubernetes.pod.namespace=weather,io.cilium.k8s.policy.cluster="
    words = ("--from-labels", f"app=weather-app,{end}near", "--to", ":6379", "--to-labels")
    told = flowwatch("explain", "-f", policy, *words, f"app=cache,{end}near")
    assert "allowed by weather/weather-egress spec.egress.2" in told.stdout
    told = flowwatch("explain", "-f", policy, *words, f"app=cache,{end}far")
    assert "default deny of weather/weather-egress" in told.stdout


def test_a_name_that_no_dns_rule_shows_is_said_to_be_assumed(policy: Path) -> None:
    policy.write_text(CORRECT.replace('          rules: {dns: [{matchPattern: "*"}]}\n', ""))
    said = explain(policy, "weather/weather-app", "api.openweathermap.org:443")
    assert "no rule here does (port 53 with rules: dns)" in said


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "--from and --to say who is asked about"),
        (("--from", "weather/app", "--to", "x.io"), "--to x.io: a port is missing, as in x.io:443"),
        (("--from", "weather", "--to", "x.io:1"),
         '"weather" is no NAMESPACE/NAME, DNS name, address or entity'),
        (("--from", "a/b", "--to", "c/d:80/FOO"), '"80/FOO" is no port, nor a port and protocol'),
        (("--from", "a/b", "--to", "c/d:99999"), '"99999" is no port'),
        # Python's isdigit takes these, and its int() takes neither.
        (("--from", "a/b", "--to", "c/d:²"), '"²" is no port'),
        (("--from", "a/b", "--to", f"c/d:{'9' * 5000}"), '9999" is no port'),
        (("--from", "world", "--to", "1.2.3.4:80"), "both ends are outside: no policy is about either"),
        (("--from", "a/b", "--to", "c/d:80", "--protocol", "x"), 'protocol "x": TCP'),
        (("--from", "a/b", "--to", "c/d:80", "-o", "yaml"), "invalid output format: yaml"),
        (("--from", "a/b", "--to", "10.0.0.0/8:80"), '"10.0.0.0/8" is a block of addresses: ask'),
        (("--from", "a/b", "--to", "https://x.io:80"), '"https://x.io:80" is a URL'),
        (("--from", "a/b", "--to", "x.io/y:80"), '"x.io/y" is no NAMESPACE/NAME'),
        (("--from", "a/b", "--to", "*.x.io:80"), '"*.x.io" is no NAMESPACE/NAME, DNS name'),
        (("--from", "a/b", "--to", "c/d:80/UDP", "--protocol", "TCP"), "--to says UDP, --protocol TCP"),
        (("--from-labels", "app", "--to", "x.io:80"), '"app" is no label: KEY=VALUE'),
        (("--from", "a/b", "--queries", "-"), "cannot set both --queries and --from"),
        (("--queries", "-", "-o", "text"), "the answers to --queries are JSON lines"),
    ],
)  # fmt: skip
def test_a_question_that_is_none(policy: Path, words: tuple[str, ...], line: str) -> None:
    told = flowwatch("explain", "-f", policy, *words)
    assert (told.returncode, told.stdout) == (2, "")
    assert line in one_line(told)


# Many questions ----------------------------------------------------------------------------------

APP = {"labels": ["k8s:app=weather-app", "k8s:io.kubernetes.pod.namespace=weather"]}
OTHER = {"labels": ["k8s:app=other", "k8s:io.kubernetes.pod.namespace=weather"]}


def question(**changes: Any) -> dict[str, Any]:
    asked = {
        "id": 1,
        "direction": "egress",
        "subject": APP,
        "peer": {"ip": "93.184.216.34", "fqdn": "api.openweathermap.org"},
        "protocol": "TCP",
        "port": 443,
    }
    return {key: value for key, value in (asked | changes).items() if value is not None}


def test_answers_come_in_the_order_of_the_questions(policy: Path) -> None:
    asked = [
        question(id="a"),
        question(id="b", port=80),
        question(id=None, subject=OTHER),
        question(id={"any": 1}, peer={"ip": "1.2.3.4"}),
        question(id="e", direction="ingress"),
    ]
    lines = "\n".join(map(json.dumps, asked))
    told = flowwatch("explain", "-f", policy, "--queries", "-", input=lines)
    assert (told.returncode, told.stderr) == (0, "")
    answers = [json.loads(line) for line in told.stdout.splitlines()]
    assert [one["id"] for one in answers] == ["a", "b", None, {"any": 1}, "e"]
    assert [one["decision"] for one in answers] == [
        "allowed",
        "denied",
        "allowed",
        "denied",
        "allowed",
    ]
    assert set(answers[0]) == {"id", "decision", "l7", "policies", "reason"}
    assert answers[0]["policies"] == ["CiliumNetworkPolicy weather/weather-egress"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "Input data was truncated"),
        ("[1]", "Expected `object`"),
        (json.dumps(question(subject=None)), "missing required field `subject`"),
        (json.dumps(question(prot="TCP")), "unknown field `prot`"),
        (json.dumps(question(protocol="FOO")), 'protocol "FOO": TCP'),
        (json.dumps(question(port=65536)), "port 65536: 0 to 65535"),
        (json.dumps(question(port="http")), "Expected `int`"),
        (json.dumps(question(direction="out")), 'direction "out": egress or ingress'),
        (json.dumps(question(peer={})), "peer: labels or ip must be given"),
        (json.dumps(question(peer={"ip": "1.2.3"})), 'peer: "1.2.3" is no address'),
        (json.dumps(question(subject={"labels": ["app=a"]})), 'label "app=a" has no source'),
        (json.dumps(question(peer={"ip": "1.2.3.4", "ports": {"x": 0}})), 'port 0 of "x"'),
        ('{"id": 1, "id": 2}', "missing required field"),
        ("\x1b[31m", "JSON is malformed"),
    ],
)
def test_a_line_that_is_no_question_is_told_and_the_others_answered(
    policy: Path, tmp_path: Path, line: str, words: str
) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join([json.dumps(question(id=1)), line, "", json.dumps(question(id=4))]))
    told = flowwatch("explain", "-f", policy, "--queries", path)
    assert told.returncode == 2
    assert [json.loads(one)["id"] for one in told.stdout.splitlines()] == [1, 4]
    first, last = told.stderr.splitlines()
    assert f"{path}:2: " in first
    assert words in first
    assert "1 line was no question and has no answer" in last


def answers(
    policies: Path, kept: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> Iterator[tuple[str, bool, str, bool]]:
    """What the command answers to stored questions, and what Cilium's engine said."""
    queries = tmp_path / "queries.jsonl"
    asked = [
        {
            "id": number,
            "direction": one[0],
            "subject": kept["parties"][one[1]],
            "peer": kept["parties"][one[2]],
            "protocol": one[3],
            "port": one[4],
        }
        for number, one in enumerate(kept["questions"])
    ]
    queries.write_text("".join(json.dumps(one) + "\n" for one in asked))
    options = []
    if kept.get("options"):
        options = ["--cilium-config", str(tmp_path / "cilium-config.json")]
        (tmp_path / "cilium-config.json").write_text(config_map(kept["options"]))
    code = run(["explain", "-f", str(policies), "--queries", str(queries), *options])
    told = capfd.readouterr()
    if asked:
        assert code == (2 if kept["refused"] else 0), (policies.name, told.err)
        for answer, one in zip(
            map(json.loads, told.out.splitlines()), kept["questions"], strict=True
        ):
            yield answer["decision"], answer["l7"], one[5], bool(one[6])


@pytest.mark.parametrize("path", sorted(CASES.glob("*.yaml")), ids=lambda path: path.stem)
def test_answers_of_ciliums_engine(
    path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    kept = yaml.safe_load(path.read_text())
    policies = tmp_path / "policies.yaml"
    policies.write_text(Case.load(path).text)
    for decision, l7, theirs, their_l7 in answers(policies, kept, tmp_path, capfd):
        wanted = "cant_tell" if theirs == "fails" else theirs
        assert (decision, l7) == (wanted, their_l7)


@needs("policy-verdicts")
def test_the_stored_answers_of_ciliums_engine(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each file of policies with all of its questions, as the command reads and writes them."""
    counts: Counter[str] = Counter()
    for path in sorted((SHARED / "policy-verdicts").glob("*.jsonl")):
        for line in path.read_text().splitlines():
            kept = json.loads(line)
            kept["refused"] = kept["rejected"]
            policies = SHARED / "policies" / kept["file"]
            for decision, l7, theirs, their_l7 in answers(policies, kept, tmp_path, capfd):
                counts["compared"] += 1
                same = (decision, l7) == (theirs, their_l7)
                doubt = decision == "cant_tell"
                counts["can't tell" if doubt else "equal" if same else "different"] += 1
    with capfd.disabled():
        told_so = ", ".join(
            f"{counts[w]:,} {w}" for w in ("compared", "equal", "can't tell", "different")
        )
        print(f"\nexplain --queries against Cilium's engine: {told_so}")
    assert counts == {"compared": STORED, "equal": STORED}


def test_a_file_of_questions_that_has_no_lines(policy: Path) -> None:
    told = flowwatch("explain", "-f", policy, "--queries", "/dev/zero")
    assert told.returncode == 2
    assert "/dev/zero:1: the line is longer than 1 MiB: give one question a line" in one_line(told)


def test_labels_keep_the_namespace_that_from_names(policy: Path) -> None:
    asked = ("weather/any-pod", "api.openweathermap.org:443", "--from-labels")
    assert "allowed by weather/weather-egress" in explain(policy, *asked, "app=weather-app")
    elsewhere = "app=weather-app,k8s:io.kubernetes.pod.namespace=other"
    assert "no policy selects it" in explain(policy, *asked, elsewhere)
