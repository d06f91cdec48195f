"""What goes with the metrics: rules for Prometheus, and a dashboard for Grafana."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from flowwatch.watching.metrics import (
    ACTIVE,
    ATTEMPTS,
    LAG,
    LOST,
    NODES,
    RECORDS,
    UNREAD,
    WAITING,
)

_JOB = 'job=~"$job"'
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH, _HEIGHT = 12, 8
"""Of a panel: Grafana's page has 24 columns."""
_SCHEMA = 39
"""Of Grafana 10 and later, which read older ones too."""


class Rule(msgspec.Struct, frozen=True):
    """An alerting rule of Prometheus."""

    alert: str
    expr: str
    since: str
    """How long it must hold."""
    severity: str
    summary: str


_BLOCKED = f'{ATTEMPTS.sample}{{direction="egress",outcome="dropped",reason!="noise"}}'
_ALL = f'{ATTEMPTS.sample}{{direction="egress",outcome!="unknown",reason!="noise"}}'

RULES = (
    Rule(
        "FlowwatchDropsAboveNormal",
        f"sum by (namespace, workload) (rate({_BLOCKED}[5m]))\n"
        f"  / (sum by (namespace, workload) (rate({_ALL}[5m])) > 0.05)\n"
        f"  > 0.2 + (sum by (namespace, workload) (rate({_BLOCKED}[1d] offset 10m))\n"
        f"  / (sum by (namespace, workload) (rate({_ALL}[1d] offset 10m)) > 0))",
        "5m",
        "warning",
        "{{ $labels.namespace }}/{{ $labels.workload }}: {{ $value | humanizePercentage }} of its attempts "
        "are dropped, more than of the last day",
    ),
    Rule(
        "FlowwatchWorkloadWaits",
        f'sum by (namespace, workload) ({WAITING.sample}{{direction="egress"}}) > 0',
        "2m",
        "warning",
        "{{ $labels.namespace }}/{{ $labels.workload }} tries again and again what is dropped",
    ),
    Rule(
        "FlowwatchEventsLost",
        f"sum by (node, source) (rate({LOST.sample}[5m])) > 0",
        "10m",
        "info",
        "events are lost on {{ $labels.node }} ({{ $labels.source }}): numbers are at least",
    ),
    Rule(
        "FlowwatchNodeUnavailable",
        f'{NODES.sample}{{state="unavailable"}} > 0',
        "10m",
        "warning",
        "{{ $value }} nodes are out of sight: nobody knows what is dropped there",
    ),
    Rule(
        "FlowwatchLags",
        f"{LAG.sample} > 60",
        "5m",
        "warning",
        "the newest record is {{ $value | humanizeDuration }} old",
    ),
)
"""The same questions as rules of ``flowwatch watch``, for who alerts in Prometheus alone."""


def rules() -> str:
    """RULES as a file for Prometheus' ``rule_files``."""
    lines = ["groups:", "  - name: flowwatch", "    rules:"]
    for rule in RULES:
        lines += [
            f"      - alert: {rule.alert}",
            "        expr: |-",
            *[f"          {line}" for line in rule.expr.splitlines()],
            f"        for: {rule.since}",
            "        labels:",
            f"          severity: {rule.severity}",
            "        annotations:",
            f"          summary: {json.dumps(rule.summary)}",
        ]
    return "\n".join(lines) + "\n"


class Panel(msgspec.Struct, frozen=True):
    """A panel of the dashboard: a query, and what its lines are called."""

    title: str
    description: str
    expr: str
    legend: str = "__auto"
    unit: str = "short"
    kind: str = "timeseries"


_CHOSEN = f'{_JOB},direction="$direction",namespace=~"$namespace"'


def _per_second(more: str, by: str) -> str:
    return f"sum by ({by}) (rate({ATTEMPTS.sample}{{{_CHOSEN}{more}}}[$__rate_interval]))"


PANELS = (
    Panel(
        "Attempts by outcome",
        "Each attempt once, whatever retries and records it left.",
        _per_second(',reason!="noise"', "outcome"),
        "{{outcome}}",
        "cps",
    ),
    Panel(
        "Drops by reason",
        "Hubble's reasons; noise is what no policy was asked about.",
        _per_second(',outcome="dropped"', "reason"),
        "{{reason}}",
        "cps",
    ),
    Panel(
        "Most dropped workloads",
        "Of the last hour.",
        f"topk(10, sum by (namespace, workload) (increase({ATTEMPTS.sample}"
        f'{{{_CHOSEN},outcome="dropped",reason!="noise"}}[1h])))',
        "{{namespace}}/{{workload}}",
        kind="bargauge",
    ),
    Panel(
        "Who waits now",
        "Dropped attempts that are tried again: applications that hang.",
        f"sum by (namespace, workload) ({WAITING.sample}{{{_CHOSEN}}})",
        "{{namespace}}/{{workload}}",
    ),
    Panel(
        "Alerts that go on",
        "Those of `flowwatch watch`.",
        f"sum by (alertname) ({ACTIVE.sample}{{{_JOB}}})",
        "{{alertname}}",
    ),
    Panel(
        "Lost events",
        "While there are any, numbers of attempts are at least.",
        f"sum by (node, source) (rate({LOST.sample}{{{_JOB}}}[$__rate_interval]))",
        "{{node}} {{source}}",
        "cps",
    ),
    Panel(
        "Nodes",
        "Whose records come, and which are out of sight.",
        f"sum by (state) ({NODES.sample}{{{_JOB}}})",
        "{{state}}",
    ),
    Panel("Lag", "Age of the newest record.", f"max({LAG.sample}{{{_JOB}}})", "lag", "s"),
    Panel(
        "Records",
        "Read, a second.",
        f"sum(rate({RECORDS.sample}{{{_JOB}}}[$__rate_interval]))",
        "read",
        "cps",
    ),
    Panel(
        "Records that could not be read",
        "Nothing, mostly.",
        f"sum(rate({UNREAD.sample}{{{_JOB}}}[$__rate_interval]))",
        "unread",
        "cps",
    ),
)


_LEGEND = {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}
_DEFAULT = {"text": "default", "value": "default"}
_OPTIONS: dict[str, dict[str, Any]] = {
    "timeseries": {"legend": _LEGEND, "tooltip": {"mode": "multi", "sort": "desc"}},
    "bargauge": {
        "displayMode": "gradient",
        "valueMode": "color",
        "namePlacement": "auto",
        "showUnfilled": True,
        "sizing": "auto",
        "minVizWidth": 8,
        "minVizHeight": 16,
        "maxVizHeight": 300,
        "orientation": "horizontal",
        "legend": _LEGEND | {"showLegend": False},
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    },
}
"""By kind of panel, all that Grafana's schema asks for; the values are those of a new panel, but for the
tooltip, which has all lines, and bars that lie, so that their names can be read."""


def grafana() -> str:
    """The dashboard, to be imported into Grafana 10 or later."""
    value = {
        "title": "flowwatch",
        "uid": "flowwatch",
        "tags": ["cilium", "network-policy"],
        "schemaVersion": _SCHEMA,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": _variables()},
        "annotations": {"list": []},
        "panels": [_panel(number, panel) for number, panel in enumerate(PANELS)],
    }
    return json.dumps(value, indent=2) + "\n"


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, 24 // _WIDTH)
    return {
        "id": number + 1,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": _OPTIONS[panel.kind],
        "targets": [
            {
                "refId": "A",
                "datasource": _SOURCE,
                "expr": panel.expr,
                "legendFormat": panel.legend,
                "instant": panel.kind == "bargauge",
                "range": panel.kind != "bargauge",
            }
        ],
    }


def _variables() -> list[dict[str, Any]]:
    def asked(name: str, label: str) -> dict[str, Any]:
        query = f"label_values({ATTEMPTS.sample}, {label})"
        return {
            "name": name,
            "type": "query",
            "datasource": _SOURCE,
            "definition": query,
            "query": {"query": query, "refId": name},
            "refresh": 2,
            "includeAll": True,
            "multi": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        }

    return [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "current": _DEFAULT},
        asked("job", "job"),
        asked("namespace", "namespace"),
        {
            "name": "direction",
            "type": "custom",
            "query": "egress,ingress",
            "current": {"text": "egress", "value": "egress"},
            "options": [
                {"text": way, "value": way, "selected": way == "egress"}
                for way in ("egress", "ingress")
            ],
        },
    ]
