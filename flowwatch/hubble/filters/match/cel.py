"""``--cel-expression``: a boolean over the record, ``_flow.verdict == Verdict.DROPPED``.

Evaluated by Google's CEL runtime (the extra ``flowwatch[cel]``), with the environment of Cilium
1.20.2 pkg/hubble/filters/cel_expression.go: the variable ``_flow``, names looked up in package
``flow``, the standard functions. What doesn't compile is explained in that runtime's words.
"""

from __future__ import annotations

import importlib
from typing import Any

from flowwatch.hubble.filters.match.base import FilterError, Match
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.flow.flow_pb2 import Flow, FlowFilter

_VARIABLE = "_flow"


def experimental(value: flow_pb2.FlowFilter.Experimental, _: FlowFilter) -> Match | None:
    """One of the expressions is true. A record on which one fails before that doesn't match."""
    if not value.cel_expression:
        return None
    cel = _runtime()
    environment = cel.NewEnv(container="flow", variables={_VARIABLE: cel.Type("flow.Flow")})
    programs = [_compile(cel, environment, text) for text in value.cel_expression]
    failed = cel.Type.ERROR

    def test(flow: Flow) -> bool:
        for program in programs:
            result = program.eval(data={_VARIABLE: flow})
            if result.type() == failed:
                return False
            if result.value() is True:
                return True
        return False

    return test


def _runtime() -> Any:
    try:
        return importlib.import_module("cel_expr_python.cel")
    except ImportError:
        raise FilterError(
            "a CEL expression can be evaluated by a Hubble server only, "
            "unless the extra is installed: pip install 'flowwatch[cel]'"
        ) from None


def _compile(cel: Any, environment: Any, text: str) -> Any:
    try:
        program = environment.compile(text)
    except RuntimeError as error:
        # The lines after the first draw where it is, which the first says in numbers.
        words = str(error).partition("\n")[0].removeprefix("INVALID_ARGUMENT: ")
        words = words.removesuffix(" [INVALID_ARGUMENT]")
        raise FilterError(f"error compiling CEL expression: {words}") from None
    found = program.return_type()
    # Upstream also refuses an optional bool (_flow.is_reply); to this runtime it is a bool.
    if found != cel.Type.BOOL:
        name = found.name()
        name = "null_type" if name == "NULL" else name.lower() if name.isupper() else name
        raise FilterError(
            f'error compiling CEL expression: got "{name}", wanted "bool" result type'
        )
    return program
