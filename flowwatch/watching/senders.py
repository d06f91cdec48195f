"""How receivers are told: by HTTP, as Alertmanager or Slack have it, or by a command's standard input."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from flowwatch import redact
from flowwatch.errors import UsageError
from flowwatch.text import safe
from flowwatch.watching.alerts import Notice
from flowwatch.watching.outbox import NotDelivered, reason_of
from flowwatch.watching.rules import SECOND, Format, web_place

TIMEOUT = 10.0
"""Seconds for an answer."""
COMMAND_TIMEOUT = 30.0
REFRESH = 60.0
"""Seconds after which Alertmanager is told again of what goes on, as Prometheus does."""
LASTS = 300
"""Seconds after which it may take it for over, where it hears no more."""
_TEMPORARY = (408, 425, 429)
"""Refusals that may be none later; 5xx besides."""
EX_TEMPFAIL = 75
"""A command's exit code for: try again (sysexits.h)."""


def when(nanoseconds: int) -> str:
    """RFC 3339; Go's zero time for 0, as Alertmanager writes it."""
    if not nanoseconds:
        return "0001-01-01T00:00:00Z"
    whole, rest = divmod(nanoseconds, SECOND)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1_000_000:03}Z"


def as_alert(notice: Notice) -> dict[str, Any]:
    """One alert, as the webhook's payload has it."""
    alert = notice.alert
    return {
        "status": notice.status,
        "labels": alert.labels,
        "annotations": alert.annotations,
        "startsAt": when(alert.starts),
        "endsAt": when(alert.ends),
        "generatorURL": "",
        "fingerprint": alert.fingerprint,
    }


def webhook(notices: list[Notice], receiver: str, left_out: int) -> dict[str, Any]:
    """Alertmanager's webhook payload, version 4 (its notify/webhook and template)."""
    shared = {"alertname": notices[0].alert.rule}
    return {
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{notices[0].alert.rule}"}}',
        "truncatedAlerts": left_out,
        "status": "firing" if any(one.status == "firing" for one in notices) else "resolved",
        "receiver": receiver,
        "groupLabels": shared,
        "commonLabels": _common([one.alert.labels for one in notices]),
        "commonAnnotations": _common([one.alert.annotations for one in notices]),
        "externalURL": "",
        "alerts": [as_alert(one) for one in notices],
    }


def posted(notices: list[Notice], now: float) -> list[dict[str, Any]]:
    """What Alertmanager's API takes (POST /api/v2/alerts)."""
    found = []
    for one in notices:
        alert = one.alert
        ends = alert.ends or int((now + LASTS) * SECOND)
        found.append(
            {
                "labels": alert.labels,
                "annotations": alert.annotations,
                "startsAt": when(alert.starts),
                "endsAt": when(ends),
            }
        )
    return found


def slack(notices: list[Notice], left_out: int) -> dict[str, Any]:
    """What Slack's incoming webhooks take."""
    lines = [
        f"{'🔴' if one.status == 'firing' else '🟢'} *{_slack(one.alert.rule)}* {one.status}: "
        f"{_slack(one.alert.annotations.get('summary', ''))}"
        for one in notices
    ]
    if left_out:
        lines.append(f"{left_out} more were left out, as too many waited")
    return {"text": "\n".join(lines)}


def _slack(text: str) -> str:
    return safe(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _common(every: list[dict[str, str]]) -> dict[str, str]:
    first = every[0]
    return {
        name: value
        for name, value in first.items()
        if all(one.get(name) == value for one in every[1:])
    }


class HttpSender:
    """Posts JSON to a URL, which may be a secret: only its host is ever shown."""

    def __init__(self, name: str, url: str, form: Format) -> None:
        """Raises UsageError for what is no URL."""
        place = web_place(url)
        if url.rstrip("/") != place:
            redact.remember(url)
        if place is None:
            raise UsageError("a webhook is no URL", "as https://alerts.example/hook")
        parts = urlsplit(url)
        if len(parts.path) > 1:
            redact.remember(parts.path, parts.query)
        redact.remember(*redact.user_part(url))
        self.place = place
        """What may be shown of it."""
        self.name = name or self.place
        # Whoever tells of it says the name first.
        self._called = self.place if name else "it"
        self._url, self._form = url, form
        if form == "alertmanager-api" and not parts.path.endswith("/alerts"):
            self._url = f"{url.rstrip('/')}/api/v2/alerts"
        self.refresh = REFRESH if form == "alertmanager-api" else 0.0

    def at_once(self, notices: list[Notice]) -> list[Notice]:
        """All; of one rule where the format has groups."""
        if self._form != "alertmanager":
            return notices
        return [one for one in notices if one.alert.rule == notices[0].alert.rule]

    def send(self, notices: list[Notice], left_out: int) -> None:
        """Post them. Raises NotDelivered."""
        if self._form == "slack":
            body: Any = slack(notices, left_out)
        elif self._form == "alertmanager-api":
            body = posted(notices, time.time())
        else:
            body = webhook(notices, self.name, left_out)
        self._post(body)

    def _post(self, body: Any) -> None:
        import httpx  # 0.1 s: only who tells somebody loads it

        try:
            answer = httpx.post(self._url, json=body, timeout=TIMEOUT, follow_redirects=False)
        except httpx.TimeoutException:
            raise NotDelivered(f"{self._called} did not answer within {TIMEOUT:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise NotDelivered(f"{self._called} can't be reached ({reason_of(error)})") from None
        code = answer.status_code
        if not answer.is_success:
            again = code >= 500 or code in _TEMPORARY
            raise NotDelivered(f"{self._called} answered {code}", again=again)


class CommandSender:
    """Runs a command for each notice, without a shell, with the alert as JSON on its standard input."""

    def __init__(self, command: str, say: Callable[[str], None]) -> None:
        """Raises UsageError for what can't be taken apart."""
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise UsageError(f"--exec: {error}", "quote it as a shell would want it") from None
        if not self._words:
            raise UsageError("--exec names no command")
        self.name, self.refresh = f"exec {safe(self._words[0])}", 0.0
        self._say = say

    def at_once(self, notices: list[Notice]) -> list[Notice]:
        """The first."""
        return notices[:1]

    def send(self, notices: list[Notice], left_out: int) -> None:
        """Run it for each; 75 asks for another try. Raises NotDelivered."""
        for one in notices:
            self._run(json.dumps(as_alert(one)).encode())

    def _run(self, alert: bytes) -> None:
        try:
            done = subprocess.run(
                self._words,
                input=alert,
                stdout=subprocess.DEVNULL,
                timeout=COMMAND_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            self._say(f"{self.name}: killed after {COMMAND_TIMEOUT:g} s")
        except OSError as error:
            raise NotDelivered(f"it can't be run: {error.strerror}", again=False) from None
        else:
            if done.returncode == EX_TEMPFAIL:
                raise NotDelivered(f"exit code {EX_TEMPFAIL}")
            if done.returncode:
                self._say(f"{self.name}: exit code {done.returncode}")
