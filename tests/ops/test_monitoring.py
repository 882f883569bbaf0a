"""Alert rules and dashboard name metrics and labels that are exported."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client import Counter, Histogram
from prometheus_client.metrics import MetricWrapperBase

from project.env import ROOT
from tests.support.factories import make_run, make_worker
from workflows.infra import process_metrics
from workflows.models import Status, WorkflowPause
from workflows.ops.metrics_endpoint import InstallationCollector

ALERTS, DASHBOARD = ROOT / "monitoring/alerts.yml", ROOT / "monitoring/dashboard.json"
NAME = re.compile(r"\bsignalbox_\w+")
SELECTOR = re.compile(r"\b(signalbox_\w+)\{([^}]*)\}")
GROUPED = re.compile(r"by \(([^)]*)\) \(+(?:\w+\()*(signalbox_\w+)")
OF_TARGET = frozenset({"instance", "job"})  # added by Prometheus


def exported() -> dict[str, set[str]]:
    """Return the labels of each exported series by its name."""
    found: dict[str, set[str]] = {}
    for metric in vars(process_metrics).values():
        if not isinstance(metric, MetricWrapperBase):
            continue
        name, labels = metric._name, set(metric._labelnames)  # noqa: SLF001 - not public
        if isinstance(metric, Histogram):
            found |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels}
            found[f"{name}_count"] = labels
        else:
            found[f"{name}_total" if isinstance(metric, Counter) else name] = labels
    for family in InstallationCollector().collect():
        for sample in family.samples:
            found[sample.name] = set(sample.labels)
    return found


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def expressions() -> Iterator[tuple[str, str, str]]:
    """Yield title, expression and the text that uses its labels."""
    for rule in rules():
        yield rule["alert"], rule["expr"], rule["annotations"]["summary"]
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"], target["legendFormat"]


def problems(known: dict[str, set[str]], expression: str, text: str) -> list[str]:
    """Return which names of an expression are not exported."""
    names = NAME.findall(expression)
    found = [name for name in names if name not in known]
    if found or not names:
        return found or ["no metric"]
    for name, selector in SELECTOR.findall(expression):
        labels = set(re.findall(r"(\w+)\s*[=!]", selector))
        found += sorted(labels - known[name])
    for labels, name in GROUPED.findall(expression):
        found += sorted({one.strip() for one in labels.split(",")} - known[name])
    used = re.findall(r"\{\{ *(?:\$labels\.)?(\w+) *\}\}", text)
    known_labels = set().union(*(known[name] for name in names)) | OF_TARGET
    return found + [one for one in used if one not in known_labels]


@pytest.mark.django_db
def test_alert_rules_and_dashboard_use_exported_metrics() -> None:
    make_run(status=Status.PENDING)
    make_run(status=Status.PENDING, workflow_name="paused")
    make_run(status=Status.PENDING, limit_key="")
    WorkflowPause.objects.create(workflow_name="paused", paused_by_name="ada")
    make_worker()
    known = exported()
    wrong = {
        title: missing
        for title, expression, text in expressions()
        if (missing := problems(known, expression, text))
    }
    assert wrong == {}


def test_the_check_finds_names_that_are_not_exported() -> None:
    known = {"signalbox_runs": {"status"}}
    for expression, missing in (
        ("max(signalbox_run)", "signalbox_run"),
        ('signalbox_runs{state="failed"}', "state"),
        ("sum by (state) (signalbox_runs)", "state"),
        ("sum by (state) (rate(signalbox_runs[5m]))", "state"),
    ):
        assert problems(known, expression, "") == [missing]
    assert problems(known, "signalbox_runs", "{{ $labels.node }}") == ["node"]


def test_each_alert_states_what_happened_and_what_to_do() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert all(rule["annotations"][name] for name in ("summary", "action"))
