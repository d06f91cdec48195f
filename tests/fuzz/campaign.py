"""One campaign: inputs made by a seed and run until the time is over; what fails is made small and kept."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from tests.fuzz.inputs import Input, Target
from tests.fuzz.program import Fault, Stuck
from tests.fuzz.targets import TARGETS

SHRINK_SECONDS = 20.0
SHRINK_TRIES = 400
# Greedy: the checkout's own folder may have the package's name too.
_FRAME = re.compile(r'File "[^"]*(?<=/)(flowwatch/[^"]+)", line \d+, in (\w+)')
_VARIES = re.compile(r"0x[0-9a-f]+|\d+|'[^']*'|\"[^\"]*\"")


@dataclass
class Found:
    """A fault, by where and how it shows; ``times`` it did."""

    mark: str
    seed: str
    given: Input
    words: str
    times: int = 1
    folder: Path | None = None


@dataclass
class Tally:
    """What a target went through."""

    target: str
    what: str
    inputs: int = 0
    tried: int = 0
    seconds: float = 0.0
    dearest: tuple[float, str] = (0.0, "")
    """Processor time, in seconds, of the input that took most, and its seed."""
    faults: dict[str, Found] = field(default_factory=dict)

    def __str__(self) -> str:
        times = sum(found.times for found in self.faults.values())
        return (
            f"{self.target}: {self.tried:,} {self.what} in {self.inputs:,} inputs, "
            f"{len(self.faults)} faults ({times:,} times), {self.seconds:.0f} s, "
            f"dearest {self.dearest[0]:.1f} s of processor time ({self.dearest[1]})"
        )


def tried(target: Target, given: Input) -> tuple[str, str] | None:
    """Run one input: None when all promises hold, else the fault's mark and its words."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as place:
        try:
            target.run(given, Path(place))
        except (Exception, Stuck) as error:  # noqa: BLE001 - that is what is looked for
            return mark(error), "".join(traceback.format_exception(error))
    return None


def mark(error: BaseException) -> str:
    """Names a fault: its kind, and where in flowwatch it arose, or what was wrong without numbers."""
    shown = str(error) if isinstance(error, Fault) else "".join(traceback.format_exception(error))
    frames = _FRAME.findall(shown)
    kind = type(error).__name__
    if frames:
        last = re.findall(
            r"^(?:\w+\.)*(\w*(?:Error|Exception|Warning|Stuck))\b", shown, re.MULTILINE
        )
        where, function = frames[-1]
        return f"{last[-1] if last else kind} in {where} {function}"
    return f"{kind}: {_VARIES.sub('…', str(error))[:80]}"


def shrunk(target: Target, given: Input, name: str) -> Input:
    """The smallest input that still fails under the mark ``name``, as far as a short search goes."""
    end = time.monotonic() + SHRINK_SECONDS
    left = SHRINK_TRIES

    def fails(other: Input) -> bool:
        nonlocal left
        left -= 1
        found = tried(target, other)
        return found is not None and found[0] == name

    for candidate in _whole_files(given):
        if left > 0 and time.monotonic() < end and fails(candidate(given)):
            given = candidate(given)
    for file in given.files:
        size = len(given.files[file])
        while size:
            at = 0
            while at < len(given.files[file]) and left > 0 and time.monotonic() < end:
                data = given.files[file]
                smaller = replace(given, files=given.files | {file: data[:at] + data[at + size :]})
                if fails(smaller):
                    given = smaller
                else:
                    at += size
            size //= 2
    return given


def _whole_files(given: Input) -> Iterator[Callable[[Input], Input]]:
    """Steps that leave out one of several numbered files each."""
    for name in [name for name in given.files if name[:2].isdigit()]:

        def without(one: Input, name: str = name) -> Input:
            return replace(one, files={n: d for n, d in one.files.items() if n != name})

        yield without


@contextmanager
def opened(name: str) -> Iterator[Target]:
    """The target ``name``, closed afterwards."""
    target = TARGETS[name]()
    try:
        yield target
    finally:
        target.close()


class Campaign:
    """Runs targets by turns, so that each gets its share however long it is."""

    def __init__(self, seed: str, keep: Path, say: Callable[[str], None]) -> None:
        """``keep``: the folder for inputs that failed; each is told by ``say`` when it is new."""
        self._seed = seed
        self._keep = keep
        self._say = say

    def run(
        self, names: list[str], seconds: float, turn: float = 5.0, inputs: int = 0
    ) -> list[Tally]:
        """Until ``seconds`` are over, or each target had ``inputs`` where that isn't 0."""
        end = time.monotonic() + seconds
        tallies = [Tally(name, "") for name in names]
        while time.monotonic() < end:
            due = [tally for tally in tallies if not inputs or tally.inputs < inputs]
            if not due:
                break
            for tally in due:
                with opened(tally.target) as target:
                    tally.what = target.what
                    self._turn(target, tally, min(time.monotonic() + turn, end), inputs)
        return tallies

    def _turn(self, target: Target, tally: Tally, until: float, inputs: int) -> None:
        began = time.monotonic()
        while time.monotonic() < until and not (inputs and tally.inputs >= inputs):
            self.one(target, tally, f"{self._seed}/{target.name}/{tally.inputs}")
            tally.inputs += 1
        tally.seconds += time.monotonic() - began

    def one(self, target: Target, tally: Tally, seed: str) -> None:
        """Make and run the input of ``seed``."""
        given = target.make(Random(seed))
        self._keep.mkdir(parents=True, exist_ok=True)
        # Others may run beside it.
        running = self._keep / f"running-{os.getpid()}"
        began = time.process_time()
        running.write_text(seed)
        fault = tried(target, given)
        running.unlink()
        tally.tried += given.tried
        tally.dearest = max(tally.dearest, (time.process_time() - began, seed))
        if fault is None:
            return
        name, words = fault
        if name in tally.faults:
            tally.faults[name].times += 1
            return
        found = tally.faults[name] = Found(name, seed, given, words)
        self._save(target, found)
        self._say(f"{found.mark}\n  {found.folder}\n  {words.strip().splitlines()[-1][:300]}")

    def _save(self, target: Target, found: Found) -> None:
        found.given = shrunk(target, found.given, found.mark)
        name = re.sub(r"[^A-Za-z0-9]+", "-", found.mark)[:80].strip("-")
        found.folder = self._keep / target.name / name
        replay = f'make fuzz ARGS="--replay {found.folder}"'
        text = f'{found.mark}\n\n{replay}\nunshrunk: make fuzz ARGS="--input {found.seed}"\n\n{found.words}'
        # Whole or not at all: another campaign may keep the same.
        made = self._keep / target.name / f".{os.getpid()}"
        found.given.save(made)
        (made / "fault.txt").write_text(text, errors="backslashreplace")
        shutil.rmtree(found.folder, ignore_errors=True)
        try:
            made.rename(found.folder)
        except OSError:
            shutil.rmtree(made)
