"""Text from the network as it is shown: what has no shape of its own is written out."""

from __future__ import annotations

import json
import sys
import unicodedata
from pathlib import Path

import pytest

from flowwatch.hubble.wire.jsonprint import message_to_json
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.report.human import width
from flowwatch.report.jsontext import to_json
from flowwatch.text import IGNORABLE, WRITTEN_OUT, cell, json_safe, safe
from flowwatch.tui.editor import Editor
from tests.in_process import flowwatch
from tests.unicode_table import ignorable

SHOWN = [
    ("weather-app", "weather-app"),
    ("täglich 包裹 погода", "täglich 包裹 погода"),
    ("a\tb\x1b[2J\x7f\x9b31m", r"a\x09b\x1b[2J\x7f\x9b31m"),
    ("line\nbreak\u2028\u2029\x85", r"line\x0abreak\u2028\u2029\x85"),
    ("gnp.\u202e\u2066exe", r"gnp.\u202e\u2066exe"),
    # What can't be seen: two names that look the same.
    ("api\u00ad.example.com", r"api\xad.example.com"),
    ("api\u034f\u180e\ufe0f\u2060", r"api\u034f\u180e\ufe0f\u2060"),
    ("\u115f\u1160\u3164\uffa0", r"\u115f\u1160\u3164\uffa0"),
    ("\ufff9a\ufffab\ufffb", r"\ufff9a\ufffab\ufffb"),
    # Tags, in which whole sentences can be hidden, and variation selectors.
    ("x\U000e0041\U000e0042\U000e0100", r"x\U000e0041\U000e0042\U000e0100"),
    # An emoji of several is shown as the several.
    ("👩\u200d💻❤\ufe0f", r"👩\u200d💻❤\ufe0f"),
    # Surrogates, no characters, private use, unassigned.
    ("\udc80\ufffe\U0010ffff\ue000\u0378", r"\udc80\ufffe\U0010ffff\ue000\u0378"),
]


@pytest.mark.parametrize(("text", "shown"), SHOWN)
def test_what_is_shown(text: str, shown: str) -> None:
    assert safe(text) == shown
    assert cell(text).lstrip("'") == shown
    # Once more makes it no safer.
    assert safe(shown) == shown


@pytest.mark.parametrize(("text", "shown"), SHOWN)
def test_in_json_it_means_the_same(text: str, shown: str) -> None:
    written = to_json([text])
    assert json.loads(written) == [text]
    assert safe(written) == written
    if "\udc80" not in text:
        record = message_to_json(flow_pb2.Flow(node_name=text))
        assert json.loads(record)["node_name"] == text
        assert safe(record) == record


def test_every_character_by_its_property() -> None:
    """All of Unicode, as this Python knows it."""
    wrong = []
    unseen = {code for first, last in IGNORABLE for code in range(first, last + 1)}
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        out = unicodedata.category(char) in WRITTEN_OUT or code in unseen
        if (char in safe("a" + char)) == out:
            wrong.append(code)
        if code >= 0x7F and (char in json_safe("a" + char)) == out:
            wrong.append(code)
    assert wrong == []


def test_the_table_is_unicode_s() -> None:
    assert ignorable() == IGNORABLE


def test_marks_stay_on_their_letter_and_are_few() -> None:
    assert safe("Việt cafe\u0301 שָׁ") == "Việt cafe\u0301 שָׁ"
    flood = "a" + "\u0301" * 1000 + "b"
    assert safe(flood) == "a" + "\u0301" * 4 + r"\u0301" * 996 + "b"
    # It would strike out what is ours: "✓" with U+0338 is "not ✓".
    assert safe("\u0338app") == r"\u0338app"
    assert safe("\u200d\u0338") == r"\u200d\u0338"
    assert json_safe('"\u0338"') == r'"\u0338"'
    # Hangul's vowels join the letter before them, too.
    assert safe("ᄒ" + "\u1161" * 9) == "ᄒ" + "\u1161" * 4 + r"\u1161" * 5
    assert width("cafe\u0301") == 4


def test_an_accent_may_be_typed_after_its_letter() -> None:
    editor = Editor("/")
    editor.insert("\u0301")
    editor.insert("e")
    editor.insert("\u0301")
    assert editor.text == "\\u0301e\u0301"


UNSEEN = (
    "\u00ad\u034f\u115f\u180e\u200b\u202e\u2060\u3164\ufe0f\ufff9\ufeff\U000e0041\U000e0100\x9b"
)
NAME = f"x{UNSEEN}\u0338" + "\u0301" * 50 + "y"


@pytest.mark.parametrize(
    "verb",
    [
        *("summary", "summary -o json", "summary -o csv", "summary -o markdown"),
        *("export", "export --format jsonl", "observe", "observe -o dict", "observe -o table"),
        *("observe -o json", "observe -o csv", "audit -f POLICY", "whatif -f POLICY"),
        *(
            f"audit -f POLICY -o {form}"
            for form in ("json", "junit", "sarif", "github", "markdown", "html")
        ),
    ],
)
def test_no_verb_lets_one_pass(verb: str, tmp_path: Path) -> None:
    flow = {
        "time": "2026-01-31T10:00:00.5Z",
        "uuid": "a",
        "verdict": "FORWARDED",
        "IP": {"source": "10.0.0.1", "destination": "1.2.3.4", "ipVersion": "IPv4"},
        "l4": {"TCP": {"source_port": 40000, "destination_port": 80, "flags": {"SYN": True}}},
        "source": {
            "identity": 1000,
            "namespace": "weather",
            "pod_name": NAME,
            "labels": [
                "k8s:app=weather-app", "k8s:io.kubernetes.pod.namespace=weather", f"k8s:{NAME}=1"
            ],
        },
        "destination": {"identity": 2, "labels": ["reserved:world"]},
        "event_type": {"type": 5},
        "traffic_direction": "EGRESS",
        "node_name": NAME,
        "destination_names": [NAME],
    }  # fmt: skip
    drop = flow | {
        "verdict": "DROPPED",
        "drop_reason_desc": "POLICY_DENIED",
        "uuid": "b",
        "l4": {"TCP": {"source_port": 40001, "destination_port": 443, "flags": {"SYN": True}}},
    }
    (tmp_path / "flows.jsonl").write_text(
        "".join(json.dumps({"flow": one}) + "\n" for one in (flow, drop))
    )
    (tmp_path / "policy.yaml").write_text(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\n"
        "metadata: {name: a, namespace: weather}\nspec:\n"
        "  endpointSelector: {matchLabels: {app: weather-app}}\n"
        "  egress: [{toEntities: [cluster]}]\n"
    )
    words = [str(tmp_path / "policy.yaml") if word == "POLICY" else word for word in verb.split()]
    told = flowwatch(*words, "--input-file", tmp_path / "flows.jsonl")
    assert "u202e" in told.stdout
    assert [char for char in UNSEEN if char in told.stdout + told.stderr] == []
    assert "\u0301" * 5 not in told.stdout
