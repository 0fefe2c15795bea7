"""MIND's two tables become news items and lists, in the exact form in which they are published."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from recsys.dataset import read_dataset
from recsys.errors import DatasetError
from training.importers import import_mind


def entity(label: str) -> dict[str, object]:
    return {
        "Label": label,
        "Type": "P",
        "WikidataId": "Q80976",
        "Confidence": 1.0,
        "OccurrenceOffsets": [48],
        "SurfaceForms": [label],
    }


URL = "https://assets.msn.com/labs/mind/AAGH0ET.html"
ROYALS = (URL, json.dumps([entity("Elizabeth II")]), json.dumps([entity("Elizabeth II"), entity("Prince Charles")]))
NEWS = [
    (
        "N55528",
        "lifestyle",
        "lifestyleroyals",
        'The "Brands" Queen Elizabeth Swears By',
        "Shop the pens.",
        *ROYALS,
    ),
    ("N19639", "health", "weightloss", "50 Worst Habits For Belly Fat", "", URL, "[]", "[]"),
    ("N61837", "news", "newsworld", "The Cost of Trump's Aid Freeze", 'Lt. Ivan "Ivan" Molchanets', URL, "[]", "[]"),
]
BEHAVIORS = [
    ("1", "U13740", "11/11/2019 9:05:58 AM", "N55528 N19639", "N61837-1 N19639-0"),
    ("2", "U91836", "11/12/2019 12:00:00 PM", "", "N55528-0"),
    ("3", "U13740", "11/9/2019 12:07:00 AM", "N19639", "N55528-0 N61837-0 N55528-1"),
]


def save(folder: Path, news: list[tuple[str, ...]], behaviors: list[tuple[str, ...]]) -> Path:
    folder.mkdir(parents=True)
    (folder / "news.tsv").write_text("".join("\t".join(row) + "\n" for row in news), encoding="utf-8")
    (folder / "behaviors.tsv").write_text("".join("\t".join(row) + "\n" for row in behaviors), encoding="utf-8")
    return folder


def test_news_keep_quotes_subcategory_and_entities(tmp_path: Path) -> None:
    import_mind(save(tmp_path / "mind", NEWS, BEHAVIORS), tmp_path / "out")
    items = read_dataset(tmp_path / "out").items

    assert items.row(0, named=True) == {
        "item_id": "N55528",
        "title": 'The "Brands" Queen Elizabeth Swears By',
        "description": "Shop the pens.",
        "category": "lifestyle",
        "tags": [],
        "published_at": None,
        "subcategory": "lifestyleroyals",
        "entities": ["Elizabeth II", "Prince Charles"],
    }
    assert items["description"].to_list()[1:] == ["", 'Lt. Ivan "Ivan" Molchanets']


def test_behaviors_become_lists_with_history_and_clicks(tmp_path: Path) -> None:
    lists = import_mind(save(tmp_path / "mind", NEWS, BEHAVIORS), tmp_path / "out").impressions

    assert lists["request_id"].to_list() == ["3", "1", "2"]
    assert lists["user_id"].to_list() == ["U13740", "U13740", "U91836"]
    assert lists["ts"].to_list() == [
        datetime(2019, 11, 9, 0, 7, tzinfo=UTC),
        datetime(2019, 11, 11, 9, 5, 58, tzinfo=UTC),
        datetime(2019, 11, 12, 12, tzinfo=UTC),
    ]
    assert lists["item_ids"].to_list()[1:] == [["N61837", "N19639"], ["N55528"]]
    assert lists["clicked"].to_list()[1:] == [[True, False], [False]]
    assert lists["history"].to_list() == [["N19639"], ["N55528", "N19639"], None]
    assert lists["split"].to_list() == [None, None, None]


def test_news_shown_twice_in_a_list_keeps_its_first_place_and_its_click(tmp_path: Path) -> None:
    lists = import_mind(save(tmp_path / "mind", NEWS, BEHAVIORS), tmp_path / "out").impressions

    assert lists["item_ids"].to_list()[0] == ["N55528", "N61837"]
    assert lists["clicked"].to_list()[0] == [True, False]


@pytest.mark.parametrize(("train", "dev"), [("train", "dev"), ("MINDsmall_train", "MINDsmall_dev")])
def test_the_two_published_folders_become_train_and_test(tmp_path: Path, train: str, dev: str) -> None:
    save(tmp_path / "mind" / train, NEWS[:2], [("1", "U1", "11/11/2019 9:05:58 AM", "", "N55528-1 N19639-0")])
    save(tmp_path / "mind" / dev, NEWS, [("1", "U1", "11/15/2019 9:05:58 AM", "", "N61837-0 N19639-1")])
    dataset = import_mind(tmp_path / "mind", tmp_path / "out")

    assert dataset.items["item_id"].to_list() == ["N55528", "N19639", "N61837"]
    assert dataset.impressions.select("request_id", "split").rows() == [(f"{train}-1", "train"), (f"{dev}-1", "test")]


def test_a_very_long_abstract_is_cut(tmp_path: Path) -> None:
    long = (*NEWS[0][:4], "é" * 9_000, *NEWS[0][5:])
    items = import_mind(save(tmp_path / "mind", [long, *NEWS[1:]], BEHAVIORS), tmp_path / "out").items

    assert items["description"][0] == "é" * 4_000


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (2, "2019-11-11 09:05:58", r"behaviors\.tsv, row 2: a time unlike"),
        (4, "N55528 N19639", r"behaviors\.tsv, row 2: a list unlike .* leave out MIND's test folder"),
        (4, "", r"behaviors\.tsv, row 2: a list unlike"),
        (4, "N1-1", r"impressions, column item_ids, row 2: unknown item: 'N1'"),
        (0, "1", r"impressions, column request_id, row 2: duplicate id: '1'"),
    ],
)
def test_malformed_behaviors_are_refused(tmp_path: Path, column: int, value: str, message: str) -> None:
    wrong = list(BEHAVIORS[1])
    wrong[column] = value
    source = save(tmp_path / "mind", NEWS, [BEHAVIORS[0], tuple(wrong)])

    with pytest.raises(DatasetError, match=message):
        import_mind(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("entities", ["[{}]", "{", "[1]"])
def test_malformed_entities_are_refused(tmp_path: Path, entities: str) -> None:
    source = save(tmp_path / "mind", [NEWS[1], (*NEWS[0][:6], entities, "[]")], BEHAVIORS)

    with pytest.raises(DatasetError, match=r"news\.tsv, row 2: entities without a Label"):
        import_mind(source, tmp_path / "out")


def test_a_file_with_other_columns_is_refused(tmp_path: Path) -> None:
    source = save(tmp_path / "mind", [(*NEWS[0], "more")], BEHAVIORS)

    with pytest.raises(DatasetError, match=r"news\.tsv: not 8 columns of text separated by tabs"):
        import_mind(source, tmp_path / "out")


@pytest.mark.parametrize("source", [".", "nowhere"])
def test_a_missing_source_is_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(DatasetError, match=r"news\.tsv: missing file"):
        import_mind(tmp_path / source, tmp_path / "out")
