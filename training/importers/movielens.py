"""MovieLens: films with genres and people's ratings, which we read as lists.

``ratings.csv``: userId, movieId, rating, timestamp (seconds). ``movies.csv``: movieId, title with its year, genres
joined by ``|``. ``links.csv``: movieId, imdbId, tmdbId. MovieLens has no descriptions; an ``overviews`` table (CSV,
Parquet or JSONL in the same folder: ``tmdbId`` or ``movieId``, and ``overview``) brings them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import polars as pl

from recsys.dataset import Dataset, build_dataset, refuse_existing, write_dataset
from training.importers.source import find_file, refuse

MAX_LIST = 20
"""Films per list."""

MAX_PAUSE_HOURS = 24
"""A longer pause between two ratings begins a new list."""

LIKED = 4.0
"""From this rating on, of at most 5, a film counts as clicked."""

_NO_GENRES = "(no genres listed)"
_READ_OVERVIEWS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".csv": partial(pl.read_csv, infer_schema=False),
    ".parquet": pl.read_parquet,
    ".jsonl": partial(pl.read_ndjson, infer_schema_length=None),
}


def import_movielens(source: Path, out: Path) -> Dataset:
    """Turn MovieLens into our tables and write them.

    Each user's ratings, in order of time, are cut into lists of up to ``MAX_LIST`` films without a pause of more than
    ``MAX_PAUSE_HOURS``. A list carries the time of its first rating; a film rated ``LIKED`` or more was clicked. The
    lists are what people chose to rate, not what somebody showed them, so order and non-clicks mean less than in a
    real log. ``history`` stays empty: what a user liked earlier is in the log itself.

    Args:
        source: the folder that holds ``ratings.csv``, ``movies.csv`` and ``links.csv``.
        out: the new dataset's directory.

    Raises:
        DatasetError: the source is missing or malformed, or ``out`` exists.
    """
    refuse_existing(out)
    overviews = _overviews(source)
    dataset = build_dataset(_items(source, overviews), _impressions(source))
    write_dataset(dataset, out)
    return dataset


def _read(source: Path, name: str, schema: dict[str, type[pl.DataType]]) -> pl.DataFrame:
    path = find_file(source, name)
    try:
        table = pl.read_csv(path, infer_schema=False, glob=False)
        return table.select(pl.col(column).cast(dtype) for column, dtype in schema.items())
    except pl.exceptions.PolarsError as error:
        refuse(path, f"not MovieLens's {name} ({str(error).splitlines()[0]})", f"columns are {', '.join(schema)}")


def _overviews(source: Path) -> pl.DataFrame | None:
    """Return item_id and description of the films that the optional table describes."""
    path = next(
        (source / f"overviews{suffix}" for suffix in _READ_OVERVIEWS if (source / f"overviews{suffix}").is_file()), None
    )
    if path is None:
        return None
    try:
        table = _READ_OVERVIEWS[path.suffix](path)
    except pl.exceptions.PolarsError as error:
        refuse(path, f"cannot be read ({str(error).splitlines()[0]})", "write tmdbId or movieId, and overview")
    key = next((name for name in ("movieId", "tmdbId") if name in table.columns), None)
    if key is None or "overview" not in table.columns:
        refuse(path, "missing column", "write tmdbId or movieId, and overview")
    found = table.select(_as_id(key), pl.col("overview").cast(pl.String)).drop_nulls().unique(key, keep="first")
    if key == "tmdbId":
        links = _read(source, "links.csv", {"movieId": pl.String, "tmdbId": pl.String}).with_columns(_as_id("tmdbId"))
        found = links.join(found, on="tmdbId")
    return found.select(item_id="movieId", description="overview")


def _as_id(name: str) -> pl.Expr:
    """Read 862 and 862.0, as tables with gaps write it, as the same id."""
    return pl.col(name).cast(pl.String).str.strip_suffix(".0")


def _items(source: Path, overviews: pl.DataFrame | None) -> pl.DataFrame:
    movies = _read(source, "movies.csv", {"movieId": pl.String, "title": pl.String, "genres": pl.String})
    genres = pl.when(pl.col("genres") != _NO_GENRES).then(pl.col("genres")).fill_null("")
    title = pl.col("title").str.strip_chars()
    year = title.str.extract(r"\((\d{4})\)$").cast(pl.Int64)
    bare = title.str.replace(r"\s*\(\d{4}\)$", "").str.replace(r"^(.+), (The|A|An)$", "$2 $1")
    items = movies.select(
        item_id="movieId",
        title=pl.when(bare != "").then(bare).otherwise(title),
        category=genres.str.replace_all("|", ", ", literal=True),
        published_at=pl.datetime(year, 1, 1, time_zone="UTC"),
        release_year=year,
        genres=genres.str.split("|").list.eval(pl.element().filter(pl.element() != "")),
    )
    return items if overviews is None else items.join(overviews, on="item_id", how="left", maintain_order="left")


def _impressions(source: Path) -> pl.DataFrame:
    schema = {"userId": pl.String, "movieId": pl.String, "rating": pl.Float64, "timestamp": pl.Int64}
    ratings = _read(source, "ratings.csv", schema).sort("userId", "timestamp", "movieId")
    pause = pl.col("timestamp").diff().over("userId") > MAX_PAUSE_HOURS * 3_600
    visit = pause.fill_null(value=False).cast(pl.Int32).cum_sum().over("userId")
    place = pl.int_range(pl.len()).over("userId", "visit")
    lists = (
        ratings.with_columns(visit=visit)
        .with_columns(part=place // MAX_LIST)
        .group_by("userId", "visit", "part", maintain_order=True)
        .agg(
            ts=pl.col("timestamp").first(),
            item_ids=pl.col("movieId"),
            clicked=pl.col("rating") >= LIKED,
        )
    )
    number = pl.int_range(pl.len()).over("userId")
    return lists.select(
        request_id=pl.format("{}-{}", "userId", number),
        user_id="userId",
        ts=pl.from_epoch("ts", time_unit="s").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        item_ids="item_ids",
        clicked="clicked",
    )
