"""Items come, change and go while a bundle ranks: at once without text, then as if it had always had them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from structlog.testing import capture_logs

from recsys.bundle import BundleFiles, read_bundle
from recsys.errors import InvalidRequest, StorageError
from recsys.features.keys import find_all, keys_of
from recsys.lists import Lists
from recsys.pipeline import RankingPipeline
from recsys.schema import Candidate, HistoryEntry, ItemText, Ranking, RankRequest
from recsys.text.model import TextModel
from recsys.text.vector_store import VectorStore
from recsys.text.vectors import Vectors

NEW = {"item_id": "new-coat", "title": "A warm coat of wool", "description": "For the coldest days", "tags": ["wool"]}


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> BundleFiles:
    return read_bundle(tiny_bundle)


@pytest.fixture
def opened(bundle: BundleFiles) -> Iterator[Callable[..., RankingPipeline]]:
    """Load the bundle as often as asked, and close all at the end."""
    pipelines: list[RankingPipeline] = []

    def load(store: Path | None = None) -> RankingPipeline:
        pipelines.append(RankingPipeline(bundle.files, bundle.manifest, cuda=False))
        if store is not None:
            pipelines[-1].keep_vectors(store)
        return pipelines[-1]

    yield load
    for pipeline in pipelines:
        pipeline.close()


@pytest.fixture
def pipeline(opened: Callable[..., RankingPipeline]) -> RankingPipeline:
    return opened()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "vectors.sqlite"


def frame(*items: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(items))


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def finish(pipeline: RankingPipeline) -> None:
    wait_for(lambda: not pipeline.pending_texts)


def ask(pipeline: RankingPipeline, *candidates: str | Candidate, **fields: Any) -> RankRequest:
    return RankRequest(
        user_id="nobody",
        candidates=tuple(Candidate(item_id=each) if isinstance(each, str) else each for each in candidates),
        ts=pipeline.manifest.window.last_ts + 1,
        **fields,
    )


def rank(pipeline: RankingPipeline, *candidates: str | Candidate, **fields: Any) -> Ranking:
    return pipeline.rank(ask(pipeline, *candidates, **fields))


def outputs(pipeline: RankingPipeline, *item_ids: str, **fields: Any) -> np.ndarray:
    request = ask(pipeline, *item_ids, **fields)
    return pipeline.list_text.of_requests(
        [request], pipeline.state.look(Lists.from_requests([request], pipeline.catalog))
    )[0]


def vector(pipeline: RankingPipeline, item_id: str) -> bytes:
    (row,) = pipeline.catalog.rows([item_id])
    vectors, logits = pipeline.vectors.at(pipeline.vectors.with_text(np.array([row])))
    return vectors.tobytes() + logits.tobytes()


def apart(pipeline: RankingPipeline, text: ItemText) -> bytes:
    encoded = pipeline.text.encode([text])
    return encoded.vectors.tobytes() + encoded.item_logits.tobytes()


def text_of(pipeline: RankingPipeline, item_id: str) -> ItemText:
    return pipeline.catalog.texts(pipeline.catalog.rows([item_id]).tolist())[0]


def blocked(pipeline: RankingPipeline, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Hold the background thread back until the event is set; what it then does is real."""
    release, real = threading.Event(), pipeline.items.reader._read_each

    def held(rows: list[int]) -> list[int]:
        release.wait(30)
        return real(rows)

    monkeypatch.setattr(pipeline.items.reader, "_read_each", held)
    return release


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


def test_an_item_occupies_two_rows_however_often_it_changes(pipeline: RankingPipeline) -> None:
    given, ids = len(pipeline.catalog), [*pipeline.catalog.ids[:2], "new"]
    for version in range(200):
        pipeline.upsert(frame(*({"item_id": each, "title": f"Version {version} of {each}"} for each in ids)))
        finish(pipeline)
        if version % 50 == 7:
            pipeline.delete(ids[1:])
    finish(pipeline)

    assert len(pipeline.catalog) == given + 2 + 2
    assert len(pipeline.catalog._table.items) < given + 4 + 65 * 3
    assert [text_of(pipeline, each).title for each in ids] == [f"Version 199 of {each}" for each in ids]
    assert [vector(pipeline, each) for each in ids] == [apart(pipeline, text_of(pipeline, each)) for each in ids]
    # Nothing is kept of what they said.
    assert len(pipeline.items.reader._row_of_text) <= 6
    assert rank(pipeline, *ids, "unknown").unknown_items == ("unknown",)


def test_an_item_that_has_changed_often_ranks_as_one_that_has_changed_once(
    opened: Callable[..., RankingPipeline],
) -> None:
    often, once = opened(), opened()
    row = once.catalog.items.row(0, named=True)
    last = {**row, "title": "A coat", "category": "Coats", "tags": ["warm"]}
    for title in ("One", "Two", "Three", "Four"):
        often.upsert(frame({**row, "title": title, "category": title, "tags": [title]}))
        finish(often)
    for pipeline in (often, once):
        pipeline.upsert(frame(last))
        finish(pipeline)

    for fields in ({}, {"query": "a warm coat"}, {"history": (HistoryEntry(item_id=row["item_id"], action="click"),)}):
        tables = [
            pipeline.rank_many([ask(pipeline, *pipeline.catalog.ids[:20], **fields)])[0].table.tobytes()
            for pipeline in (often, once)
        ]
        assert tables[0] == tables[1]


def test_what_a_ranking_has_looked_up_stays_while_its_items_change(pipeline: RankingPipeline) -> None:
    item_id = pipeline.catalog.ids[0]

    def change() -> None:
        for title in ("One", "Two", "Three", "Four"):
            pipeline.upsert(frame({"item_id": item_id, "title": title}))
            finish(pipeline)

    def seen(row: int) -> tuple[str, bytes]:
        vectors, logits = pipeline.vectors.at(np.array([row]))
        return pipeline.catalog.texts([row])[0].title, vectors.tobytes() + logits.tobytes()

    with pipeline.items.reading():
        (row,) = pipeline.catalog.rows([item_id])
        before = seen(row)
        change()
        assert seen(row) == before

    change()  # the control: nobody reads any more
    assert seen(row) != before


@pytest.mark.parametrize("asked", ["rank", "explain"])
@pytest.mark.parametrize("guarded", [True, False])
def test_a_ranking_is_of_what_it_has_looked_up_though_its_items_change_meanwhile(
    pipeline: RankingPipeline, monkeypatch: pytest.MonkeyPatch, asked: str, guarded: bool
) -> None:
    ids = pipeline.catalog.ids[:3]
    request, look = ask(pipeline, *ids), pipeline.state.look

    def answer() -> str:
        said = pipeline.explain(request) if asked == "explain" else pipeline.rank_many([request])[0].table.tolist()
        return str(said)  # what is no number is not equal to itself

    def changed_meanwhile(lists: Lists) -> Any:
        seen = look(lists)
        for title in ("One", "Two", "Three", "Four"):
            pipeline.upsert(frame(*({"item_id": each, "title": title, "category": title} for each in ids)))
            finish(pipeline)
        return seen

    expected = answer()
    monkeypatch.setattr(pipeline.state, "look", changed_meanwhile)
    if not guarded:
        monkeypatch.setattr(pipeline.items, "reading", nullcontext)

    assert (answer() == expected) == guarded


def test_the_row_of_a_deleted_item_stays_while_a_history_may_lead_to_it(pipeline: RankingPipeline) -> None:
    item_id = pipeline.catalog.ids[0]
    row = pipeline.catalog.items.row(0, named=True)
    (key,), facts = keys_of([item_id]), pipeline.own_state.facts

    def come_again(*titles: str) -> None:
        for title in titles:
            pipeline.upsert(frame({**row, "title": title, "category": title}))
            finish(pipeline)

    pipeline.delete([item_id])
    with pipeline.items.reading():
        (found,) = find_all(facts.row_cells, facts.row_slots, np.array([key]))
        before = facts.categories[found]
        come_again("One", "Two")
        assert facts.categories[found] == before

    come_again("Three", "Four")
    assert facts.categories[found] != before
    assert len(pipeline.catalog) <= len(set(pipeline.catalog.ids)) + 2


def test_a_row_whose_text_is_being_read_is_not_taken(
    pipeline: RankingPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    item_id, given = pipeline.catalog.ids[0], len(pipeline.catalog)
    release = blocked(pipeline, monkeypatch)
    for title in ("One", "Two", "Three", "Four"):
        pipeline.upsert(frame({"item_id": item_id, "title": title}))
        wait_for(lambda: pipeline.items.reader._at_work)
    unread = pipeline.items.reader.unread()
    release.set()
    finish(pipeline)

    assert unread == {given, 0}  # the first, which is being read, and the last; nobody needs the others any more
    assert len(pipeline.catalog) == given + 2
    assert vector(pipeline, item_id) == apart(pipeline, ItemText(title="Four"))


def test_an_item_whose_texts_cannot_be_read_occupies_no_more_rows(
    pipeline: RankingPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    item_id, given = pipeline.catalog.ids[0], len(pipeline.catalog)
    broken = threading.Event()
    monkeypatch.setattr("recsys.text.reader._LAST_RETRY_S", 0.1)

    def fail(*_: Any) -> Any:
        broken.set()
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr(TextModel, "encode", fail)
        for version in range(30):
            pipeline.upsert(frame({"item_id": item_id, "title": f"Version {version}"}))
        assert broken.wait(30)
    finish(pipeline)

    assert len(pipeline.catalog) <= given + 3
    assert vector(pipeline, item_id) == apart(pipeline, ItemText(title="Version 29"))


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


STORM = [f"storm-{n}" for n in range(12)]
TITLES = [f"A coat, size {n}" for n in range(6)]


def change(pipeline: RankingPipeline, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(60):
        ids = rng.choice(STORM, 4, replace=False).tolist()
        if rng.random() < 0.2:
            pipeline.delete(ids)
        else:
            pipeline.upsert(frame(*({"item_id": each, "title": str(rng.choice(TITLES))} for each in ids)))


def look(pipeline: RankingPipeline, expected: bytes, possible: dict[str, bytes]) -> None:
    """Rank the changing items among others, and look at whatever may be looked at."""
    known = pipeline.catalog.ids[:5]
    sent = Candidate(item_id="sent", text=ItemText(title=TITLES[0]))
    ranking = rank(pipeline, *known, *STORM, sent, history=(HistoryEntry(item_id=STORM[0]),), query="a lamp")
    assert sorted(item.item_id for item in ranking.items) == sorted([*known, *STORM, "sent"])
    assert not set(ranking.items_without_text) & {*known, "sent"}
    with pipeline.items.reading():
        rows = pipeline.catalog.rows(STORM)
        now = pipeline.vectors
        rows = now.with_text(rows[rows >= 0])
        rows = rows[rows >= 0]
        texts = pipeline.catalog.texts(rows.tolist())
        for text, vector, logit in zip(texts, *now.at(rows), strict=True):
            assert vector.tobytes() + logit.tobytes() == possible[text.title]
    assert outputs(pipeline, *known, history=(), query="a lamp").tobytes() == expected


def test_a_storm_of_changes_disturbs_no_ranking(opened: Callable[..., RankingPipeline], store: Path) -> None:
    pipeline, plain = opened(store), opened()
    possible = {title: apart(plain, ItemText(title=title)) for title in TITLES}
    given = len(pipeline.catalog)
    rank(pipeline, *STORM)  # so that nothing is compiled while a row is read
    expected = outputs(plain, *plain.catalog.ids[:5], history=(), query="a lamp").tobytes()
    with ThreadPoolExecutor(6) as threads:
        changing = [threads.submit(change, pipeline, seed) for seed in range(3)]

        def looking() -> int:
            rounds = 0
            while not all(job.done() for job in changing):
                look(pipeline, expected, possible)
                rounds += 1
            return rounds

        rounds = [job.result(120) for job in [threads.submit(looking) for _ in range(3)]]
        assert [job.result() for job in changing] == [None] * 3
    finish(pipeline)

    assert min(rounds) > 0
    assert len(pipeline.catalog) < given + 25 * len(STORM)  # of some 600 changes; who reads may stand still for long
    for item_id in STORM:
        if pipeline.catalog.rows([item_id])[0] >= 0:
            assert vector(pipeline, item_id) == apart(plain, text_of(pipeline, item_id))


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
