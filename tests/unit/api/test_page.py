"""The examples of docs/python.md, run one after the other as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import flowwatch
from tests.command import ROOT
from tests.unit.api.test_source_of_your_own import POLICY, RECORD

PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")


def test_the_examples_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("flows.jsonl").write_bytes(RECORD)
    Path("policy.yaml").write_text(POLICY.replace("cluster", "world"))
    seen: dict[str, object] = {}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        exec(block, seen)
    assert len(seen["drops"]) == len(seen["worst"]) == len(seen["frame"]) == 1  # type: ignore[arg-type]
    assert capsys.readouterr().out.startswith("overblock weather/app-1 ")


def test_every_public_name_is_told() -> None:
    told = set(re.findall(r"`(\w+)[`(]", PAGE))
    assert set(flowwatch.__all__) - {"__version__"} <= told
