"""A bucket of an S3 server that holds a history, below a prefix.

An object appears whole, when its last byte has come, or not at all, and a listing has it from then on: so
there is nothing to be written aside and renamed. Calls that fail in passing are made again by the client
(:data:`TRIES` times), and what a recorder can't write even so waits with it, as for a full disk.

Who asks is said as to all programs: ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY``, ``AWS_PROFILE``,
or the role of the machine; ``AWS_REGION`` where, and ``AWS_ENDPOINT_URL_S3`` or ``AWS_ENDPOINT_URL`` the
server, if it isn't Amazon's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from urllib.parse import urlsplit

from flowwatch.errors import OutputError, UsageError
from flowwatch.history.arrow import Arrow, load
from flowwatch.history.place import File
from flowwatch.redact import remember, user_part
from flowwatch.text import safe

SCHEME = "s3://"
TRIES = 4
"""Of each call, with growing pauses: some 5 s in all."""
STALE = 600.0
"""Seconds after which a lock that nobody renewed is that of a process which was killed."""
RENEWED = 60.0
"""Seconds after which a lock is renewed."""
_LOCK = re.compile(r"\.upkeep-[0-9a-f]{16}\.lock")
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


class Bucket:
    """See :class:`flowwatch.history.place.Place`."""

    def __init__(self, url: str, environ: Mapping[str, str] = os.environ) -> None:
        """``url`` is ``s3://BUCKET/PREFIX``. UsageError."""
        remember(*user_part(url))
        bucket, *prefix = [part for part in url.removeprefix(SCHEME).split("/") if part] or [""]
        if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,254}", bucket):
            raise UsageError(f"invalid bucket: {safe(url)}", "as s3://BUCKET/PREFIX")
        if {".", ".."} & {*prefix}:
            raise UsageError(f"invalid prefix: {safe(url)}", "as s3://BUCKET/PREFIX")
        self._bucket = bucket
        self._root = "/".join([bucket, *prefix])
        self._system = _system(next((environ[one] for one in _ENDPOINTS if environ.get(one)), ""))

    @property
    def name(self) -> str:
        """The URL."""
        return safe(f"{SCHEME}{self._root}")

    @property
    def local(self) -> None:
        """It is elsewhere."""

    def url(self, path: str) -> str:
        """The URL of an object."""
        return f"{SCHEME}{self._root}/{path}"

    def check(self) -> None:
        """FileNotFoundError for a bucket that isn't there."""
        with _errors():
            kind = self._system.get_file_info(self._bucket).type
        if kind.name == "NotFound":
            raise FileNotFoundError(errno.ENOENT, "there is no such bucket")

    def make(self) -> None:
        """A prefix needs no making, and a bucket isn't ours to make."""
        self.check()

    def top(self) -> list[str]:
        """Names below the prefix."""
        return [one.base_name for one in self._listed(recursive=False)]

    def files(self) -> Iterator[File]:
        """Objects below the prefix."""
        start = len(self._root) + 1
        for one in sorted(self._listed(recursive=True), key=lambda one: one.path):
            if one.is_file:
                yield File(one.path[start:], one.size, one.mtime_ns or 0)

    def _listed(self, *, recursive: bool) -> list[Arrow]:
        selector = _fs().FileSelector(self._root, recursive=recursive, allow_not_found=True)
        with _errors():
            return list(self._system.get_file_info(selector))

    def read(self, path: str) -> bytes:
        """All of an object."""
        with _errors(), self._system.open_input_file(f"{self._root}/{path}") as file:
            return bytes(file.readall())

    def open(self, path: str) -> Arrow:
        """An object, of which parts are asked for as they are read."""
        with _errors():
            return self._system.open_input_file(f"{self._root}/{path}")

    def put(self, path: str, data: bytes) -> None:
        """One request up to 5 MB, and beyond it parts that become the object with the last one."""
        try:
            with _errors():
                stream = self._system.open_output_stream(f"{self._root}/{path}", compression=None)
                with stream:
                    stream.write(data)
        except OSError as error:
            # Of one in parts pyarrow may have made an object of those that came.
            with contextlib.suppress(OSError):
                self.delete(path)
            raise OutputError(f"can't write {safe(self.url(path))}: {error.strerror}") from None

    def delete(self, path: str) -> None:
        """Delete an object."""
        with contextlib.suppress(FileNotFoundError), _errors():
            self._system.delete_file(f"{self._root}/{path}")

    @contextlib.contextmanager
    def alone(self) -> Iterator[Callable[[], None]]:
        """By an object that each one puts there before it looks for those of others.

        A listing has what was there before it, so of two at once at least one sees the other.
        """
        mine = f".upkeep-{os.urandom(8).hex()}.lock"
        self.put(mine, b"")
        put = time.monotonic()

        def still() -> None:
            nonlocal put
            self._hold(mine)
            if time.monotonic() - put > RENEWED:
                self.put(mine, b"")
                put = time.monotonic()

        try:
            self._no_other(mine)
            yield still
        finally:
            with contextlib.suppress(OSError):
                self.delete(mine)

    def _no_other(self, mine: str) -> None:
        """UsageError where another has a lock; what a killed one has left goes. Times are the server's."""
        try:
            locks = {one.base_name: one for one in self._listed(recursive=False)}
            now = locks[mine].mtime_ns
            for name, one in locks.items():
                if name == mine or not _LOCK.fullmatch(name):
                    continue
                if now - one.mtime_ns < STALE * 1e9:
                    raise UsageError(
                        f"another flowwatch is changing {self.name}",
                        f"try again when it is done, or, if it was killed, {STALE / 60:.0f} minutes later",
                    )
                self.delete(name)
        except OSError as error:
            raise OutputError(f"can't change {self.name}: {error.strerror}") from None

    def _hold(self, mine: str) -> None:
        try:
            self.read(mine)
        except FileNotFoundError:
            raise OutputError(
                f"another flowwatch took over changing {self.name}", "what was done so far holds"
            ) from None
        except OSError as error:
            raise OutputError(f"can't change {self.name}: {error.strerror}") from None


def _fs() -> Arrow:
    load()
    return import_module("pyarrow.fs")


def _system(endpoint: str) -> Arrow:
    """The client for a server; "" is Amazon's. UsageError for what is no address."""
    fs = _fs()
    given = {}
    if endpoint:
        # pyarrow itself asks Amazon unless it is told.
        parts = urlsplit(endpoint)
        remember(*user_part(endpoint))
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise UsageError(
                f"invalid AWS_ENDPOINT_URL: {safe(endpoint)}", "as https://s3.example.com"
            )
        given = {"scheme": parts.scheme, "endpoint_override": parts.netloc + parts.path.rstrip("/")}
    try:
        return fs.S3FileSystem(
            # Written in our own thread, so that what fails is told here.
            background_writes=False,
            allow_delayed_open=True,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=TRIES),
            **given,
        )
    except (OSError, ValueError) as error:
        raise UsageError("cannot speak to S3", safe(str(error))) from None


_DENIED = (
    "access is denied; AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, say who asks"
)
_MEANS: dict[str, tuple[type[OSError], str]] = {
    "NO_SUCH_BUCKET": (FileNotFoundError, "there is no such bucket"),
    "NO_SUCH_KEY": (FileNotFoundError, "it is not there"),
    "ACCESS_DENIED": (PermissionError, _DENIED),
    "SIGNATURE_DOES_NOT_MATCH": (PermissionError, _DENIED),
    "INVALID_ACCESS_KEY_ID": (PermissionError, _DENIED),
    "INVALID_CLIENT_TOKEN_ID": (PermissionError, _DENIED),
    "UNRECOGNIZED_CLIENT": (PermissionError, _DENIED),
    "MISSING_AUTHENTICATION_TOKEN": (PermissionError, _DENIED),
    "REQUEST_TIME_TOO_SKEWED": (PermissionError, "this machine's clock differs from the server's"),
    "HTTP status 301": (OSError, "the bucket is in another region; AWS_REGION names it"),
    "NETWORK_CONNECTION": (ConnectionError, "the server cannot be reached"),
}
"""What the AWS SDK calls an error, and what it is to us."""


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """pyarrow's errors, which are sentences, as Python's own."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "it is not there") from None
    except OSError as error:
        raise _understood(str(error)) from None


def _understood(said: str) -> OSError:
    """The error that the sentence ``said`` tells of."""
    for word, (kind, words) in _MEANS.items():
        if re.search(rf"\b{word}\b", said):
            # The last words are the network's: which address, and why not.
            _, details, why = said.rpartition("Details: ")
            more = f" ({safe(why.strip())})" if details and kind is ConnectionError else ""
            return kind(_NUMBERS.get(kind, errno.EIO), f"{words}{more}")
    found = re.search(r"AWS Error (.+?) during \w+ operation(?:: ([^(]*))?", said)
    words = safe(" ".join(one.strip() for one in found.groups("") if one)) if found else safe(said)
    return OSError(errno.EIO, f"the server answers: {words.strip(' .')}")


_NUMBERS: dict[type[OSError], int] = {
    FileNotFoundError: errno.ENOENT,
    PermissionError: errno.EACCES,
    ConnectionError: errno.ECONNABORTED,
}
"""Without one Python keeps no words apart."""
