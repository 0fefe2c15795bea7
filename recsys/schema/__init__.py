"""The nouns that every part of the product shares: what is asked, what is ranked, what is answered."""

from recsys.schema.items import Candidate, Candidates, Item, ItemText
from recsys.schema.limits import MAX_CANDIDATES, MAX_HISTORY, MAX_ID_BYTES, MAX_TEXT_BYTES, check_id, check_text
from recsys.schema.rankings import CLIENT_FALLBACK, NO_STATE, TEXT_OUTPUTS, RankedItem, RankedItems, Ranking, Reason
from recsys.schema.requests import ACTION_CODE, ACTIONS, HistoryEntry, RankRequest
from recsys.schema.rungs import Rung, RungReason

__all__ = [
    "ACTIONS",
    "ACTION_CODE",
    "CLIENT_FALLBACK",
    "MAX_CANDIDATES",
    "MAX_HISTORY",
    "MAX_ID_BYTES",
    "MAX_TEXT_BYTES",
    "NO_STATE",
    "TEXT_OUTPUTS",
    "Candidate",
    "Candidates",
    "HistoryEntry",
    "Item",
    "ItemText",
    "RankRequest",
    "RankedItem",
    "RankedItems",
    "Ranking",
    "Reason",
    "Rung",
    "RungReason",
    "check_id",
    "check_text",
]
