"""Events over a real channel: what is answered is durable and learned, and a stream is as good as single calls."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest

from recsys.errors import ConfigError, InvalidRequest, NotReady
from recsys.events import Click, Event, Impression, Interaction, time_ordered_id
from serving.client import AsyncRankingClient, RankingClient, ServiceError
from serving.client.event_calls import CHUNK
from serving.config import ServerConfig
from serving.listen import SERVICE
from serving.pb import ranking_pb2 as pb
from serving.pb import ranking_pb2_grpc as pb_grpc
from serving.recorded import RejectionReason
from serving.server import RankingServer

NOW = time.time_ns() // 1_000
STREAM = f"/{SERVICE}/StreamEvents"


def shown(name: str, *item_ids: str) -> Impression:
    return Impression(event_id=f"list-{name}", request_id=name, user_id="u", ts=NOW, item_ids=item_ids or ("a",))


def done(event_id: str, ts: int = NOW) -> Interaction:
    return Interaction(event_id=event_id, user_id="u", item_id="a", type="cart", ts=ts)


@pytest.fixture
def recorder(recording: Any) -> Iterator[RankingClient]:
    with RankingClient(recording.address, deadline_s=30) as client:
        yield client


def stored(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "live" / "events.db")) as file:
        return [event_id for (event_id,) in file.execute("SELECT event_id FROM events ORDER BY sequence")]


def wait_until_stored(folder: Path) -> None:
    while not stored(folder):
        time.sleep(0.01)


def test_what_is_accepted_is_on_disk_and_learned_when_the_answer_comes(
    recorder: RankingClient, recording: Any, tmp_path: Path
) -> None:
    events: list[Event] = [shown("r", "a", "b"), Click(event_id="c", request_id="r", item_id="b", ts=NOW), done("d")]

    recorded = recorder.record(events)

    assert (recorded.accepted, recorded.duplicates, recorded.rejected, recorded.sequence) == (3, 0, (), 3)
    assert stored(tmp_path) == ["list-r", "c", "d"]
    assert [(logged.sequence, logged.event, logged.shown) for logged in recording.model.learned] == [
        (1, events[0], None), (2, events[1], events[0]), (3, events[2], None),
    ]  # fmt: skip


def test_sending_again_counts_nothing_twice(recorder: RankingClient, recording: Any) -> None:
    recorder.record([done("a"), done("b")])
    again = recorder.record([done("a"), done("b"), done("c")])

    assert (again.accepted, again.duplicates, again.sequence) == (1, 2, 3)
    assert [logged.event.event_id for logged in recording.model.learned] == ["a", "b", "c"]


def test_rejections_of_every_kind_stand_at_their_places(recording: Any) -> None:
    good = pb.Event(event_id="good", time_us=NOW, impression=pb.Impression(request_id="r", item_ids=["a"]))
    events = [
        pb.Event(event_id="late", time_us=5, impression=pb.Impression(request_id="s", item_ids=["a"])),
        pb.Event(event_id="nothing", time_us=NOW),
        good,
        pb.Event(event_id="ahead", time_us=2 * NOW, impression=pb.Impression(request_id="t", item_ids=["a"])),
        pb.Event(event_id="", time_us=NOW),
        pb.Event(event_id="other", time_us=NOW, impression=pb.Impression(request_id="r", item_ids=["b"])),
        good,
    ]
    with grpc.insecure_channel(recording.address) as channel:
        stub = pb_grpc.RankingServiceStub(channel)
        answer = stub.RecordEvents(pb.RecordEventsRequest(events=events))

    assert (answer.accepted, answer.duplicates) == (1, 1)
    assert [(event.position, event.event_id, event.reason) for event in answer.rejected] == [
        (0, "late", pb.REJECTION_REASON_TOO_LATE),
        (1, "nothing", pb.REJECTION_REASON_MALFORMED),
        (3, "ahead", pb.REJECTION_REASON_FUTURE),
        (4, "", pb.REJECTION_REASON_MALFORMED),
        (5, "other", pb.REJECTION_REASON_CONFLICT),
    ]
    assert all(event.message for event in answer.rejected)


def test_a_stream_of_many_messages_has_one_answer_with_the_first_hundred_rejections(
    recorder: RankingClient, recording: Any
) -> None:
    events = [done(f"e{n}", ts=NOW if n % 10 else 5) for n in range(3 * CHUNK)]

    recorded = recorder.stream(iter(events), chunk=100)
    again = recorder.stream(events, chunk=700)

    assert (recorded.accepted, recorded.duplicates, recorded.rejected_count) == (1_350, 0, 150)
    assert [event.position for event in recorded.rejected] == list(range(0, 1_000, 10))
    assert {event.reason for event in recorded.rejected} == {RejectionReason.TOO_LATE}
    assert recorded.sequence == 1_350
    assert (again.accepted, again.duplicates, again.rejected_count, again.sequence) == (0, 1_350, 150, 1_350)
    assert len(recording.model.learned) == 1_350


def test_a_stream_without_events_says_where_the_log_is(recorder: RankingClient) -> None:
    recorder.record([done("a")])

    assert recorder.stream([]).sequence == 1
    assert recorder.record([]).sequence == 1


def test_what_the_source_of_a_stream_raises_comes_back_and_the_events_before_it_are_kept(
    recorder: RankingClient, tmp_path: Path
) -> None:
    def events() -> Iterator[Event]:
        yield done("a")
        yield done("b")
        raise LookupError("the queue broke")

    with pytest.raises(LookupError, match="the queue broke"):
        recorder.stream(events())
    assert stored(tmp_path) == ["a", "b"]


def test_the_asyncio_client_records_and_streams_as_the_other_one_does(recording: Any, tmp_path: Path) -> None:
    async def some() -> AsyncIterator[Event]:
        for n in range(250):
            yield done(f"s{n}")

    async def broken() -> AsyncIterator[Event]:
        yield done("t")
        raise LookupError("the queue broke")

    async def everything() -> tuple[Any, ...]:
        async with AsyncRankingClient(recording.address, deadline_s=30) as client:
            calls = await asyncio.gather(*(client.record([done(f"r{n}"), done("shared")]) for n in range(20)))
            stream = await client.stream(some(), chunk=100)
            with pytest.raises(LookupError, match="the queue broke"):
                await client.stream(broken())
            return calls, stream

    calls, stream = asyncio.run(everything())
    assert sum(recorded.accepted for recorded in calls) == 21
    assert sum(recorded.duplicates for recorded in calls) == 19
    assert (stream.accepted, stream.sequence) == (250, 271)
    assert len(stored(tmp_path)) == 272


def test_large_events_are_sent_in_messages_that_the_server_takes(recorder: RankingClient) -> None:
    lists = [shown(f"r{n}", *(f"item-{k:0>100}" for k in range(1_000))) for n in range(30)]

    assert recorder.stream(lists).accepted == 30


def test_too_many_events_in_one_message_are_refused_and_none_is_taken(recorder: RankingClient, tmp_path: Path) -> None:
    small = [Click(event_id=f"{n}", request_id="r", item_id="a", ts=NOW) for n in range(10_001)]
    with pytest.raises(InvalidRequest, match="10001 events are more than 10000"):
        recorder.record(small)
    with pytest.raises(InvalidRequest, match="10001 events are more than 10000"):
        recorder.stream(small, chunk=20_000)

    assert stored(tmp_path) == []


def test_a_server_without_a_log_says_how_to_get_one(client: RankingClient) -> None:
    for send in (client.record, client.stream):
        with pytest.raises(
            ServiceError, match="keeps no events; start it with `recsys serve --data DIRECTORY`"
        ) as caught:
            send([done("a")])
        assert caught.value.code == "FAILED_PRECONDITION"


@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"\x0a\x05\x0a\x01"], ids=["no tag", "cut short"])
def test_bytes_that_are_no_message_are_the_callers_fault_also_in_a_stream(recording: Any, data: bytes) -> None:
    good = pb.StreamEventsRequest(events=[pb.Event(event_id="e", click=pb.Click(request_id="r", item_id="a"))])
    with grpc.insecure_channel(recording.address) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.stream_unary(STREAM)(iter([good.SerializeToString(), data]), timeout=30)

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "not a message of this method" in caught.value.details()


def test_a_stream_whose_caller_leaves_keeps_what_came_and_the_server_goes_on(
    recorder: RankingClient, recording: Any, tmp_path: Path
) -> None:
    first = pb.StreamEventsRequest(events=[pb.Event(event_id="e", click=pb.Click(request_id="r", item_id="a"))])

    def messages() -> Iterator[bytes]:
        yield first.SerializeToString()
        time.sleep(30)

    with grpc.insecure_channel(recording.address) as channel:
        call = channel.stream_unary(STREAM).future(messages(), timeout=30)
        wait_until_stored(tmp_path)
        call.cancel()

    assert recorder.record([done("next")]).sequence == 2


def test_a_commit_that_fails_is_told_and_the_same_events_are_taken_later(
    recorder: RankingClient, recording: Any, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "live" / "events.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(NotReady, match=r"could not be stored .*locked.*nothing of them is recorded"):
            recorder.stream([done("a")])
        other.execute("ROLLBACK")

    assert recording.model.learned == []
    assert recorder.record([done("a")]).accepted == 1


def test_before_the_model_is_loaded_events_are_refused_and_a_restarted_server_tells_it_everything(
    length_model: Any, tmp_path: Path
) -> None:
    config = ServerConfig(registry=Path("unused"), port=0, threads=1, data=tmp_path / "live")

    async def once(names: list[str]) -> Any:
        model = length_model.LengthModel()
        server = RankingServer(config, lambda _: model)
        await server.start()
        async with AsyncRankingClient(server.address, deadline_s=30) as client:
            with pytest.raises(NotReady, match="no model is loaded yet"):
                await client.record([done("early")])
            await server.load()
            before = list(model.learned)
            for name in names:
                await client.record([done(name)])
        assert await server.stop()
        return before, model.learned

    before, learned = asyncio.run(once(["a", "b"]))
    again, everything = asyncio.run(once(["c"]))

    assert (before, len(learned)) == ([], 2)
    assert again == learned
    assert [logged.event.event_id for logged in everything] == ["a", "b", "c"]


@pytest.mark.usefixtures("recording")
def test_a_second_server_on_the_same_directory_does_not_start(tmp_path: Path, length_model: Any) -> None:
    config = ServerConfig(registry=Path("unused"), port=0, data=tmp_path / "live")
    second = RankingServer(config, lambda _: length_model.LengthModel())

    with pytest.raises(ConfigError, match="in use by another server"):
        asyncio.run(second.start())


def test_a_stopping_server_refuses_open_streams_and_keeps_what_it_took(length_model: Any, tmp_path: Path) -> None:
    config = ServerConfig(registry=Path("unused"), port=0, threads=1, data=tmp_path / "live")

    async def everything() -> None:
        server = RankingServer(config, lambda _: length_model.LengthModel())
        await server.start()
        await server.load()
        sent = asyncio.Event()

        async def endless() -> AsyncIterator[Event]:
            yield done("a")
            yield done("b")
            sent.set()
            await asyncio.sleep(600)

        async with AsyncRankingClient(server.address) as client:
            stream = asyncio.create_task(client.stream(endless(), chunk=2))
            await sent.wait()
            await asyncio.to_thread(wait_until_stored, tmp_path)
            assert await server.stop()
            with pytest.raises(NotReady, match="shutting down; send the events to another one"):
                await stream

    asyncio.run(everything())
    assert stored(tmp_path) == ["a", "b"]


def test_made_ids_follow_the_time_and_never_repeat() -> None:
    ids = [time_ordered_id(NOW + n // 10) for n in range(1_000)]

    assert len(set(ids)) == 1_000
    assert [id_[:16] for id_ in ids] == sorted(id_[:16] for id_ in ids)
    assert {len(id_) for id_ in ids} == {32}
