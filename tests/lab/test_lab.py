"""The kernel's own packets: each scenario, counted by the application, the kernel and flowwatch.

The table of each is printed (`pytest -s`). Without root, TCX or clang the tests skip and say what is missing;
`make lab RECORD=DIR` made the recordings of tests/data/kernel-lab, which are read everywhere.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.command import ROOT, flowwatch
from tests.interop.program import wait_until
from tests.lab.network import Network
from tests.lab.scenarios import SCENARIOS, play
from tests.lab.told import compared, of_flowwatch

pytestmark = [pytest.mark.usefixtures("here"), pytest.mark.xdist_group("the kernel lab")]

SHORT = ("story", "tcp", "udp", "icmp", "ipv6", "names", "cut", "both-ends", "audit", "http")
"""Those of a test run; the others take longer."""


@pytest.mark.parametrize("name", SHORT)
def test_flowwatch_counts_what_the_application_did(name: str) -> None:
    with play(name) as lab:
        SCENARIOS[name].run(lab)
        truth = lab.truth()
        text, wrong = compared(truth, of_flowwatch(lab.server, truth))

    print(f"\n{name}: {SCENARIOS[name].what}\n{text}")
    assert truth["kernel_events"]["lost"] == truth["kernel_events"]["failed"] == 0
    assert not wrong, text


def test_records_that_the_kernel_could_not_hand_over_are_told() -> None:
    with play("lost") as lab:
        SCENARIOS["lost"].run(lab)
        # The ring tells what it lost with the next record that it holds: when that is read.
        wait_until(lambda: lab.kernel()["lost"] == lab.kernel()["failed"], "the loss to be read")
        kernel = lab.kernel()
        done = flowwatch("summary", "--server", lab.server, "--last", "65535")

    assert kernel["lost"] == kernel["failed"] > 100
    assert f"{kernel['lost']} events were lost on lab-node" in done.stderr
    assert "counts are 'at least'" in done.stdout


def left(lab: str) -> dict[str, set[str]]:
    """What there is of a lab, by the beginning of its names."""
    shown = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    return {
        "namespaces": {line.split()[0] for line in shown.splitlines() if line.startswith(lab)},
        "folders": {path.name for path in Path("/tmp").glob(f"{lab}*")},
        "programs": {
            f"{process.name} {held}"
            for process in Path("/proc").glob("[0-9]*")
            for held in _held(process, lab)
        },
    }


def _held(process: Path, lab: str) -> set[str]:
    """The eBPF programs, maps and links that a process of a lab's holds; they go with it."""
    try:
        if lab not in (process / "cmdline").read_text():
            return set()
        targets = {os.readlink(file) for file in (process / "fd").iterdir()}
    except OSError:
        return set()
    return {target for target in targets if "bpf" in target} | {"runs"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_nothing_is_left_however_it_ends(number: signal.Signals) -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "tests.lab", "story"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert running.stdout is not None
    lines = []
    for line in running.stdout:
        lines.append(line)
        if line.startswith("the weather app fetches"):
            break
    lab = f"fwlab-{running.pid:x}-"
    during = left(lab)
    running.send_signal(number)
    rest = running.communicate(timeout=30)[0]

    assert [len(during[what]) for what in ("namespaces", "folders")] == [4, 1]
    assert any("bpf-prog" in one for one in during["programs"]), during
    assert running.returncode == 128 + number, "".join(lines) + rest
    assert "Traceback" not in rest
    assert left(lab) == {"namespaces": set(), "folders": set(), "programs": set()}


@pytest.mark.parametrize("wait", [0.0, 0.02, 0.05, 0.1, 0.2])
def test_a_signal_amid_the_cleaning_up_leaves_nothing_either(wait: float) -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "tests.lab", "audit", "--pace", "0"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert running.stdout is not None
    for line in running.stdout:
        # The table's last row; then all is removed.
        if line.startswith("203.0.113.66 5000/UDP"):
            break
    time.sleep(wait)
    running.send_signal(signal.SIGTERM)
    rest = running.communicate(timeout=30)[0]

    # At its very end Python itself has given the signal back to the system.
    assert running.returncode in (0, 128 + signal.SIGTERM, -signal.SIGTERM), rest
    assert "Traceback" not in rest
    assert left(f"fwlab-{running.pid:x}-") == {
        "namespaces": set(), "folders": set(), "programs": set(),
    }  # fmt: skip


SIGNALLED = """
import signal
from tests.lab.lab import Lab

lab, block = Lab(), signal.pthread_sigmask
lab._start = lambda: lab._made.callback(print, "removed")

def heard(*how):
    signal.pthread_sigmask = block
    raise SystemExit(143)

signal.pthread_sigmask = heard
with lab:
    pass
"""
"""A signal is heard when the lab has begun to leave, and blocks none yet."""


def test_a_signal_just_before_the_cleaning_up_leaves_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (143, "removed\n", "")


def started(*words: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, sys.executable, "-m", "tests.lab", *words],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_policy_that_cilium_refuses_ends_the_lab_before_it_begins(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: none}}"
    )
    done = started("--policy", str(policy))
    assert done.returncode == 2
    assert "forecast" not in done.stdout.partition("\n")[2]
    assert done.stderr.startswith("make lab: lab: ")
    assert done.stderr.count("\n") == 1


def test_without_the_rights_it_says_so_and_nothing_of_memory() -> None:
    done = started(before=("setpriv", "--bounding-set=-all", "--inh-caps=-all"))
    assert done.returncode == 2
    assert "may make no network namespace here" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "MEMLOCK" not in done.stderr


def test_two_labs_do_not_meet() -> None:
    with Network("aaaa") as one, Network("bbbb") as other:
        assert not set(one.names) & set(other.names)
        names = left("fwlab-aaaa-")["namespaces"] | left("fwlab-bbbb-")["namespaces"]
        assert names == {*one.names, *other.names}
    assert not left("fwlab-aaaa-")["namespaces"] | left("fwlab-bbbb-")["namespaces"]
