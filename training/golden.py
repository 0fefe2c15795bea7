"""Requests that a bundle must answer again as it did in training, before a server may use it."""

from __future__ import annotations

import polars as pl

from recsys.bundle import GoldenRequest
from recsys.pipeline import RankingPipeline
from recsys.schema import Candidate, HistoryEntry, ItemText, RankRequest

NEWEST = 6
AFTER_US = 60_000_000


def golden_requests(impressions: pl.DataFrame, pipeline: RankingPipeline) -> tuple[GoldenRequest, ...]:
    """Make requests of the newest lists, and of what else a caller may send, and record the pipeline's answers."""
    requests = [_stored(row) for row in impressions.tail(NEWEST).iter_rows(named=True)]
    first = requests[0]
    later = first.ts + AFTER_US
    texts = pipeline.catalog.texts([0])
    unheard = Candidate(item_id="golden-unheard-of", text=ItemText(title=f"New: {texts[0].title}"[:2_000]))
    entry = HistoryEntry(item_id=first.candidates[0].item_id, ts=first.ts)
    requests += [
        RankRequest(user_id="", candidates=first.candidates, ts=later),
        RankRequest(user_id="golden-new-user", candidates=(*first.candidates, unheard)[-1_000:], ts=later),
        RankRequest(user_id="golden-new-user", candidates=first.candidates, ts=later, history=(entry,)),
        RankRequest(user_id=first.user_id, candidates=first.candidates, ts=later, query=texts[0].title[:2_000]),
    ]
    return tuple(_answered(request, pipeline) for request in requests)


def _stored(row: dict[str, object]) -> RankRequest:
    ids, history, ts = row["item_ids"], row["history"], row["ts"]
    assert isinstance(ids, list)  # noqa: S101  # the canonical form of an impressions table
    return RankRequest(
        user_id=str(row["user_id"]),
        candidates=tuple(Candidate(item_id=item_id) for item_id in dict.fromkeys(ids))[:1_000],
        ts=round(ts.timestamp() * 1e6),  # type: ignore[attr-defined]
        history=tuple(HistoryEntry(item_id=item_id) for item_id in history[-1_000:])
        if isinstance(history, list)
        else None,
        query=str(row["query"]),
        surface=str(row["surface"]),
    )


def _answered(request: RankRequest, pipeline: RankingPipeline) -> GoldenRequest:
    ranking = pipeline.rank(request)
    return GoldenRequest(
        request=request,
        scores={item.item_id: item.score for item in ranking.items},
        order=tuple(item.item_id for item in ranking.items),
        probabilities={item.item_id: item.click_probability for item in ranking.items},
    )
