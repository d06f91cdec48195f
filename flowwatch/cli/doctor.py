"""``flowwatch doctor``: what stands between here and the first flow, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowwatch.hubble.client import config, forward
from flowwatch.output import columns, put, shows
from flowwatch.report.doctor import SIGNS, check_output, step_text, steps_json, summary_text
from flowwatch.sources.request import one_server

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed


def run(parsed: Parsed) -> int:
    """Print each step as it is done; exit code 1 when one failed."""
    from flowwatch.api.agent_options import read_options
    from flowwatch.doctor.evidence import State, Step, examine

    form = check_output(parsed.text("output"))
    one_server(parsed)
    known = read_options(parsed.text("cilium-config"))
    settings = forward.decide(config.load(parsed))
    signs = shows(SIGNS)
    width = min(columns(), 110)
    steps: list[Step] = []
    for step in examine(settings, known if known.known else None):
        steps.append(step)
        if form == "text":
            put(step_text(step, signs=signs, width=width))
    put(steps_json(steps) if form == "json" else summary_text(steps), form)
    return int(any(step.state is State.FAIL for step in steps))
