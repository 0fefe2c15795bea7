"""MovieLens's three tables become films and lists of ratings, in the exact form in which they are published."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from recsys.dataset import read_dataset
from recsys.errors import DatasetError
from training.importers import import_movielens

MOVIES = """movieId,title,genres
1,Toy Story (1995),Adventure|Animation|Children
11,"American President, The (1995)",Comedy|Drama
7,Hyena Road,(no genres listed)
"""
LINKS = "movieId,imdbId,tmdbId\n1,0114709,862\n11,0112346,9087\n7,0113277,\n"
NOON = 1_577_880_000  # 2020-01-01T12:00:00Z
RATINGS = f"""userId,movieId,rating,timestamp
1,11,4.0,{NOON + 60}
1,1,3.5,{NOON}
1,7,5.0,{NOON + 90_000}
2,7,4.5,{NOON + 30}
"""


def save(folder: Path, **files: str) -> Path:
    folder.mkdir()
    for name, content in {"movies": MOVIES, "links": LINKS, "ratings": RATINGS, **files}.items():
        (folder / f"{name}.csv").write_text(content, encoding="utf-8")
    return folder


def test_films_get_year_article_and_genres(tmp_path: Path) -> None:
    import_movielens(save(tmp_path / "ml"), tmp_path / "out")
    items = read_dataset(tmp_path / "out").items

    assert items["title"].to_list() == ["Toy Story", "The American President", "Hyena Road"]
    assert items["category"].to_list() == ["Adventure, Animation, Children", "Comedy, Drama", ""]
    assert items["genres"].to_list() == [["Adventure", "Animation", "Children"], ["Comedy", "Drama"], []]
    assert items["release_year"].to_list() == [1995, 1995, None]
    assert items["published_at"].to_list() == [*[datetime(1995, 1, 1, tzinfo=UTC)] * 2, None]
    assert items["description"].to_list() == ["", "", ""]


def test_ratings_become_lists_in_order_of_time_cut_at_pauses(tmp_path: Path) -> None:
    lists = import_movielens(save(tmp_path / "ml"), tmp_path / "out").impressions

    assert lists.select("request_id", "user_id", "item_ids", "clicked").rows() == [
        ("1-0", "1", ["1", "11"], [False, True]),
        ("2-0", "2", ["7"], [True]),
        ("1-1", "1", ["7"], [True]),
    ]
    assert lists["ts"][0] == datetime(2020, 1, 1, 12, tzinfo=UTC)
    assert lists["history"].to_list() == [None, None, None]


def test_a_long_sitting_is_cut_into_lists_of_twenty(tmp_path: Path) -> None:
    movies = "movieId,title,genres\n" + "".join(f"{number},Film {number} (2000),Drama\n" for number in range(45))
    ratings = "userId,movieId,rating,timestamp\n" + "".join(f"9,{number},4.0,{NOON + number}\n" for number in range(45))
    lists = import_movielens(save(tmp_path / "ml", movies=movies, ratings=ratings), tmp_path / "out").impressions

    assert lists["request_id"].to_list() == ["9-0", "9-1", "9-2"]
    assert [len(ids) for ids in lists["item_ids"]] == [20, 20, 5]
    assert lists["item_ids"].explode().to_list() == [str(number) for number in range(45)]


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("overviews.csv", pl.DataFrame({"movieId": [1, 7], "overview": ["A cowboy doll.", "A road."]})),
        ("overviews.csv", pl.DataFrame({"tmdbId": ["862.0", "1"], "overview": ["A cowboy doll.", "Nobody's."]})),
        ("overviews.parquet", pl.DataFrame({"tmdbId": [862, None], "overview": ["A cowboy doll.", None]})),
        ("overviews.jsonl", pl.DataFrame({"tmdbId": [862], "overview": ["A cowboy doll."]})),
    ],
)
def test_an_overviews_table_brings_descriptions(tmp_path: Path, name: str, table: pl.DataFrame) -> None:
    source = save(tmp_path / "ml")
    write = {"csv": table.write_csv, "parquet": table.write_parquet, "jsonl": table.write_ndjson}
    write[name.split(".")[1]](source / name)
    items = import_movielens(source, tmp_path / "out").items

    assert items.filter(pl.col("item_id") == "1")["description"].to_list() == ["A cowboy doll."]
    assert items.filter(pl.col("item_id") == "11")["description"].to_list() == [""]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"ratings": "userId,movieId,timestamp\n1,1,5\n"}, r"ratings\.csv: not MovieLens's ratings\.csv"),
        ({"ratings": f"userId,movieId,rating,timestamp\n1,1,good,{NOON}\n"}, r"ratings\.csv: not MovieLens's"),
        ({"movies": ""}, r"movies\.csv: not MovieLens's movies\.csv"),
        ({"ratings": f"userId,movieId,rating,timestamp\n1,99,5,{NOON}\n"}, "unknown item: '99'"),
        ({"overviews": "id,text\n1,x\n"}, r"overviews\.csv: missing column; write tmdbId or movieId"),
    ],
)
def test_a_malformed_source_is_refused(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        import_movielens(save(tmp_path / "ml", **files), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["ratings.csv", "movies.csv"])
def test_a_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    source = save(tmp_path / "ml")
    (source / name).unlink()

    with pytest.raises(DatasetError, match=f"{name}: missing file"):
        import_movielens(source, tmp_path / "out")
