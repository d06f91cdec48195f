"""An audit that goes on while it is looked at: a thread adds batches, views ask what is known so far.

join = Join()
audit = LiveAudit(policies, join)
monitor = LiveMonitor(source, join=join)
audit.report(), audit.attribution("", "egress", "weather", "app-1", ("1.2.3.4",), 443, "TCP")
"""

from __future__ import annotations

import threading

from flowwatch.audits.attribution import attributions
from flowwatch.audits.audit import Audit
from flowwatch.audits.evidence import Extra
from flowwatch.audits.findings import AuditReport
from flowwatch.flows.join import Join, Joined
from flowwatch.flows.open_attempt import OpenAttempt, addresses
from flowwatch.flows.peers import subject
from flowwatch.policy.engine import PolicySet

_DROPS = 20_000
"""Kinds of drops (pod × address × port) whose latest attempt is remembered; the oldest give way."""

_Key = tuple[str, str, str, str, str, int, str]
"""Server, direction, namespace, pod, address of the peer, port, protocol."""


class LiveAudit:
    """Safe from any thread: while a report is made, whoever adds batches waits."""

    def __init__(self, policies: PolicySet, join: Join) -> None:
        self._join = join
        # It is told of batches by way of `take`, under the lock.
        self._audit = Audit(policies, on_drop=self._dropped, join=join, listen=False)
        self._drops: dict[_Key, tuple[OpenAttempt, Extra]] = {}
        self._lock = threading.Lock()
        self._report: AuditReport | None = None
        join.listen(self)

    def take(self, joined: Joined) -> None:
        """Take in a batch (flowwatch.flows.join.Listener)."""
        with self._lock:
            self._audit.take(joined)
            self._report = None

    def report(self) -> AuditReport:
        """What was found so far, attempts that aren't over included; the same object until more comes."""
        with self._lock:
            if self._report is None:
                self._report = self._audit.report_now()
            return self._report

    def attribution(
        self,
        server: str,
        direction: str,
        namespace: str,
        pod: str,
        peers: tuple[str, ...],
        port: int,
        protocol: str,
    ) -> tuple[str, ...]:
        """What blocked the latest attempt of ``pod`` to (or from) each of the addresses ``peers``.

        Each text once, in the order of the addresses; empty when no such drop is remembered.
        """
        told: dict[str, None] = {}
        with self._lock, self._join.lock:
            scope = self._join.scopes.get(server)
            for peer in peers or ("",):
                known = self._drops.get((server, direction, namespace, pod, peer, port, protocol))
                if known is None or scope is None:
                    continue
                attempt, extra = known
                observations = self._audit.observer.over(attempt, scope, extra)
                text = attributions(self._audit.judge, observations).get(direction)
                if text:
                    told[text] = None
        return tuple(told)

    def _dropped(self, server: str, attempt: OpenAttempt, extra: Extra) -> None:
        """Remember a drop at both of its ends, as a row of either may ask for it."""
        port, protocol = attempt.key[3], attempt.key[4]
        client_ip, server_ip = addresses(attempt.key)
        for direction, pod, address, peer in (
            ("egress", attempt.client, client_ip, server_ip),
            ("ingress", attempt.server, server_ip, client_ip),
        ):
            namespace, name, _ = subject(pod, address)
            key = (server, direction, namespace, name, peer, port, protocol)
            # Deleted first, so that the order of the dict is that of the latest drops.
            self._drops.pop(key, None)
            self._drops[key] = attempt, extra
        while len(self._drops) > _DROPS:
            del self._drops[next(iter(self._drops))]
