"""MIND: news with titles and abstracts, and the lists that readers of a news page were shown.

``news.tsv``: id, category, subcategory, title, abstract, url, entities of the title, entities of the abstract (JSON).
``behaviors.tsv``: impression id, user, time, earlier clicks (oldest first), the list as ``N55689-1 N35729-0``. Neither
has a header, and quotes mean nothing in them.
"""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from recsys.dataset import Dataset, build_dataset, refuse_existing, write_dataset
from training.importers.source import find_file, refuse

_NEWS = ("item_id", "category", "subcategory", "title", "description", "url", "title_entities", "abstract_entities")
_BEHAVIORS = ("request_id", "user_id", "ts", "history", "shown")
_TIME = "%m/%d/%Y %I:%M:%S %p"
_SHOWN = r"^\S+-[01]( \S+-[01])*$"
_FETCH = "fetch the published file again"
_LEAVE_OUT = "leave out MIND's test folder: its clicks are secret"
_MAX_ABSTRACT_BYTES = 8_000


def import_mind(source: Path, out: Path) -> Dataset:
    """Turn MIND into our tables and write them.

    A source with the folders ``train`` and ``dev`` (or ``MINDsmall_train`` and so on) is marked train and test; a
    single folder leaves the split open. Impression ids count from 1 in each folder, so its name is put before them.
    Times are taken as UTC. An empty history is unknown, not empty: the log itself is asked then. The entities' names
    and the subcategory become attributes.

    Args:
        source: the folder that holds ``news.tsv`` and ``behaviors.tsv``, or the two folders that do.
        out: the new dataset's directory.

    Raises:
        DatasetError: the source is missing or malformed, or ``out`` exists.
    """
    refuse_existing(out)
    parts = _parts(source)
    news = pl.concat(_news(folder) for _, folder in parts).unique("item_id", keep="first", maintain_order=True)
    lists = pl.concat(_behaviors(folder, split) for split, folder in parts)
    dataset = build_dataset(news, lists)
    write_dataset(dataset, out)
    return dataset


def _parts(source: Path) -> list[tuple[str | None, Path]]:
    if (source / "news.tsv").is_file() or not source.is_dir():
        return [(None, source)]
    folders = sorted(path for path in source.iterdir() if path.is_dir())
    parts: list[tuple[str | None, Path]] = [
        (split, folder)
        for split, ending in (("train", "train"), ("test", "dev"))
        for folder in folders
        if folder.name.lower().endswith(ending)
    ]
    return parts or [(None, source)]


def _read(path: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    schema = dict.fromkeys(columns, pl.String)
    try:
        return pl.read_csv(path, separator="\t", has_header=False, quote_char=None, schema=schema, glob=False)
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        refuse(path, f"not {len(columns)} columns of text separated by tabs ({reason})", _FETCH)


def _news(folder: Path) -> pl.DataFrame:
    path = find_file(folder, "news.tsv")
    news = _read(path, _NEWS)
    entities = [
        _entities(path, row, fields)
        for row, fields in enumerate(news.select("title_entities", "abstract_entities").iter_rows(), start=1)
    ]
    return news.select(
        "item_id",
        "title",
        pl.col("description").fill_null("").map_batches(_shorten, return_dtype=pl.String),
        "category",
        "subcategory",
        pl.Series("entities", entities, dtype=pl.List(pl.String)),
    )


def _shorten(texts: pl.Series) -> pl.Series:
    """Cut abstracts that no model reads to the end and that no table takes."""
    if (texts.str.len_bytes() <= _MAX_ABSTRACT_BYTES).all():
        return texts
    return pl.Series([text.encode()[:_MAX_ABSTRACT_BYTES].decode(errors="ignore") for text in texts], dtype=pl.String)


def _entities(path: Path, row: int, fields: tuple[str | None, ...]) -> list[str]:
    try:
        found = [entity["Label"] for text in fields if text for entity in json.loads(text)]
    except (ValueError, KeyError, TypeError) as error:
        refuse(
            path,
            f"entities without a Label ({error!r})",
            _FETCH,
            row=row,
        )
    return list(dict.fromkeys(found))


def _behaviors(folder: Path, split: str | None) -> pl.DataFrame:
    path = find_file(folder, "behaviors.tsv")
    rows = _read(path, _BEHAVIORS)
    times = rows["ts"].str.to_datetime(_TIME, strict=False, time_unit="us").dt.replace_time_zone("UTC")
    _refuse_first(path, times.is_null(), "a time unlike 11/15/2019 10:22:32 AM", _FETCH)
    labelled = rows["shown"].str.contains(_SHOWN).fill_null(value=False)
    _refuse_first(path, ~labelled, "a list unlike N55689-1 N35729-0", _LEAVE_OUT)
    name = f"{folder.name}-" if split else ""
    lists = rows.select(
        "user_id",
        times,
        pl.col("history").str.split(" "),
        request_id=name + pl.col("request_id"),
        shown=pl.col("shown").str.split(" "),
        split=pl.lit(split, dtype=pl.String),
    )
    return _without_repeats(
        lists.select(
            pl.all().exclude("shown"),
            item_ids=pl.col("shown").list.eval(pl.element().str.head(-2)),
            clicked=pl.col("shown").list.eval(pl.element().str.ends_with("1")),
        )
    )


def _without_repeats(lists: pl.DataFrame) -> pl.DataFrame:
    """Keep the first place of news shown twice in one list; it was clicked if one of its places was."""
    repeats = lists["item_ids"].list.n_unique() < lists["item_ids"].list.len()
    if not repeats.any():
        return lists
    ids, flags = [], []
    for items, clicked in lists.select("item_ids", "clicked").iter_rows():
        merged: dict[str, bool] = {}
        for item, click in zip(items, clicked, strict=True):
            merged[item] = merged.get(item, False) or click
        ids.append(list(merged))
        flags.append(list(merged.values()))
    return lists.with_columns(item_ids=pl.Series(ids), clicked=pl.Series(flags))


def _refuse_first(path: Path, wrong: pl.Series, problem: str, remedy: str) -> None:
    if wrong.any():
        refuse(path, problem, remedy, row=int(wrong.arg_true()[0]) + 1)
