"""``flowwatch draft`` on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from flowwatch.demo.server import DemoServer
from flowwatch.policy import load
from tests.in_process import flowwatch
from tests.interop.compared import config_map
from tests.material import OWN

WEATHER = OWN / "captures" / "weather.jsonl"
DROPS = OWN / "pairs" / "nothing-other-labels.jsonl"


def test_a_policy_on_standard_output_and_its_proof_beside_it() -> None:
    told = flowwatch("draft", "--input-file", WEATHER, "--namespace", "weather")

    assert told.returncode == 0
    assert [one["kind"] for one in yaml.safe_load_all(told.stdout)] == ["CiliumNetworkPolicy"]
    assert "1 policy: allows" in told.stderr


def test_in_a_folder_each_policy_has_a_file(tmp_path: Path) -> None:
    told = flowwatch(
        "draft", "--input-file", WEATHER, "--direction", "both", "-o", f"{tmp_path / 'new'}/"
    )

    assert told.stdout == ""
    files = sorted((tmp_path / "new").iterdir())
    assert len(files) > 1
    for file in files:
        (policy,) = load([(file.name, file.read_text())]).policies
        assert file.name == f"{policy.namespace}-{policy.name}.yaml"


def test_nothing_to_learn_writes_nothing_and_ends_with_3(tmp_path: Path) -> None:
    path = tmp_path / "draft.yaml"

    told = flowwatch("draft", "--input-file", OWN / "captures" / "empty.jsonl", "-o", path)

    assert told.returncode in (1, 2, 3)
    assert not path.exists()


def test_why_a_peer_is_allowed() -> None:
    told = flowwatch("draft", "--input-file", WEATHER, "--explain", "api.openweathermap.org:443")

    assert told.returncode == 0
    assert told.stdout.startswith("weather/weather-app: allows api.openweathermap.org:443/TCP: ")


def test_a_peer_that_nobody_tried() -> None:
    told = flowwatch("draft", "--input-file", WEATHER, "--explain", "nobody.example:1")

    assert (told.returncode, told.stdout) == (3, "")
    assert "nothing that was seen tried nobody.example:1" in told.stderr


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--kind", "cilium"), "invalid --kind"),
        (("--for", "cluster"), "invalid --for"),
        (("--follow",), "a draft ends"),
        (("--follow", "--stable", "2h", "--edit"), "a draft ends"),
        (("--stable", "soon"), "soon"),
        (("--edit", "--policies", "-"), "standard input can't be read twice"),
        (("--explain", "api.github.com:99999"), "invalid --explain: api.github.com:99999"),
        (("--explain", "api.github.com:https"), "invalid --explain"),
        (("--explain", ":443"), "invalid --explain"),
    ],
)
def test_what_can_t_be_is_one_line(words: tuple[str, ...], line: str) -> None:
    told = flowwatch("draft", "--input-file", WEATHER, *words)

    assert told.returncode == 2
    assert line in told.stderr
    assert told.stderr.count("\n") == 1


def test_the_options_of_the_agents_are_known(tmp_path: Path) -> None:
    config = tmp_path / "cilium-config.json"
    config.write_text(config_map({"enable-policy": "never"}))

    told = flowwatch("draft", "--input-file", WEATHER, "--cilium-config", config)

    assert told.returncode == 0
    assert "enable-policy" in told.stderr
    # Where no policy is enforced nothing is denied, a draft or not.
    assert "denies 0 of 2 others" in told.stderr


def test_groups_of_addresses_are_said_as_they_are_given(tmp_path: Path) -> None:
    groups = tmp_path / "groups.yaml"
    groups.write_text(
        "apiVersion: cilium.io/v2\nkind: CiliumCIDRGroup\nmetadata: {name: metadata}\n"
        "spec: {externalCIDRs: [169.254.169.0/24]}\n"
    )

    told = flowwatch("draft", "--demo=before", "--namespace", "weather", "--policies", groups)

    assert told.returncode == 0
    assert "- cidrGroupRef: metadata" in told.stdout
    assert "169.254.169.254/32" not in told.stdout


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--policies", "missing.yaml"), "cannot read missing.yaml"),
        (("--policies", "-", "--input-file", "-"), "can't both come from standard input"),
    ],
)
def test_given_policies_that_can_t_be_read_are_one_line(words: tuple[str, ...], line: str) -> None:
    told = flowwatch("draft", *words)

    assert (told.returncode, told.stdout) == (2, "")
    assert line in told.stderr
    assert told.stderr.count("\n") == 1


def test_each_rule_says_whether_it_still_learns() -> None:
    told = flowwatch("draft", "--input-file", WEATHER, "--namespace", "weather", "--stable", "2d")

    assert told.returncode == 0
    assert told.stdout.count("# learning: something new ") > 1
    assert ", stable after 2.0 days without" in told.stdout


def test_following_ends_when_nothing_new_comes(tmp_path: Path) -> None:
    path = tmp_path / "draft.yaml"
    with DemoServer("127.0.0.1:0") as server:
        told = flowwatch(
            "draft", "--server", server.address, "-n", "weather", "-f", "--stable", "1s", "-o", path
        )

    assert told.returncode == 0
    assert "following until nothing new comes any more" in told.stderr
    assert "# stable: nothing new in " in path.read_text()
