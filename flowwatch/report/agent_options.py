"""The options that were judged by, in machine formats; in words they are ``AgentOptions.judged_by``."""

from __future__ import annotations

from typing import Any

from flowwatch.policy.agent_options import (
    AUDIT_MODE,
    CIDR_MODE,
    CLUSTER_NAME,
    DENY_RESPONSE,
    ENFORCEMENT,
    AgentOptions,
)


def options_object(options: AgentOptions) -> dict[str, Any]:
    """Each by its name in ``cilium-config``; ``known`` is false for Cilium's defaults, assumed."""
    return {
        "known": options.known,
        "origin": options.origin,
        CIDR_MODE: list(options.cidr_match_mode),
        ENFORCEMENT: options.enforcement,
        AUDIT_MODE: options.audit_mode,
        DENY_RESPONSE: options.deny_response,
        CLUSTER_NAME: options.cluster,
    }
