"""Every rung ranks every candidate, the same in any company, by no more than it is allowed to know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.bundle import ManifestDraft, read_bundle
from recsys.calibration import Calibration
from recsys.errors import TextFault
from recsys.features.table import TEXT_COLUMNS
from recsys.lists import Lists
from recsys.pipeline import RankingPipeline
from recsys.rungs import BEST, best_count, best_of
from recsys.schema import Candidate, HistoryEntry, ItemText, RankRequest, Rung, RungReason

NEW = [Candidate(item_id=f"new-{n}", text=ItemText(title=f"A warm coat, size {n}")) for n in range(3)]
UNHEARD = [Candidate(item_id=f"unheard-of-{n}") for n in range(2)]
RUNGS = st.sampled_from(list(Rung))


@pytest.fixture(scope="module")
def pipeline(tiny_bundle: Path) -> RankingPipeline:
    return RankingPipeline.load(tiny_bundle)


@pytest.fixture
def broken(tiny_bundle: Path) -> RankingPipeline:
    """A pipeline of this test's own, whose parts may be broken."""
    return RankingPipeline.load(tiny_bundle)


def ask(pipeline: RankingPipeline, *candidates: Candidate, **fields: Any) -> RankRequest:
    return RankRequest(
        **{"user_id": "u1", "ts": pipeline.manifest.window.last_ts + 1, "candidates": candidates, **fields}
    )


def known(pipeline: RankingPipeline, count: int) -> list[Candidate]:
    return [Candidate(item_id=item_id) for item_id in pipeline.catalog.ids[:count]]


def requests(pipeline: RankingPipeline) -> st.SearchStrategy[RankRequest]:
    some = st.lists(st.sampled_from([*known(pipeline, 80), *NEW, *UNHEARD]), max_size=75, unique_by=lambda c: c.item_id)
    entry = HistoryEntry(item_id=pipeline.catalog.ids[3], action="cart")
    return st.builds(
        ask,
        st.just(pipeline),
        user_id=st.sampled_from(["u1", "nobody", ""]),
        candidates=some.map(tuple),
        query=st.sampled_from(["", "coat"]),
        history=st.sampled_from([None, (), (entry,)]),
    )


@settings(max_examples=60, deadline=None)
@given(data=st.data(), rung=RUNGS)
def test_every_candidate_is_ranked_once_best_first_by_finite_scores(
    pipeline: RankingPipeline, data: Any, rung: Rung
) -> None:
    request = data.draw(requests(pipeline))
    shuffled = replace(request, candidates=tuple(data.draw(st.permutations(list(request.candidates)))))
    ranking = pipeline.rank_many([request], rung, RungReason.LOAD)[0].ranking()
    scores = [item.score for item in ranking.items]

    assert sorted(item.item_id for item in ranking.items) == sorted(request.item_ids)
    assert scores == sorted(scores, reverse=True)
    assert np.isfinite(scores).all()
    assert all(0.0 <= item.click_probability <= 1.0 for item in ranking.items)
    assert (ranking.rung, ranking.rung_reason) == (rung, RungReason.LOAD)
    for one, next_one in pairwise(ranking.items):
        assert one.score > next_one.score or one.item_id < next_one.item_id
    assert pipeline.rank_many([shuffled], rung, RungReason.LOAD)[0].ranking().items == ranking.items


@settings(max_examples=30, deadline=None)
@given(data=st.data(), rung=RUNGS)
def test_on_every_rung_a_request_is_answered_to_the_bit_as_alone(
    pipeline: RankingPipeline, data: Any, rung: Rung
) -> None:
    asked = data.draw(st.lists(requests(pipeline), min_size=2, max_size=5))
    for request, together in zip(asked, pipeline.rank_many(asked, rung), strict=True):
        alone = pipeline.rank_many([request], rung)[0]
        assert together.table.tobytes() == alone.table.tobytes()
        assert together.scores.tobytes() == alone.scores.tobytes()
        assert replace(together.ranking(), stage_seconds={}) == replace(alone.ranking(), stage_seconds={})


def test_the_first_rung_is_what_a_plain_ranking_is(pipeline: RankingPipeline) -> None:
    request = ask(pipeline, *known(pipeline, 20), *NEW, query="coat")
    plain, full = pipeline.rank(request), pipeline.rank_many([request], Rung.FULL)[0].ranking()

    assert replace(plain, stage_seconds={}) == replace(full, stage_seconds={})
    assert (plain.rung, plain.rung_reason) == (Rung.FULL, None)


def encoded(pipeline: RankingPipeline, request: RankRequest, rung: Rung) -> int:
    before = pipeline.items.reader.encoded
    pipeline.rank_many([request], rung)
    return pipeline.items.reader.encoded - before


def test_texts_that_come_along_are_read_for_all_for_the_best_or_for_none(pipeline: RankingPipeline) -> None:
    sent = [Candidate(item_id=f"sent-{n:02}", text=ItemText(title=f"Lamp {n}")) for n in range(10)]
    request = ask(pipeline, *sent, query="a lamp")

    assert [encoded(pipeline, request, rung) for rung in Rung] == [11, 6, 0, 0, 0]


def test_a_query_counts_as_long_as_it_is_read(pipeline: RankingPipeline) -> None:
    plain = ask(pipeline, *known(pipeline, 20))
    asked = replace(plain, query=pipeline.catalog.texts([2])[0].title)

    def same(rung: Rung) -> bool:
        one, other = pipeline.rank_many([plain, asked], rung)
        return one.scores.tobytes() == other.scores.tobytes()

    assert [same(rung) for rung in Rung] == [False, False, True, True, True]


def test_the_text_coverage_is_that_of_the_rung(pipeline: RankingPipeline) -> None:
    request = ask(pipeline, *known(pipeline, 18), NEW[0], UNHEARD[0])
    rankings = [pipeline.rank_many([request], rung)[0].ranking() for rung in Rung]

    assert [ranking.text_coverage for ranking in rankings][2:] == [0.9, 0.0, 0.0]
    assert rankings[0].text_coverage == 0.95
    assert 0.4 <= rankings[1].text_coverage <= 0.5
    assert all(ranking.items_without_text == () for ranking in rankings)
    assert all(ranking.unknown_items == ("new-0", "unheard-of-0") for ranking in rankings)


def test_where_the_best_have_text_they_stand_as_the_full_ranker_orders_them_and_above_all_others(
    pipeline: RankingPipeline,
) -> None:
    request = ask(pipeline, *known(pipeline, 80))
    scored = pipeline.rank_many([request], Rung.BEST_TEXT)[0]
    alone = pipeline.rank_many([request], Rung.BEHAVIOUR)[0].ranking()
    best = [item.item_id for item in alone.items[:BEST]]
    order = [item.item_id for item in scored.ranking().items]

    assert set(order[:BEST]) == set(best)
    assert order[:BEST] != best
    assert order[BEST:] == [item.item_id for item in alone.items[BEST:]]
    assert (~np.isnan(scored.table[:, 0])).sum() == BEST
    full = pipeline.ranker.predict(scored.table)
    place = {item_id: number for number, item_id in enumerate(request.item_ids)}
    assert [full[place[item_id]] for item_id in order[:BEST]] == sorted((full[place[i]] for i in best), reverse=True)


def test_the_best_are_half_of_a_list_at_most_thirty_two_and_equal_ones_go_by_their_ids() -> None:
    assert [best_count(candidates) for candidates in (0, 1, 2, 3, 24, 64, 1_000)] == [0, 1, 1, 2, 12, 32, 32]
    ids = [["c", "a", "b", "d"], ["z"], []]
    assert best_of(np.array([1.0, 1.0, 1.0, 2.0, 0.0]), ids, np.array([0, 4, 5, 5])).tolist() == [
        False, True, False, True, True,
    ]  # fmt: skip


def test_the_behaviour_rung_asks_no_text_model_and_is_its_own_ranker(broken: RankingPipeline) -> None:
    request = ask(broken, *known(broken, 30), *NEW, query="coat")
    broken.list_text.of_requests = None  # type: ignore[method-assign, assignment]
    scored = broken.rank_many([request], Rung.BEHAVIOUR)[0]
    features = scored.table[:, len(TEXT_COLUMNS) :]

    assert scored.scores.tolist() == broken.behaviour_ranker.predict(np.ascontiguousarray(features)).tolist()
    assert np.isnan(scored.table[:, :5]).all()


def test_the_behaviour_rung_has_a_calibration_of_its_own_and_borrows_one_in_an_old_bundle(tiny_bundle: Path) -> None:
    bundle = read_bundle(tiny_bundle)
    fields = ManifestDraft(**{name: value for name, value in bundle.manifest if name in ManifestDraft.model_fields})
    old = {name: data for name, data in bundle.files.items() if name != "behaviour_calibration.json"}
    own = Calibration.from_json(bundle.files["behaviour_calibration.json"])
    new_one, old_one = RankingPipeline(bundle.files, fields, cuda=False), RankingPipeline(old, fields, cuda=False)
    request = ask(new_one, *known(new_one, 40))
    mine, borrowed = (each.rank_many([request], Rung.BEHAVIOUR)[0] for each in (new_one, old_one))

    assert mine.scores.tolist() == borrowed.scores.tolist()
    assert mine.probabilities.tolist() == own.probability(mine.scores).tolist()
    assert borrowed.probabilities.tolist() == new_one.calibration.probability(mine.scores).tolist()
    assert mine.probabilities.tolist() != borrowed.probabilities.tolist()


def test_popularity_is_the_feature_of_that_name_without_the_others_and_without_trees(broken: RankingPipeline) -> None:
    request = ask(broken, *known(broken, 30), UNHEARD[0])
    full = broken.rank_many([request])[0]
    rate = broken.ranker.names.index("item_rate")
    broken.rungs._full.predict = broken.rungs._alone.predict = None  # type: ignore[method-assign, assignment]
    scored = broken.rank_many([request], Rung.POPULARITY)[0]

    np.testing.assert_array_equal(scored.table[:-1, rate], full.table[:-1, rate])
    assert np.isnan(np.delete(scored.table, rate, axis=1)).all()
    assert 0 < scored.scores[-1] < 1  # an unknown item has the rate of all
    assert scored.probabilities == pytest.approx(scored.table[:, rate])


def test_stored_lists_are_scored_on_every_rung_as_requests_are(pipeline: RankingPipeline) -> None:
    asked = [
        ask(pipeline, *known(pipeline, 80), query="a warm coat"),
        ask(pipeline, *known(pipeline, 7), *UNHEARD, user_id="u2"),
    ]
    lists = Lists.from_requests(asked, pipeline.catalog)
    offline = pipeline.score_rungs(pipeline.state.look(lists))

    for rung in Rung:
        served = np.concatenate([scored.scores for scored in pipeline.rank_many(asked, rung)])
        np.testing.assert_allclose(offline[rung], served, rtol=0, atol=1e-6)


def raises(*_: object, **__: object) -> None:
    raise RuntimeError("cannot read: a secret coat")


def says_nothing(*_: object, **__: object) -> np.ndarray:
    return np.full((12, 5), np.nan, np.float32)


@pytest.mark.parametrize("fault", [raises, says_nothing])
def test_a_text_model_that_fails_is_named_without_what_it_read_and_the_rungs_without_text_go_on(
    broken: RankingPipeline, fault: Callable[..., Any]
) -> None:
    request = ask(broken, *known(broken, 12))
    object.__setattr__(broken.text, "head", None)
    broken.list_text._model = type("Broken", (), {"score": staticmethod(fault)})()  # type: ignore[assignment]

    for rung in (Rung.FULL, Rung.CACHED_TEXT):
        with pytest.raises(TextFault, match="text model") as caught:
            broken.rank_many([request], rung)
        assert "secret" not in str(caught.value)
    for rung in (Rung.BEHAVIOUR, Rung.POPULARITY):
        assert len(broken.rank_many([request], rung)[0].ranking().items) == 12
