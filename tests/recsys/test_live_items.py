"""Items come, change and go while a bundle ranks: at once without text, then as if it had always had them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from recsys.bundle import BundleFiles
from recsys.errors import InvalidRequest, StorageError
from recsys.lists import Lists
from recsys.pipeline import RankingPipeline
from recsys.schema import Candidate, HistoryEntry, ItemText
from recsys.text.model import TextModel
from recsys.text.vector_store import VectorStore
from recsys.text.vectors import Vectors
from tests.recsys.changing_items import apart, ask, blocked, finish, frame, outputs, rank, text_of, vector, wait_for

NEW = {"item_id": "new-coat", "title": "A warm coat of wool", "description": "For the coldest days", "tags": ["wool"]}


def test_a_new_item_ranks_at_once_and_with_its_text_as_soon_as_that_is_read(
    pipeline: RankingPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = pipeline.catalog.ids[:3]
    release = blocked(pipeline, monkeypatch)

    assert pipeline.upsert(frame(NEW)) == 1
    at_once = rank(pipeline, "new-coat", *known)
    assert pipeline.pending_texts == 1
    assert at_once.items_without_text == ("new-coat",)
    assert at_once.unknown_items == ()
    assert at_once.text_coverage == 0.75

    release.set()
    finish(pipeline)
    later = rank(pipeline, "new-coat", *known)
    assert later.items_without_text == ()
    assert later.text_coverage == 1.0


def test_what_is_read_of_a_new_item_is_to_the_bit_what_a_bundle_would_say_that_had_it_from_the_start(
    pipeline: RankingPipeline, bundle: BundleFiles
) -> None:
    plain = pipeline.vectors
    pipeline.upsert(frame(NEW, {"item_id": "other", "title": "A lamp"}))
    finish(pipeline)
    ours = [text for text in pipeline.catalog.texts() if text.title in (NEW["title"], "A lamp")]
    added = pipeline.text.encode(ours)
    vectors = Vectors(
        vectors=np.concatenate([plain.vectors, added.vectors]),
        item_logits=np.concatenate([plain.item_logits, added.item_logits]),
    )
    items = BytesIO()
    pipeline.catalog.items.write_parquet(items)
    files = {**bundle.files, "items.parquet": items.getvalue(), "vectors.safetensors": vectors.to_bytes()}
    had_it = RankingPipeline(files, bundle.manifest, cuda=False)

    for fields in ({}, {"query": "a warm coat"}, {"history": (HistoryEntry(item_id="new-coat"),)}):
        ids = ["new-coat", *pipeline.catalog.ids[:20], "other"]
        assert outputs(pipeline, *ids, **fields).tobytes() == outputs(had_it, *ids, **fields).tobytes()
        assert not np.isnan(outputs(pipeline, *ids, **fields)).any()


def test_an_id_leads_to_a_row_only_when_all_that_belongs_to_it_is_there(
    pipeline: RankingPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    item_id = pipeline.catalog.ids[0]
    before = rank(pipeline, item_id, "new-coat")
    seen = []

    def prepared(rows: np.ndarray) -> None:
        assert rows.tolist() == [len(pipeline.catalog) - 2, len(pipeline.catalog) - 1]
        assert pipeline.catalog.ids[-2:] == pipeline.catalog.items["item_id"].tail(2).to_list() == [item_id, "new-coat"]
        assert len(pipeline.vectors) == len(pipeline.catalog)
        seen.append(rank(pipeline, item_id, "new-coat"))

    monkeypatch.setattr(pipeline.items, "_prepare", prepared)
    pipeline.upsert(frame({"item_id": item_id, "title": "A lamp"}, {"item_id": "new-coat", "title": "A coat"}))

    assert [each.items for each in seen] == [before.items]
    assert [each.unknown_items for each in seen] == [("new-coat",)]


def test_a_new_item_counts_in_a_history_once_it_is_read(
    pipeline: RankingPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = blocked(pipeline, monkeypatch)
    candidates, clicked = pipeline.catalog.ids[:5], (HistoryEntry(item_id="new-coat"),)
    pipeline.upsert(frame(NEW))
    without, before = outputs(pipeline, *candidates, history=()), outputs(pipeline, *candidates, history=clicked)
    release.set()
    finish(pipeline)

    assert before.tobytes() == without.tobytes()
    assert outputs(pipeline, *candidates, history=clicked).tobytes() != without.tobytes()


def test_an_edited_title_gets_a_new_vector_and_never_the_old_one(
    pipeline: RankingPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    item_id = pipeline.catalog.ids[0]
    before = vector(pipeline, item_id)
    release = blocked(pipeline, monkeypatch)
    pipeline.upsert(frame({"item_id": item_id, "title": "A lamp for the desk"}))

    assert np.isnan(outputs(pipeline, item_id)).all()
    release.set()
    finish(pipeline)
    assert vector(pipeline, item_id) != before
    assert vector(pipeline, item_id) == apart(pipeline, ItemText(title="A lamp for the desk"))


def test_a_history_is_read_as_its_items_are_now(pipeline: RankingPipeline) -> None:
    first, second, *candidates = pipeline.catalog.ids[:6]
    clicked = (HistoryEntry(item_id=first, ts=1), HistoryEntry(item_id=second, ts=2))
    request = ask(pipeline, *candidates, history=clicked)
    seen = pipeline.state.look(Lists.from_requests([request], pipeline.catalog))  # before the items change
    pipeline.upsert(frame({"item_id": first, "title": "A lamp for the desk"}))
    pipeline.delete([second])
    finish(pipeline)

    now = outputs(pipeline, *candidates, history=(HistoryEntry(item_id=first, ts=1),))
    assert pipeline.list_text.of_requests([request], seen)[0].tobytes() == now.tobytes()


def test_a_change_that_the_text_does_not_show_is_not_read_again(pipeline: RankingPipeline) -> None:
    row = pipeline.catalog.items.row(0, named=True)
    item_id = str(row["item_id"])
    before = vector(pipeline, item_id)
    pipeline.upsert(frame({**row, "published_at": None}))

    assert pipeline.pending_texts == 0
    assert vector(pipeline, item_id) == before
    assert pipeline.items.reader.encoded == 0


def test_a_text_that_comes_back_is_not_read_again(opened: Callable[..., RankingPipeline], store: Path) -> None:
    pipeline = opened(store)
    row = pipeline.catalog.items.row(0, named=True)
    item_id = str(row["item_id"])
    before = vector(pipeline, item_id)
    for title in ("One", "Two", "One", row["title"]):
        pipeline.upsert(frame({**row, "title": title}))
        finish(pipeline)
    pipeline.delete([item_id])
    pipeline.upsert(frame(row))

    assert vector(pipeline, item_id) == before
    assert pipeline.items.reader.encoded == 2


def test_what_is_known_is_not_read_again_after_a_restart(opened: Callable[..., RankingPipeline], store: Path) -> None:
    items = [{"item_id": f"new-{n}", "title": f"A warm coat, size {n}"} for n in range(40)]
    first = opened(store)
    first.upsert(frame(*items))
    finish(first)
    vectors = [vector(first, item["item_id"]) for item in items]
    second = opened(store)
    second.upsert(frame(*items))

    assert second.pending_texts == 0
    assert [vector(second, item["item_id"]) for item in items] == vectors
    assert (first.items.reader.encoded, second.items.reader.encoded) == (40, 0)


def test_without_a_store_it_would_be_read_again(opened: Callable[..., RankingPipeline]) -> None:
    """The control of the test above."""
    for pipeline in (opened(), opened()):
        pipeline.upsert(frame(NEW))
        finish(pipeline)

        assert pipeline.items.reader.encoded == 1


def test_another_text_model_finds_nothing_in_the_store(
    opened: Callable[..., RankingPipeline], bundle: BundleFiles, store: Path
) -> None:
    first = opened(store)
    first.upsert(frame(NEW))
    finish(first)
    text = bundle.manifest.text.model_copy(update={"fingerprint": "another"})
    other = RankingPipeline(bundle.files, bundle.manifest.model_copy(update={"text": text}), cuda=False)
    other.keep_vectors(store)
    other.upsert(frame(NEW))
    finish(other)
    other.close()

    assert other.items.reader.encoded == 1
    with closing(VectorStore(store)) as kept:
        assert len(kept) == 2


def test_without_a_store_what_was_said_two_changes_ago_is_read_again(pipeline: RankingPipeline) -> None:
    item_id = pipeline.catalog.ids[0]
    for title in ("One", "Two", "One", "Three", "Two"):
        pipeline.upsert(frame({"item_id": item_id, "title": title}))
        finish(pipeline)

    assert pipeline.items.reader.encoded == 4
    assert vector(pipeline, item_id) == apart(pipeline, text_of(pipeline, item_id))


def test_a_text_that_another_item_says_is_not_read_again(pipeline: RankingPipeline) -> None:
    ids = pipeline.catalog.ids[:3]
    said = ({"item_id": each, "title": "The same"} for each in ids)
    for change in (next(said), next(said)):
        pipeline.upsert(frame(change))
        finish(pipeline)
    for title in ("One", "Two", "Three"):
        pipeline.upsert(frame({"item_id": ids[0], "title": title}))
        finish(pipeline)
    pipeline.upsert(frame(next(said)))

    assert pipeline.items.reader.encoded == 4
    assert vector(pipeline, ids[2]) == vector(pipeline, ids[1])


def test_equal_texts_are_read_once(pipeline: RankingPipeline) -> None:
    pipeline.upsert(frame(*({**NEW, "item_id": f"new-{n}"} for n in range(50))))
    finish(pipeline)

    assert pipeline.items.reader.encoded == 1
    assert {vector(pipeline, f"new-{n}") for n in range(50)} == {vector(pipeline, "new-0")}


def test_a_text_that_came_with_a_request_is_read_once(opened: Callable[..., RankingPipeline], store: Path) -> None:
    pipeline = opened(store)
    sent = [Candidate(item_id=f"sent-{n}", text=ItemText(title=f"A coat, size {n}")) for n in range(3)]
    first = rank(pipeline, *sent[:2], query="warm")
    second = rank(pipeline, *sent, query="warm")
    third = rank(opened(store), *sent, query="warm")

    assert pipeline.items.reader.encoded == 4
    assert second.items == third.items
    assert len(first.items) == 2
    assert rank(opened(), *sent, query="warm").items == third.items


def test_a_deleted_item_is_unknown(pipeline: RankingPipeline) -> None:
    gone, stays = pipeline.catalog.ids[:2]

    assert pipeline.delete([gone, gone, "unheard-of"]) == 1
    ranking = rank(pipeline, gone, stays)
    assert ranking.unknown_items == (gone,)
    assert ranking.text_coverage == 0.5
    assert pipeline.delete([gone]) == 0


def test_what_is_refused_changes_nothing(pipeline: RankingPipeline) -> None:
    known = len(pipeline.catalog)
    with pytest.raises(InvalidRequest, match="empty text"):
        pipeline.upsert(frame(NEW, {**NEW, "item_id": "b", "title": ""}))

    assert rank(pipeline, "new-coat").unknown_items == ("new-coat",)
    assert len(pipeline.catalog) == known


def test_what_cannot_be_recorded_does_not_change_anything(pipeline: RankingPipeline) -> None:
    def full(_changes: object) -> None:
        raise StorageError("the disk is full")

    gone = pipeline.catalog.ids[0]
    for change in (lambda: pipeline.upsert(frame(NEW), full), lambda: pipeline.delete([gone], full)):
        with pytest.raises(StorageError):
            change()
    assert rank(pipeline, "new-coat", gone).unknown_items == ("new-coat",)


def test_only_what_has_changed_is_recorded(pipeline: RankingPipeline) -> None:
    seen: list[Any] = []
    pipeline.upsert(frame(NEW), seen.append)
    pipeline.upsert(frame(NEW), seen.append)
    pipeline.upsert(frame(NEW, {**NEW, "item_id": "b"}), seen.append)
    pipeline.delete(["b", "unheard-of"], seen.append)
    pipeline.delete(["b"], seen.append)

    assert [each if isinstance(each, list) else each["item_id"].to_list() for each in seen] == [
        ["new-coat"],
        ["b"],
        ["b"],
    ]


def test_the_newest_text_is_read_first(pipeline: RankingPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    release = blocked(pipeline, monkeypatch)
    read, real = list[str](), TextModel.encode

    def noted(self: TextModel, texts: list[ItemText]) -> Vectors:
        read.extend(text.title for text in texts)
        return real(self, texts)

    monkeypatch.setattr(TextModel, "encode", noted)
    pipeline.upsert(frame({"item_id": "at-work", "title": "At work"}))
    wait_for(lambda: pipeline.items.reader._at_work)
    for n in range(100):
        pipeline.upsert(frame({"item_id": f"new-{n}", "title": f"Number {n}"}))
    release.set()
    finish(pipeline)

    assert read == ["At work", *(f"Number {n}" for n in reversed(range(100)))]


def test_a_text_that_has_changed_again_is_not_read(pipeline: RankingPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    release = blocked(pipeline, monkeypatch)
    for n in range(20):
        pipeline.upsert(frame({**NEW, "title": f"Version {n}"}))
    pipeline.upsert(frame({"item_id": "gone", "title": "Gone soon"}))
    pipeline.delete(["gone"])
    release.set()
    finish(pipeline)

    assert pipeline.items.reader.encoded == 1
    assert vector(pipeline, "new-coat") == apart(pipeline, text_of(pipeline, "new-coat"))


def test_a_text_that_cannot_be_read_is_logged_and_tried_again_while_others_are_read(
    pipeline: RankingPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = TextModel.encode, iter([MemoryError("no room"), RuntimeError("no luck with Trouble")])

    def unreliable(self: TextModel, texts: list[ItemText]) -> Vectors:
        if texts[0].title == "Trouble" and (error := next(failures, None)):
            raise error
        return real(self, texts)

    monkeypatch.setattr(TextModel, "encode", unreliable)
    with capture_logs() as lines:
        pipeline.upsert(frame({"item_id": "a", "title": "Fine"}, {"item_id": "b", "title": "Trouble"}))
        finish(pipeline)

    assert [line["error"] for line in lines] == ["MemoryError", "RuntimeError"]
    assert "Trouble" not in str(lines)
    assert vector(pipeline, "b") == apart(pipeline, ItemText(title="Trouble"))


def test_a_store_that_fails_costs_a_line_in_the_log_and_nothing_else(
    opened: Callable[..., RankingPipeline], store: Path
) -> None:
    pipeline = opened(store)
    assert pipeline.items.reader._store is not None
    pipeline.items.reader._store.close()
    with capture_logs() as lines:
        pipeline.upsert(frame(NEW))
        finish(pipeline)
        ranking = rank(pipeline, "new-coat", Candidate(item_id="sent", text=ItemText(title="A coat")))

    assert ranking.text_coverage == 1.0
    assert {line["event"] for line in lines} == {"vectors not found", "vectors not stored"}


def test_items_stand_at_the_number_of_their_newest_change_and_at_none_while_one_is_made(
    pipeline: RankingPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    amid: list[int | None] = []
    monkeypatch.setattr(pipeline.state, "items_changed", lambda _: amid.append(pipeline.items.sequence))
    pipeline.follow_items(4)
    request = ask(pipeline, pipeline.catalog.ids[0])
    ranked = [pipeline.rank_many([request])[0]]
    pipeline.upsert(frame({"item_id": "coat", "title": "A coat"}), lambda _: 5)
    ranked += pipeline.rank_many([request])
    pipeline.delete(["coat"], lambda _: 6)
    ranked += pipeline.rank_many([request])

    assert amid == [None]
    assert [each.receipt(each.ranking(), now_us=1).item_sequence for each in ranked] == [4, 5, 6]
