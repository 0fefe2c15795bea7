"""A server whose every figure can be asked for, and its metrics as numbers."""

from __future__ import annotations

import math
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.config import ServerConfig

Scrape = Callable[..., float]


def page(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


@pytest.fixture(scope="session")
def read_page() -> Callable[[str], str]:
    """Return a server's metrics as Prometheus gets them."""
    return page


@pytest.fixture(scope="session")
def reader() -> Callable[[str], Scrape]:
    """Make, of an address, a function that asks for one figure by name and labels; NaN where there is none."""

    def of(address: str) -> Scrape:
        def value(name: str, **labels: str) -> float:
            for family in text_string_to_metric_families(page(address)):
                for sample in family.samples:
                    if sample.name == name and labels.items() <= sample.labels.items():
                        return float(sample.value)
            return math.nan

        return value

    return of


@pytest.fixture
def config(tmp_path: Path) -> ServerConfig:
    """Everything that can be watched is."""
    return ServerConfig(
        registry=Path("unused"),
        port=0,
        threads=1,
        data=tmp_path / "live",
        metrics_port=0,
        admin_port=0,
        receipts=1,
        drift=1,
        drift_reference=60,
        slow_ms=100,
    )


@pytest.fixture
def watched(serve: Any, length_model: Any, config: ServerConfig) -> Iterator[Any]:
    """A server of a LengthModel with one thread, a data directory, metrics and a port for operators."""
    with serve(length_model.LengthModel(), config) as running:
        yield running


@pytest.fixture
def figure(watched: Any, reader: Callable[[str], Scrape]) -> Scrape:
    """Return the function that scrapes one figure of that server, once all that was answered is counted."""
    scrape = reader(watched.metrics)

    def value(name: str, **labels: str) -> float:
        watched.settle()
        return scrape(name, **labels)

    return value
