"""What docs/history.md shows is so."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from flowwatch.cli.flags import parse
from tests.command import ROOT

PAGE = (ROOT / "docs" / "history.md").read_text("utf-8")
UNIT = re.findall(r"^```ini\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_command_of_the_service_is_one_of_ours() -> None:
    [unit] = UNIT
    [line] = re.findall(r"^ExecStart=/usr/bin/env flowwatch (.+)$", unit, re.MULTILINE)
    parsed = parse(line.split())
    assert parsed.verb.name == "record"
    assert (parsed.text("to"), parsed.text("keep")) == ("%S/flowwatch/flows", "7d")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd here")
def test_systemd_takes_the_service(tmp_path: Path) -> None:
    [unit] = UNIT
    path = tmp_path / "flowwatch-record.service"
    path.write_text(unit)
    command = ["systemd-analyze", "verify", "--man=no", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    ours = [line for line in done.stderr.splitlines() if path.name in line]
    assert (done.returncode, ours) == (0, [])
