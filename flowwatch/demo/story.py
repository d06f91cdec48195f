"""The story: who does what when, as a stream of records in the order of their time.

story = Story(seed=7, duration=300)
for moment in story.moments():
    response = moment.response(start + moment.offset)
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterator

from flowwatch.demo import noise, strange, weather
from flowwatch.demo.stage import Stage
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.observer.observer_pb2 import GetFlowsResponse
from flowwatch.policy import PolicySet, load

# Records that the second node's agent misses, at first and then each so many seconds.
_LOST_AFTER, _LOST_EACH, _LOST = 80.0, 300.0, 12

# Where, in turn: between the kernel and the agent, and in the agent.
_LOST_IN = (flow_pb2.PERF_EVENT_RING_BUFFER, flow_pb2.OBSERVER_EVENTS_QUEUE)


class Story(Stage):
    """The weather app, what else goes on in its cluster, what is strange, and records that get lost."""

    def __init__(
        self,
        seed: int = 1,
        *,
        policies: PolicySet | None = None,
        policy_after: float | None = None,
        duration: float | None = None,
    ) -> None:
        """Say which story; see :class:`Stage`. Without ``policies`` its own are applied."""
        super().__init__(
            seed,
            policies=policies or load([("policy.yaml", policy_text())]),
            policy_after=policy_after,
            duration=duration,
        )
        self._losses = 0
        weather.begin(self)
        noise.begin(self)
        strange.begin(self)
        self.after(_LOST_AFTER, self._lose)

    def _lose(self) -> None:
        # Lost are records that the story never made, so that its truth can be checked all the same.
        lost = flow_pb2.LostEvent(
            source=_LOST_IN[self._losses % len(_LOST_IN)],
            num_events_lost=_LOST + self.rng.randrange(9),
        )
        self._losses += 1
        # The agent's queue has no CPU, and the agent writes 0 all the same.
        lost.cpu.value = 0
        self.see(self.now, self.cluster.nodes[1], lost)
        self.after(_LOST_EACH, self._lose)


def story(
    seed: int = 1, duration: float | None = None, start: int = 0
) -> Iterator[GetFlowsResponse]:
    """The story as responses of a Hubble server, its first second at ``start`` (ns since 1970)."""
    for moment in Story(seed, duration=duration).moments():
        yield moment.response(start + moment.offset)


WEATHER, OTHERS = "dns-visibility.yaml", "other-policies.yaml"
"""Files of policies that are in force from the beginning: the weather app's, and those of other pods."""


def policy_text() -> str:
    """The CiliumNetworkPolicy that the story applies, as one would ``kubectl apply`` it."""
    return beside("policy.yaml")


def beside(*files: str) -> str:
    """The text of policy files of the demo, as one."""
    folder = importlib.resources.files(__package__)
    return "---\n".join([(folder / name).read_text(encoding="utf-8") for name in files])
