"""The calls that change items, for both clients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from recsys.schema import Item
from serving.convert_items import ids_to_wire, items_to_wire, upserted_from_wire
from serving.info import Upserted


class _Caller(Protocol):
    def _call(self, method: str, message: Any) -> Any: ...


class ItemCalls:
    """What ``RankingClient`` can do with items."""

    def upsert_items(self: _Caller, items: Sequence[Item]) -> Upserted:
        """Add items, or replace what is known of them; at most 1,000, all or none. The next ranking knows them.

        Raises:
            InvalidRequest: an item does not fit the model's item table; nothing has changed.
            NotReady: nothing serves at the address, or not yet, or not any more.
            ServiceError: anything else.
        """
        return upserted_from_wire(self._call("UpsertItems", items_to_wire(items)))

    def delete_items(self: _Caller, item_ids: Sequence[str]) -> int:
        """Take items out, at most 1,000, and count those that were there; otherwise as ``upsert_items``."""
        return int(self._call("DeleteItems", ids_to_wire(item_ids)).deleted)


class AsyncItemCalls:
    """What ``AsyncRankingClient`` can do with items."""

    async def upsert_items(self: _Caller, items: Sequence[Item]) -> Upserted:
        """Add items, or replace what is known of them, as ``ItemCalls.upsert_items``."""
        return upserted_from_wire(await self._call("UpsertItems", items_to_wire(items)))

    async def delete_items(self: _Caller, item_ids: Sequence[str]) -> int:
        """Take items out, as ``ItemCalls.delete_items``."""
        return int((await self._call("DeleteItems", ids_to_wire(item_ids))).deleted)
