"""A small file that a user names: a configuration, a certificate, a key. It may be anything.

A path may lead to a folder, a device without end, a pipe into which nobody writes, or nowhere, and its
name may hold what no name can. Each ends in an OSError with words in ``strerror``; nothing waits for
ever and nothing fills the memory.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from collections.abc import Mapping

MOST = 4 << 20
"""Bytes: a kubeconfig of a thousand clusters takes 3 MB, a bundle of all CAs 0.2 MB."""
PIPE_SECONDS = 10.0
"""How long a pipe (``<(pass show kube)``) may take to bring the whole."""


def read(path: str | os.PathLike[str], most: int = MOST) -> bytes:
    """All of it.

    Raises OSError, with EFBIG for more than ``most`` bytes, and TimeoutError for a pipe that doesn't end.
    """
    try:
        # Without waiting: opening a pipe waits for one who writes.
        number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except ValueError:
        raise OSError(errno.EINVAL, "no file can have such a name") from None
    try:
        kind = os.fstat(number).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        return _all(number, most, waits=not stat.S_ISREG(kind))
    finally:
        os.close(number)


def config_folder(environ: Mapping[str, str]) -> str:
    """Where the user's own files are: filters, themes, keys."""
    home = environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return os.path.join(home, "flowwatch")


def theme_names(environ: Mapping[str, str]) -> list[str]:
    """Themes of the user's own, whether or not they can be used."""
    place = os.path.join(config_folder(environ), "themes")
    try:
        found = sorted(os.listdir(place))
    except OSError:
        return []
    named = [
        name for name in found if name.isprintable() and name[0] not in ".~" and " " not in name
    ]
    return [name for name in named if os.path.isfile(os.path.join(place, name))]


def _all(number: int, most: int, *, waits: bool) -> bytes:
    found = bytearray()
    deadline = time.monotonic() + PIPE_SECONDS
    while True:
        if waits:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([number], [], [], left)[0]:
                raise TimeoutError(errno.ETIMEDOUT, f"its end did not come in {PIPE_SECONDS:g} s")
        try:
            piece = os.read(number, min(1 << 20, most + 1 - len(found)))
        except BlockingIOError:
            continue
        if not piece:
            return bytes(found)
        found += piece
        if len(found) > most:
            raise OSError(errno.EFBIG, f"it is larger than {_size(most)}")


def _size(number: int) -> str:
    return f"{number >> 20} MiB" if number >= 1 << 20 else f"{number >> 10} KiB"


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether there is a file, a folder or a pipe; also one that may not be read, or even be seen.

    A device (``/dev/null``) is how people say that there is none.
    """
    try:
        kind = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        return True
    return not (stat.S_ISCHR(kind) or stat.S_ISBLK(kind))
