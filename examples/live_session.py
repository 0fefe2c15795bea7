"""A live session: a user clicks three things of one kind, and a new item comes in.

Usage: python examples/live_session.py ADDRESS ITEMS.parquet
   as: python examples/live_session.py 127.0.0.1:50051 demo/dataset/items.parquet

Everything goes over gRPC. The user is new, so the server knows nothing of her when the session begins.
"""

from __future__ import annotations

import sys
import time
import uuid

import polars as pl

from recsys.events import Click, Event, Impression
from recsys.schema import Item, ItemText
from serving.client import RankingClient

SHOWN = 24


def main(address: str, items: str) -> int:
    """Rank, tell what was shown and clicked, rank again; then add an item and rank once more."""
    table = pl.read_parquet(items)
    kinds = table["category"].value_counts(sort=True)["category"].to_list()[:4]
    ids = [item for kind in kinds for item in table.filter(pl.col("category") == kind)["item_id"][: SHOWN // 4]]
    kind_of = dict(zip(table["item_id"], table["category"], strict=True))
    title_of = dict(zip(table["item_id"], table["title"], strict=True))
    user, liked = f"visitor-{uuid.uuid4().hex[:6]}", kinds[2]
    clicked = table.filter((pl.col("category") == liked) & ~pl.col("item_id").is_in(ids))["item_id"][:3].to_list()

    with RankingClient(address, deadline_s=10) as client:
        before = [item.item_id for item in client.rank(user, ids).items]
        print(f"{user} is new. The places of {liked!r} among {len(ids)} items: {places(before, kind_of, liked)}")
        for item in clicked:
            client.record(clicked_in_a_list(user, item, [each for each in before if each not in clicked][:5]))
            print(f"  clicks {title_of[item]!r}")
        after = [item.item_id for item in client.rank(user, ids).items]
        print(f"The next ranking puts {liked!r} at {places(after, kind_of, liked)}")

        title = f"{title_of[clicked[0]]}, Second Edition"
        text = ItemText(title=title, category=liked, description=f"Like {title_of[clicked[1]]}.")
        told = client.upsert_items([Item(item_id="brand-new", text=text)])
        print(f"A new item comes in: {title!r}; {told.pending_texts} text to read")
        first = client.rank(user, [*ids, "brand-new"])
        while "brand-new" in (answer := client.rank(user, [*ids, "brand-new"])).items_without_text:
            time.sleep(0.01)
        for name, ranking in (("at once", first), ("its text read", answer)):
            order = [item.item_id for item in ranking.items]
            print(f"  {name}: place {order.index('brand-new') + 1} of {len(order)}")
        client.delete_items(["brand-new"])
    return 0


def places(order: list[str], kind_of: dict[str, str], kind: str) -> list[int]:
    """Return where the items of a kind stand, from 1."""
    return [place for place, item in enumerate(order, start=1) if kind_of[item] == kind]


def clicked_in_a_list(user: str, item: str, others: list[str]) -> list[Event]:
    """Tell of a list that showed an item among others, and of a click on it."""
    now, request = time.time_ns() // 1_000, uuid.uuid4().hex
    shown = (item, *others)
    return [
        Impression(event_id=f"{request}-shown", request_id=request, user_id=user, ts=now, item_ids=shown),
        Click(event_id=f"{request}-click", request_id=request, item_id=item, ts=now),
    ]


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
