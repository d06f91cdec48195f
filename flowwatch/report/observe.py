"""``observe``: flows as ``hubble observe`` 1.20.2 prints them, byte for byte.

    printer = make_printer(ObserveOptions(output="compact"), out, err)
    for response in responses:
        printer.write(response)
    printer.close()

One difference is meant: text from the network is escaped more strictly (hubble lets BEL, C1 controls
and bidi characters pass). ``csv`` is ours: see docs/formats.md.
"""

from __future__ import annotations

import re
from typing import Protocol

import msgspec

from flowwatch.egress.record_schema import RECORD
from flowwatch.errors import UsageError
from flowwatch.flows.coverage import odd_words, skipped_words
from flowwatch.flows.decode_wire import WireDecoder
from flowwatch.hubble.wire.jsonprint import NO_TIME, message_to_json, response_to_json
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.observer import observer_pb2
from flowwatch.output import Writer
from flowwatch.report.goformat import DEFAULT_TIME_FORMAT, TimeFormat, align
from flowwatch.report.observe_nodes import is_trouble, lost_words, status_line, status_pairs
from flowwatch.report.observe_words import Words
from flowwatch.report.tables import CsvWriter
from flowwatch.text import safe

_NO_TIME = f":{NO_TIME}"
# Not in a text: there the quote has a backslash.
_NULL = re.compile(rf'(?<!\\)"{_NO_TIME}')
_DICT_SEPARATOR = "------------\n"

FORMATS: dict[str, str] = {
    "compact": "compact",
    "dict": "dict",
    "json": "jsonpb",
    "JSON": "jsonpb",
    "jsonpb": "jsonpb",
    "tab": "table",
    "table": "table",
    "csv": "csv",
}
"""What ``-o`` may say, and which of the five formats it means."""

COLORS = ("auto", "always", "never")


class ObserveOptions(msgspec.Struct, frozen=True):
    """hubble's formatting flags, with hubble's defaults."""

    output: str = "compact"
    """A key of FORMATS."""
    print_node_name: bool = False
    print_policy_names: bool = False
    ip_translation: bool = True
    """False for ``--ip-translation=false`` and for ``--numeric``, which mean the same."""
    time_format: str = DEFAULT_TIME_FORMAT
    color: bool = False
    """See :func:`flowwatch.report.color.use_color`. Only compact and dict have colours."""
    debug: bool = False
    """Print all states of nodes, not just trouble."""
    silent: bool = False
    """``--silent-errors``: nothing goes to stderr."""
    legacy_json: bool = False
    """``HUBBLE_COMPAT=legacy-json-output``: ``json`` prints bare flows and no word about nodes."""


def check_output(output: str, *, follow: bool = False) -> str:
    """The format that ``-o output`` means; UsageError with hubble's words if there is none."""
    known = FORMATS.get(output)
    if known is None:
        raise UsageError(f"invalid output format: {output}")
    if known == "table" and follow:
        raise UsageError("table output format is not compatible with follow mode")
    return known


class Printer(Protocol):
    """Prints responses in the order given. ``out`` and ``err`` may raise what files raise."""

    def write(self, response: observer_pb2.GetFlowsResponse) -> None: ...

    def words(self) -> list[str]:
        """What wasn't printed, or not as it came, a safe line each."""
        ...

    def close(self) -> None:
        """Print what was held back (a table is aligned at its end). Doesn't close the files."""
        ...


def make_printer(options: ObserveOptions, out: Writer, err: Writer) -> Printer:
    """The printer for ``options``: results to ``out``, words about nodes to ``err``."""
    kind = check_output(options.output)
    if kind == "jsonpb":
        legacy = options.legacy_json and options.output in ("json", "JSON")
        return JsonPrinter(options, out, err, legacy=legacy)
    printers = {
        "compact": CompactPrinter,
        "dict": DictPrinter,
        "table": TablePrinter,
        "csv": CsvPrinter,
    }
    return printers[kind](options, out, err)


class _Printer:
    """What the formats have in common: who writes what, and how the arms of a response part."""

    def __init__(self, options: ObserveOptions, out: Writer, err: Writer) -> None:
        self.unknown = 0
        self._options = options
        self._out = out
        self._err = err
        self._times = TimeFormat(options.time_format)
        self._words = Words(
            color=options.color,
            ip_translation=options.ip_translation,
            policy_names=options.print_policy_names,
        )

    def write(self, response: observer_pb2.GetFlowsResponse) -> None:
        match response.WhichOneof("response_types"):
            case "flow":
                self._flow(response)
            case "lost_events":
                self._lost(response)
            case "node_status":
                wanted = self._options.debug or is_trouble(response.node_status)
                if wanted and not self._options.silent:
                    self._node_status(response)
            case _:
                self.unknown += 1

    def close(self) -> None:
        """Nothing is held back."""

    def words(self) -> list[str]:
        if not self.unknown:
            return []
        return [f"{self.unknown:,} responses of an unknown kind were not printed"]

    def _flow(self, response: observer_pb2.GetFlowsResponse) -> None:
        raise NotImplementedError

    def _lost(self, response: observer_pb2.GetFlowsResponse) -> None:
        raise NotImplementedError

    def _node_status(self, response: observer_pb2.GetFlowsResponse) -> None:
        self._err.write(status_line(response, self._times) + "\n")

    def _flow_time(self, flow: flow_pb2.Flow) -> str:
        return self._times.message(flow.time if flow.HasField("time") else None)

    def _response_time(self, response: observer_pb2.GetFlowsResponse) -> str:
        return self._times.message(response.time if response.HasField("time") else None)


class CompactPrinter(_Printer):
    """``TIME [NODE]: SOURCE (ID) -> DESTINATION (ID) TYPE VERDICT (SUMMARY)``."""

    def _flow(self, response: observer_pb2.GetFlowsResponse) -> None:
        flow, words = response.flow, self._words
        source, destination = words.hosts(flow)
        source = f"{source} {words.identity(flow.source.identity)}"
        destination = f"{destination} {words.identity(flow.destination.identity)}"
        arrow = "->"
        if not flow.HasField("is_reply"):
            arrow = "<>"
        elif flow.is_reply.value:
            source, arrow, destination = destination, "<-", source
        node = f" [{safe(flow.node_name)}]" if self._options.print_node_name else ""
        self._out.write(
            f"{self._flow_time(flow)}{node}: {source} {arrow} {destination} "
            f"{words.kind(flow)} {words.verdict(flow)} ({words.summary(flow)})\n"
        )

    def _lost(self, response: observer_pb2.GetFlowsResponse) -> None:
        source, text = lost_words(response, self._times)
        self._out.write(f"{self._response_time(response)} EVENTS LOST: {source} {text}\n")


class DictPrinter(_Printer):
    """``KEY: VALUE`` lines, keys aligned to the right, a dashed line between records."""

    def __init__(self, options: ObserveOptions, out: Writer, err: Writer) -> None:
        super().__init__(options, out, err)
        self._first = True

    def _print(self, to: Writer, pairs: list[tuple[str, str]]) -> None:
        separator = "" if self._first else _DICT_SEPARATOR
        self._first = False
        to.write(separator + "".join([f"{key:>11}: {value}\n" for key, value in pairs]))

    def _flow(self, response: observer_pb2.GetFlowsResponse) -> None:
        flow, words = response.flow, self._words
        source, destination = words.hosts(flow)
        pairs = [("TIMESTAMP", self._flow_time(flow))]
        if self._options.print_node_name:
            pairs.append(("NODE", safe(flow.node_name)))
        pairs += [
            ("SOURCE", source),
            ("DESTINATION", destination),
            ("TYPE", words.kind(flow)),
            ("VERDICT", words.verdict(flow)),
            ("SUMMARY", words.summary(flow)),
        ]
        self._print(self._out, pairs)

    def _lost(self, response: observer_pb2.GetFlowsResponse) -> None:
        source, text = lost_words(response, self._times, "- ")
        pairs = [("TIMESTAMP", self._response_time(response))]
        if self._options.print_node_name:
            pairs.append(("NODE", safe(response.node_name) or "-"))
        pairs += [("SOURCE", source), ("TYPE", "EVENTS LOST"), ("VERDICT", "-"), ("SUMMARY", text)]
        self._print(self._out, pairs)

    def _node_status(self, response: observer_pb2.GetFlowsResponse) -> None:
        self._print(self._err, status_pairs(response, self._times))


class TablePrinter(_Printer):
    """Aligned columns; everything is held until :meth:`close`, as widths depend on all of it."""

    def __init__(self, options: ObserveOptions, out: Writer, err: Writer) -> None:
        super().__init__(options, out, err)
        # hubble's table never has colours.
        self._words = Words(
            ip_translation=options.ip_translation, policy_names=options.print_policy_names
        )
        self._rows: list[tuple[str, ...]] = []

    def _add(self, time: str, node: str, *cells: str) -> None:
        if not self._rows:
            nodes = ("NODE",) if self._options.print_node_name else ()
            self._rows.append(
                ("TIMESTAMP", *nodes, "SOURCE", "DESTINATION", "TYPE", "VERDICT", "SUMMARY")
            )
        self._rows.append((time, node, *cells) if self._options.print_node_name else (time, *cells))

    def _flow(self, response: observer_pb2.GetFlowsResponse) -> None:
        flow, words = response.flow, self._words
        source, destination = words.hosts(flow)
        self._add(
            self._flow_time(flow),
            safe(flow.node_name),
            source,
            destination,
            words.kind(flow),
            words.verdict(flow),
            words.summary(flow),
        )

    def _lost(self, response: observer_pb2.GetFlowsResponse) -> None:
        source, text = lost_words(response, self._times, "- ")
        node = safe(response.node_name) or "-"
        self._add(self._response_time(response), node, source, "-", "EVENTS LOST", "-", text)

    def close(self) -> None:
        rows, self._rows = self._rows, []
        for line in align(rows):
            self._out.write(line + "\n")


class JsonPrinter(_Printer):
    """A GetFlowsResponse per line in proto3's JSON, which ``--input-file`` reads back."""

    def __init__(
        self, options: ObserveOptions, out: Writer, err: Writer, *, legacy: bool = False
    ) -> None:
        super().__init__(options, out, err)
        self._legacy = legacy
        self._timeless = 0

    def _flow(self, response: observer_pb2.GetFlowsResponse) -> None:
        self._print(message_to_json(response.flow) if self._legacy else response_to_json(response))

    def _lost(self, response: observer_pb2.GetFlowsResponse) -> None:
        lost = response.lost_events
        self._print(message_to_json(lost) if self._legacy else response_to_json(response))

    def _print(self, text: str) -> None:
        self._timeless += _NO_TIME in text and _NULL.search(text) is not None
        self._out.write(text + "\n")

    def words(self) -> list[str]:
        """With what JSON can't say."""
        if not self._timeless:
            return super().words()
        have = "record has" if self._timeless == 1 else "records have"
        told = f"{self._timeless:,} {have} a time that JSON can't say: null stands for it"
        return [*super().words(), told]

    def _node_status(self, response: observer_pb2.GetFlowsResponse) -> None:
        if not self._legacy:
            self._err.write(response_to_json(response) + "\n")


class CsvPrinter(_Printer):
    """Our own: a line per flow, with the columns of :data:`flowwatch.egress.record_schema.RECORD`.

    Lost events aren't flows, so their line goes to stderr.
    """

    def __init__(self, options: ObserveOptions, out: Writer, err: Writer) -> None:
        super().__init__(options, out, err)
        self._decoder = WireDecoder()
        self._skipped: dict[str, int] = {}
        self._odd: dict[str, int] = {}
        self._table = CsvWriter(RECORD, out)

    def _flow(self, response: observer_pb2.GetFlowsResponse) -> None:
        batch = self._decoder.decode([response.SerializeToString()])
        for counts, more in ((self._skipped, batch.skipped), (self._odd, batch.odd)):
            for what, number in more.items():
                counts[what] = counts.get(what, 0) + number
        for flow in batch.flows:
            self._table.write(flow)

    def words(self) -> list[str]:
        """With what could not be told in columns of numbers."""
        return [*super().words(), *skipped_words(self._skipped, {}), *odd_words(self._odd)]

    def _lost(self, response: observer_pb2.GetFlowsResponse) -> None:
        if not self._options.silent:
            source, text = lost_words(response, self._times)
            self._err.write(f"{self._response_time(response)} EVENTS LOST: {source} {text}\n")
