"""What it costs to keep the behaviour state in Redis or Valkey, beside keeping it in the process.

Both stores hear the same events of a made shop and answer the same lists. The store is a server of this script's own on
this machine, so a network comes on top; beside it stands the floor, one PING there and back.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from figures import Figure, arguments, console, tell

from recsys.catalog import Catalog
from recsys.events import Click, Impression, Logged
from recsys.features import FeatureState
from recsys.lists import Lists
from serving.shared_state import RedisSettings, RedisState
from serving.shared_state.link import Link

SIZES = (100, 1_000)
START = 1_714_564_800_000_000
LIST_LENGTH = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How large the shop is, and how much is asked."""

    items: int = 50_000
    users: int = 5_000
    lists: int = 20_000
    looks: int = 2_000


FULL = Effort()
QUICK = Effort(items=10_000, users=1_000, lists=3_000, looks=300)


def main() -> None:
    """Measure and tell."""
    options = arguments("The behaviour state in Redis, beside the one in the process.").parse_args()
    effort = QUICK if options.quick else FULL
    with console.status("making a shop ..."):
        catalog = made_catalog(effort.items)
        told = made_events(effort)
    memory = FeatureState(catalog)
    with redis_server() as url, console.status("measuring ...") as status:
        began = time.perf_counter()
        # An answer may take as long as it does: this is about how long that is.
        settings = RedisSettings(limit_s=5.0)
        shared = RedisState(url, FeatureState(catalog), "made", settings)
        shared.catch_up("log", lambda _: ())
        figures = {
            "seed_s": Figure(value=time.perf_counter() - began, unit="s", says=f"{effort.items:,} items written")
        }
        status.update("hearing events ...")
        figures |= hearing(memory, shared, told)
        status.update("looking ...")
        link = Link(url)
        link.open()
        figures["ping_p50_ms"], figures["ping_p99_ms"] = percentiles(
            timed(lambda _: link.call("PING", deadline=time.monotonic() + 1), effort.looks), "one PING there and back"
        )
        for size in SIZES:
            lists = made_lists(catalog, effort, size)
            for name, store in (("memory", memory), ("redis", shared)):
                found = timed(
                    lambda place, lists=lists, store=store: store.look(lists[place % len(lists)]), effort.looks
                )
                p50, p99 = percentiles(found, f"look for {size:,} candidates, {name}")
                figures |= {f"look_{size}_{name}_p50_ms": p50, f"look_{size}_{name}_p99_ms": p99}
        figures |= memory_of(memory, link, shared)
        if shared.missed or shared.behind:
            raise SystemExit(f"the store did not answer every time: {shared.missed}")
        link.close()
        shared.close()
    tell("shared_state", figures, options.json)


def hearing(memory: FeatureState, shared: RedisState, told: list[Logged]) -> dict[str, Figure]:
    """Hear the same events, in groups as a busy server commits them."""
    figures = {}
    for name, store in (("memory", memory), ("redis", shared)):
        store.hear(told[:100])
        began = time.perf_counter()
        for first in range(100, len(told), 200):
            store.hear(told[first : first + 200])
        rate = (len(told) - 100) / (time.perf_counter() - began)
        figures[f"hear_{name}_per_s"] = Figure(value=rate, unit="1/s", says=f"events, lists of {LIST_LENGTH}, {name}")
    return figures


def memory_of(memory: FeatureState, link: Link, shared: RedisState) -> dict[str, Figure]:
    """Ask what a row takes in each store."""
    figures = {}
    for table, letter in (("items", b"i"), ("users", b"u")):
        figures[f"{table}_memory_bytes"] = Figure(
            value=memory.bytes_by_table[table][1], unit="B", says=f"one of the {table} in the process"
        )
        _, names = link.call("SCAN", 0, "MATCH", shared.base + letter + b"*", "COUNT", 1_000, deadline=_soon())
        taken = np.mean([link.call("MEMORY", "USAGE", name, deadline=_soon()) for name in names])
        figures[f"{table}_redis_bytes"] = Figure(value=float(taken), unit="B", says=f"one of the {table} in Redis")
    return figures


def timed(work: Callable[[int], object], times: int) -> list[float]:
    """Do it so many times after a warm-up; milliseconds of each."""
    found = []
    for place in range(-min(times // 4, 50), times):
        began = time.perf_counter()
        work(place)
        if place >= 0:
            found.append(1e3 * (time.perf_counter() - began))
    return found


def percentiles(milliseconds: list[float], says: str) -> tuple[Figure, Figure]:
    """Return median and 99th percentile."""
    p50, p99 = (float(np.percentile(milliseconds, share)) for share in (50, 99))
    return Figure(value=p50, unit="ms", says=says), Figure(value=p99, unit="ms", says=says)


def made_catalog(items: int) -> Catalog:
    """Make items of 300 categories with tags and a brand."""
    rng = np.random.default_rng(1)
    tags = rng.integers(0, 500, (items, 3))
    return Catalog(
        pl.DataFrame(
            {
                "item_id": [f"item-{place}" for place in range(items)],
                "title": ["An item"] * items,
                "description": [""] * items,
                "category": [f"category-{number}" for number in rng.integers(0, 300, items)],
                "tags": [[f"tag-{number}" for number in set(row)] for row in tags.tolist()],
                "published_at": pl.Series([None] * items, dtype=pl.Datetime("us", "UTC")),
                "brand": [f"brand-{number}" for number in rng.integers(0, 2_000, items)],
            }
        )
    )


def made_events(effort: Effort) -> list[Logged]:
    """Make lists of popular and rare items, one click in two of them, as a log tells them."""
    rng = np.random.default_rng(2)
    told: list[Logged] = []
    for number in range(effort.lists):
        drawn = dict.fromkeys((effort.items * rng.random(2 * LIST_LENGTH) ** 3).astype(int).tolist())
        items = tuple(f"item-{item}" for item in drawn)[:LIST_LENGTH]
        ts = START + number * 1_000_000
        shown = Impression(
            event_id=f"s{number}",
            request_id=f"r{number}",
            user_id=f"user-{rng.integers(effort.users)}",
            ts=ts,
            item_ids=items,
            surface="home",
        )
        told.append(Logged(sequence=len(told) + 1, event=shown))
        if number % 2:
            click = Click(
                event_id=f"c{number}", request_id=f"r{number}", item_id=items[int(rng.integers(5))], ts=ts + 1
            )
            told.append(Logged(sequence=len(told) + 1, event=click, shown=shown))
    return told


def made_lists(catalog: Catalog, effort: Effort, size: int) -> list[Lists]:
    """Make lists to be ranked, each of one user, after the end of the log."""
    rng = np.random.default_rng(size)
    return [
        Lists(
            user_ids=[f"user-{rng.integers(effort.users)}"],
            ts=np.array([START + effort.lists * 1_000_000]),
            item_rows=rng.choice(len(catalog), size, replace=False).astype(np.int32),
            offsets=np.array([0, size]),
            histories=[None],
            queries=[""],
            surfaces=["home"],
        )
        for _ in range(64)
    ]


@contextmanager
def redis_server() -> Iterator[str]:
    """Run a server without persistence on this machine; yields its URL."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise SystemExit("neither redis-server nor valkey-server is on the PATH; install one of them")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"redis://127.0.0.1:{port}/0"
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen([*command, "--dir", folder], stdin=subprocess.DEVNULL, stdout=log)
        try:
            until = time.monotonic() + 10
            while time.monotonic() < until:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.02)
            yield url
        finally:
            process.terminate()
            process.wait()


def _soon() -> float:
    return time.monotonic() + 5


if __name__ == "__main__":
    main()
