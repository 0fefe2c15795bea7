"""Batch scoring gives what the server gives, loses nothing when killed, and never mixes two bundles or two inputs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.bundle import ManifestDraft, read_bundle, read_manifest, write_bundle
from recsys.errors import BundleError, ConfigError, DatasetError
from recsys.pipeline import RankingPipeline
from recsys.schema import MAX_HISTORY, Candidate, HistoryEntry, ItemText, RankRequest
from recsys.text.encoder import ItemEncoder
from recsys.text.vectors import Vectors
from training.batch_score import score_items, score_lists
from training.split import test_lists


@pytest.fixture(scope="module")
def pipeline(tiny_bundle: Path) -> RankingPipeline:
    return RankingPipeline.load(tiny_bundle)


@pytest.fixture
def catalog_file(tiny_dataset: Path) -> Path:
    return tiny_dataset / "items.parquet"


@pytest.fixture
def lists_file(tiny_dataset: Path, tmp_path: Path) -> Path:
    """Write the newest lists without their clicks, some with a query, a history, or an item that nobody knows."""
    lists = pl.read_parquet(tiny_dataset / "impressions.parquet").tail(9).drop("clicked").with_row_index("n")
    ids = pl.col("item_ids")
    lists = lists.with_columns(
        query=pl.when(pl.col("n") % 3 == 0).then(pl.lit("a warm coat")),
        history=pl.when(pl.col("n") % 3 == 1).then(ids.list.head(3)),
        item_ids=pl.when(pl.col("n") % 2 == 0).then(ids.list.concat(pl.lit(["nobody-knows"]))).otherwise(ids),
    )
    lists.drop("n").write_parquet(tmp_path / "lists.parquet")
    return tmp_path / "lists.parquet"


def shards(out: Path) -> list[str]:
    """Name what is in a directory."""
    return sorted(path.name for path in out.iterdir())


def read(out: Path) -> pl.DataFrame:
    """Read all shards in their order."""
    return pl.read_parquet(sorted(out.glob("part-*.parquet")))


def test_catalog_items_keep_the_vectors_that_rank(
    tiny_bundle: Path, catalog_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("nothing has to be encoded")

    monkeypatch.setattr(ItemEncoder, "_run", never)
    scored = score_items(tiny_bundle, catalog_file, tmp_path / "out", shard_rows=30)

    stored = Vectors.from_bytes(read_bundle(tiny_bundle).files["vectors.safetensors"])
    table = read(tmp_path / "out")
    assert (scored.rows, scored.shards, scored.shards_kept) == (80, 3, 0)
    assert table["item_id"].to_list() == pl.read_parquet(catalog_file)["item_id"].to_list()
    assert table.schema["vector"] == pl.Array(pl.Float32, 16)
    assert table.schema["item_logit"] == table.schema["click_probability"] == pl.Float32
    assert np.array_equal(table["vector"].to_numpy(), stored.vectors)
    assert np.array_equal(table["item_logit"].to_numpy(), stored.item_logits)


def test_an_items_click_probability_averages_to_the_click_rate_of_what_was_shown(
    tiny_bundle: Path, catalog_file: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    score_items(tiny_bundle, catalog_file, tmp_path / "out")
    training = test_lists(pl.read_parquet(tiny_dataset / "impressions.parquet").with_columns(split=pl.lit(None)))[0]
    shown = training.select("item_ids", "clicked").explode("item_ids", "clicked")
    told = shown.join(read(tmp_path / "out"), left_on="item_ids", right_on="item_id")

    assert told["click_probability"].mean() == pytest.approx(told["clicked"].mean(), abs=0.005)


def test_a_changed_or_unknown_item_is_encoded_from_what_it_says_now(
    tiny_bundle: Path, pipeline: RankingPipeline, tmp_path: Path
) -> None:
    known = pipeline.catalog.items.row(0, named=True)
    unchanged = {name: known[name] for name in ("item_id", "title", "description", "category", "tags")}
    rows = [
        unchanged,
        {**unchanged, "item_id": "changed", "title": "A kettle"},
        {**unchanged, "item_id": pipeline.catalog.ids[1], "title": "A kettle"},
        {**unchanged, "item_id": "renamed"},
    ]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    score_items(tiny_bundle, tmp_path / "items.jsonl", tmp_path / "out")

    vectors = read(tmp_path / "out")["vector"].to_numpy()
    texts = [ItemText(title=row["title"], description=row["description"], category=row["category"]) for row in rows]
    np.testing.assert_allclose(vectors[1:], pipeline.text.encode(texts[1:]).vectors, atol=1e-5)
    assert np.array_equal(vectors[0], pipeline.vectors.vectors[0])
    assert np.array_equal(vectors[1], vectors[2])


def test_equal_new_texts_are_encoded_once(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    run = ItemEncoder._run
    monkeypatch.setattr(
        ItemEncoder, "_run", lambda self, ids, fields: encoded.append(len(ids)) or run(self, ids, fields)
    )
    pl.DataFrame({"item_id": ["a", "b", "c"], "title": ["Tea", "Tea", "Cup"]}).write_csv(tmp_path / "items.csv")
    score_items(tiny_bundle, tmp_path / "items.csv", tmp_path / "out")

    assert sum(encoded) == 2
    assert read(tmp_path / "out")["item_id"].to_list() == ["a", "b", "c"]


def test_stored_requests_are_ranked_as_the_server_ranks_them(
    tiny_bundle: Path, pipeline: RankingPipeline, lists_file: Path, tmp_path: Path
) -> None:
    scored = score_lists(tiny_bundle, lists_file, tmp_path / "out", shard_rows=4)

    table = read(tmp_path / "out")
    assert (scored.rows, scored.shards) == (9, 3)
    assert table.columns == [
        "request_id",
        "bundle_id",
        "item_ids",
        "scores",
        "click_probabilities",
        "text_coverage",
    ]
    asked = pl.read_parquet(lists_file)
    for row, stored in zip(table.iter_rows(named=True), asked.iter_rows(named=True), strict=True):
        ranking = pipeline.rank(as_request(stored))
        assert row == {
            "request_id": stored["request_id"],
            "bundle_id": pipeline.bundle_id,
            "item_ids": [item.item_id for item in ranking.items],
            "scores": [item.score for item in ranking.items],
            "click_probabilities": [item.click_probability for item in ranking.items],
            "text_coverage": ranking.text_coverage,
        }
    assert table["text_coverage"].to_list()[:2] == [8 / 9, 1.0]


def as_request(stored: dict[str, object]) -> RankRequest:
    """Ask what was stored."""
    ids, history, ts = stored["item_ids"], stored["history"], stored["ts"]
    return RankRequest(
        request_id=str(stored["request_id"]),
        user_id=str(stored["user_id"]),
        ts=(ts - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1),
        candidates=tuple(Candidate(item_id=item_id) for item_id in ids),
        history=None if history is None else tuple(HistoryEntry(item_id=item_id) for item_id in history),
        query=str(stored["query"] or ""),
        surface=str(stored["surface"]),
    )


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_requests_in_any_form_of_file_rank_the_same(
    tiny_bundle: Path, lists_file: Path, tmp_path: Path, suffix: str
) -> None:
    frame = pl.read_parquet(lists_file)
    path = tmp_path / f"lists{suffix}"
    if suffix == ".csv":
        lists = pl.col("item_ids", "history").list.join("|")
        frame.with_columns(lists, pl.col("ts").dt.to_string("iso:strict")).write_csv(path)
    else:
        rows = frame.with_columns(pl.col("ts").dt.epoch("us")).to_dicts()
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    score_lists(tiny_bundle, lists_file, tmp_path / "one")
    score_lists(tiny_bundle, path, tmp_path / "two")

    assert read(tmp_path / "one").equals(read(tmp_path / "two"))


def test_of_a_longer_history_the_newest_entries_count(tiny_bundle: Path, lists_file: Path, tmp_path: Path) -> None:
    frame = pl.read_parquet(lists_file).head(1)
    item = frame["item_ids"][0][0]
    for name, length in (("one", MAX_HISTORY), ("two", MAX_HISTORY + 5)):
        history = ["nobody-knows"] * (length - 1) + [item]
        frame.with_columns(pl.Series("history", [history])).write_parquet(tmp_path / f"{name}.parquet")
        score_lists(tiny_bundle, tmp_path / f"{name}.parquet", tmp_path / name)

    assert read(tmp_path / "one").equals(read(tmp_path / "two"))


def test_a_killed_job_goes_on_with_the_shards_that_are_missing(
    tiny_bundle: Path, catalog_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    def kill_at(limit: int) -> Callable[[int, int], None]:
        def progress(done: int, _total: int) -> None:
            if done > limit:
                raise KeyboardInterrupt

        return progress

    with pytest.raises(KeyboardInterrupt):
        score_items(tiny_bundle, catalog_file, out, shard_rows=20, progress=kill_at(40))

    assert shards(out) == ["_job.json", "part-00000.parquet", "part-00001.parquet"]

    before = (out / "part-00000.parquet").stat()  # but for when it was read last
    told: list[tuple[int, int]] = []
    scored = score_items(
        tiny_bundle, catalog_file, out, shard_rows=20, progress=lambda done, total: told.append((done, total))
    )

    assert (scored.rows, scored.shards, scored.shards_kept) == (80, 4, 2)
    after = (out / "part-00000.parquet").stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_size) == (before.st_ino, before.st_mtime_ns, before.st_size)
    assert told[0] == (40, 80)
    assert told[-1] == (80, 80)
    assert scored.rows_per_second > 0
    assert "2 of them there already" in str(scored)
    assert json.loads((out / "_SUCCESS").read_text())["rows"] == 80

    score_items(tiny_bundle, catalog_file, tmp_path / "whole", shard_rows=20)

    assert read(out).equals(read(tmp_path / "whole"))


def test_a_job_killed_outright_leaves_nothing_that_its_next_run_does_not_clear_away(
    tiny_bundle: Path, catalog_file: Path, tmp_path: Path
) -> None:
    items, out = tmp_path / "items.csv", tmp_path / "out"
    pl.read_parquet(catalog_file).select("item_id", "title").write_csv(items)
    program = """
import os, signal, sys
from pathlib import Path
from training.batch_score import score_items
progress = lambda done, _: os.kill(os.getpid(), signal.SIGKILL) if done > 40 else None
score_items(*map(Path, sys.argv[1:]), shard_rows=20, progress=progress)
"""
    command = [sys.executable, "-c", program, str(tiny_bundle), str(items), str(out)]

    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert shards(out) == [".input.parquet", "_job.json", "part-00000.parquet", "part-00001.parquet"]

    (out / ".part-00002.parquet.tmp-1").write_bytes(b"half")
    scored = score_items(tiny_bundle, items, out, shard_rows=20)

    assert (scored.rows, scored.shards_kept) == (80, 2)
    assert shards(out) == ["_SUCCESS", "_job.json", *(f"part-0000{number}.parquet" for number in range(4))]
    assert read(out)["item_id"].to_list() == pl.read_csv(items)["item_id"].to_list()


def test_a_finished_job_is_not_done_again_but_a_lost_shard_is(
    tiny_bundle: Path, catalog_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    score_items(tiny_bundle, catalog_file, out, shard_rows=20)
    again = score_items(tiny_bundle, catalog_file, out, shard_rows=20)

    assert (again.shards, again.shards_kept, again.rows_per_second) == (4, 4, 0.0)

    (out / "part-00002.parquet").write_bytes(b"PAR1")
    success: list[bool] = []
    again = score_items(
        tiny_bundle,
        catalog_file,
        out,
        shard_rows=20,
        progress=lambda done, _: success.append((out / "_SUCCESS").exists()) if done == 80 else None,
    )

    assert (again.shards, again.shards_kept) == (4, 3)
    assert success == [False]
    assert (out / "_SUCCESS").exists()
    assert read(out).height == 80


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_with_one_bad_row_anywhere_nothing_is_written(tiny_bundle: Path, tmp_path: Path, suffix: str) -> None:
    frame = pl.DataFrame({"item_id": ["a", "b", "c", None, "e"], "title": ["Tea", "Cup", "", "Pot", "Jar"]})
    path = tmp_path / f"items{suffix}"
    frame.write_parquet(path) if suffix == ".parquet" else frame.write_csv(path)

    with pytest.raises(DatasetError) as caught:
        score_items(tiny_bundle, path, tmp_path / "out", shard_rows=2)

    assert [(fault.column, fault.row) for fault in caught.value.faults] == [("item_id", 4), ("title", 3)]
    assert not (tmp_path / "out").exists()


def test_another_input_bundle_or_setting_in_the_same_directory_is_refused(
    tiny_bundle: Path, catalog_file: Path, lists_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    score_items(tiny_bundle, catalog_file, out)
    pl.read_parquet(catalog_file).head(5).write_parquet(tmp_path / "other.parquet")
    bundle = read_bundle(tiny_bundle)
    fields = {name: value for name, value in bundle.manifest if name in ManifestDraft.model_fields}
    write_bundle(tmp_path / "bundle", bundle.files, ManifestDraft(**{**fields, "metrics": {}}))
    before = read(out)

    with pytest.raises(ConfigError, match="input_sha256 was not the same; name a new directory"):
        score_items(tiny_bundle, tmp_path / "other.parquet", out)
    with pytest.raises(ConfigError, match="bundle_id was not the same"):
        score_items(tmp_path / "bundle", catalog_file, out)
    with pytest.raises(ConfigError, match="shard_rows was not the same"):
        score_items(tiny_bundle, catalog_file, out, shard_rows=7)
    with pytest.raises(ConfigError, match="kind, input_sha256, shard_rows was not the same"):
        score_lists(tiny_bundle, lists_file, out)
    assert read(out).equals(before)


def test_a_copy_of_the_input_under_another_name_goes_on(tiny_bundle: Path, catalog_file: Path, tmp_path: Path) -> None:
    score_items(tiny_bundle, catalog_file, tmp_path / "out")
    (tmp_path / "copy.parquet").write_bytes(catalog_file.read_bytes())

    assert score_items(tiny_bundle, tmp_path / "copy.parquet", tmp_path / "out").shards_kept == 1


def test_an_input_that_changes_while_it_is_scored_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    frame = pl.DataFrame({"item_id": ["a", "b", "c"], "title": ["Tea", "Cup", "Pot"]})
    frame.write_parquet(path)

    def change(done: int, _total: int) -> None:
        if done == 2:
            os.utime(path, (1, 1))

    with pytest.raises(DatasetError, match="changed while it was scored"):
        score_items(tiny_bundle, path, tmp_path / "out", shard_rows=1, progress=change)
    assert shards(tmp_path / "out") == ["_job.json", "part-00000.parquet"]


def test_a_precision_that_the_bundle_has_not_is_refused(tiny_bundle: Path, catalog_file: Path, tmp_path: Path) -> None:
    bundle = read_bundle(tiny_bundle)
    fields = {name: value for name, value in bundle.manifest if name in ManifestDraft.model_fields}
    variants = {name: entry for name, entry in bundle.manifest.text.variants.items() if name == "fp32"}
    fields["text"] = bundle.manifest.text.model_copy(update={"variants": variants})
    files = {name: data for name, data in bundle.files.items() if ".int8." not in name and ".fp16." not in name}
    write_bundle(tmp_path / "bundle", files, ManifestDraft(**fields))

    for name in ("int8", "fp16", "int4"):
        with pytest.raises(BundleError, match=f"has no {name} encoder.*use fp32"):
            score_items(tmp_path / "bundle", catalog_file, tmp_path / "out", precision=name)
    assert not (tmp_path / "out").exists()


def test_every_shipped_precision_gives_about_the_same_vectors(tiny_bundle: Path, tmp_path: Path) -> None:
    pl.DataFrame({"item_id": ["a", "b"], "title": ["A warm coat", "Tea"]}).write_csv(tmp_path / "items.csv")
    vectors = {}
    for name, variant in read_manifest(tiny_bundle).text.variants.items():
        if variant.shipped:
            score_items(tiny_bundle, tmp_path / "items.csv", tmp_path / name, precision=name)
            vectors[name] = read(tmp_path / name)["vector"].to_numpy()

    for other in vectors.values():
        np.testing.assert_array_less(0.95, np.sum(vectors["fp32"] * other, axis=1))


def test_numbers_that_are_not_finite_never_reach_a_shard(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflown(_self: ItemEncoder, ids: np.ndarray, _fields: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.full((len(ids), 16), np.nan, np.float32), np.zeros(len(ids), np.float32)

    monkeypatch.setattr(ItemEncoder, "_run", overflown)
    pl.DataFrame({"item_id": ["a"], "title": ["Tea"]}).write_csv(tmp_path / "items.csv")

    with pytest.raises(BundleError, match="not finite"):
        score_items(tiny_bundle, tmp_path / "items.csv", tmp_path / "out")
    assert shards(tmp_path / "out") == ["_job.json"]


def test_a_missing_file_or_an_impossible_size_is_refused(tiny_bundle: Path, catalog_file: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such file"):
        score_items(tiny_bundle, tmp_path / "nowhere.parquet", tmp_path / "out")
    with pytest.raises(ConfigError, match="shard_rows is 0; give at least 1"):
        score_items(tiny_bundle, catalog_file, tmp_path / "out", shard_rows=0)


def test_scoring_loads_neither_torch_nor_transformers(tiny_bundle: Path, catalog_file: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from training.batch_score import score_items; "
        "score_items(*map(Path, sys.argv[1:])); "
        "sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program, str(tiny_bundle), str(catalog_file), str(tmp_path / "out")]

    assert subprocess.run(command, check=False).returncode == 0
