"""How fast the features of a whole log are computed, each list's of its own moment, against as-of joins.

Ours streams the log through the state once and computes every feature. The plain way, in Polars and in DuckDB, sums
each item's views and clicks over time and joins the sums as of the list and as of each window's begin: the 12 counts of
the item alone, no users, categories, tastes, co-clicks. All count the same, which is checked. Memory is the peak of a
process that does nothing else, for the log and for one four times as long.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
from figures import Figure, arguments, tell
from made_log import Shop, item_table, write_log

from recsys.catalog import Catalog
from recsys.features import FeatureState
from recsys.features.replay import feature_tables

QUICK = Shop(items=5_000, users=3_000, lists=30_000)
# Window, width of its buckets in microseconds, their number: as ``recsys.features.windows`` counts.
WINDOWS = (("5m", 60_000_000, 5), ("1h", 300_000_000, 12), ("24h", 3_600_000_000, 24))
WINDOWS += (("7d", 86_400_000_000, 7), ("30d", 86_400_000_000, 30))
COUNTS = [f"item_{what}_{name}" for name, *_ in WINDOWS for what in ("views", "clicks")] + ["item_views", "item_clicks"]


def main() -> None:
    """Measure and tell."""
    parser = arguments("Features of a whole log, each list's of its own moment.")
    parser.add_argument("--lists", type=int, help="lists of the log")
    parser.add_argument("--only", choices=("ours",), help=argparse.SUPPRESS)
    parser.add_argument("--log", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    shop = QUICK if options.quick else Shop()
    if options.lists:
        shop = replace(shop, lists=options.lists)
    if options.only:
        print(json.dumps(ours(shop, pl.scan_parquet(options.log / "impressions-*.parquet"))[0]))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = write_log(shop, folder / "log")
        write_log(replace(shop, lists=4 * shop.lists, days=4 * shop.days), folder / "long")
        warm_up(shop, log)
        # Interleaved, and the best of each: what a machine can do, not what else it did.
        part = log.head(min(shop.lists, 20_000 if options.quick else 100_000)).collect()
        rounds = [(alone(folder / "log", shop), in_polars(part), in_duckdb(part)) for _ in range(3)]
        check(shop, part.head(4_000))
        long = alone(folder / "long", replace(shop, lists=4 * shop.lists))
    told = [each[0] for each in rounds]
    best = max(told, key=lambda each: each["rows_per_s"])
    values = best["rows_per_s"] * best["features"]
    polars, duck = max(each[1] for each in rounds), max(each[2] for each in rounds)
    figures = {
        "rows_per_s": Figure(value=best["rows_per_s"], unit="rows/s", says=f"{best['features']:.0f} features"),
        "cpu_us_per_row": Figure(value=best["cpu_us_per_row"], unit="us", says="on all cores together"),
        "polars_asof_rows_per_s": Figure(value=polars, unit="rows/s", says="12 counts of the item alone"),
        "duckdb_asof_rows_per_s": Figure(value=duck, unit="rows/s", says="the same"),
        "values_per_s": Figure(value=values, unit="values/s", says="rows times features"),
        "ratio_polars_asof": Figure(value=values / polars / len(COUNTS), unit="x", says="values a second"),
        "ratio_duckdb": Figure(value=values / duck / len(COUNTS), unit="x", says="the same"),
        "rows_ratio_polars_asof": Figure(value=best["rows_per_s"] / polars, unit="x", says="all features, 12 counts"),
        "rows_ratio_duckdb": Figure(value=best["rows_per_s"] / duck, unit="x", says="the same"),
        "peak_mib": Figure(value=best["peak_mib"], unit="MiB", says="of the whole process"),
        "peak_long_mib": Figure(value=long["peak_mib"], unit="MiB", says="a log four times as long"),
        "rows_per_s_long": Figure(value=long["rows_per_s"], unit="rows/s", says="likewise"),
    }  # fmt: skip
    tell(f"offline_features: {shop.lists * shop.list_length:,} items shown, {asdict(shop)}", figures, options.json)


def ours(shop: Shop, log: pl.LazyFrame) -> tuple[dict[str, float], np.ndarray]:
    """Compute every feature of every item shown; the tables are made and let go."""
    state = FeatureState(Catalog(item_table(shop)))
    columns = [state.feature_set.names.index(name) for name in COUNTS]
    rows, kept = 0, []
    began, computed = time.perf_counter(), time.process_time()
    for _, table in feature_tables(state, log):
        rows += len(table)
        if rows <= 200_000:
            kept.append(table[:, columns])
    seconds, cpu = time.perf_counter() - began, time.process_time() - computed
    # Not getrusage: its maximum includes that of the process which started this one.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1_024
    figures = {
        "rows_per_s": rows / seconds,
        "cpu_us_per_row": cpu / rows * 1e6,
        "peak_mib": peak,
        "features": float(len(state.feature_set.names)),
    }
    return figures, np.concatenate(kept)


def alone(log: Path, shop: Shop) -> dict[str, float]:
    """Measure ours in a process of its own."""
    arguments_ = [sys.executable, __file__, "--only", "ours", "--log", str(log), "--lists", str(shop.lists)]
    if shop.items == QUICK.items:
        arguments_.append("--quick")
    found: dict[str, float] = json.loads(subprocess.run(arguments_, check=True, capture_output=True, text=True).stdout)
    return found


def warm_up(shop: Shop, log: pl.LazyFrame) -> None:
    """Compile what is compiled on first use."""
    ours(shop, log.head(200))


def rows_of(log: pl.DataFrame) -> pl.DataFrame:
    """Unfold lists into one row per item shown."""
    return log.select("ts", "item_ids", "clicked").with_row_index("list").explode("item_ids", "clicked")


def in_polars(log: pl.DataFrame) -> float:
    """Join the sums as of the list and as of each window's begin, in Polars; rows a second."""
    began = time.perf_counter()
    rows = polars_counts(log).height
    return rows / (time.perf_counter() - began)


def polars_counts(log: pl.DataFrame) -> pl.DataFrame:
    """Count each row's item, strictly before its list."""
    rows = rows_of(log).with_columns(pl.col("ts").dt.epoch("us"))
    sums = (
        rows.group_by("item_ids", "ts")
        .agg(pl.len().cast(pl.Int64).alias("views"), pl.col("clicked").sum().cast(pl.Int64).alias("clicks"))
        .sort("ts")
        .with_columns(pl.col("views", "clicks").cum_sum().over("item_ids"))
    )
    rows = rows.with_row_index("row")

    def before(moment: pl.Expr) -> pl.DataFrame:
        asked = rows.select("row", "item_ids", moment.alias("ts")).sort("ts")
        found = asked.join_asof(sums, on="ts", by="item_ids", strategy="backward")
        return found.sort("row").select(pl.col("views", "clicks").fill_null(0))

    now = before(pl.col("ts") - 1)
    columns = []
    for name, width, size in WINDOWS:
        begun = before((pl.col("ts") // width - size + 1) * width - 1)
        columns += [(now["views"] - begun["views"]).alias(f"item_views_{name}")]
        columns += [(now["clicks"] - begun["clicks"]).alias(f"item_clicks_{name}")]
    return pl.DataFrame([*columns, now["views"].alias("item_views"), now["clicks"].alias("item_clicks")])


def in_duckdb(log: pl.DataFrame) -> float:
    """Do the same in DuckDB on two threads; rows a second."""
    rows = rows_of(log).with_columns(pl.col("ts").dt.epoch("us")).with_row_index("row")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.parquet"
        rows.write_parquet(file)
        joins, columns = [], []
        for name, width, size in (("now", 1, 0), *WINDOWS):
            moment = "r.ts - 1" if name == "now" else f"(r.ts // {width} - {size - 1}) * {width} - 1"
            joins.append(f"ASOF LEFT JOIN sums s_{name} ON r.item_ids = s_{name}.item_ids AND {moment} >= s_{name}.ts")
            columns.append(f"coalesce(s_{name}.views, 0) v_{name}, coalesce(s_{name}.clicks, 0) c_{name}")
        with duckdb.connect(config={"threads": 2}) as base:
            began = time.perf_counter()
            base.execute(f"CREATE TABLE rows AS SELECT * FROM '{file}'")  # noqa: S608 - our own file
            base.execute(
                "CREATE TABLE sums AS SELECT item_ids, ts, sum(count(*)) OVER w AS views, "
                "sum(sum(clicked::INT)) OVER w AS clicks FROM rows GROUP BY item_ids, ts "
                "WINDOW w AS (PARTITION BY item_ids ORDER BY ts)"
            )
            chosen = ", ".join(columns)
            base.execute(f"CREATE TABLE found AS SELECT r.row, {chosen} FROM rows r {' '.join(joins)}")  # noqa: S608
            return rows.height / (time.perf_counter() - began)


def check(shop: Shop, log: pl.DataFrame) -> None:
    """All ways must count the same; the counts of a state that is older than a window are missing in ours."""
    _, counted = ours(shop, log.lazy())
    joined = polars_counts(log).select(COUNTS).to_numpy().astype(np.float32)
    known = ~np.isnan(counted)
    if not np.array_equal(counted[known], joined[known]):
        raise SystemExit("the ways do not count the same")


if __name__ == "__main__":
    main()
