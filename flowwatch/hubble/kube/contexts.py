"""The contexts of a kubeconfig by name, and nothing else: for a shell that completes one.

What can't be read has none; whoever uses a context is told why (flowwatch.hubble.kube.kubeconfig).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from flowwatch.goyaml.nodes import DocumentError, read_nodes
from flowwatch.hubble.kube.kubeconfig import paths

_LARGEST = 1 << 20
"""Bytes of a kubeconfig that are read while somebody waits for TAB."""


def contexts(kubeconfig: str = "", environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The names in the files that kubectl would read, each once, in their order."""
    return tuple(
        dict.fromkeys(name for path in paths(kubeconfig, environ) for name in _names(path))
    )


def _names(path: Path) -> Iterator[str]:
    try:
        if not path.is_file():
            return
        with path.open("rb") as stream:
            text = stream.read(_LARGEST).decode()
        for document in read_nodes(text):
            for context in document.fields()["contexts"].items():
                name = context.fields()["name"].text()
                if name.isprintable():
                    yield name
    except (OSError, ValueError, KeyError, DocumentError):
        return
