"""Who reads captures: files, and folders of them."""

from __future__ import annotations

import os
from collections.abc import Sequence

from flowwatch.hubble.captures.files import CaptureReader


def capture_reader(
    paths: Sequence[str | os.PathLike[str]],
    *,
    keep: bool = False,
    since: int | None = None,
    until: int | None = None,
) -> CaptureReader:
    """What reads ``paths``, files or folders. InputError as :class:`CaptureReader`'s.

    Of a folder, files that can have nothing of ``since`` to ``until`` (ns since 1970) aren't opened.
    """
    if any(path != "-" and os.path.isdir(path) for path in paths):
        # Only for who reads folders.
        from flowwatch.hubble.captures.folder_reading import FolderReader

        return FolderReader(paths, keep=keep, since=since, until=until)
    return CaptureReader(paths, keep=keep)
