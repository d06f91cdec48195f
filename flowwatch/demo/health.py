"""The standard health service (grpc.health.v1), as much of it as Hubble's clients ask for.

Written by hand: its two messages have one field each, and a package for them would be one more
thing to install.
"""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event
from typing import Any

import grpc

NAME = "grpc.health.v1.Health"

SERVICES = ("", "hubble.server.Observer")
"""What relay answers for: the server as a whole, and Hubble by the name its health service uses."""

SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3

_LOOK_EACH = 0.5


def handler(stopped: Event) -> grpc.GenericRpcHandler[Any, Any]:
    """The service; it says SERVING until ``stopped`` is set."""

    def state() -> int:
        return NOT_SERVING if stopped.is_set() else SERVING

    def check(service: str, context: grpc.ServicerContext) -> int:
        if service not in SERVICES:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return state()

    def watch(service: str, context: grpc.ServicerContext) -> Iterator[int]:
        told = 0
        while context.is_active():
            now = state() if service in SERVICES else SERVICE_UNKNOWN
            if now != told:
                yield now
                told = now
            if stopped.wait(_LOOK_EACH):
                return

    return grpc.method_handlers_generic_handler(
        NAME,
        {
            "Check": grpc.unary_unary_rpc_method_handler(check, _service, _status),
            "Watch": grpc.unary_stream_rpc_method_handler(watch, _service, _status),
        },
    )


def _service(request: bytes) -> str:
    """HealthCheckRequest: field 1 is the service's name; one below 128 bytes is all we know."""
    if request[:1] != b"\x0a" or len(request) < 2:
        return ""
    return request[2 : 2 + request[1]].decode("utf-8", "replace")


def _status(number: int) -> bytes:
    """HealthCheckResponse: field 1 is the status."""
    return bytes((0x08, number))
