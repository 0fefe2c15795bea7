"""Dashboard, alerts and documentation name what a running server exports, all of it and nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.client import RankingClient

ROOT = Path(__file__).parents[3]
DASHBOARD = ROOT / "deploy/grafana/recsys.json"
ALERTS = ROOT / "deploy/prometheus/alerts.yml"
DOCUMENT = ROOT / "docs/telemetry.md"

_NAME = re.compile(r"\b(?:recsys|process)_[a-z0-9_]+\b")
_SERIES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


def expressions(value: Any) -> Iterator[str]:
    """Yield the PromQL of a dashboard."""
    if isinstance(value, dict):
        yield from (value[key] for key in ("expr", "query") if isinstance(value.get(key), str))
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from expressions(each)


def named(text: str) -> set[str]:
    """Return the series that PromQL names, without what stands in quotes or in comments."""
    return set(_NAME.findall(re.sub(r'"[^"]*"|^\s*#.*$', "", text, flags=re.MULTILINE)))


@pytest.fixture
def families(watched: Any, read_page: Any) -> dict[str, str]:
    """Return the kinds of a server's metrics, by name."""
    with RankingClient(watched.address) as client:
        client.rank("u", ["a"])
    return {family.name: family.type for family in text_string_to_metric_families(read_page(watched.metrics))}


@pytest.fixture
def series(families: dict[str, str]) -> set[str]:
    return {name + ending for name, kind in families.items() for ending in _SERIES[kind]}


def test_every_series_that_the_dashboard_names_is_exported(series: set[str]) -> None:
    names = named("\n".join(expressions(json.loads(DASHBOARD.read_text()))))

    assert names - series == set()
    assert len(names) > 40


def test_every_series_that_the_alerts_name_is_exported(series: set[str]) -> None:
    names = named(ALERTS.read_text())

    assert names - series == set()
    assert len(names) > 10


def test_a_series_that_nobody_exports_would_be_found(series: set[str]) -> None:
    """The control of the tests above."""
    assert named('# recsys_no\nrate(recsys_calls_sum{job="recsys_job"}[5m])') - series == {"recsys_calls_sum"}


def test_every_metric_stands_in_the_documents_table_under_its_kind_and_nothing_else_does(
    families: dict[str, str],
) -> None:
    rows = re.findall(r"^\| `(recsys_\w+)` \| (\w+) \|", DOCUMENT.read_text(), re.MULTILINE)
    exported = {
        (f"{name}_total" if kind == "counter" else name, kind)
        for name, kind in families.items()
        if name.startswith("recsys_")
    }

    assert set(rows) == exported
    assert len(rows) == len(exported)


def test_every_metric_is_on_the_dashboard(families: dict[str, str]) -> None:
    names = named("\n".join(expressions(json.loads(DASHBOARD.read_text()))))
    shown = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in names}

    assert {name for name in families if name.startswith("recsys_")} - shown == set()


def test_every_alert_is_explained() -> None:
    alerts = re.findall(r"- alert: (\w+)", ALERTS.read_text())
    explained = re.findall(r"^\| (Recsys\w+) \|", DOCUMENT.read_text(), re.MULTILINE)

    assert explained == sorted(explained, key=alerts.index)
    assert set(explained) == set(alerts)


def test_the_dashboard_has_no_two_panels_in_one_place() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    places = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in panels}) == len(panels)


@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "deploy/prometheus/prometheus.yml"), ("test", "rules", "tests/serving/telemetry/alerts.yml")],
)
def test_prometheus_takes_the_rules_and_they_come_when_they_should(arguments: tuple[str, ...]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("NOT CHECKED: promtool is not installed (Debian: apt-get install prometheus)")
    done = subprocess.run([promtool, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
