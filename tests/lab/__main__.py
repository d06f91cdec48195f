"""`make lab`: the weather app's story on this machine's kernel, and what flowwatch tells of it.

In a terminal the dashboard runs beside it; else its summary, changes and audit follow. What was made is
removed, also after Ctrl-C, SIGTERM or SIGHUP.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType

from tests.command import ROOT
from tests.interop.build import BuildFailed, GoMissing
from tests.interop.program import PartFailed
from tests.lab.lab import Lab, possible
from tests.lab.network import NoLab
from tests.lab.scenarios import SCENARIOS, play
from tests.lab.told import compared, of_flowwatch

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def arguments(given: list[str]) -> argparse.Namespace:
    """What was asked for; argparse itself refuses what makes no sense."""
    parser = argparse.ArgumentParser(prog="make lab", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "scenario", nargs="?", default="story", choices=SCENARIOS, metavar="SCENARIO"
    )
    parser.add_argument("--policy", type=Path, help="YAML that comes into force in the story")
    parser.add_argument("--record", type=Path, help="a folder for flows, truth and policies")
    parser.add_argument("--pace", type=float, default=1.0, help="1: for eyes; 0: without pauses")
    chosen = parser.parse_args(given)
    if chosen.policy and chosen.scenario != "story":
        parser.error("POLICY comes into force in the story; other scenarios have their own")
    if chosen.policy and not chosen.policy.is_file():
        parser.error(f"there is no file {chosen.policy}")
    return chosen


def stop(number: int, _: FrameType | None) -> None:
    """Leave through every `with`, so that all that was made goes."""
    for each in ENDING:
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)


def shown(*words: str) -> None:
    """One of flowwatch's verbs, below its command line."""
    print(f"\n$ flowwatch {' '.join(words)}", flush=True)
    subprocess.run([sys.executable, "-m", "flowwatch", *words], cwd=ROOT, check=False)


def beside(lab: Lab, name: str) -> None:
    """The dashboard in the terminal, while the scenario runs."""
    lab.say = lambda _: None
    running = threading.Thread(target=SCENARIOS[name].run, args=(lab,), daemon=True)
    dashboard = subprocess.Popen(
        [sys.executable, "-m", "flowwatch", "--server", lab.server], cwd=ROOT
    )
    try:
        running.start()
        dashboard.wait()
        if running.is_alive():
            print("the story is being told to its end ...", flush=True)
            running.join()
    finally:
        if dashboard.poll() is None:
            dashboard.terminate()
            dashboard.wait()


def told(lab: Lab) -> None:
    """What flowwatch makes of it, in words."""
    lab.kernel()
    server = ("--server", lab.server, "--last", "65535")
    shown("changes", *server)
    shown("summary", *server)
    for name, text in lab.texts.items():
        file = lab.folder / Path(name).name
        file.write_text(text)
        shown("audit", "-f", str(file), *server)


def run(chosen: argparse.Namespace) -> int:
    """Play it; how many rows flowwatch and the application count differently decides the exit code."""
    with play(chosen.scenario) as lab:
        lab.pace = chosen.pace
        if chosen.policy:
            lab.own = chosen.policy.read_text()
            lab.check(lab.own)
        lab.say = lambda line: print(line, flush=True)
        lab.say(f"{chosen.scenario}: {SCENARIOS[chosen.scenario].what}")
        if sys.stdout.isatty() and sys.stdin.isatty():
            beside(lab, chosen.scenario)
        else:
            SCENARIOS[chosen.scenario].run(lab)
        told(lab)
        truth = lab.truth()
        text, wrong = compared(truth, of_flowwatch(lab.server, truth))
        print(f"\nWhat the application experienced, the kernel counted and flowwatch tells\n{text}")
        if chosen.record:
            lab.save(chosen.record)
            print(f"\nwritten to {chosen.record}")
        if truth["kernel_events"]["lost"]:
            print(f"\n{truth['kernel_events']['lost']} records were lost, as this scenario wants")
            return 0
        return 1 if wrong else 0


def main() -> int:
    """An error that has a reason is a line, and nothing else."""
    chosen = arguments(sys.argv[1:])
    for number in ENDING:
        signal.signal(number, stop)
    try:
        possible()
        return run(chosen)
    except (NoLab, GoMissing, BuildFailed, PartFailed) as err:
        print(f"make lab: {err}", file=sys.stderr)
        return 2
    finally:
        # Nothing is left to remove; Python would tell a traceback of one that comes as it ends.
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
