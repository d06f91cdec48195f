"""What the dashboard's editor edits: read once, beside the screen, and kept while it is closed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from flowwatch.errors import Defect, FlowwatchError

if TYPE_CHECKING:
    # Loaded when the editor is opened: the dashboard starts without them.
    from flowwatch.drafts.draft import Drafter
    from flowwatch.drafts.editing import Editing
    from flowwatch.flows.source import Source
    from flowwatch.policy.engine import PolicySet


class Drafting:
    """Reads a source of its own to its end when :meth:`begin` is called for the first time."""

    def __init__(
        self,
        open_source: Callable[[], Source],
        drafter: Callable[[], Drafter],
        *,
        refusal: str = "",
        path: str = "",
        in_force: PolicySet | None = None,
    ) -> None:
        """``refusal``: why nothing can be read, in words. ``path``: where a person wants the policy."""
        self._open = open_source
        self._drafter = drafter
        self.refusal = refusal
        self.path = path
        self.in_force = in_force
        self.editing: Editing | None = None
        """None until all is read."""
        self.failure: FlowwatchError | None = None
        """What ended the reading early."""
        self._thread: threading.Thread | None = None

    @property
    def done(self) -> bool:
        """Whether reading is over."""
        return self.editing is not None or self.failure is not None

    def begin(self, told: Callable[[], None]) -> None:
        """Read, in a thread; ``told`` is called in it at the end. Once it has begun nothing more happens."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._read, args=(told,), daemon=True)
            self._thread.start()

    def _read(self, told: Callable[[], None]) -> None:
        from flowwatch.drafts.editing import Editing

        try:
            source = self._open()
            try:
                drafter = self._drafter()
                drafter.needs.read(source.batches())
            finally:
                source.close()
            self.editing = Editing(drafter)
        except FlowwatchError as error:
            self.failure = error
        except Exception as error:  # noqa: BLE001 - told on the screen, as any that ends a reading
            self.failure = Defect.of(error)
        told()
