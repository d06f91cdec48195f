"""Cilium's own policy engine as a judge, and the answers it gave before.

    with Oracle() as oracle:
        judged = oracle.ask(policies_yaml, [Asked("egress", pod, outside, "TCP", 443)])

`Oracle` runs `hubble/oracle`, Cilium 1.20.2's `pkg/policy` in a program of ours. `stored()` reads the
answers kept beside the checkout (../shared/policy-verdicts), in the same form.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from flowwatch.policy import Party
from tests.interop.build import build
from tests.interop.program import PartFailed, Program
from tests.material import SHARED

POLICIES = SHARED / "policies"
"""Real policies and small made-up ones; absent in a plain clone."""
VERDICTS = SHARED / "policy-verdicts"
"""Cilium's answers on them."""
_NONE: Mapping[str, str] = {}


@dataclass(frozen=True)
class Who:
    """One end of a question: an identity by its labels, or an address outside with its DNS name."""

    labels: tuple[str, ...] = ()
    ip: str = ""
    fqdn: str = ""
    ports: tuple[tuple[str, int], ...] = ()
    """Named container ports."""
    also: tuple[str, ...] = ()
    """An endpoint's further addresses, where the options let blocks mean it."""

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Read the form that the oracle, the stored answers and `explain --queries` share."""
        return cls(
            labels=tuple(value.get("labels") or ()),
            ip=value.get("ip", ""),
            fqdn=value.get("fqdn", ""),
            ports=tuple(sorted((value.get("ports") or {}).items())),
            also=tuple(value.get("also") or ()),
        )

    def to_json(self) -> dict[str, Any]:
        """Write that form; what is empty is left out."""
        given = {
            "labels": list(self.labels),
            "ip": self.ip,
            "fqdn": self.fqdn,
            "ports": dict(self.ports),
            "also": list(self.also),
        }
        return {key: value for key, value in given.items() if value}

    def party(self) -> Party:
        """The same for the engine under test."""
        names = (self.fqdn,) if self.fqdn else ()
        return Party(
            labels=self.labels, ip=self.ip, names=names, ports=dict(self.ports), also=self.also
        )


@dataclass(frozen=True)
class Asked:
    """A question: may `subject` send to (egress) or receive from (ingress) `peer`?"""

    direction: str
    subject: Who
    peer: Who
    protocol: str
    port: int
    """For ICMP the message type; never 0."""

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Read a query."""
        return cls(
            value["direction"],
            Who.from_json(value["subject"]),
            Who.from_json(value["peer"]),
            value["protocol"],
            value["port"],
        )

    def to_json(self) -> dict[str, Any]:
        """Write it as a query, without an id."""
        return {
            "direction": self.direction,
            "subject": self.subject.to_json(),
            "peer": self.peer.to_json(),
            "protocol": self.protocol,
            "port": self.port,
        }


@dataclass(frozen=True)
class Answer:
    """What Cilium does."""

    verdict: str
    """`allowed`, `denied`, or `fails`: the subject's rules can't be merged, the old policy stays."""
    l7: bool
    """Allowed only on to the proxy."""
    selected: bool
    """Some policy applies to the subject in this direction."""
    policies: tuple[str, ...] = ()
    """What made the deciding entry: `Kind namespace/name`. Empty for the defaults."""
    places: tuple[str, ...] = ()
    """Its rules: `name spec.egress.0`. None for a ClusterNetworkPolicy."""


@dataclass(frozen=True)
class Judged:
    """Cilium's answers on a set of policies."""

    rejected: tuple[str, ...]
    """Documents that it refuses, in its words; they take no part."""
    answers: tuple[Answer, ...]
    """In the order of the questions."""
    unknown: tuple[str, ...]
    """Fields that it doesn't know; then nothing is answered."""
    refused: tuple[str, ...] = field(default=(), compare=False)
    """The names of the refused documents; not kept with stored answers."""


class Oracle:
    """The running judge. Ask it as often as you like; it ends with the test."""

    def __init__(self) -> None:
        """Start it, built if need be."""
        self._program = Program([build().oracle])

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        self._program.kill()

    def ask(
        self, documents: str, questions: Sequence[Asked], options: Mapping[str, str] = _NONE
    ) -> Judged:
        """Return what Cilium decides on the questions with exactly these policies.

        `options`: entries of its ConfigMap; else its defaults.

        Raises:
            PartFailed: the text is no YAML, or a question makes no sense.
        """
        numbered = [{"id": at, **asked.to_json()} for at, asked in enumerate(questions)]
        asked = {"documents": documents, "questions": numbered, "options": dict(options)}
        self._program.send(json.dumps(asked) + "\n")
        given = self._program.answer()
        return Judged(
            rejected=tuple(one["error"] for one in given["rejected"]),
            unknown=tuple(given["unknown"]),
            refused=tuple(one["name"] for one in given["rejected"]),
            answers=tuple(
                Answer(
                    one["verdict"],
                    one["l7"],
                    one["selected"],
                    tuple(one["policies"]),
                    tuple(one["places"]),
                )
                for one in given["answers"]
            ),
        )

    def settings(self, entries: Mapping[str, str]) -> dict[str, Any]:
        """Return what an agent makes of entries of its ConfigMap; `refused` says which it doesn't take."""
        self._program.send(json.dumps({"settings": dict(entries)}) + "\n")
        read: dict[str, Any] = self._program.answer()
        return read

    def as_json(self, text: str) -> list[Any] | None:
        """Return the documents of a YAML text as kubectl makes JSON of them; None if it is no YAML."""
        self._program.send(json.dumps({"yaml": text}) + "\n")
        try:
            given = self._program.answer()
        except PartFailed:
            return None
        return [json.loads(one) for one in given["json"]]


def measure(documents: str, questions: Sequence[Asked], times: int) -> dict[str, float]:
    """Return how fast Cilium's engine answers when asked through its library.

    The policies are loaded once. In each of the `times` rounds the policy of every subject is computed and
    each question looked up; in as many rounds more the computed policies are only looked up.

    Returns:
        `answers_per_second`, `lookups_per_second`, `answers`, `answer_seconds`, `load_seconds`, `documents`.
    """
    numbered = [{"id": at, **asked.to_json()} for at, asked in enumerate(questions)]
    done = subprocess.run(
        [build().oracle, "-bench", str(times)],
        input=json.dumps({"documents": documents, "questions": numbered}) + "\n",
        capture_output=True,
        text=True,
        check=True,
    )
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


@dataclass(frozen=True)
class Stored:
    """The answers kept for one file of policies."""

    file: str
    """Below ../shared/policies."""
    text: str = field(repr=False)
    questions: tuple[Asked, ...] = field(repr=False)
    judged: Judged = field(repr=False)


def stored() -> Iterator[Stored]:
    """Yield every stored answer, a file of policies at a time; nothing where they are absent."""
    for path in sorted(VERDICTS.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            yield _stored(json.loads(line))


def _stored(kept: dict[str, Any]) -> Stored:
    parties = [Who.from_json(party) for party in kept["parties"]]
    asked = [
        Asked(direction, parties[subject], parties[peer], protocol, port)
        for direction, subject, peer, protocol, port, *_ in kept["questions"]
    ]
    answers = [
        Answer(verdict, bool(l7), bool(selected), tuple(policies), tuple(places))
        for *_, verdict, l7, selected, policies, places in kept["questions"]
    ]
    judged = Judged(tuple(kept["rejected"]), tuple(answers), tuple(kept.get("unknown", ())))
    text = (POLICIES / kept["file"]).read_text()
    return Stored(kept["file"], text, tuple(asked), judged)
