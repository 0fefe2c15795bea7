"""Items come and go over a real channel; what cannot be taken is refused by name, and nothing of it is taken."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from structlog.testing import capture_logs

from recsys.errors import InvalidRequest
from recsys.schema import Item, ItemText
from serving.client import AsyncRankingClient, RankingClient
from serving.info import Upserted
from serving.pb import ranking_pb2 as pb
from serving.pb import ranking_pb2_grpc as pb_grpc


def item(item_id: str, title: str = "A kettle", **fields: Any) -> Item:
    return Item(item_id=item_id, text=ItemText(title=title), **fields)


def test_an_item_is_new_then_known_then_gone(client: RankingClient) -> None:
    assert client.rank("u", ["new-1", "a"]).unknown_items == ("new-1",)

    assert client.upsert_items([item("new-1"), item("new-2", "A cup")]) == Upserted(changed=2, pending_texts=0)
    assert client.upsert_items([item("new-1"), item("new-2", "A mug")]).changed == 1
    assert client.rank("u", ["new-1", "a"]).unknown_items == ()

    assert client.delete_items(["new-1", "new-1", "new-2", "never-there"]) == 2
    assert client.rank("u", ["new-1", "a"]).unknown_items == ("new-1",)


def test_items_whose_text_is_not_read_are_named(client: RankingClient) -> None:
    assert client.upsert_items([item("new-3", "unread")]).pending_texts == 1
    assert client.rank("u", ["a", "new-3"]).items_without_text == ("new-3",)
    client.delete_items(["new-3"])


def test_every_field_of_an_item_arrives(client: RankingClient, running: Any) -> None:
    text = ItemText(title="T", description="D", category="C", tags=("x", "y"))
    attributes = {"price": 12.5, "pages": 300, "signed": False, "brand": "B", "colours": ("red", "blue")}
    client.upsert_items([Item(item_id="full", text=text, published_us=-600_000_000_000_000, attributes=attributes)])
    (row,) = running.model.catalog.rows(["full"]).tolist()
    kept = running.model.catalog.items.row(row, named=True)
    published = kept.pop("published_at")

    assert kept == {
        "item_id": "full", "title": "T", "description": "D", "category": "C", "tags": ["x", "y"],
        **attributes, "colours": ["red", "blue"],
    }  # fmt: skip
    assert published.isoformat() == "1950-12-27T13:20:00+00:00"


def test_attributes_that_are_not_sent_are_nothing(client: RankingClient, running: Any) -> None:
    client.upsert_items([item("a-1", attributes={"price": 1.0, "brand": None}), item("a-2", attributes={"pages": 2})])
    rows = running.model.catalog.rows(["a-1", "a-2"]).tolist()

    assert running.model.catalog.items[rows].select("price", "pages", "brand", "published_at").rows() == [
        (1.0, None, None, None),
        (None, 2, None, None),
    ]


def test_the_log_takes_what_changes_and_only_that(client: RankingClient, running: Any) -> None:
    before = running.servicer.live.item_log.sequence
    for _ in range(3):
        client.upsert_items([item("logged"), item("logged-too")])
    client.delete_items(["logged", "never-there"])
    client.delete_items(["logged"])

    assert running.servicer.live.item_log.sequence == before + 3


def test_no_items_are_no_change(client: RankingClient) -> None:
    assert client.upsert_items([]).changed == 0
    assert client.delete_items([]) == 0


def test_a_thousand_items_are_taken_at_once(client: RankingClient) -> None:
    ids = [f"new-{n}" for n in range(1_000, 2_000)]

    assert client.upsert_items([item(item_id) for item_id in ids]).changed == 1_000
    assert client.rank("u", ids).unknown_items == ()
    assert client.delete_items(ids) == 1_000


def test_the_asynchronous_client_does_the_same(running: Any) -> None:
    async def talk() -> tuple[Upserted, int]:
        async with AsyncRankingClient(running.address, deadline_s=10) as client:
            return await client.upsert_items([item("new-async")]), await client.delete_items(["new-async"])

    assert asyncio.run(talk()) == (Upserted(changed=1, pending_texts=0), 1)


GOOD = pb.Item(item_id="new-good", text=pb.ItemText(title="Good"))


def bad(item_id: str = "new-bad", title: str = "Bad", published_us: int = 0, **attributes: pb.Attribute) -> pb.Item:
    return pb.Item(item_id=item_id, text=pb.ItemText(title=title), published_us=published_us, attributes=attributes)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (bad(item_id=""), "null or empty id"),
        (bad(item_id="x" * 129), "id longer than 128 bytes"),
        (bad(item_id="new-good"), "column item_id, row 2: duplicate id; keep"),
        (bad(title=""), "column title, row 2: empty text"),
        (bad(title="x" * 8_193), "text longer than 8,192 bytes"),
        (pb.Item(item_id="no-text"), "column title, row 2: empty text"),
        (pb.Item(item_id="t", text=pb.ItemText(title="T", tags=["x"] * 5_000)), "tags longer than 8,192 bytes"),
        (bad(published_us=1_700_000_000), "send UTC microseconds"),
        (bad(published_us=-(2**63)), "send UTC microseconds"),
        (bad(published_us=2**63 - 1), "send UTC microseconds"),
        (bad(published_us=7_000_000_000_000_000), "time in the future"),
        (bad(weight=pb.Attribute(number=1)), "sent is no attribute of this model's items; send price, pages"),
        (bad(weight=pb.Attribute(), size=pb.Attribute()), "2 of the columns sent are no attributes of"),
        (bad(title="T", **{"item_id ": pb.Attribute(number=1)}), "1 of the columns sent is no attribute"),
        (bad(category=pb.Attribute(text="C")), "category is no attribute; send it in the field of that name"),
        (bad(price=pb.Attribute(text="cheap")), "column price: holds texts, not numbers"),
        (bad(price=pb.Attribute(flag=True)), "column price: holds true or false, not numbers"),
        (bad(price=pb.Attribute(number=float("inf"))), "column price, row 2: not finite"),
        (bad(pages=pb.Attribute(number=1.5)), "column pages, row 2: not a whole number; give"),
        (bad(signed=pb.Attribute(number=1)), "column signed: holds numbers, not true or false"),
        (bad(brand=pb.Attribute(texts=pb.Texts(texts=["B"]))), "column brand: holds lists of texts, not texts"),
        (bad(colours=pb.Attribute(text="red")), "column colours: holds texts, not lists of texts"),
        (bad(brand=pb.Attribute(text="x" * 8_193)), "column brand, row 2: text longer"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_cannot_be_taken_is_named_and_nothing_is_taken(
    stub: pb_grpc.RankingServiceStub, running: Any, item: pb.Item, said: str
) -> None:
    rows, sequence = len(running.model.catalog), running.servicer.live.item_log.sequence
    with pytest.raises(grpc.RpcError) as caught:
        stub.UpsertItems(pb.UpsertItemsRequest(items=[GOOD, item]), timeout=10)

    assert caught.value.code() is StatusCode.INVALID_ARGUMENT
    assert said in caught.value.details()
    assert (len(running.model.catalog), running.servicer.live.item_log.sequence) == (rows, sequence)


def test_an_attribute_is_of_one_kind_in_one_call(stub: pb_grpc.RankingServiceStub) -> None:
    items = [bad(price=pb.Attribute(number=1)), bad(item_id="b", price=pb.Attribute(text="1"))]
    with pytest.raises(grpc.RpcError) as caught:
        stub.UpsertItems(pb.UpsertItemsRequest(items=items), timeout=10)

    assert caught.value.details() == "attribute price is a number and a text in one call; send one kind"


def test_too_many_items_are_refused_before_anything_is_looked_at(stub: pb_grpc.RankingServiceStub) -> None:
    for call, message in (
        (stub.UpsertItems, pb.UpsertItemsRequest(items=[pb.Item()] * 1_001)),
        (stub.DeleteItems, pb.DeleteItemsRequest(item_ids=[""] * 1_001)),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call(message, timeout=10)
        assert caught.value.code() is StatusCode.INVALID_ARGUMENT
        assert "more than 1000; send them in several calls" in caught.value.details()


@pytest.mark.parametrize("item_id", ["", "x" * 129])
def test_what_is_no_id_cannot_be_deleted(client: RankingClient, item_id: str) -> None:
    with pytest.raises(InvalidRequest, match="an item_id is"):
        client.delete_items(["a", item_id])


def test_one_line_is_logged_per_call_without_ids_or_texts(client: RankingClient) -> None:
    with capture_logs(processors=[]) as lines:
        client.upsert_items([item("new-secret", "A secret")])
        client.delete_items(["new-secret"])
        with pytest.raises(InvalidRequest):
            client.upsert_items([item("new-secret", "")])

    assert [line["code"] for line in lines] == ["OK", "OK", "INVALID_ARGUMENT"]
    assert "secret" not in str(lines)
