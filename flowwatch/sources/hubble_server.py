"""A Hubble server as a live source uses it: the stream, and what is asked beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowwatch.hubble.client import forward, h2, stream
from flowwatch.hubble.filters import request
from flowwatch.sources import questions

if TYPE_CHECKING:
    from flowwatch.hubble.client.address import Address
    from flowwatch.hubble.client.config import Settings
    from flowwatch.hubble.client.connection import Connection
    from flowwatch.hubble.client.forward import Way
    from flowwatch.hubble.client.stream import MessageStream
    from flowwatch.hubble.client.tls import Security
    from flowwatch.sources.nodes import ServerNow
    from flowwatch.sources.request import FlowRequest

_GET_FLOWS = "/observer.Observer/GetFlows"


class HubbleServer:
    """A connection to the server that ``wanted`` names; made when it is first needed.

    ``with_ring``: a stream that follows starts with what the ring holds.
    """

    def __init__(self, wanted: FlowRequest, with_ring: bool = False) -> None:
        self._wanted = wanted
        self._with_ring = with_ring
        self._connection: Connection | None = None
        self._way: Way | None = None

    @property
    def settings(self) -> Settings:
        """What is connected with: of the port-forward, which begins here, if there is one."""
        if self._way is None:
            self._way = forward.open_way(self._wanted.settings)
        return self._way.settings

    @property
    def connection(self) -> Connection:
        """The grpcio connection, made when it is first needed: importing grpcio takes 0.1 s."""
        if self._connection is None:
            from flowwatch.hubble.client.connection import connect

            self._connection = connect(self.settings)
        return self._connection

    def open(self, since: int | None) -> MessageStream:
        """Start the stream; ``since`` (ns since 1970) resumes one that follows."""
        wanted = self._wanted
        asked_for = request.to_request(
            wanted.window,
            wanted.filters,
            mask=wanted.mask,
            with_ring=self._with_ring,
            resume=since,
        )
        settings = self.settings
        address = settings.address
        serialized = asked_for.SerializeToString()
        # Only a stream that follows may be quiet.
        silence = None if asked_for.follow else stream.SILENCE
        security = _security(settings, address)
        # Where this system names no CAs, gRPC has a list of its own.
        known = security is None or bool(security.roots)
        if known and h2.can_read(settings, address, serialized):
            messages: stream.Messages = h2.H2Stream(
                settings, address, _GET_FLOWS, serialized, silence, security
            )
            silence = None  # it counts bytes of records; where grpcio reads, only whole ones can be counted
        else:
            messages = self.connection.get_flows(asked_for)
        return stream.Follow(messages) if asked_for.follow else stream.ReadAll(messages, silence)

    def nodes(self) -> ServerNow:
        """How the server and its nodes are now."""
        return questions.server_now(self.connection)

    def oldest(self) -> dict[str, int]:
        """Time of the oldest record that each node holds: see :func:`questions.oldest`."""
        return questions.oldest(self.connection)

    def peek(self, since: int) -> list[bytes]:
        """The first messages from ``since`` (ns since 1970) on, without following."""
        wanted = self._wanted
        return questions.peek(
            self.connection,
            request.to_request(wanted.window, wanted.filters, mask=wanted.mask, resume=since),
        )

    def close(self) -> None:
        """End the stream, the questions and the port-forward."""
        if self._connection is not None:
            self._connection.close()
        if self._way is not None:
            self._way.close()


def _security(settings: Settings, address: Address) -> Security | None:
    """What TLS needs; None for plain text. Raises as ``tls.secure``."""
    asked = (
        settings.encrypted,
        settings.tls_client_cert_file,
        settings.tls_client_key_file,
        settings.basic_auth_username,
        settings.basic_auth_password,
    )
    if not any(asked):
        return None
    from flowwatch.hubble.client import tls

    return tls.secure(settings, address)
