"""A connection to a Hubble server (observer or relay) over gRPC.

    with connect(settings) as connection:
        print(connection.server_status().version)
        for message in connection.get_flows(GetFlowsRequest(number=20)):
            response = GetFlowsResponse.FromString(message)

Nothing is sent before the first call. Every failure is a ServerError with one line
(:mod:`flowwatch.hubble.client.faults`), and every call can be ended from another thread by ``close()``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from grpc.experimental import ChannelOptions

from flowwatch.errors import Refused, ServerError
from flowwatch.hubble.client import faults, forward, tls
from flowwatch.hubble.client.address import Address
from flowwatch.hubble.client.config import Settings
from flowwatch.hubble.wire.damage import damage
from flowwatch.hubble.wire.pb.observer import observer_pb2 as pb

RECEIVE_LIMIT = 64 << 20
"""Bytes of one message; gRPC's own 4 MiB is less than a flow with many labels may need."""

CLOSING = 1.0
"""Seconds that the end of a connection may take; mostly it is none."""

SERVICE = "hubble.server.Observer"
"""The name that Hubble's health service knows the observer API by (pkg/hubble/api/v1)."""
HEALTH = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
"""grpc.health.v1.HealthCheckResponse.ServingStatus by number."""

_OPTIONS: tuple[tuple[str, int], ...] = (
    # Read in the thread that asks: a fifth of the cost of a message through grpc's own thread.
    (ChannelOptions.SingleThreadedUnaryStream, 1),
    ("grpc.max_receive_message_length", RECEIVE_LIMIT),
    # A new connection is one: no sharing of a broken one's back-off, or of old certificates.
    ("grpc.use_local_subchannel_pool", 1),
    # No keepalive: Hubble's servers end a connection that pings more often than every 5 minutes.
)

_HEALTH_CHECK = "/grpc.health.v1.Health/Check"
_GET_FLOWS = "/observer.Observer/GetFlows"

Reply = TypeVar("Reply", bound=Message)


def connect(settings: Settings) -> Connection:
    """A connection as ``settings`` say; nothing is sent yet, except with ``tls_allow_insecure``.

    Raises UsageError for settings that can't be carried out, Unreachable when the certificate can't
    be fetched; with a port-forward or ``tls_from_secret`` also what flowwatch.hubble.client.forward raises.
    """
    if settings.port_forward or settings.tls_from_secret:
        way = forward.open_way(settings)
        try:
            connection = connect(way.settings)
        except BaseException:
            way.close()
            raise
        connection.way = way
        return connection
    address = settings.address
    security = tls.secure(settings, address)
    options: list[tuple[str, Any]] = [*_OPTIONS]
    if address.is_loopback:
        options.append(("grpc.enable_http_proxy", 0))
    if security is None:
        channel = grpc.insecure_channel(address.target, options)
        return Connection(channel, settings, address)
    if security.name:
        options.append(("grpc.ssl_target_name_override", security.name))
    credentials = grpc.ssl_channel_credentials(security.roots, security.key, security.chain)
    channel = grpc.secure_channel(address.target, credentials, options)
    metadata = (("authorization", security.authorization),) if security.authorization else ()
    return Connection(channel, settings, address, metadata)


class Connection:
    """One server, one channel. Calls may be made from several threads."""

    def __init__(
        self,
        channel: grpc.Channel,
        settings: Settings,
        address: Address,
        metadata: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Made by :func:`connect`."""
        # The reference matters: once a channel is collected, its streams end.
        self._channel = channel
        self._metadata = metadata
        self._calls: set[Any] = set()
        self._closed = False
        self.settings = settings
        self.address = address
        self.way: forward.Way | None = None
        """The port-forward that it goes through, if it has one of its own."""
        self.reached = False
        """A server has answered on it, be it with an error of its own."""

    @property
    def encrypted(self) -> bool:
        return self.settings.encrypted

    def health(self) -> str:
        """What the server's health service says about Hubble, a name of :data:`HEALTH`."""
        reply: bytes = self._finish(self._ask_health(self.settings.request_timeout), _HEALTH_CHECK)
        # HealthCheckResponse has one field: the status, number 1, a varint below 128.
        number = reply[1] if len(reply) > 1 and reply[0] == 0x08 else 0
        return HEALTH[number] if number < len(HEALTH) else str(number)

    def server_status(self) -> pb.ServerStatusResponse:
        return self._unary("ServerStatus", pb.ServerStatusRequest(), pb.ServerStatusResponse)

    def nodes(self) -> pb.GetNodesResponse:
        """Relay's nodes; an observer refuses (UNIMPLEMENTED)."""
        return self._unary("GetNodes", pb.GetNodesRequest(), pb.GetNodesResponse)

    def namespaces(self) -> pb.GetNamespacesResponse:
        return self._unary("GetNamespaces", pb.GetNamespacesRequest(), pb.GetNamespacesResponse)

    def get_flows(self, request: pb.GetFlowsRequest) -> FlowStream:
        """The flows that ``request`` asks for; it is sent when the result is iterated."""
        return FlowStream(self, request)

    def close(self) -> None:
        """End every call; quick, and safe to call twice and from any thread."""
        self._closed = True
        for call in tuple(self._calls):
            call.cancel()
        # It waits for the end of every call, and of one that a signal broke off nobody hears it.
        closing = threading.Thread(target=self._channel.close, name="flowwatch-close", daemon=True)
        closing.start()
        closing.join(CLOSING)
        if self.way is not None:
            self.way.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _unary(self, method: str, request: Message, reply: type[Reply]) -> Reply:
        path = f"/observer.Observer/{method}"
        serializer = type(request).SerializeToString
        timeout = self.settings.request_timeout
        answer: bytes = self._finish(self._begin(path, request, timeout, serializer), path)
        try:
            return reply.FromString(answer)
        except DecodeError:
            kind: Any = reply.DESCRIPTOR
            what = damage(answer, kind)
            raise Refused(
                f"{self.address.text} answers {method} with what can't be read ({what})",
                "is it a Hubble observer or relay?",
            ) from None

    def _ask_health(self, timeout: float) -> Any:
        request = b"\x0a" + bytes([len(SERVICE)]) + SERVICE.encode()
        return self._begin(_HEALTH_CHECK, request, timeout)

    def _begin(
        self,
        path: str,
        request: object,
        timeout: float,
        serializer: Callable[..., bytes] | None = None,
    ) -> Any:
        """Send a request; the future that comes back can be cancelled from any thread."""
        call = self._channel.unary_unary(path, serializer, None)
        try:
            future: Any = call.future(request, timeout=timeout, metadata=self._metadata)
        except ValueError:
            # grpc's word for a channel that was closed.
            raise faults.closed(self.address) from None
        self._calls.add(future)
        if self._closed:
            future.cancel()
        return future

    def _finish(self, future: Any, path: str) -> Any:
        try:
            result = future.result()
        except grpc.FutureCancelledError:
            raise faults.closed(self.address) from None
        except grpc.RpcError as error:
            raise self._explain(error, path) from None
        finally:
            # Ctrl-C leaves the wait, and must end the call too.
            future.cancel()
            self._calls.discard(future)
        self.reached = True
        return result

    def _explain(self, error: grpc.RpcError, path: str) -> ServerError:
        failure = faults.explain(error, self.settings, self.address, path, reached=self.reached)
        self.reached = self.reached or failure.answered
        return failure.error


class FlowStream:
    """One GetFlows call: iterate it once, in one thread; ``cancel()`` may come from any."""

    def __init__(self, connection: Connection, request: pb.GetFlowsRequest) -> None:
        """Made by :meth:`Connection.get_flows`."""
        self._connection = connection
        self._request = request
        self._pending: Any = None
        self._cancelled = False
        self.reached = False
        """Whether the server has answered."""
        self._metadata: dict[str, str] = {}

    def __iter__(self) -> Iterator[bytes]:
        """Each message as it came, a serialized GetFlowsResponse.

        Ends when the server ends the stream with OK, and after ``cancel()``; raises ServerError.
        """
        connection = self._connection
        # A stream has no deadline: on a port that accepts and says nothing it would wait for ever.
        self.reached = self._answered()
        if not self.reached:
            return
        try:
            call: Any = connection._channel.unary_stream(
                _GET_FLOWS,
                request_serializer=pb.GetFlowsRequest.SerializeToString,
                response_deserializer=None,
            )(self._request, metadata=connection._metadata)
        except ValueError:
            return
        self._hold(call)
        try:
            for message in call:
                self._metadata = {str(key): str(value) for key, value in call.initial_metadata()}
                yield message
                # The loop inside grpc, without a step of ours for each message.
                yield from call
        except grpc.RpcError as error:
            if self._cancelled or connection._closed:
                return
            raise connection._explain(error, _GET_FLOWS) from None
        finally:
            call.cancel()
            connection._calls.discard(call)

    def lists(self) -> Iterator[list[bytes]]:
        """Each message in a list of its own: see flowwatch.hubble.client.stream.Messages."""
        for message in self:
            yield [message]

    def _answered(self) -> bool:
        """Whether a server answers, within the connect timeout, be it that it knows no health."""
        connection = self._connection
        future = connection._ask_health(connection.settings.connect_timeout)
        self._hold(future)
        try:
            connection._finish(future, _HEALTH_CHECK)
        except ServerError:
            if self._cancelled or connection._closed:
                return False
            if not connection.reached:
                raise
        return not self._cancelled

    def _hold(self, call: Any) -> None:
        self._pending = call
        self._connection._calls.add(call)
        if self._cancelled or self._connection._closed:
            call.cancel()

    def initial_metadata(self) -> dict[str, str]:
        """What the server sent before the first message; empty until that has come.

        Hubble's servers give ``hubble-server-version`` or ``hubble-relay-version``.
        """
        return self._metadata

    def cancel(self) -> None:
        """End the iteration without an error; safe to call twice and from a signal handler."""
        self._cancelled = True
        if self._pending is not None:
            self._pending.cancel()
