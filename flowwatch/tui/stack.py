"""The stack of views: what is open, how one goes in, comes back, and from one to the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from flowwatch.tui import keys
from flowwatch.tui.desk import Desk
from flowwatch.tui.view import Body, View


class Stack:
    """The views of one dashboard, one over the other: never empty."""

    def __init__(self, desk: Desk, views: Sequence[View], shown: Callable[[Body], None]) -> None:
        """``shown`` puts a body on the screen."""
        self._desk = desk
        self._shown = shown
        self.views = {view.name: view for view in views}
        self.open: list[Body] = [views[0].body(desk)]
        """The views that are open, the one on top last."""
        self._kept: dict[str, Body] = {}
        """Bodies of numbered views that were closed: to make and lay out one takes 40 ms."""
        self._seen_before = ""
        """The view that was seen before this one."""

    @property
    def seen(self) -> Body:
        """The view on top."""
        return self.open[-1]

    @property
    def opened(self) -> bool:
        """Whether what is seen was opened over another view."""
        return len(self.open) > 1

    @property
    def trail(self) -> tuple[str, ...]:
        return tuple([body.view.name for body in self.open])

    def go(self, name: str) -> None:
        view = self.views[name]
        if view.number:
            self._switch(view)
        elif view in [body.view for body in self.open]:
            self._close_while(lambda body: body.view is not view)
        elif refusal := view.refusal(self._desk):
            self._desk.say(refusal, "warn")
        else:
            self._push(view.body(self._desk))
            self._desk.refresh_view()

    def _switch(self, view: View) -> None:
        """A numbered view in place of those that were opened by name over what was entered last."""
        if refusal := view.refusal(self._desk):
            self._desk.say(refusal, "warn")
            return
        before = self.seen.view
        self._close_while(lambda body: body.came_from is None and body.view is not view)
        if self.seen.view is not view:
            kept = view.name in self._kept
            self._push(self._kept.pop(view.name) if kept else view.body(self._desk))
            self._desk.refresh_view()
        self._seen_before = before.name

    def go_in(self, name: str, text: str) -> None:
        body = self.views[name].body(self._desk)
        body.came_from, self._seen_before = self._desk.chosen.query, self.seen.view.name
        self._push(body)
        narrowed = " ".join(part for part in (self._desk.chosen.query.text, text) if part)
        self._desk.choose(text=narrowed)
        self._desk.refresh_view()

    def _push(self, body: Body) -> None:
        self.seen.display = False
        self.open.append(body)
        self._shown(body)

    def next_view(self, step: int) -> None:
        names = [view.name for view in self.tabs if not view.refusal(self._desk)]
        place = names.index(self.seen.view.name) if self.seen.view.name in names else -step
        self.go(names[(place + step) % len(names)])

    def last_view(self) -> None:
        if self._seen_before:
            self.go(self._seen_before)
        else:
            self._desk.say("no other view was seen yet", "dim", 2.0)

    def back(self) -> bool:
        before = self.seen.view.name
        closed = self._close_while(lambda body: body is self.seen)
        if closed and self.views[before].number:
            self._seen_before = before
        return closed

    def come_back_to(self, context: str) -> None:
        if context != keys.ANYWHERE:
            self._close_while(lambda body: context not in body.contexts)

    def _close_while(self, wanted: Callable[[Body], bool]) -> bool:
        """Close views from the top while ``wanted`` says so of the one that was there at first."""
        closing = []
        for body in reversed(self.open[1:]):
            if not wanted(body):
                break
            closing.append(body)
        for body in closing:
            self.open.remove(body)
            self._put_away(body)
            if (was := body.came_from) is not None:
                self._desk.chosen.query = replace(
                    self._desk.chosen.query,
                    text=was.text,
                    drops_only=was.drops_only,
                    noise=was.noise,
                )
        if closing:
            self.seen.display = True
            self._desk.refresh_view()
        return bool(closing)

    def forget(self) -> None:
        """What is seen is called otherwise now: leave what was entered by a name, and what can't be open any
        more; and show no line of before."""
        leads = [body.came_from is not None or body.view.refusal(self._desk) for body in self.open]
        if True in map(bool, leads):
            gone = self.open[list(map(bool, leads)).index(True) :]
            self._close_while(lambda body: body in gone)
        for body in self._kept.values():
            body.remove()
        self._kept.clear()
        for part in [part for body in self.open for part in body.parts]:
            part.show([])

    def _put_away(self, body: Body) -> None:
        """Keep it for the next time, as if it were new, where it can be."""
        view = body.view
        if view.number and body.came_from is None and view.name not in self._kept and body.renew():
            body.display = False
            self._kept[view.name] = body
        else:
            body.remove()

    @property
    def tabs(self) -> tuple[View, ...]:
        """The numbered views, in their order."""
        numbered = [view for view in self.views.values() if view.number]
        return tuple(sorted(numbered, key=lambda view: view.number))
