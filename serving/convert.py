"""Wire messages to domain nouns and back; the limits that only the wire has are checked here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from recsys.errors import InvalidRequest
from recsys.events import time_ordered_id
from recsys.schema import (
    ACTION_CODE,
    ACTIONS,
    MAX_CANDIDATES,
    MAX_HISTORY,
    MAX_TEXT_BYTES,
    NO_STATE,
    Candidates,
    HistoryEntry,
    ItemText,
    RankedItem,
    RankedItems,
    Ranking,
    RankRequest,
    Reason,
    Rung,
    RungReason,
)
from serving.info import ModelInfo
from serving.pb import ranking_pb2 as pb

MAX_REASONS = 20

# 1971 to 2199: seconds, milliseconds and nanoseconds since 1970 all fall outside.
_EARLIEST_US = 31_536_000_000_000
_LATEST_US = 7_258_118_400_000_000

_ACTION_OF_CODE = {code: ACTIONS[code] for code in pb.Action.values() if code} | {pb.ACTION_UNSPECIFIED: "click"}

_DEGRADATION = {NO_STATE: pb.DEGRADATION_NO_STATE}
_RUNG = {
    Rung.FULL: pb.RUNG_FULL,
    Rung.BEST_TEXT: pb.RUNG_BEST_TEXT,
    Rung.CACHED_TEXT: pb.RUNG_CACHED_TEXT,
    Rung.BEHAVIOUR: pb.RUNG_BEHAVIOUR,
    Rung.POPULARITY: pb.RUNG_POPULARITY,
}
_RUNG_OF_CODE = {code: rung for rung, code in _RUNG.items()}
_RUNG_REASON = {
    RungReason.DEADLINE: pb.RUNG_REASON_DEADLINE,
    RungReason.LOAD: pb.RUNG_REASON_LOAD,
    RungReason.FAULT: pb.RUNG_REASON_FAULT,
}
_RUNG_REASON_OF_CODE = {code: reason for reason, code in _RUNG_REASON.items()}


def request_from_wire(message: pb.RankRequest, *, now_us: int) -> RankRequest:
    """Read a request, with ``now_us`` as its time and a made request id where it says none.

    Raises:
        InvalidRequest: a field is outside the limits that ranking.proto documents.
    """
    # Counted before the nouns are built: a small message can declare half a million candidates.
    count = len(message.candidates) + len(message.candidate_ids)
    if count > MAX_CANDIDATES:
        raise InvalidRequest(f"{count} candidates are more than {MAX_CANDIDATES}; send fewer, or use batch scoring")
    ts = _checked_time("time_us", message.time_us) or now_us
    history = None
    if message.HasField("history"):
        history = _history_from_wire(message.history, ts)
    elif not message.user_id:
        history = ()  # whatever a log holds under the empty id is not this visitor's
    return RankRequest(
        user_id=message.user_id,
        candidates=_candidates_from_wire(message),
        ts=ts,
        request_id=message.request_id or time_ordered_id(now_us),
        history=history,
        query=message.query,
        surface=message.surface,
        top_k=message.top_k,
        bundle=message.bundle,
    )


def reasons_wanted(message: pb.RankRequest) -> int:
    """Return how many reasons each item shall come with.

    Raises:
        InvalidRequest: the number is negative or above ``MAX_REASONS``.
    """
    if not 0 <= message.reasons_per_item <= MAX_REASONS:
        raise InvalidRequest(f"reasons_per_item is {message.reasons_per_item}; send 0 to {MAX_REASONS}")
    if message.reasons_per_item and message.candidate_ids:
        raise InvalidRequest("there are no reasons for candidate_ids; send the items as candidates")
    return message.reasons_per_item


def request_to_wire(request: RankRequest, *, reasons_per_item: int = 0, columns: bool = False) -> pb.RankRequest:
    """Write a request; with ``columns``, in the fast form where nothing in it asks for the other one."""
    message = pb.RankRequest(
        request_id=request.request_id,
        user_id=request.user_id,
        query=request.query,
        surface=request.surface,
        time_us=request.ts,
        top_k=request.top_k,
        reasons_per_item=reasons_per_item,
        bundle=request.bundle,
    )
    columns = columns and not request.texts and not reasons_per_item
    if columns:
        message.candidate_ids.extend(request.item_ids)
    for candidate in () if columns else request.candidates:
        written = message.candidates.add(item_id=candidate.item_id)
        if (text := candidate.text) is not None:
            written.text.CopyFrom(
                pb.ItemText(title=text.title, description=text.description, category=text.category, tags=text.tags)
            )
    if request.history is not None:
        message.history.SetInParent()  # present though empty: the user is known to have no history
        for entry in request.history:
            code = pb.Action.ValueType(ACTION_CODE[entry.action])
            if code not in _ACTION_OF_CODE:
                raise InvalidRequest(f"a history entry cannot be a {entry.action}; send it in the field made for it")
            message.history.entries.add(item_id=entry.item_id, action=code, time_us=entry.ts)
    return message


def ranking_to_wire(
    ranking: Ranking,
    reasons: Mapping[str, tuple[Reason, ...]],
    *,
    per_item: int,
    candidate_ids: Sequence[str] = (),
) -> pb.RankResponse:
    """Write an answer, with at most ``per_item`` reasons each, or in columns where ``candidate_ids`` were sent."""
    message = pb.RankResponse(
        request_id=ranking.request_id,
        bundle_id=ranking.bundle_id,
        text_coverage=ranking.text_coverage,
        unknown_items=ranking.unknown_items,
        items_without_text=ranking.items_without_text,
        unknown_user=ranking.unknown_user,
        stage_seconds=ranking.stage_seconds,
        degraded=[_DEGRADATION[name] for name in ranking.degraded],
        state_versions=ranking.state_versions,
        variant=ranking.variant,
        rung=_RUNG[ranking.rung],
        rung_reason=None if ranking.rung_reason is None else _RUNG_REASON[ranking.rung_reason],
    )
    items = RankedItems.of(ranking.items)
    scores, probabilities = items.scores.tolist(), items.click_probabilities.tolist()
    if candidate_ids:
        message.columns.places.extend(items.places_among(candidate_ids))
        message.columns.scores.extend(scores)
        message.columns.click_probabilities.extend(probabilities)
        return message
    add = message.items.add
    for item_id, score, probability in zip(items.item_ids, scores, probabilities, strict=True):
        written = add()
        # Set one by one: by keyword they cost a third more.
        written.item_id, written.score, written.click_probability = item_id, score, probability
        if per_item:
            for reason in reasons.get(item_id, ())[:per_item]:
                written.reasons.add(feature=reason.feature, value=reason.value, effect=reason.effect)
    return message


def ranking_from_wire(message: pb.RankResponse, candidate_ids: Sequence[str] = ()) -> Ranking:
    """Read an answer, in columns where these ``candidate_ids`` were sent."""
    columns = message.columns
    return Ranking(
        request_id=message.request_id,
        bundle_id=message.bundle_id,
        items=RankedItems(
            candidate_ids,
            np.array(columns.places, np.int64),
            np.array(columns.scores),
            np.array(columns.click_probabilities),
        )
        if columns.places
        else RankedItems.of(
            RankedItem(item_id=item.item_id, score=item.score, click_probability=item.click_probability)
            for item in message.items
        ),
        text_coverage=message.text_coverage,
        unknown_items=tuple(message.unknown_items),
        items_without_text=tuple(message.items_without_text),
        unknown_user=message.unknown_user,
        stage_seconds=dict(message.stage_seconds),
        # A newer server may name what this client has never heard of.
        degraded=tuple(name for name, code in _DEGRADATION.items() if code in message.degraded),
        state_versions=dict(message.state_versions),
        variant=message.variant,
        rung=_RUNG_OF_CODE.get(message.rung, Rung.FULL),
        rung_reason=_RUNG_REASON_OF_CODE.get(message.rung_reason),
    )


def reasons_from_wire(message: pb.RankResponse) -> dict[str, tuple[Reason, ...]]:
    """Read the reasons of an answer, by item id."""
    return {
        item.item_id: tuple(
            Reason(feature=reason.feature, value=reason.value, effect=reason.effect) for reason in item.reasons
        )
        for item in message.items
    }


def info_to_wire(info: ModelInfo) -> pb.GetModelInfoResponse:
    """Write a model's description."""
    return pb.GetModelInfoResponse(
        bundle_id=info.bundle_id,
        created_us=info.created_us,
        metrics=info.metrics,
        feature_names=info.feature_names,
        text_model_fingerprint=info.text_model_fingerprint,
        history_length=info.history_length,
        providers=info.providers,
        code_version=info.code_version,
    )


def info_from_wire(message: pb.GetModelInfoResponse) -> ModelInfo:
    """Read a model's description."""
    return ModelInfo(
        bundle_id=message.bundle_id,
        created_us=message.created_us,
        metrics=dict(message.metrics),
        feature_names=tuple(message.feature_names),
        text_model_fingerprint=message.text_model_fingerprint,
        history_length=message.history_length,
        providers=tuple(message.providers),
        code_version=message.code_version,
    )


def _checked_time(field: str, value: int) -> int:
    if value != 0 and not _EARLIEST_US <= value < _LATEST_US:
        raise InvalidRequest(f"{field} is {value}, which is not in the years 1971 to 2199; send UTC microseconds")
    return value


def _candidates_from_wire(message: pb.RankRequest) -> Candidates:
    if message.candidate_ids:
        if message.candidates:
            raise InvalidRequest("both candidates and candidate_ids are set; send the one or the other")
        return Candidates(list(message.candidate_ids))
    ids, texts = [], {}
    for place, candidate in enumerate(message.candidates):
        ids.append(candidate.item_id)
        if candidate.HasField("text"):
            texts[place] = _text_from_wire(candidate.text)
    return Candidates(ids, texts)


def _text_from_wire(text: pb.ItemText) -> ItemText:
    if len(text.tags) > MAX_TEXT_BYTES:  # told before there is an object of each
        raise InvalidRequest(f"{len(text.tags)} tags are more than {MAX_TEXT_BYTES} bytes hold; send fewer")
    return ItemText(title=text.title, description=text.description, category=text.category, tags=tuple(text.tags))


def _history_from_wire(history: pb.History, request_us: int) -> tuple[HistoryEntry, ...]:
    if len(history.entries) > MAX_HISTORY:
        raise InvalidRequest(f"the history is longer than {MAX_HISTORY}; send the newest entries")
    entries = []
    for entry in history.entries:
        action = _ACTION_OF_CODE.get(entry.action)
        if action is None:
            raise InvalidRequest(
                f"a history entry's action {entry.action} is unknown; send a value of recsys.v1.Action"
            )
        ts = min(_checked_time("a history entry's time_us", entry.time_us), request_us)
        entries.append(HistoryEntry(item_id=entry.item_id, action=action, ts=ts))
    return tuple(entries)
