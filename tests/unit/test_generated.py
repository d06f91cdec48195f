"""The wire contract in `proto/`: its generated code is fresh, and it says what Hubble says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from flowwatch.hubble.wire.generate import PACKAGES, ROOT, generate, stale
from tests.material import SHARED, needs

CHECK = SHARED / "wire" / "check"


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_generated_code_is_fresh() -> None:
    done = run("-m", "flowwatch.hubble.wire.generate", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_stale_missing_and_left_over_files_are_found(tmp_path: Path) -> None:
    committed, fresh = tmp_path / "committed", tmp_path / "fresh"
    generate(committed)
    generate(fresh)
    assert stale(committed, fresh) == []

    edited = committed / "flow" / "flow_pb2.py"
    edited.write_text(edited.read_text() + "# edited by hand\n")
    (committed / "peer" / "peer_pb2.pyi").unlink()
    (committed / "relay" / "old_pb2.py").touch()
    assert stale(committed, fresh) == ["flow/flow_pb2.py", "peer/peer_pb2.pyi", "relay/old_pb2.py"]


def test_every_proto_is_generated() -> None:
    assert {path.parent.name for path in (ROOT / "proto").rglob("*.proto")} == set(PACKAGES)


@needs("wire/check")
def test_proto_agrees_with_the_facts_of_hubble() -> None:
    done = run(CHECK, "proto")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", 0 differences" in done.stdout
