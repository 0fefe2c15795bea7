"""Items come, change and go; whoever reads meanwhile finds whole rows."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.catalog import Catalog
from recsys.dataset.columns import ITEMS
from recsys.errors import InvalidRequest
from recsys.spare_rows import SpareRows

SCHEMA = pl.Schema(
    {
        **{column.name: column.dtype for column in ITEMS},
        "price": pl.Float64(),
        "pages": pl.Int64(),
        "signed": pl.Boolean(),
        "brand": pl.String(),
        "colours": pl.List(pl.String()),
    }
)


def item(item_id: str, title: str = "A kettle", **fields: Any) -> dict[str, Any]:
    defaults = {"description": "", "category": "", "tags": [], "published_at": None}
    attributes = dict.fromkeys(("price", "pages", "signed", "brand", "colours"))
    return {"item_id": item_id, "title": title, **defaults, **attributes, **fields}


@pytest.fixture
def catalog() -> Catalog:
    items = [item("kettle", "A kettle", price=12.5, brand="Vinn"), item("cup", "A cup", tags=["blue"])]
    return Catalog(pl.DataFrame(items, schema=SCHEMA))


def test_a_new_item_gets_a_row_and_an_edited_one_another(catalog: Catalog) -> None:
    rows = catalog.upsert(pl.DataFrame({"item_id": ["lamp", "cup"], "title": ["A lamp", "A mug"]}))

    assert rows.tolist() == [2, 3]
    assert catalog.rows(["kettle", "cup", "lamp", "-"]).tolist() == [0, 3, 2, -1]
    assert [text.title for text in catalog.texts([1, 3])] == ["A cup", "A mug"]
    assert catalog.ids == ["kettle", "cup", "lamp", "cup"]
    assert len(catalog) == 4


def test_columns_that_were_not_sent_take_their_defaults(catalog: Catalog) -> None:
    catalog.upsert(pl.DataFrame({"item_id": ["kettle"], "title": ["A kettle"]}))

    assert catalog.items.row(2, named=True) == item("kettle", "A kettle")


def test_all_columns_are_taken_in_the_form_of_the_table(catalog: Catalog) -> None:
    noon = datetime(2025, 1, 31, 12, tzinfo=UTC)
    sent = item("x", "X", price=3, pages=4.0, signed=True, brand="B", colours=["red"], published_at=noon)
    catalog.upsert(pl.DataFrame([sent]))

    assert catalog.items.schema == SCHEMA
    assert catalog.items.row(2, named=True) == {**sent, "price": 3.0, "pages": 4}


def test_what_is_known_already_is_no_change(catalog: Catalog) -> None:
    again = pl.DataFrame([item("kettle", "A kettle", price=12.5, brand="Vinn"), item("cup", "A cup", tags=["red"])])

    assert catalog.upsert(again).tolist() == [-1, 2]
    assert catalog.upsert(again).tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("column", "value"),
    [("title", "B"), ("description", "B"), ("category", "B"), ("tags", ["B"]), ("price", 12.6), ("price", None),
     ("pages", 1), ("signed", False), ("brand", None), ("colours", []),
     ("published_at", datetime(2020, 1, 1, tzinfo=UTC))],
)  # fmt: skip
def test_a_difference_in_any_column_is_a_change(catalog: Catalog, column: str, value: Any) -> None:
    same = item("kettle", "A kettle", price=12.5, brand="Vinn")

    assert catalog.upsert(pl.DataFrame([{**same, column: value}], schema=SCHEMA)).tolist() == [2]


def test_a_deleted_item_is_unknown_until_it_comes_again(catalog: Catalog) -> None:
    assert catalog.delete(["cup", "cup", "-"]) == 1
    assert catalog.rows(["cup"]).tolist() == [-1]
    assert catalog.current(catalog.rows(["kettle"])).tolist() == [0]
    assert catalog.upsert(pl.DataFrame([item("cup", "A cup", tags=["blue"])], schema=SCHEMA)).tolist() == [2]


def test_old_rows_lead_to_what_their_items_are_now(catalog: Catalog) -> None:
    rows = catalog.rows(["kettle", "cup", "-"])
    catalog.upsert(pl.DataFrame({"item_id": ["kettle"], "title": ["A pot"]}))
    catalog.delete(["cup"])

    assert catalog.current(rows).tolist() == [2, -1, -1]


def test_an_item_may_take_a_row_that_it_had_before(catalog: Catalog) -> None:
    changes = catalog.changes(pl.DataFrame({"item_id": ["lamp", "cup", "pan"], "title": ["A lamp", "A mug", "A pan"]}))
    catalog.publish(catalog.append(changes))
    changes = catalog.changes(pl.DataFrame({"item_id": ["pot", "cup"], "title": ["A pot", "A bowl"]}))
    rows = catalog.append(changes, np.array([-1, 1], np.int32))

    assert rows.tolist() == [5, 1]
    assert catalog.rows(["cup"]).tolist() == [3]  # until it is published
    catalog.publish(rows)
    assert catalog.rows(["kettle", "cup", "lamp", "pan", "pot"]).tolist() == [0, 1, 2, 4, 5]
    assert catalog.ids == ["kettle", "cup", "lamp", "cup", "pan", "pot"]
    titles = ["A kettle", "A bowl", "A lamp", "A mug", "A pan", "A pot"]
    assert catalog.items["title"].to_list() == titles
    assert [text.title for text in catalog.texts()] == titles
    assert catalog.current(np.array([[1, 3], [0, -1]], np.int32)).tolist() == [[1, 1], [0, -1]]


def test_what_no_row_says_any_more_is_let_go(catalog: Catalog) -> None:
    spare = -1
    for version in range(1_000):
        before = int(catalog.rows(["cup"])[0])
        changes = catalog.changes(pl.DataFrame({"item_id": ["cup"], "title": [f"Version {version} " + "x" * 1_000]}))
        catalog.publish(catalog.append(changes, np.array([spare], np.int32)))
        spare = before

    assert len(catalog) == 3
    assert catalog._table.items.estimated_size() < 200_000
    assert catalog.texts(catalog.rows(["cup"]).tolist())[0].title.startswith("Version 999 ")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"weight": 3.0}, r"^1 of the columns sent is no attribute .* send price, pages, signed, brand, colours"),
        ({"price": "cheap"}, "column price: holds texts, not numbers"),
        ({"signed": 1.0}, "column signed: holds numbers, not true or false"),
        ({"brand": ["B"]}, "column brand: holds lists of texts, not texts"),
        ({"colours": "red"}, "column colours: holds texts, not lists of texts"),
        ({"pages": 1.5}, "column pages, row 1: not a whole number; give"),
        ({"pages": 1e30}, "column pages, row 1: not a whole number"),
        ({"price": float("inf")}, "column price, row 1: not finite"),
        ({"title": " "}, "column title, row 1: empty text"),
        ({"title": 7}, "column title: wrong type"),
        ({"item_id": ""}, "null or empty id"),
        ({"item_id": "x" * 129}, "id longer than 128 bytes"),
        ({"brand": "x" * 8_193}, "column brand, row 1: text longer than 8,192 bytes"),
        ({"published_at": datetime(2190, 1, 1, tzinfo=UTC)}, "time in the future"),
    ],
    ids=str,
)
def test_what_does_not_fit_the_table_is_named_and_nothing_changes(
    catalog: Catalog, fields: dict[str, Any], said: str
) -> None:
    bad = {"item_id": "x", "title": "X", **fields}
    good = {**dict.fromkeys(fields), "item_id": "good", "title": bad["title"]}

    with pytest.raises(InvalidRequest, match=said):
        catalog.upsert(pl.DataFrame([bad, good]))
    assert catalog.rows(["good", "x"]).tolist() == [-1, -1]
    assert len(catalog) == 2


def test_an_id_that_occurs_twice_is_refused(catalog: Catalog) -> None:
    with pytest.raises(InvalidRequest, match="column item_id, row 2: duplicate id; keep"):
        catalog.upsert(pl.DataFrame({"item_id": ["x", "x"], "title": ["X", "Y"]}))


def test_no_items_are_no_change(catalog: Catalog) -> None:
    assert catalog.upsert(pl.DataFrame(schema={"item_id": pl.String, "title": pl.String})).tolist() == []


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from("abcd"), st.none() | st.sampled_from(["one", "two", "three"])), max_size=30
    )
)
def test_the_catalog_is_what_a_dictionary_would_be(steps: list[tuple[str, str | None]]) -> None:
    catalog, expected, spare = Catalog(pl.DataFrame(schema=SCHEMA)), dict[str, str](), SpareRows()
    for item_id, title in steps:
        before = catalog.rows([item_id])
        if title is None:
            assert catalog.delete([item_id]) == (expected.pop(item_id, None) is not None)
            spare.leave([item_id], before)
        else:
            changes = catalog.changes(pl.DataFrame({"item_id": [item_id], "title": [title]}))
            assert len(changes) == (expected.get(item_id) != title)
            if len(changes):
                catalog.publish(catalog.append(changes, spare.take([item_id], tuple)))
                spare.leave([item_id], before)
            expected[item_id] = title
    assert len(catalog) <= 2 * 4
    rows = catalog.rows("abcd")

    assert [row >= 0 for row in rows] == [item_id in expected for item_id in "abcd"]
    for item_id, row in zip("abcd", rows.tolist(), strict=True):
        assert item_id not in expected or catalog.texts([row])[0].title == expected[item_id]
    assert (catalog.current(rows) == rows).all()


def test_readers_find_whole_rows_while_items_change() -> None:
    catalog = Catalog(pl.DataFrame(schema=SCHEMA))
    ids = [f"item-{n}" for n in range(20)]
    done = threading.Event()
    torn: list[str] = []

    def look() -> None:
        while not done.is_set():
            rows = catalog.rows(ids)
            there = rows[rows >= 0].tolist()
            for row, text in zip(there, catalog.texts(there), strict=True):
                if text.title != text.description or catalog.ids[row] not in ids or row >= len(catalog):
                    torn.append(text.title)

    readers = [threading.Thread(target=look) for _ in range(3)]
    for reader in readers:
        reader.start()
    for version in range(150):  # past the number of pieces at which the table is made one again
        texts = [f"version {version}"] * len(ids)
        catalog.upsert(pl.DataFrame({"item_id": ids, "title": texts, "description": texts}))
    done.set()
    for reader in readers:
        reader.join(30)

    assert torn == []
    assert catalog._table.items.n_chunks() <= 65
    assert {text.title for text in catalog.texts(catalog.rows(ids).tolist())} == {"version 149"}
