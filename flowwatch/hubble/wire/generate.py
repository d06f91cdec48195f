"""Generate the Python code of the wire contract: ``python -m flowwatch.hubble.wire.generate``.

Reads ``proto/`` beside the package and writes ``flowwatch/hubble/wire/pb/``: the messages and their
type stubs. Needs the development extras (grpcio-tools, mypy-protobuf); users of flowwatch don't.
``--check`` writes nothing and exits 1 with the names of the files that are stale.
"""

from __future__ import annotations

import importlib.resources
import re
import sys
import sysconfig
import tempfile
from pathlib import Path

from flowwatch.output import say

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = "flowwatch.hubble.wire.pb"
PACKAGES = ("flow", "relay", "observer", "peer", "narrow")

# protoc writes imports relative to the include root; ours live inside the package.
_IMPORT = re.compile(r"^(from|import) (" + "|".join(PACKAGES) + r")\b", re.MULTILINE)


def generate(target: Path) -> None:
    """Write the generated package into ``target`` (a directory that is created).

    Raises SystemExit with protoc's status when a file does not compile.
    """
    from grpc_tools import protoc

    target.mkdir(parents=True, exist_ok=True)
    bundled = importlib.resources.files("grpc_tools") / "_proto"
    # Beside this Python, whose environment needn't be activated.
    plugin = Path(sysconfig.get_path("scripts"), "protoc-gen-mypy")
    status = protoc.main(
        [
            "protoc",
            f"-I{ROOT / 'proto'}",
            f"-I{bundled}",
            f"--plugin={plugin}",
            f"--python_out={target}",
            f"--mypy_out={target}",
            *(f"{name}/{name}.proto" for name in PACKAGES),
        ]
    )
    if status:
        raise SystemExit(status)
    note = '"""Generated from proto/ by flowwatch.hubble.wire.generate; do not edit."""\n'
    (target / "__init__.py").write_text(note)
    for name in PACKAGES:
        (target / name / "__init__.py").write_text(note)
        for path in sorted((target / name).glob("*_pb2.py*")):
            text = _IMPORT.sub(lambda m: f"{m[1]} {PACKAGE}.{m[2]}", path.read_text())
            path.write_text(text)


def stale(current: Path, fresh: Path) -> list[str]:
    """Names of generated files that differ between the two directories, or exist in one only."""
    names = {p.relative_to(base) for base in (current, fresh) for p in base.rglob("*.py*")}
    names = {n for n in names if "__pycache__" not in n.parts}
    return sorted(
        str(n)
        for n in names
        if not (current / n).is_file()
        or not (fresh / n).is_file()
        or (current / n).read_text() != (fresh / n).read_text()
    )


def main() -> int:
    target = ROOT / "flowwatch" / "hubble" / "wire" / "pb"
    if "--check" not in sys.argv[1:]:
        generate(target)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        old = stale(target, Path(scratch))
    for name in old:
        say(f"stale: flowwatch/hubble/wire/pb/{name} (run `make proto`)")
    return 1 if old else 0


if __name__ == "__main__":
    raise SystemExit(main())
