"""What must hold between the values of a table, and between tables, once every column has its dtype."""

from __future__ import annotations

import polars as pl

from recsys.dataset.fault_log import FaultLog
from recsys.schema import MAX_CANDIDATES

_ADD_ITEM = "add the item to the item table, or leave it out here"
_LEAVE_OUT = "give one flag per item"


def check_items(items: pl.DataFrame, log: FaultLog) -> None:
    """Every item once, and none without a title."""
    _check_unique(items, "item_id", log)
    if "title" in items.columns:
        empty = items["title"].str.strip_chars() == ""
        log.rows("title", empty, "empty text", "give every item a title; its id will do where nothing better is known")


def check_impressions(lists: pl.DataFrame, known: pl.Series | None, log: FaultLog) -> None:
    """Every list once, not empty, of known items, each shown once and with its own flag; some list with a click."""
    _check_unique(lists, "request_id", log)
    names = lists.columns
    if "item_ids" in names:
        _check_list(lists["item_ids"], log)
        _check_known_in_lists(lists["item_ids"], known, log)
    if "history" in names:
        _check_known_in_lists(lists["history"], known, log)
    if "clicked" not in names:
        return
    if "item_ids" in names:
        lengths = lists.select(items=pl.col("item_ids").list.len(), flags=pl.col("clicked").list.len())
        unequal = lengths["items"] != lengths["flags"]
        counts = lengths.select(pl.format("{} items, {} flags", "items", "flags")).to_series()
        log.rows("clicked", unequal, "lists of unequal length", _LEAVE_OUT, counts)
    _check_any_click(lists["clicked"].explode(empty_as_null=False), log)


def check_shown(rows: pl.DataFrame, known: pl.Series | None, log: FaultLog) -> None:
    """The long form of the impressions: rows of known items, one list's rows at one in all that belongs to the list."""
    names = rows.columns
    if "item_id" in names:
        _check_known(rows["item_id"], known, log)
    if "history" in names:
        _check_known_in_lists(rows["history"], known, log)
    if "clicked" in names:
        _check_any_click(rows["clicked"], log)
    if "request_id" not in names:
        return
    for name, problem, remedy in (
        ("item_id", "item shown twice in one list", "keep its first place"),
        ("position", "position taken twice in one list", "number the items of a list without repeats"),
    ):
        if name in names:
            repeated = rows.select(~pl.struct("request_id", name).is_first_distinct() & pl.col(name).is_not_null())
            log.rows(name, repeated.to_series(), problem, remedy, rows[name])
    for name in ("user_id", "ts", "query", "history", "surface", "weight", "split"):
        if name in names and rows[name].ne_missing(rows[name].new_from_index(0, rows.height)).any():
            first = pl.col(name).first().over("request_id", mapping_strategy="group_to_rows")
            differs = rows.select(pl.col(name).ne_missing(first)).to_series()
            log.rows(name, differs, "differs within one list", "give all rows of a list the same value", rows[name])


def check_events(events: pl.DataFrame, known: pl.Series | None, log: FaultLog) -> None:
    """Every event once, of a known item."""
    _check_unique(events, "event_id", log)
    if "item_id" in events.columns:
        _check_known(events["item_id"], known, log)


def _check_unique(frame: pl.DataFrame, name: str, log: FaultLog) -> None:
    if name in frame.columns:
        ids = frame[name]
        log.rows(name, ids.is_not_null() & ~ids.is_first_distinct(), "duplicate id", "keep one row for each id", ids)


def _check_known(ids: pl.Series, known: pl.Series | None, log: FaultLog) -> None:
    if known is not None:
        log.rows(ids.name, ids.is_not_null() & ~ids.is_in(known.implode()), "unknown item", _ADD_ITEM, ids)


def _check_list(lists: pl.Series, log: FaultLog) -> None:
    lengths = lists.list.len()
    name = lists.name
    log.rows(name, lengths == 0, "empty list", "leave out lists that showed nothing")
    too_long = lengths > MAX_CANDIDATES
    log.rows(
        name, too_long, f"more than {MAX_CANDIDATES:,} items", "divide the list: no request may hold more", lengths
    )
    log.rows(name, lists.list.n_unique() < lengths, "item shown twice in one list", "keep its first place", lists)


def _check_known_in_lists(lists: pl.Series, known: pl.Series | None, log: FaultLog) -> None:
    if known is None:
        return
    mentioned = lists.explode(empty_as_null=False, keep_nulls=False).unique().drop_nulls()
    unknown = mentioned.filter(~mentioned.is_in(known.implode()) & (mentioned != ""))
    if unknown.len():
        rows = lists.alias("id").to_frame().with_row_index("row").explode("id")
        found = rows.filter(pl.col("id").is_in(unknown.implode())).unique("row", keep="first", maintain_order=True)
        log.indices(lists.name, found["row"], "unknown item", _ADD_ITEM, found["id"])


def _check_any_click(clicked: pl.Series, log: FaultLog) -> None:
    if not clicked.any():
        log.whole(
            "clicked", "no click at all", "join the clicks to the lists they were made in; nothing can be learned"
        )
