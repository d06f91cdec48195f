"""Building what the tests hold flowwatch against, from Go modules, once per state of the sources.

`build()` makes the real Hubble parts out of Cilium's module (`tests/interop/hubble`), and
`build_apiserver()` a Kubernetes API server out of its own (`tests/interop/apiserver`), beside the
CRDs of Cilium and of ClusterNetworkPolicy, which are read from the modules that Hubble is built of;
`build_s3()` makes an S3 server (`tests/interop/s3`), `build_metrics()` an OpenTelemetry Collector and
a reader of Grafana's dashboards (`tests/interop/metrics`).

The binaries are kept outside the checkout, in `$FLOWWATCH_INTEROP_CACHE` or
`$XDG_CACHE_HOME/flowwatch-interop` or `~/.cache/flowwatch-interop`, in a folder named after a hash of
all that goes into them; a folder that nobody used for a week goes when the next is built.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HUBBLE = Path(__file__).parent / "hubble"
APISERVER = Path(__file__).parent / "apiserver"
S3 = Path(__file__).parent / "s3"
METRICS = Path(__file__).parent / "metrics"

GO_MISSING = (
    "Go is not installed: the real Hubble, API server and S3 server can't be built; "
    "install Go 1.26 or newer (https://go.dev/dl)"
)

_HUBBLE_PACKAGES = (
    "github.com/cilium/cilium/hubble",
    "github.com/cilium/cilium/hubble-relay",
    "./observer",
    "./peer",
    "./leash",
    "./certs",
    "./oracle",
    "./regexps",
    "./kubeconfig",
    "./exporter",
    "./lab",
)
# What is known to the API server beside its own; the experimental ClusterNetworkPolicy has all that
# the standard one has.
_CRDS = {
    "github.com/cilium/cilium": (
        "pkg/k8s/apis/cilium.io/client/crds/v2/ciliumnetworkpolicies.yaml",
        "pkg/k8s/apis/cilium.io/client/crds/v2/ciliumclusterwidenetworkpolicies.yaml",
        "pkg/k8s/apis/cilium.io/client/crds/v2/ciliumcidrgroups.yaml",
    ),
    "sigs.k8s.io/network-policy-api": (
        "config/crd/experimental/policy.networking.k8s.io_clusternetworkpolicies.yaml",
    ),
}
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
    def regexps(self) -> Path:
        """Says what Go's regexp, and what Cilium makes of it, find in texts."""
        return self.folder / "regexps"

    @property
    def kubeconfig(self) -> Path:
        """Answers what client-go reads from kubeconfigs."""
        return self.folder / "kubeconfig"

    @property
    def exporter(self) -> Path:
        """Writes records as Cilium's exporter does: masked, aggregated, redacted."""
        return self.folder / "exporter"

    @property
    def lab(self) -> Path:
        """The kernel lab's node (`tests/lab`): loads a datapath, serves what it tells."""
        return self.folder / "lab"


@dataclass(frozen=True)
class ApiServer:
    """A Kubernetes API server, and what it has to be told of."""

    folder: Path

    @property
    def program(self) -> Path:
        """etcd, kube-apiserver and a kubelet in one process; see `apiserver/main.go`."""
        return self.folder / "apiserver"

    @property
    def crds(self) -> list[Path]:
        """The CustomResourceDefinitions, a YAML file each."""
        return sorted(self.folder.glob("*.yaml"))


@functools.cache
def build() -> Binaries:
    """Return the parts of Hubble, built if this state of the sources has none yet.

    Safe to call from several processes at once (pytest-xdist): one builds, the others wait.

    Raises:
        GoMissing: there is nothing built and no Go to build with.
        BuildFailed: Go refused.
    """
    return Binaries(_built(_key(HUBBLE), lambda into: _go_build(HUBBLE, _HUBBLE_PACKAGES, into)))


@functools.cache
def build_apiserver() -> ApiServer:
    """Return the API server, built if need be; as `build`."""

    def make(into: Path) -> None:
        version = _go(APISERVER, "list", "-m", "-f={{.Version}}", "k8s.io/kubernetes").strip()
        _go_build(APISERVER, (".",), into, f"-X k8s.io/component-base/version.gitVersion={version}")
        for module, files in _CRDS.items():
            source = Path(_go(HUBBLE, "list", "-m", "-f={{.Dir}}", module).strip())
            for file in files:
                shutil.copy(source / file, into)

    # The versions of the CRDs are Hubble's.
    versions = " " + (HUBBLE / "go.mod").read_text() + repr(_CRDS)
    return ApiServer(_built(_key(APISERVER, versions), make))


@functools.cache
def build_s3() -> Path:
    """Return an S3 server that keeps its objects in a folder (versitygw), built if need be; as `build`."""

    def make(into: Path) -> None:
        _go_build(S3, ("github.com/versity/versitygw/cmd/versitygw",), into)

    return _built(_key(S3), make) / "versitygw"


@functools.cache
def build_metrics() -> Path:
    """Return the folder of `collector`, an OpenTelemetry Collector, and of `dashboard`, which reads a
    dashboard by Grafana's schema; built if need be, as `build`."""

    def make(into: Path) -> None:
        _go_build(METRICS, ("./collector", "./dashboard"), into)

    return _built(_key(METRICS), make)


def _built(key: str, make: Callable[[Path], None]) -> Path:
    """The folder of that name, made if it isn't there."""
    cache = _cache()
    folder = cache / key
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache / "lock"):
            if not folder.is_dir():
                _remove_unused(cache)
                with tempfile.TemporaryDirectory(dir=cache, prefix="building-") as scratch:
                    target = Path(scratch) / "bin"
                    target.mkdir()
                    make(target)
                    target.rename(folder)
    os.utime(folder)
    return folder


def _cache() -> Path:
    if chosen := os.environ.get("FLOWWATCH_INTEROP_CACHE"):
        return Path(chosen)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "flowwatch-interop"


def _key(source: Path, more: str = "") -> str:
    """A name for this state of the sources on this kind of machine."""
    digest = hashlib.sha256(f"{platform.system()} {platform.machine()}{more}".encode())
    for path in sorted([*source.rglob("*.go"), source / "go.mod", source / "go.sum"]):
        if not path.name.endswith("_test.go"):
            digest.update(f"\0{path.relative_to(source)}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _go_build(source: Path, packages: Sequence[str], into: Path, ldflags: str = "") -> None:
    # Without symbols (-s -w) linking is quicker and the files are smaller by a third.
    ldflags = f"-ldflags=-s -w {ldflags}"
    _go(source, "build", "-buildvcs=false", ldflags, "-o", f"{into}/", *packages)


def _go(folder: Path, *words: str) -> str:
    """What `go` prints."""
    go = shutil.which("go")
    if go is None:
        raise GoMissing(GO_MISSING)
    try:
        done = subprocess.run(
            [go, *words],
            cwd=folder,
            env={**os.environ, "GOWORK": "off"},
            capture_output=True,
            text=True,
            timeout=_BUILD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as err:
        raise BuildFailed(f"go {words[0]} took more than {_BUILD_SECONDS} s") from err
    if done.returncode != 0:
        said = done.stderr.strip()[-4000:]
        raise BuildFailed(f"go {words[0]} failed in {folder.name}/: {said}")
    return done.stdout


def _remove_unused(cache: Path) -> None:
    for old in cache.iterdir():
        if old.is_dir() and time.time() - old.stat().st_mtime > _UNUSED_SECONDS:
            shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
