"""The audit's page: nothing from outside is markup, and a browser shows it without a complaint."""

from __future__ import annotations

import io
import re
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tinyhtml5.parser import HTMLParser as Html5

from flowwatch.audits.findings import AuditReport
from flowwatch.report.audit import html as page_module
from flowwatch.report.audit import write_audit
from tests.browser import BROWSER, needs_browser
from tests.unit.report.made_audit import HOSTILE, everything, finding, hostile, nothing

VOID = {"meta", "br"}
TAGS = {
    "html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "ul", "li", "b", "section",
    "table", "thead", "tbody", "tr", "th", "td", "br", "span", "code", "div", "dl", "dt", "dd", "footer",
}  # fmt: skip
ATTRIBUTES = {"lang", "charset", "http-equiv", "content", "name", "class", "scope"}


class Page(HTMLParser):
    """Tags, attributes and text of a page; an element that isn't closed in order is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.cells: list[list[int]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag == "table":
            self.cells.append([])
        if tag == "tr":
            self.cells[-1].append(0)
        if tag in ("td", "th"):
            self.cells[-1][-1] += 1
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.texts.append(data)


def page(report: AuditReport) -> str:
    out = io.StringIO()
    write_audit(report, "html", out)
    return out.getvalue()


@pytest.mark.parametrize("made", [everything, hostile, nothing], ids=lambda one: one.__name__)
def test_the_page_is_well_formed_and_loads_nothing(made: object) -> None:
    text = page(made())  # type: ignore[operator]
    found = Page(text)
    assert found.tags <= TAGS
    assert {name for name, _ in found.attributes} <= ATTRIBUTES
    assert "url(" not in text
    assert "@import" not in text
    assert text.startswith("<!DOCTYPE html>")
    for rows in found.cells:
        assert len(set(rows)) == 1


@pytest.mark.parametrize("made", [everything, hostile, nothing], ids=lambda one: one.__name__)
def test_the_page_is_html5_without_an_error(made: object) -> None:
    def faults(text: str) -> list[object]:
        reader = Html5()
        reader.parse(text)
        return list(reader.errors)

    text = page(made())  # type: ignore[operator]
    assert faults(text) == []
    assert faults(text.replace("</h1>", "</h2>"))
    assert faults(text.replace("<p>", "<table><p>", 1))


def test_hostile_names_are_text() -> None:
    shown = "".join(Page(page(hostile())).texts)
    assert "<script>alert(1)</script>]]>\\x0a::error::x\\x0d\\u202e`[a](b) {0} &\"'" in shown
    assert HOSTILE not in shown


def test_the_page_forbids_all_but_its_own_style() -> None:
    (policy,) = [text for _, text in Page(page(nothing())).attributes if text and "-src" in text]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")


def test_what_an_auditor_asks_is_on_the_page_blind_spots_first() -> None:
    shown = "\n".join(Page(page(everything())).texts)
    order = [
        "NOT AS EXPECTED", "120 records of 2 nodes", "from flows.jsonl --namespace weather",
        "7 events were lost on node-1",
        "nothing tried what it forbids", "contradicted.example", "leak.example", "a reason for leak",
        "overblock.example", "policies/weather.yaml", "port-mismatch", "Never exercised", "spec.egress.2",
        "Policies, and whom they select", "Selects nothing that was seen",
    ]  # fmt: skip
    at = 0
    for words in order:
        at = shown.index(words, at)
    assert "2026-03-04 04:53:20" in shown


def test_long_lists_are_cut_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "MAX_ROWS", 10)
    rows = tuple(finding("leak", f"peer-{number}") for number in range(13))
    text = page(replace(nothing(), findings=rows))
    assert "… and 3 more rows" in text
    assert text.count("a reason for peer-") == 10


@needs_browser
def test_a_browser_shows_it_with_its_style_and_runs_nothing(tmp_path: Path) -> None:
    file = tmp_path / "audit.html"
    file.write_text(page(hostile()), encoding="utf-8")
    shot = tmp_path / "audit.png"
    result = chromium(tmp_path, "--window-size=1280,2000", f"--screenshot={shot}", file.as_uri())
    assert shot.stat().st_size > 50_000
    # A style that the policy refuses, or a script that it stops, would be a message here.
    assert not re.findall(r"CONSOLE.*", result)


@needs_browser
def test_the_browser_would_tell_of_a_refused_style(tmp_path: Path) -> None:
    """So that the test above can fail."""
    file = tmp_path / "audit.html"
    file.write_text(page(hostile()).replace("margin: 0 auto", "margin: 1px auto"), encoding="utf-8")
    assert "Content Security Policy" in chromium(tmp_path, "--dump-dom", file.as_uri())


def chromium(home: Path, *arguments: str) -> str:
    """Run the browser without a window; its messages."""
    return subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
         "--enable-logging=stderr", f"--user-data-dir={home / 'profile'}", *arguments],
        capture_output=True, text=True, timeout=100, check=True,
    ).stderr  # fmt: skip
