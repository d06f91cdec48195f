"""Building the real Hubble parts from Cilium's Go module, once per state of `tests/interop/hubble`.

The binaries are kept outside the checkout, in `$FLOWWATCH_INTEROP_CACHE` or
`$XDG_CACHE_HOME/flowwatch-interop` or `~/.cache/flowwatch-interop`, in a folder named after a hash of the
Go sources, `go.mod` and `go.sum`; a folder that nobody used for a week goes when the next is built.
The first build takes minutes and a network or a filled Go module cache; after that nothing is
built, and Go isn't even needed.
"""

import fcntl
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parent / "hubble"

GO_MISSING = (
    "Go is not installed: the real Hubble parts (observer, relay, CLI) can't be built; "
    "install Go 1.26 or newer (https://go.dev/dl)"
)

_PACKAGES = (
    "github.com/cilium/cilium/hubble",
    "github.com/cilium/cilium/hubble-relay",
    "./observer",
    "./peer",
    "./leash",
    "./certs",
    "./oracle",
    "./kubeapi",
)
_BUILD_SECONDS = 1800
_UNUSED_SECONDS = 7 * 24 * 3600


class GoMissing(Exception):
    """There is no `go` on the PATH, and nothing built before."""


class BuildFailed(Exception):
    """`go build` failed; the message holds what it said."""


@dataclass(frozen=True)
class Binaries:
    """The programs, all in one folder."""

    folder: Path

    @property
    def hubble(self) -> Path:
        """The CLI, as Cilium builds it but for the version it prints."""
        return self.folder / "hubble"

    @property
    def relay(self) -> Path:
        """The relay, likewise."""
        return self.folder / "hubble-relay"

    @property
    def observer(self) -> Path:
        """Our program around the real observer; `observer -help` lists its flags."""
        return self.folder / "observer"

    @property
    def peer(self) -> Path:
        """The peer service that tells a relay its nodes."""
        return self.folder / "peer"

    @property
    def leash(self) -> Path:
        """Runs a command that ends when its own standard input does."""
        return self.folder / "leash"

    @property
    def certs(self) -> Path:
        """Makes a CA and certificates for tests with TLS."""
        return self.folder / "certs"

    @property
    def oracle(self) -> Path:
        """Answers policy questions with Cilium's own engine."""
        return self.folder / "oracle"

    @property
    def kubeapi(self) -> Path:
        """As much of a Kubernetes API server as a port-forward needs."""
        return self.folder / "kubeapi"


@functools.cache
def build() -> Binaries:
    """Return the binaries, built if this state of the sources has none yet.

    Safe to call from several processes at once (pytest-xdist): one builds, the others wait.

    Raises:
        GoMissing: there is nothing built and no Go to build with.
        BuildFailed: Go refused.
    """
    cache = _cache()
    folder = cache / _key()
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache / "lock"):
            if not folder.is_dir():
                _remove_unused(cache)
                _build_into(folder)
    os.utime(folder)
    return Binaries(folder)


def _cache() -> Path:
    if chosen := os.environ.get("FLOWWATCH_INTEROP_CACHE"):
        return Path(chosen)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "flowwatch-interop"


def _key() -> str:
    """A name for this state of the sources on this kind of machine."""
    digest = hashlib.sha256(f"{platform.system()} {platform.machine()}".encode())
    sources = [*SOURCES.rglob("*.go"), SOURCES / "go.mod", SOURCES / "go.sum"]
    for path in sorted(sources):
        if not path.name.endswith("_test.go"):
            digest.update(f"\0{path.relative_to(SOURCES)}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _build_into(folder: Path) -> None:
    go = shutil.which("go")
    if go is None:
        raise GoMissing(GO_MISSING)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="building-") as scratch:
        target = Path(scratch) / "bin"
        target.mkdir()
        # Without symbols (-s -w) linking is quicker and the files are smaller by a third.
        command = [go, "build", "-buildvcs=false", "-ldflags=-s -w", "-o", f"{target}/", *_PACKAGES]
        try:
            done = subprocess.run(
                command,
                cwd=SOURCES,
                env={**os.environ, "GOWORK": "off"},
                capture_output=True,
                text=True,
                timeout=_BUILD_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as err:
            raise BuildFailed(f"go build took more than {_BUILD_SECONDS} s") from err
        if done.returncode != 0:
            raise BuildFailed(f"go build failed in {SOURCES.name}/: {done.stderr.strip()[-4000:]}")
        target.rename(folder)


def _remove_unused(cache: Path) -> None:
    for old in cache.iterdir():
        if old.is_dir() and time.time() - old.stat().st_mtime > _UNUSED_SECONDS:
            shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
