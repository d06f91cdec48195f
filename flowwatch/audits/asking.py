"""What an attempt asked in one direction, as far as who needs which rule depends on it: no time."""

from __future__ import annotations

from typing import Protocol

from flowwatch.policy.party import Party
from flowwatch.policy.rules import Direction


class Asking(Protocol):
    """An :class:`flowwatch.audits.evidence.Observation`, or what is kept of many that ask alike."""

    @property
    def direction(self) -> Direction:
        """Whose policies are asked: those of the client's egress, or of the server's ingress."""

    @property
    def subject(self) -> Party:
        """Whose policies they are."""

    @property
    def peer(self) -> Party:
        """The other end."""

    @property
    def subject_name(self) -> str:
        """As a person calls it."""

    @property
    def protocol(self) -> str:
        """``TCP`` …"""

    @property
    def asked_port(self) -> int:
        """The port that the policies are asked about."""

    @property
    def unknown(self) -> str:
        """Why nobody can ask the policies about it, in words; else ""."""

    @property
    def judged(self) -> bool:
        """Whether policies had a say: a packet may be lost before they are asked."""

    @property
    def denied(self) -> bool:
        """Whether a policy denied it, or would have, but for audit mode."""

    @property
    def noise(self) -> bool:
        """Whether it is noise of the link, lost before any policy was asked."""

    @property
    def waits_for_auth(self) -> bool:
        """Whether it was dropped until its ends have authenticated."""

    @property
    def verdict(self) -> bool:
        """Whether a record shows a policy's verdict."""

    @property
    def labelled(self) -> bool:
        """Whether the subject's labels are recorded: else any policy may select it."""

    @property
    def cluster(self) -> str:
        """The subject's, where a record names it."""
