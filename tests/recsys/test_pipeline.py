"""A score is the same however it is asked for: in any order, beside any other lists, from a request or offline."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.bundle import ManifestDraft, read_bundle
from recsys.errors import BundleError, InvalidRequest
from recsys.lists import Lists
from recsys.pipeline import RankingPipeline
from recsys.schema import ACTIONS, TEXT_OUTPUTS, Candidate, HistoryEntry, ItemText, Ranking, RankRequest
from recsys.text.grid import TEXT_GRID

TOLERANCE = 1e-6
NEW = [Candidate(item_id=f"new-{n}", text=ItemText(title=f"A warm coat, size {n}", tags=("wool",))) for n in range(4)]
UNHEARD = [Candidate(item_id=f"unheard-of-{n}") for n in range(3)]


@pytest.fixture(scope="module")
def pipeline(tiny_bundle: Path) -> RankingPipeline:
    return RankingPipeline.load(tiny_bundle)


@pytest.fixture(scope="module")
def stored(tiny_dataset: Path) -> pl.DataFrame:
    """Take the newest lists, a third of them with a query, a third with a history, some with an unknown item."""
    from recsys.dataset import read_dataset

    lists = read_dataset(tiny_dataset).impressions.tail(30).with_row_index("n")
    ids, third = pl.col("item_ids"), pl.col("n") % 3
    return lists.with_columns(
        query=pl.when(third == 0).then(pl.lit("a warm coat")).otherwise(pl.lit("")),
        history=pl.when(third == 1).then(ids.list.head(3)),
        item_ids=pl.when(pl.col("n") % 2 == 0).then(ids.list.concat(pl.lit(["unheard-of-0"]))).otherwise(ids),
    ).drop("n")


def as_request(row: dict[str, Any]) -> RankRequest:
    history = row["history"]
    return RankRequest(
        user_id=row["user_id"],
        candidates=tuple(Candidate(item_id=item_id) for item_id in row["item_ids"]),
        ts=(row["ts"] - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1),
        history=None if history is None else tuple(HistoryEntry(item_id=item_id) for item_id in history),
        query=row["query"],
        surface=row["surface"],
    )


def scores(ranking: Ranking) -> dict[str, float]:
    return {item.item_id: item.score for item in ranking.items}


def test_scores_served_equal_scores_computed_offline(pipeline: RankingPipeline, stored: pl.DataFrame) -> None:
    lists = Lists.from_impressions(stored, pipeline.catalog)
    offline = pipeline.score_lists(pipeline.state.look(lists))

    for place, row in enumerate(stored.iter_rows(named=True)):
        ranking = pipeline.rank(as_request(row))
        span = slice(lists.offsets[place], lists.offsets[place + 1])
        chance = {item.item_id: item.click_probability for item in ranking.items}
        for name, served in (("full", scores(ranking)), ("probability", chance)):
            expected = dict(zip(row["item_ids"], offline[name][span], strict=True))
            assert served == pytest.approx(expected, abs=TOLERANCE, rel=0)


def test_offline_scores_do_not_depend_on_the_lists_beside_them(pipeline: RankingPipeline, stored: pl.DataFrame) -> None:
    together = pipeline.score_lists(pipeline.state.look(Lists.from_impressions(stored, pipeline.catalog)))
    for part in (stored[:1], stored[1:4], stored[4:]):
        apart = pipeline.score_lists(pipeline.state.look(Lists.from_impressions(part, pipeline.catalog)))
        start = int(stored["item_ids"].list.len()[: stored["request_id"].index_of(part["request_id"][0])].sum())
        for name, values in apart.items():
            alike = together[name][start : start + len(values)]
            np.testing.assert_allclose(values, alike, rtol=0, atol=TOLERANCE)


def requests(pipeline: RankingPipeline) -> st.SearchStrategy[RankRequest]:
    """Draw requests with known, described and unheard-of candidates, with and without history and query."""
    known = [Candidate(item_id=item_id) for item_id in pipeline.catalog.ids]
    last = pipeline.manifest.window.last_ts
    entries = st.builds(
        HistoryEntry,
        item_id=st.sampled_from([*pipeline.catalog.ids, "unheard-of"]),
        action=st.sampled_from(ACTIONS[1:]),
        ts=st.sampled_from([0, last - 3_600_000_000, last]),
    )
    return st.builds(
        RankRequest,
        user_id=st.sampled_from(["user-0", "u0", "nobody", ""]),
        candidates=st.lists(
            st.sampled_from([*known, *NEW, *UNHEARD]), min_size=1, max_size=40, unique_by=lambda c: c.item_id
        ).map(tuple),
        ts=st.integers(last - 7 * 86_400_000_000, last + 86_400_000_000),
        history=st.none() | st.lists(entries, max_size=20).map(tuple),
        query=st.sampled_from(["", "coat", "a lamp for the desk"]),
        surface=st.sampled_from(["", "home"]),
    )


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_order_of_the_candidates_changes_no_score_and_no_place(pipeline: RankingPipeline, data: Any) -> None:
    request = data.draw(requests(pipeline))
    shuffled = replace(request, candidates=tuple(data.draw(st.permutations(request.candidates))))
    one, two = pipeline.rank(request), pipeline.rank(shuffled)

    assert scores(two) == pytest.approx(scores(one), abs=TOLERANCE, rel=0)
    assert [item.item_id for item in two.items] == [item.item_id for item in one.items]
    assert sorted(scores(one)) == sorted(candidate.item_id for candidate in request.candidates)
    assert all(0.0 <= item.click_probability <= 1.0 for item in one.items)
    assert [item.score for item in one.items] == sorted((item.score for item in one.items), reverse=True)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_what_the_text_says_of_an_item_does_not_depend_on_the_items_beside_it(
    pipeline: RankingPipeline, data: Any
) -> None:
    request = data.draw(requests(pipeline))
    alone = replace(request, candidates=request.candidates[:1])

    def read(asked: RankRequest) -> np.ndarray:
        return pipeline.list_text.of_requests(
            [asked], pipeline.state.look(Lists.from_requests([asked], pipeline.catalog))
        )[0]

    np.testing.assert_array_equal(read(request)[:1], read(alone))


def ask(pipeline: RankingPipeline, *candidates: Candidate, **fields: Any) -> RankRequest:
    return RankRequest(user_id="nobody", candidates=candidates, ts=pipeline.manifest.window.last_ts + 1, **fields)


def test_an_unknown_item_is_read_where_its_text_came_along_and_ranked_all_the_same_where_not(
    pipeline: RankingPipeline,
) -> None:
    known = Candidate(item_id=pipeline.catalog.ids[0])
    ranking = pipeline.rank(ask(pipeline, known, NEW[0], UNHEARD[0], UNHEARD[1]))

    assert ranking.unknown_items == ("new-0", "unheard-of-0", "unheard-of-1")
    assert ranking.text_coverage == 0.5
    assert ranking.unknown_user
    assert ranking.bundle_id == pipeline.bundle_id
    assert len(ranking.items) == 4


def test_text_sent_for_a_catalog_item_under_another_id_says_the_same(pipeline: RankingPipeline) -> None:
    text = pipeline.catalog.texts([5])[0]
    request = ask(pipeline, Candidate(item_id=pipeline.catalog.ids[5]), Candidate(item_id="twin", text=text))
    outputs, _ = pipeline.list_text.of_requests(
        [request], pipeline.state.look(Lists.from_requests([request], pipeline.catalog))
    )

    assert outputs.shape == (2, len(TEXT_OUTPUTS))
    np.testing.assert_allclose(outputs[0], outputs[1], atol=TEXT_GRID)


def test_the_catalog_knows_better_than_a_text_sent_for_a_known_item(pipeline: RankingPipeline) -> None:
    others = tuple(Candidate(item_id=item_id) for item_id in pipeline.catalog.ids[1:6])
    item_id = pipeline.catalog.ids[0]
    plain = pipeline.rank(ask(pipeline, Candidate(item_id=item_id), *others))
    sent = pipeline.rank(ask(pipeline, Candidate(item_id=item_id, text=ItemText(title="Else")), *others))

    assert scores(sent) == scores(plain)


def test_a_query_moves_what_the_text_says(pipeline: RankingPipeline) -> None:
    candidates = [Candidate(item_id=item_id) for item_id in pipeline.catalog.ids[:5]]
    asked = ask(pipeline, *candidates, query=pipeline.catalog.texts([2])[0].title)
    plain = replace(asked, query="")
    seen = pipeline.state.look(Lists.from_requests([asked], pipeline.catalog))
    with_query, without = (
        pipeline.list_text.of_requests([asked], seen)[0],
        pipeline.list_text.of_requests([plain], seen)[0],
    )

    assert np.abs(with_query - without)[:, TEXT_OUTPUTS.index("max_similarity")].max() > 0.01


def test_a_ranking_is_brief_where_no_text_is_to_be_read_and_no_store_asked(pipeline: RankingPipeline) -> None:
    known = Candidate(item_id=pipeline.catalog.ids[0])
    sent = Candidate(item_id="new", text=ItemText(title="Socks"))

    assert pipeline.is_brief(ask(pipeline, known))
    assert not pipeline.is_brief(ask(pipeline, known, sent))
    assert not pipeline.is_brief(replace(ask(pipeline, known), query="socks"))
    with pipeline.own_state._lock:  # something is being learned
        assert not pipeline.is_brief(ask(pipeline, known))
    assert pipeline.is_brief(ask(pipeline, known))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "state", object())
        assert not pipeline.is_brief(ask(pipeline, known))


def test_no_candidates_are_ranked_at_once(pipeline: RankingPipeline) -> None:
    ranking = pipeline.rank(ask(pipeline))

    assert ranking.items == ()
    assert ranking.text_coverage == 1.0
    assert pipeline.explain(ask(pipeline)) == {}


def test_top_k_cuts_the_same_ranking(pipeline: RankingPipeline) -> None:
    candidates = [Candidate(item_id=item_id) for item_id in pipeline.catalog.ids[:12]]
    whole = pipeline.rank(ask(pipeline, *candidates))

    assert pipeline.rank(ask(pipeline, *candidates, top_k=5)).items == whole.items[:5]
    assert pipeline.rank(ask(pipeline, *candidates, top_k=50)).items == whole.items


def test_equal_scores_stand_in_the_order_of_their_ids(pipeline: RankingPipeline) -> None:
    ranking = pipeline.rank(ask(pipeline, *UNHEARD[::-1]))

    assert len({item.score for item in ranking.items}) == 1
    assert [item.item_id for item in ranking.items] == [candidate.item_id for candidate in UNHEARD]


def test_a_candidate_that_occurs_twice_is_refused(pipeline: RankingPipeline) -> None:
    with pytest.raises(InvalidRequest, match="occurs twice"):
        ask(pipeline, NEW[0], UNHEARD[0], NEW[0])


def test_every_candidate_is_explained_by_what_moved_it(pipeline: RankingPipeline) -> None:
    candidates = [Candidate(item_id=item_id) for item_id in pipeline.catalog.ids[:6]]
    told = pipeline.explain(ask(pipeline, *candidates, NEW[0]))

    assert list(told) == [*pipeline.catalog.ids[:6], "new-0"]
    for reasons in told.values():
        sizes = [abs(reason.effect) for reason in reasons]
        assert sizes == sorted(sizes, reverse=True)


def test_threads_that_rank_at_once_get_what_one_gets(pipeline: RankingPipeline, stored: pl.DataFrame) -> None:
    asked = [as_request(row) for row in stored.iter_rows(named=True)]
    alone = [pipeline.rank(request).items for request in asked]
    with ThreadPoolExecutor(4) as threads:
        together = [ranking.items for ranking in threads.map(pipeline.rank, asked * 3)]

    assert together == alone * 3


ASKED = st.tuples(
    st.integers(0, 29),
    st.sampled_from([0, 1, 15, 16, 17, 40]),
    st.booleans(),
    st.sampled_from(["", "a warm coat", "tea"]),
)


@settings(max_examples=40, deadline=None)
@given(asked=st.lists(ASKED, min_size=1, max_size=12), seed=st.integers(0, 2**32))
def test_a_request_is_answered_to_the_bit_as_alone_whatever_is_ranked_beside_it(
    pipeline: RankingPipeline, stored: pl.DataFrame, asked: list[tuple[int, int, bool, str]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    requests = []
    for place, (row, count, sent, query) in enumerate(asked):
        drawn = [
            Candidate(item_id=pipeline.catalog.ids[each]) for each in rng.permutation(len(pipeline.catalog))[:count]
        ]
        request = replace(as_request(stored.row(row, named=True)), request_id=f"r{place}", query=query)
        requests.append(replace(request, candidates=[*drawn, *NEW, *UNHEARD] if sent else drawn))

    for request, together in zip(requests, pipeline.rank_many(requests), strict=True):
        alone = pipeline.rank_many([request])[0]
        assert together.table.tobytes() == alone.table.tobytes()
        assert together.scores.tobytes() == alone.scores.tobytes()
        assert together.ranking().items == alone.ranking().items
        assert replace(together.ranking(), stage_seconds={}) == replace(alone.ranking(), stage_seconds={})


def test_features_of_another_build_are_refused(tiny_bundle: Path) -> None:
    bundle = read_bundle(tiny_bundle)
    fields = {name: value for name, value in bundle.manifest if name in ManifestDraft.model_fields}
    other = ManifestDraft(**{**fields, "feature_fingerprint": "0" * 16})

    with pytest.raises(BundleError, match="was trained with features 0000000000000000"):
        RankingPipeline(bundle.files, other)


def test_golden_requests_are_answered_as_in_training(pipeline: RankingPipeline) -> None:
    from recsys.verification import compare

    assert len(pipeline.manifest.golden) >= 8
    assert [compare(golden, pipeline.rank(golden.request)) for golden in pipeline.manifest.golden] == [""] * len(
        pipeline.manifest.golden
    )
