"""What each command line loads: no more than it needs, as loading is most of what a short one takes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.pty_driver import Terminal
from tests.command import ROOT, clean_environment
from tests.material import DROPPED_FLOW

RUNNER = """\
import atexit, sys
def write():
    with open({told!r}, "w") as file:
        file.write("\\n".join(sys.modules))
atexit.register(write)
from flowwatch.__main__ import main
sys.argv[1:] = {argv!r}
sys.exit(main())
"""

SCREEN = {"textual", "rich", "flowwatch.tui"}
TABLES = {"pandas", "numpy", "pyarrow"}
WIRE = {"grpc", "google"}
KUBERNETES = {"httpx", "httpx_ws", "flowwatch.hubble.kube.api", "flowwatch.hubble.kube.portforward"}
HEAVY = SCREEN | TABLES | WIRE | KUBERNETES | {"yaml", "msgspec", "json", "dataclasses"}

POLICY = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: egress, namespace: weather}
spec:
  endpointSelector: {matchLabels: {app: weather-app}}
  egress: [{toEntities: [cluster]}]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imports")
    (folder / "flows.jsonl").write_text(json.dumps({"flow": DROPPED_FLOW}) + "\n")
    (folder / "policy.yaml").write_text(POLICY)
    return folder


def runner(place: Path, line: str) -> tuple[list[str], Path]:
    """A command that runs ``flowwatch LINE`` and writes down what is loaded at its end, and where."""
    told = place / "modules"
    told.unlink(missing_ok=True)
    words = line.replace("FLOWS", "flows.jsonl").replace("POLICY", "policy.yaml")
    code = RUNNER.format(told=str(told), argv=words.split())
    return [sys.executable, "-c", code], told


def loaded(place: Path, line: str, codes: tuple[int, ...] = (0,)) -> set[str]:
    """The modules that ``flowwatch LINE`` loads, and the packages that they are of."""
    argv, told = runner(place, line)
    done = subprocess.run(
        argv,
        cwd=place,
        env=clean_environment(str(place)) | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in codes, done.stderr
    return packages(told)


def packages(told: Path) -> set[str]:
    found: set[str] = set()
    for module in told.read_text().splitlines():
        parts = module.split(".")
        found |= {".".join(parts[:depth]) for depth in range(1, len(parts) + 1)}
    return found


@pytest.mark.parametrize(
    "line",
    [
        "--help",
        "--version",
        "version",
        "help summary",
        "observe --help",
        "audit --help",
        "completion bash",
        "completion zsh",
        "__complete observe --verdict D",
        "__complete observe --drop-reason-desc P",
        "__complete summary -o j",
        "__complete audit -f pol",
        "__complete --",
    ],
)
def test_words_alone_load_nothing_that_takes_time(place: Path, line: str) -> None:
    assert loaded(place, line) & HEAVY == set()


@pytest.mark.parametrize("line", ["--nonsense", "summary -o jsno", "sumary"])
def test_nor_does_a_refusal(place: Path, line: str) -> None:
    assert loaded(place, line, (2,)) & HEAVY == set()


@pytest.mark.parametrize(
    ("line", "needed"),
    [
        ("summary --input-file FLOWS", {"msgspec"}),
        ("summary --input-file FLOWS -o json", {"msgspec"}),
        ("export --input-file FLOWS", {"msgspec"}),
        ("export --grouped --input-file FLOWS --format jsonl", {"msgspec"}),
        ("observe --input-file FLOWS", {"google"}),
        ("audit -f POLICY --input-file FLOWS", {"yaml", "flowwatch.policy"}),
        ("whatif -f POLICY --input-file FLOWS", {"yaml", "flowwatch.policy"}),
        ("explain -f POLICY --from weather/app --to a.example:443", {"yaml", "flowwatch.policy"}),
    ],
)
def test_what_reads_files_loads_no_screen_no_table_and_no_client(
    place: Path, line: str, needed: set[str]
) -> None:
    found = loaded(place, line)
    assert needed <= found
    assert found & (SCREEN | TABLES | KUBERNETES | {"grpc"}) == set()


def test_what_needs_no_policies_loads_none(place: Path) -> None:
    for line in ("summary --input-file FLOWS", "export --input-file FLOWS"):
        assert "flowwatch.policy" not in loaded(place, line)


LIVE = {"ssl", "hpack", "flowwatch.hubble.client.h2", "flowwatch.sources.live"}
OF_FILES = {"flowwatch.sources.files", "flowwatch.hubble.captures"}


def test_a_summary_loads_one_way_in(place: Path) -> None:
    assert loaded(place, "summary --input-file FLOWS") & LIVE == set()
    assert loaded(place, "summary --server 127.0.0.1:1", (1,)) & OF_FILES == set()


@pytest.mark.parametrize(
    "line",
    [
        f"{verb} --server 127.0.0.1:1"
        for verb in ("summary", "export", "observe", "status", "doctor", "list nodes")
    ],
)
def test_what_asks_a_server_loads_no_screen_and_no_kubernetes(place: Path, line: str) -> None:
    assert loaded(place, line, (1,)) & (SCREEN | TABLES | KUBERNETES) == set()


def test_the_demo_without_a_terminal_loads_no_screen(place: Path) -> None:
    assert loaded(place, "demo --duration 20s") & (SCREEN | TABLES | KUBERNETES) == set()


@pytest.mark.parametrize(
    "line",
    [
        "--input-file FLOWS",
        "--server 127.0.0.1:1 --theme dark",
        "--policies POLICY --input-file FLOWS",
    ],
)
def test_the_dashboard_loads_no_kubernetes_client_and_no_table(place: Path, line: str) -> None:
    argv, told = runner(place, line)
    own = clean_environment(str(place)) | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(place)}
    with Terminal(["env", "-C", str(place), *argv], env=own) as terminal:
        terminal.wait_for(lambda screen: screen.modes.get("1049", False), 30)
        terminal.run_for(1)
        terminal.press("q")
        terminal.wait(30)
    found = packages(told)
    assert "textual" in found
    assert found & (KUBERNETES | TABLES) == set()
    # What an attempt shows of policies is looked at for marks, once the first frame is seen; none is judged.
    assert ("flowwatch.audits.live" in found) == ("POLICY" in line)
    # Until it is looked at.
    assert "flowwatch.tui.views.audit_report" not in found


def test_until_ctrl_c_ends_without_a_traceback_nothing_is_loaded() -> None:
    """What the interpreter and pip's own script load before is theirs."""
    code = "import sys; had = {*sys.modules}; import flowwatch.__main__; print(*({*sys.modules} - had))"
    # Not the site's: what a checkout's own paths need would hide what we load.
    told = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert {name for name in told.stdout.split() if name.startswith("flowwatch")} == {
        "flowwatch",
        "flowwatch.__main__",
    }
    assert set(told.stdout.split()) & {"typing", "re", "enum", "signal", "threading"} == set()
