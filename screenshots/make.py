"""Take the pictures of the README: ``make screenshots``, or some: ``ARGS=draft``. ``ARGS=lab`` takes that
of the kernel lab alone, ``ARGS=browser`` that of a browser's tab, by Chromium.

The real dashboard, over the real gRPC stream, on the demo's server; Textual's own driver draws it
without a terminal. Writes SVG, and PNG by resvg with a font of the system.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import resvg_py  # noqa: E402

from flowwatch.audits.live import LiveAudit  # noqa: E402
from flowwatch.audits.staged import LiveStaged  # noqa: E402
from flowwatch.demo.server import DemoServer  # noqa: E402
from flowwatch.demo.story import policy_text  # noqa: E402
from flowwatch.drafts.draft import Drafter  # noqa: E402
from flowwatch.drafts.drafting import Drafting  # noqa: E402
from flowwatch.egress.monitor import LiveMonitor  # noqa: E402
from flowwatch.flows.join import Join  # noqa: E402
from flowwatch.marks.live import LiveChanges  # noqa: E402
from flowwatch.policy import load  # noqa: E402
from flowwatch.sources.opening import open_source  # noqa: E402
from flowwatch.sources.request import PlainOptions, flow_request  # noqa: E402
from flowwatch.tui.dashboard import dashboard  # noqa: E402
from flowwatch.tui.state import Options  # noqa: E402

FONT = "DejaVu Sans Mono"


@dataclass(frozen=True)
class Picture:
    name: str
    size: tuple[int, int]
    keys: tuple[str, ...]
    theme: str = "dark"
    policies: bool = False
    """Whether the demo's policies are given, as by --policies."""
    staged: bool = False
    """Whether DRAFT is staged, as by --staged."""
    namespace: str = "weather"
    """Whose pods are shown; empty: all."""


DRAFT = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: weather-egress, namespace: weather}
spec:
  endpointSelector: {matchLabels: {app: weather-app}}
  egress:
  - toEndpoints: [{matchLabels: {k8s:io.kubernetes.pod.namespace: kube-system, k8s-app: kube-dns}}]
  - toFQDNs: [{matchName: api.github.com}]
    toPorts: [{ports: [{port: "443"}]}]
"""
"""In place of the demo's own: lets GitHub through, and forgot the weather."""

PICTURES = (
    Picture("dashboard", (120, 36), ("enter",)),
    Picture("drops-80x24", (80, 24), ("d",)),
    Picture("tail", (120, 36), ("t",)),
    Picture("audit", (120, 36), ("A",), policies=True),
    Picture("fold", (120, 36), ("space",)),
    Picture("changes", (120, 36), ("c",)),
    Picture("draft", (120, 36), ("D", "j", "j", "j", "space")),
    Picture("workloads", (120, 24), ("2",), policies=True, namespace=""),
    Picture("destinations", (120, 36), ("3",), policies=True, namespace=""),
    Picture("policies", (120, 24), ("4",), policies=True, namespace=""),
    Picture("causes", (120, 36), ("5",), policies=True, namespace=""),
    Picture("map", (120, 36), ("6",), policies=True, namespace=""),
    Picture("flows", (120, 36), ("8",), policies=True),
    Picture("nodes", (120, 20), ("9",), policies=True, namespace=""),
    Picture("record", (120, 36), ("8", "enter"), policies=True),
    Picture("staged", (120, 24), (), policies=True, staged=True),
    Picture("waiting", (120, 24), ("H",), policies=True, namespace=""),
    Picture("warnings", (120, 20), ("w",), namespace=""),
    Picture("palette", (120, 24), ("ctrl+p", *"who"), policies=True, namespace=""),
    Picture("help", (100, 34), ("question_mark",)),
)


async def take(picture: Picture, address: str) -> None:
    """One picture of a dashboard that has read the demo's ring and followed for two seconds."""
    limits = [("namespace", picture.namespace)] if picture.namespace else []
    options = PlainOptions({"server": address}, limits)
    source = open_source(flow_request(options, follow=True, environ={}), with_ring=True)
    join = Join()
    audit = LiveAudit(load([("weather.yaml", policy_text())]), join) if picture.policies else None
    in_force = audit.policies if audit is not None else None
    draft = load([("draft.yaml", DRAFT)]) if picture.staged else None
    stager = LiveStaged(draft, in_force, join) if draft is not None else None
    teller = audit.causes if audit is not None else None
    monitor = LiveMonitor(source, join=join, teller=teller, stager=stager)
    changes = LiveChanges(join)

    def start() -> LiveMonitor:
        monitor.start()
        return monitor

    shown = Options(
        filter_words=" ".join([f"--{name} {value}" for name, value in limits]),
        theme=picture.theme,
        hubble=("hubble", "observe", "--server", "localhost:4245"),
    )
    drafting = Drafting(
        lambda: open_source(flow_request(options, follow=False, environ={})), Drafter
    )
    app = dashboard(start, shown, audit, changes=lambda: changes, drafting=drafting)
    try:
        async with app.run_test(size=picture.size) as pilot:
            while monitor.state().phase != "following":
                await pilot.pause(0.1)
            await pilot.pause(2.0)
            for key in picture.keys:
                await pilot.press(key)
                await pilot.pause(0.5)
            await pilot.pause(1.0)
            svg = app.export_screenshot(title=f"flowwatch {shown.filter_words} ({picture.name})")
    finally:
        app.feed.stop()
        monitor.stop()
    # The picture names no address that changes from run to run.
    svg = svg.replace(address, "localhost:4245")
    (HERE / f"{picture.name}.svg").write_text(svg, encoding="utf-8")
    png = resvg_py.svg_to_bytes(svg_string=svg.replace("Fira Code", FONT), font_family=FONT)
    (HERE / f"{picture.name}.png").write_bytes(bytes(png))
    print(f"screenshots/{picture.name}.svg, .png")


def of_the_lab() -> int:
    """The story's picture, on packets of this machine's kernel: needs what the lab needs."""
    from tests.lab.lab import Lab
    from tests.lab.scenarios import story

    with Lab("story") as lab:
        lab.pace = 1.0
        story(lab)
        lab.kernel()
        asyncio.run(take(Picture("lab", (120, 30), ("enter",)), lab.server))
    return 0


def of_a_browser() -> int:
    """A tab of ``flowwatch web demo``, with the row's detail: by Chromium."""
    from tests.browser import Browser
    from tests.unit.web.test_web import served

    with (
        TemporaryDirectory() as folder,
        served(Path(folder), "web", "demo") as page,
        Browser(Path(folder), size=(1100, 700)) as browser,
    ):
        tab = browser.open(page.url)
        tab.sees("DROPPED", "weather-app")
        tab.focus()
        tab.press("g", "\r")
        tab.sees("Detail", "Why")
        (HERE / "browser.png").write_bytes(tab.picture())
    print("screenshots/browser.png")
    return 0


def main() -> int:
    if sys.argv[1:] == ["lab"]:
        return of_the_lab()
    if sys.argv[1:] == ["browser"]:
        return of_a_browser()
    with DemoServer("127.0.0.1:0") as server:
        for picture in PICTURES:
            if picture.name in (sys.argv[1:] or [picture.name]):
                asyncio.run(take(picture, server.address))
        told = subprocess.run(
            [
                sys.executable,
                "-m",
                "flowwatch",
                "summary",
                "-n",
                "weather",
                "--server",
                server.address,
            ],
            capture_output=True,
            text=True,
            check=True,
            cwd=HERE.parent,
        )
    (HERE / "summary.txt").write_text(told.stdout, encoding="utf-8")
    print("screenshots/summary.txt")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
