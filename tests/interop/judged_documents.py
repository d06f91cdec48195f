"""Policy documents as the API server reads them and as flowwatch does.

    python -m tests.interop.judged_documents --mutants 100000 --seed 5

What the API server refuses, strictly as kubectl asks it, never gets into a cluster: flowwatch must refuse
it too. The other way round there is more: Cilium refuses what its CRDs let through.
"""

import argparse
import datetime
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from flowwatch.policy.documents import read_documents
from tests.interop.control_plane import KINDS, ControlPlane, Refusal, collection, shared
from tests.interop.oracle import POLICIES
from tests.interop.policy_mutations import mutants

OWN = Path(__file__).with_name("whole_documents.yaml")

_VERSION = re.compile(r"[a-z0-9.]+/[a-z0-9]+")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass
class Judged:
    """What came of documents."""

    counts: Counter[str] = field(default_factory=Counter)
    taken_here: list[str] = field(default_factory=list)
    """What the API server refuses and flowwatch takes, with the reason."""

    def __str__(self) -> str:
        return ", ".join(f"{what} {count}" for what, count in sorted(self.counts.items()))


class Judge:
    """The API server, asked about documents."""

    def __init__(self, api: ControlPlane) -> None:
        self._api = api
        self._namespaces: dict[str, bool] = {}

    def add(self, judged: Judged, text: str, where: str) -> str:
        """Ask both about one document, and count what they say; that is returned."""
        theirs, ours = self._ask(text)
        if ours is None:
            what = "of no policy's kind"
        else:
            said = ["refused" if no else "taken" for no in (theirs, ours)]
            what = f"{said[0]} there and {said[1]} here"
            if what == "refused there and taken here":
                judged.taken_here.append(f"{where}\n{theirs}")
        judged.counts[what] += 1
        return what

    def add_object(self, judged: Judged, document: Any) -> str:
        """As `add`, for an object."""
        text = yaml.safe_dump(document)
        return self.add(judged, text, text)

    def both_take(self, document: Any) -> bool:
        """Whether neither refuses this object."""
        return self._ask(yaml.safe_dump(document)) == ("", "")

    def _ask(self, text: str) -> tuple[str, str | None]:
        """Why the API server refuses a document, and why we do; "" where not, None if it is no policy."""
        document = _parsed(text)
        kind = document.get("kind") if isinstance(document, dict) else None
        if not isinstance(kind, str) or kind not in KINDS:
            return "", None
        read = read_documents([("one.yaml", text)])
        if not read.rejected and not read.policies and not read.groups:
            return "", None
        theirs = self._api.refusal(self._collection(document, kind), text)
        return theirs, "; ".join(rejected.reason for rejected in read.rejected)

    def _collection(self, document: dict[str, Any], kind: str) -> str:
        """Where a client would put it."""
        written = document.get("apiVersion")
        version = written if isinstance(written, str) and _VERSION.fullmatch(written) else ""
        metadata = document.get("metadata")
        name = metadata.get("namespace") if isinstance(metadata, dict) else None
        # Text to Go's YAML: !!binary and what looks like a day.
        if isinstance(name, bytes):
            name = name.decode("utf-8", "replace")
        elif isinstance(name, datetime.date):
            name = str(name)
        namespace = name if isinstance(name, str) and self._there(name) else "default"
        return collection(kind, namespace, version)

    def _there(self, namespace: str) -> bool:
        if namespace not in self._namespaces:
            self._namespaces[namespace] = bool(_NAMESPACE.fullmatch(namespace))
            if self._namespaces[namespace]:
                try:
                    self._api.add_namespace(namespace)
                except Refusal:
                    self._namespaces[namespace] = False
        return self._namespaces[namespace]


def _parsed(text: str) -> Any:
    """The one document of a text; None where it isn't YAML to Python, which knows no more of it."""
    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, TypeError):
        return None


def split(text: str) -> Iterator[str]:
    """The documents of a text as kubectl takes them apart: at lines of three dashes."""
    for piece in re.split(r"^---[ \t\r]*$", text, flags=re.MULTILINE):
        if any(line.strip() and not line.lstrip().startswith("#") for line in piece.splitlines()):
            yield piece


def _items(document: Any) -> Iterator[Any]:
    if not isinstance(document, dict) or not str(document.get("kind")).endswith("List"):
        return
    yield from document.get("items") or ()


def judge_files(api: ControlPlane, files: Iterable[Path]) -> Judged:
    """Judge each document of some files; templates and what is no YAML are counted, and that is all."""
    judged = Judged()
    judge = Judge(api)
    for file in files:
        for piece in split(file.read_text(encoding="utf-8")):
            if "{{" in piece:
                judged.counts["templates"] += 1
                continue
            document = _parsed(piece)
            if document is None:
                judged.counts["no YAML"] += 1
                continue
            items = list(_items(document))
            for text in [yaml.safe_dump(item) for item in items] or [piece]:
                judge.add(judged, text, file.name)
    return judged


def whole() -> list[Any]:
    """The objects of `whole_documents.yaml`."""
    return list(yaml.safe_load_all(OWN.read_text(encoding="utf-8")))


def real(folder: Path = POLICIES) -> list[Any]:
    """The policies beside the checkout, if they are there."""
    found = []
    for file in sorted(folder.rglob("*")):
        for piece in split(file.read_text(encoding="utf-8")) if file.is_file() else ():
            document = _parsed(piece)
            if "{{" not in piece and isinstance(document, dict) and document.get("kind") in KINDS:
                found.append(document)
    return found


def judge_mutants(
    api: ControlPlane, documents: Sequence[Any], seed: int, count: int, enough: int = sys.maxsize
) -> Judged:
    """Judge so many mutants of what both take, or fewer: until so many are taken here and shouldn't be."""
    judged = Judged()
    judge = Judge(api)
    start = [document for document in documents if judge.both_take(document)]
    judged.counts["documents to mutate"] = len(start)
    for mutant in islice(mutants(start, seed), count):
        judge.add(judged, mutant.text, f"{mutant.place}: {mutant.change}\n{mutant.lines}")
        if len(judged.taken_here) >= enough:
            break
    return judged


def main(arguments: Sequence[str] | None = None) -> int:
    """1 when there is something that only flowwatch takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    began = time.monotonic()
    wrong = 0
    for name, documents in (("our own", whole()), ("../shared", real())):
        if not documents:
            continue
        judged = judge_mutants(shared(), documents, given.seed, given.mutants // 2)
        print(f"{name}: {judged}", flush=True)
        wrong += len(judged.taken_here)
        for one in judged.taken_here:
            print(f"== {one}")
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
