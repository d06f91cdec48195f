"""Reading what a user names: policy files, folders of them, standard input.

YAML or JSON, several documents, Lists as kubectl prints them. What is not read is told, one line each:
nothing is left out in silence.
"""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from flowwatch.errors import UsageError
from flowwatch.policy import load
from flowwatch.policy.agent_options import UNKNOWN, AgentOptions
from flowwatch.policy.engine import PolicySet
from flowwatch.text import plural, safe

if TYPE_CHECKING:
    from flowwatch.policy.documents import Documents

MAX_BYTES = 32 * 1024 * 1024
"""Of one file. A megabyte of policies takes about a second and 25 MB of memory: 10,000 policies have 5."""
_SUFFIXES = (".yaml", ".yml", ".json")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),  # what a redirection in Windows PowerShell writes
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_KNOWN = ((b"\x1f\x8b", "compressed (gzip)"), (b"PK\x03\x04", "an archive (zip)"))
_FORMS = {
    "policies": "policies are YAML or JSON, as text",
    "expectations": "expectations are YAML or JSON, as text",
    "rules": "rules are YAML or JSON, as text",
    "a ConfigMap": "a ConfigMap is YAML or JSON, as text",
    "a URL": "a URL is a line of text",
}
"""By what a file brings."""
_LESS = {
    "policies": "give fewer objects at a time (kubectl get cnp,ccnp,netpol, one namespace each)"
}
_TOLD = 20
"""Replaced duplicates told one by one; the others are counted."""

Tell = Callable[[str], None]
"""Given what a user must know, a safe line at a time."""


def standard_input(what: str) -> BinaryIO:
    """Standard input, which should bring ``what``. Raises UsageError when it is closed."""
    if sys.stdin is None or sys.stdin.closed:
        raise UsageError("standard input is closed", f"name a file, or pipe {what} in")
    return sys.stdin.buffer


def read_text(path: str, what: str = "policies") -> str:
    """The text of a file, or of standard input for ``-``, which brings ``what``, of _FORMS. UsageError."""
    name = shown(path)
    try:
        if path == "-":
            data = _at_most(standard_input(what))
        else:
            with Path(path).open("rb") as file:
                data = _at_most(file)
    except OSError as error:
        raise UsageError(f"cannot read {name}: {safe(error.strerror or str(error))}") from None
    if len(data) > MAX_BYTES:
        raise UsageError(
            f"{name} is larger than {MAX_BYTES >> 20} MB: too large for {what}",
            _LESS.get(what, ""),
        )
    encoding = next((name for bom, name in _BOMS if data.startswith(bom)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        before = data[: error.start].decode(encoding, "replace")
        place = f"{name}:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"
        form = "UTF-8" if encoding.startswith("utf-8") else "UTF-16"
        found = next((told for begin, told in _KNOWN if data.startswith(begin)), f"not {form}")
        raise UsageError(f"{place}: {found}", _FORMS[what]) from None


def _at_most(file: BinaryIO) -> bytes:
    # One byte more than may be: what never ends (a device) is refused too.
    return file.read(MAX_BYTES + 1)


def shown(path: str) -> str:
    """A path for people to read."""
    return "standard input" if path == "-" else safe(path) or '""'


def policy_files(paths: Sequence[str]) -> list[str]:
    """The files that ``paths`` mean: folders stand for the YAML and JSON in them, at any depth.

    Raises:
        UsageError: a folder without any, or standard input twice.
    """
    files: list[str] = []
    for path in paths:
        # Path.is_dir() raises for a name that is too long.
        if path == "-" or not os.path.isdir(path):
            files.append(path)
            continue
        found = _inside(path)
        if not found:
            raise UsageError(f"no {', '.join(_SUFFIXES)} file in {safe(path)}")
        files += found
    if files.count("-") > 1:
        raise UsageError("standard input was given twice", "name - once")
    return list(dict.fromkeys(files))


def _inside(folder: str) -> list[str]:
    """The YAML and JSON files below a folder, in order; of several links to one file the first."""

    def unreadable(error: OSError) -> None:
        where = safe(str(error.filename))
        raise UsageError(f"cannot read {where}: {safe(error.strerror or str(error))}")

    found = sorted(
        Path(place, name)
        for place, _, names in os.walk(folder, onerror=unreadable)
        for name in names
        if Path(name).suffix.lower() in _SUFFIXES
    )
    # A mounted ConfigMap holds each file once more, in a folder of its own.
    files = {one.resolve(): str(one) for one in reversed(found) if not one.is_dir()}
    return sorted(files.values())


def read_policies(
    paths: Sequence[str],
    tell: Tell,
    *,
    cluster: str = "default",
    keep_going: bool = False,
    groups_alone: bool = False,
    options: AgentOptions = UNKNOWN,
) -> PolicySet:
    """The policies of files, folders and standard input, compiled.

    Args:
        paths: as on the command line.
        tell: is given what was refused, replaced or skipped.
        cluster: the name of the cluster the policies are applied in.
        keep_going: whether documents that the cluster would refuse are only told. Those that Cilium can't
            read take no part; those that only the API server refuses do, as if they had got past it.
        groups_alone: whether CiliumCIDRGroups without any policy will do.
        options: those of the cluster's agents.

    Raises:
        UsageError: a file that can't be read, no policy at all, or a refused document.
    """
    texts = ((shown(file), read_text(file)) for file in policy_files(paths))
    policies = load(texts, cluster=cluster, options=options)
    told_of(policies, paths, tell, keep_going=keep_going, groups_alone=groups_alone)
    return policies


def told_of(
    policies: PolicySet,
    paths: Sequence[str],
    tell: Tell,
    *,
    keep_going: bool = False,
    groups_alone: bool = False,
) -> None:
    """Tell what is odd about ``policies``, which ``paths`` named, and refuse those; as above."""
    documents = policies.documents
    _tell_of(documents, tell)
    if documents.rejected and not keep_going:
        count = len(documents.rejected)
        raise UsageError(
            f"{plural(count, 'document')} would be refused by the cluster",
            "mend it or leave it out" if count == 1 else "mend them or leave them out",
        )
    if count := len(documents.rejected) - len(documents.unread):
        tell(
            f"{plural(count, 'document')} would be refused by the API server alone: "
            "Cilium's decision is told as if it were in force"
        )
    if not (documents.policies or documents.rejected or (groups_alone and documents.groups)):
        raise UsageError(
            f"no policy in {', '.join(map(shown, paths))}",
            "CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy, NetworkPolicy or "
            "ClusterNetworkPolicy is wanted, as YAML or JSON",
        )


def _tell_of(documents: Documents, tell: Tell) -> None:
    """Tell what would be refused, replaced or skipped, and why."""
    for rejected in documents.rejected:
        tell(safe(str(rejected)))
    for earlier, later in documents.replaced[:_TOLD]:
        tell(
            safe(
                f"{later.file}:{later.line}: {later.reference} replaces the one of the same name in "
                f"{earlier.file}:{earlier.line}"
            )
        )
    if (more := len(documents.replaced) - _TOLD) > 0:
        more_policies = plural(more, "more policy replaces", "more policies replace")
        tell(f"{more_policies} one of the same name")
    if documents.skipped:
        total = documents.skipped.total()
        kinds = ", ".join(
            f"{safe(kind)} ({number:,})" if number > 1 else safe(kind)
            for kind, number in documents.skipped.most_common()
        )
        tell(f"skipped {plural(total, 'object')} of other kinds: {kinds}")
