"""What each command line loads: no more than it needs, as loading is most of what a short one takes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowwatch.demo.server import DemoServer
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
LIBRARY = {"dataclasses", "inspect", "json", "pathlib", "socket", "ssl", "tempfile", "urllib.parse"}
"""Of Python's own, what takes a millisecond or more."""
HEAVY = SCREEN | TABLES | WIRE | KUBERNETES | LIBRARY | {"yaml", "msgspec"}

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
        "__complete observe --verdict D",
        "__complete observe --drop-reason-desc P",
        "__complete summary -o j",
        "__complete audit -f pol",
        "__complete --",
    ],
)
def test_words_alone_load_nothing_that_takes_time(place: Path, line: str) -> None:
    assert loaded(place, line) & HEAVY == set()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_nor_does_a_script_that_completes_but_what_reads_a_file_of_the_package(
    place: Path, shell: str
) -> None:
    readers = {"pathlib", "tempfile", "urllib.parse"}
    assert loaded(place, f"completion {shell}") & HEAVY <= readers


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


LIVE = {
    "hpack",
    "logging",
    "selectors",
    "socket",
    "flowwatch.flows.decode_wire",
    "flowwatch.hubble.client.forward",
    "flowwatch.hubble.client.h2",
    "flowwatch.sources.live",
}
"""What only who asks a server needs."""
OF_FILES = {
    "flowwatch.flows.decode_json",
    "flowwatch.flows.json_structs",
    "flowwatch.hubble.captures",
    "flowwatch.hubble.wire.jsonpb",
    "flowwatch.sources.files",
}
"""And only who reads files."""
ON_DEMAND = {
    "grpc",
    "ssl",
    "flowwatch.hubble.client.h2tls",
    "flowwatch.hubble.client.probe",
    "flowwatch.hubble.client.tls",
    "flowwatch.hubble.filters.match",
    "flowwatch.hubble.kube.access",
    "flowwatch.hubble.kube.kubeconfig",
    "flowwatch.hubble.kube.material",
    "flowwatch.hubble.captures.unwrapping",
    "google.protobuf.json_format",
}
"""What encryption, a port-forward, filters, log pipelines or a fault take, and nothing else."""
OTHER_FORMATS = {
    "csv",
    "difflib",
    "json",
    "flowwatch.egress.filters",
    "flowwatch.report.export",
    "flowwatch.report.summary_markdown",
}
"""What a table without a filter needs none of."""
SLOW_CLASSES = {"dataclasses"}
"""One with slots takes 0.7 ms to make, each time; a msgspec.Struct takes 0.03."""
NOT_FOR = {
    "summary --input-file FLOWS": LIVE
    | ON_DEMAND
    | OTHER_FORMATS
    | SLOW_CLASSES
    | LIBRARY - {"inspect"},
    "export --input-file FLOWS": LIVE | ON_DEMAND | SLOW_CLASSES | {"pathlib", "tempfile"},
    "observe --input-file FLOWS": LIVE - {"flowwatch.flows.decode_wire"} | ON_DEMAND,
    "summary --server SERVER": OF_FILES
    | ON_DEMAND
    | OTHER_FORMATS
    | SLOW_CLASSES
    | {"pathlib", "tempfile"},
    "export --server SERVER": OF_FILES | ON_DEMAND | SLOW_CLASSES | {"pathlib", "tempfile"},
    "observe --server SERVER": OF_FILES - {"flowwatch.hubble.captures"} | ON_DEMAND,
}
"""By command line, what it may not load. msgspec itself loads ``inspect``."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with DemoServer("127.0.0.1:0", live=False) as demo:
        yield demo.address


@pytest.mark.parametrize("line", NOT_FOR)
def test_each_loads_one_way_in_and_of_that_what_it_needs(
    line: str, place: Path, server: str
) -> None:
    assert loaded(place, line.replace("SERVER", server)) & NOT_FOR[line] == set()


def test_a_filter_a_format_and_a_fault_load_their_part(place: Path, server: str) -> None:
    """So that what stands above isn't kept out for good by a wrong name."""
    read = "summary --input-file FLOWS"
    found = loaded(place, f"{read} --filter ns:weather -o csv") | loaded(
        place, f"{read} -o markdown"
    )
    found |= loaded(place, f"summary --server {server} -n weather --filter x -o json")
    found |= loaded(place, f"{read} -n weather") | loaded(
        place, "summary --server 127.0.0.1:1", (1,)
    )
    found |= loaded(place, f"summary --server tls://{server} --tls-allow-insecure", (1,))
    assert found >= OTHER_FORMATS
    assert found >= LIVE | OF_FILES
    assert ON_DEMAND - found <= {
        "grpc",
        "flowwatch.hubble.captures.unwrapping",
        "google.protobuf.json_format",
        "flowwatch.hubble.client.h2tls",
        "flowwatch.hubble.kube.access",
        "flowwatch.hubble.kube.kubeconfig",
    }


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


def test_what_pushes_metrics_is_loaded_by_who_pushes(place: Path) -> None:
    (place / "rules.yaml").write_text("rules: [{when: cut}]")
    found = loaded(place, "watch rules.yaml --input-file FLOWS", (0, 1))
    assert found & {"opentelemetry", "requests", "prometheus_client", "httpx"} == set()
