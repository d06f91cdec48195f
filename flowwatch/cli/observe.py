"""``flowwatch observe``: flows, printed as ``hubble observe`` prints them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError
from msgspec.structs import replace

from flowwatch.cli.shared.chosen import Traffic
from flowwatch.cli.shared.reading import Reading
from flowwatch.errors import Defect, FlowwatchError, OutputError, Stopped, UsageError, defect
from flowwatch.flows.counting import Tally, note_place
from flowwatch.flows.coverage import Coverage, skipped_words, unwrapped_words
from flowwatch.flows.join import Joined
from flowwatch.flows.model import BOTH, Batch, Unread
from flowwatch.hubble.filters.flags import raw_filters
from flowwatch.hubble.filters.request import LAST_BY_DEFAULT
from flowwatch.hubble.wire.pb.observer import observer_pb2
from flowwatch.output import Output, StandardError, is_terminal, open_output, put, say
from flowwatch.report.color import use_color
from flowwatch.report.observe import ObserveOptions, Printer, check_output, make_printer
from flowwatch.sources.opening import file_window, matcher, open_source
from flowwatch.sources.request import FlowRequest, flow_request
from flowwatch.text import plural, safe

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed

# What hubble's default field masks ask for (hubble/pkg/defaults).
DEFAULT_MASK = (
    "time",
    "source.identity",
    "source.namespace",
    "source.pod_name",
    "destination.identity",
    "destination.namespace",
    "destination.pod_name",
    "source_service",
    "destination_service",
    "l4",
    "IP",
    "ethernet",
    "l7",
    "Type",
    "node_name",
    "is_reply",
    "event_type",
    "verdict",
    "Summary",
    "ip_trace_id",
    "traffic_direction",
    "policy_match_type",
    "egress_allowed_by",
    "ingress_allowed_by",
    "egress_denied_by",
    "ingress_denied_by",
)

Chunks = Iterator[list[tuple[int, observer_pb2.GetFlowsResponse]]]


def run(parsed: Parsed) -> int:
    """Print until the end, or until Ctrl-C when following (that is its end, exit code 0)."""
    form = parsed.text("output")
    kind = check_output(form, follow=parsed.switch("follow"))
    # The last 20 are seldom what a filter finds anything in.
    chooses = bool(parsed.text("filter"))
    wanted = flow_request(parsed, default=0 if chooses else LAST_BY_DEFAULT)
    if parsed.switch("print-raw-filters"):
        put(raw_filters(wanted.filters), "json")
        return 0
    traffic = Traffic(parsed, BOTH) if chooses else None
    wanted = _masked(parsed, wanted, kind)
    silent = parsed.switch("silent-errors")
    if not silent:
        for line in wanted.settings.warnings:
            say(line)
    options = ObserveOptions(
        output=form,
        print_node_name=parsed.switch("print-node-name"),
        print_policy_names=parsed.switch("print-policy-names"),
        ip_translation=parsed.switch("ip-translation") and not parsed.switch("numeric"),
        time_format=parsed.text("time-format"),
        color=use_color(parsed.text("color"), terminal=is_terminal()),
        debug=parsed.switch("debug"),
        silent=silent,
        legacy_json="legacy-json-output" in os.environ.get("HUBBLE_COMPAT", ""),
    )
    with open_output(None, kind) as out:
        reading = _reading(wanted) if traffic is None else _Chosen(wanted, traffic)
        return _print(wanted, reading, make_printer(options, out, StandardError()), out, silent)


def _masked(parsed: Parsed, wanted: FlowRequest, kind: str) -> FlowRequest:
    if wanted.mask and kind != "jsonpb":
        raise UsageError(
            f"{safe(parsed.text('output'))} output format is not compatible with custom field mask"
        )
    if parsed.text("filter"):
        if wanted.mask:
            raise UsageError("--filter looks at whole records", "leave out --field-mask")
        return wanted
    if parsed.switch("use-default-field-masks") and kind not in ("jsonpb", "csv"):
        return replace(wanted, mask=DEFAULT_MASK)
    return wanted


def _print(
    wanted: FlowRequest, reading: _Reading, printer: Printer, out: Output, silent: bool
) -> int:
    printed = 0
    failure: FlowwatchError | None = None
    stopped: Stopped | None = None
    try:
        for chunk in reading.chunks():
            for number, response in chunk:
                try:
                    printer.write(response)
                except FlowwatchError:
                    raise
                except Exception as error:  # noqa: BLE001 - of one record, which is told and kept
                    reading.unread(number, defect(error), response.SerializeToString())
                else:
                    printed += 1
            if chunk and wanted.window.follow:
                out.flush()
    except OutputError:
        # Nothing more can be printed.
        raise
    except FlowwatchError as error:
        failure = error
    except KeyboardInterrupt as error:
        stopped = Stopped.of(error)
    except Exception as error:  # noqa: BLE001 - raised below, once what was printed is out
        failure = Defect.of(error)
    printer.close()
    out.flush()
    for line in () if silent else (*reading.words(), *printer.words()):
        say(line)
    if failure is not None:
        if printed:
            say(f"{plural(printed, 'flow')} printed until then: partial")
        raise failure
    if stopped is not None and not (stopped.by_hand and wanted.window.follow):
        say(f"{stopped.word} after {plural(printed, 'flow')}: this is partial")
        return stopped.exit_code
    return 0


class _Reading:
    """Records as Hubble's own messages, each with its number; those that can't be read are counted."""

    def __init__(self, wanted: FlowRequest) -> None:
        self._keeper = wanted.keeper()
        self._skipped: dict[str, int] = {}
        self._places: dict[str, list[str]] = {}

    def chunks(self) -> Chunks:
        raise NotImplementedError

    def unread(self, number: int, why: str, data: bytes) -> None:
        """Count a record that could not be read, or not be printed."""
        self._skipped[why] = self._skipped.get(why, 0) + 1
        self.tell(number, why, data)

    def tell(self, number: int, why: str, data: bytes) -> None:
        """Remember where it was, and keep it if that was asked for."""
        note_place(self._places, number, why)
        if self._keeper is not None:
            self._keeper.keep([Unread(number, why, data)])

    def words(self) -> list[str]:
        """What was passed over, and what of it was kept."""
        kept = self._keeper.words() if self._keeper is not None else []
        return [*skipped_words(self._skipped, self._places), *kept]


def _reading(wanted: FlowRequest) -> _Reading:
    if wanted.history:
        return _History(wanted)
    return _File(wanted) if wanted.files else _Live(wanted)


class _History(_Reading):
    """Those of a history that keeps them whole."""

    def __init__(self, wanted: FlowRequest) -> None:
        super().__init__(wanted)
        self._source = open_source(wanted)
        self._tally = Tally()

    def _batches(self) -> Iterator[Batch]:
        for batch in self._source.batches():
            self._tally.add(batch)
            yield batch

    def _lacks(self) -> Coverage:
        return self._tally.coverage()

    def chunks(self) -> Chunks:
        parse = observer_pb2.GetFlowsResponse.FromString
        number = 0
        for batch in self._batches():
            parsed, before = [], None
            for flow in batch.flows:
                extras = flow.extras
                if before == flow.raw and extras is not None and extras.standing is not None:
                    # One line that stands for records of both directions.
                    continue
                before = flow.raw
                if not flow.raw:
                    raise UsageError(
                        "the history has no whole records, which observe prints",
                        "record with --raw; flowwatch export --raw prints what is kept",
                    )
                number += 1
                parsed.append((number, parse(flow.raw)))
            yield parsed

    def words(self) -> list[str]:
        """With what the history lacks."""
        return [*super().words(), *self._lacks().warnings]


class _Chosen(_History):
    """Those of the rows that ``--filter`` finds, of any source that keeps records whole."""

    def __init__(self, wanted: FlowRequest, traffic: Traffic) -> None:
        super().__init__(replace(wanted, raw=True))
        self._again, self._traffic = replace(wanted, raw=True), traffic
        self._told = Batch()
        traffic.join.listen(self)

    def take(self, joined: Joined) -> None:
        """Note what of a batch was found (flowwatch.flows.join.Listener)."""
        self._told = joined.batch

    def _batches(self) -> Iterator[Batch]:
        reading = Reading(self._source)
        for batch in self._traffic.batches(reading, lambda: open_source(self._again)):
            self._traffic.join.add(batch)
            yield self._told
        if why := reading.failure or reading.stopped:
            raise why

    def _lacks(self) -> Coverage:
        return self._traffic.join.coverage()


class _Live(_Reading):
    """A server's."""

    def __init__(self, wanted: FlowRequest) -> None:
        super().__init__(wanted)
        self._wanted = wanted

    def chunks(self) -> Chunks:
        from flowwatch.hubble.client import forward
        from flowwatch.hubble.wire.damage import damage
        from flowwatch.sources.hubble_server import HubbleServer
        from flowwatch.sources.server import unreadable

        server = HubbleServer(self._wanted)
        messages = server.open(None)
        parse = observer_pb2.GetFlowsResponse.FromString
        number = read = 0
        try:
            for chunk in messages.chunks():
                parsed = []
                for data in chunk:
                    number += 1
                    try:
                        parsed.append((number, parse(data)))
                    except DecodeError:
                        self.unread(number, damage(data), data)
                read += len(parsed)
                yield parsed
        finally:
            messages.close()
            server.close()
        if not read and self._skipped:
            raise unreadable(forward.where(self._wanted.settings), self._skipped)


class _File(_Reading):
    """Those of capture files."""

    def __init__(self, wanted: FlowRequest) -> None:
        from flowwatch.hubble.captures.replay import FileRecords

        super().__init__(wanted)
        self._records = FileRecords(
            wanted.files,
            match=matcher(wanted.filters),
            window=file_window(wanted),
            unread=self.tell,
        )

    def chunks(self) -> Chunks:
        for response in self._records:
            yield [(self._records.number, response)]

    def words(self) -> list[str]:
        """With what was unwrapped, and what is newer than this version."""
        for why, count in self._records.skipped.items():
            self._skipped[why] = self._skipped.get(why, 0) + count
        unwrapped = unwrapped_words(self._records.unwrapped)
        return [*super().words(), *unwrapped, *self._records.left_out, *self._records.warnings]
