"""Items of the catalog as wire messages, and back; a client needs no table for it."""

from __future__ import annotations

from collections.abc import Sequence

from recsys.errors import InvalidRequest
from recsys.schema import Item, check_id
from serving.info import Upserted
from serving.pb import ranking_pb2 as pb

MAX_ITEMS = 1_000


def items_to_wire(items: Sequence[Item]) -> pb.UpsertItemsRequest:
    """Write items."""
    message = pb.UpsertItemsRequest()
    for item in items:
        text = item.text
        written = message.items.add(item_id=item.item_id, published_us=item.published_us)
        written.text.CopyFrom(
            pb.ItemText(title=text.title, description=text.description, category=text.category, tags=text.tags)
        )
        for name, value in item.attributes.items():
            written.attributes[name].CopyFrom(_written(value))
    return message


def ids_from_wire(message: pb.DeleteItemsRequest) -> list[str]:
    """Read the ids of items to take out.

    Raises:
        InvalidRequest: there are too many, or one is no id.
    """
    check_count(len(message.item_ids), "item_ids")
    for item_id in message.item_ids:
        check_id("an item_id", item_id)
    return list(message.item_ids)


def ids_to_wire(item_ids: Sequence[str]) -> pb.DeleteItemsRequest:
    """Write the ids of items to take out."""
    return pb.DeleteItemsRequest(item_ids=item_ids)


def upserted_from_wire(message: pb.UpsertItemsResponse) -> Upserted:
    """Read what became of items."""
    return Upserted(changed=message.changed, pending_texts=message.pending_texts)


def check_count(count: int, what: str) -> None:
    """Refuse a call with too many items; raises InvalidRequest."""
    if count > MAX_ITEMS:
        raise InvalidRequest(f"{count} {what} are more than {MAX_ITEMS}; send them in several calls")


def _written(value: float | bool | str | Sequence[str] | None) -> pb.Attribute:
    if value is None:
        return pb.Attribute()
    if isinstance(value, bool):
        return pb.Attribute(flag=value)
    if isinstance(value, str):
        return pb.Attribute(text=value)
    if isinstance(value, Sequence):
        return pb.Attribute(texts=pb.Texts(texts=value))
    return pb.Attribute(number=value)
