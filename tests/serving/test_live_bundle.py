"""A real bundle whose items change while it serves, and what is left of that after a restart."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from recsys.cli.service import serve
from recsys.errors import ConfigError, RecsysError, StorageError
from recsys.events import Impression
from recsys.registry import resolve
from recsys.schema import Candidate, Item, ItemText, RankRequest
from serving.client import RankingClient
from serving.config import ServerConfig
from serving.server import RankingServer

COAT = Item(item_id="coat-1", text=ItemText(title="A warm coat", description="Of wool", tags=("winter",)))


@contextmanager
def served(registry: Path, data: Path | None, **settings: Any) -> Iterator[tuple[RankingClient, RankingServer]]:
    """Serve the registry's bundle on a real port, in a thread with its own event loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = RankingServer(ServerConfig(registry=registry, data=data, port=0, threads=2, **settings))
    try:
        for step in (server.start, server.load):
            asyncio.run_coroutine_threadsafe(step(), loop).result(120)
        with RankingClient(server.address, deadline_s=30) as client:
            yield client, server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def wait_until_read(client: RankingClient) -> None:
    end = time.monotonic() + 60
    while client.upsert_items([]).pending_texts:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_was_changed_is_changed_after_a_restart_and_no_text_is_read_twice(
    tiny_registry: Path, tmp_path: Path
) -> None:
    with served(tiny_registry, tmp_path / "live") as (client, server):
        edited, gone, stays = server._servicer.bundles.model.catalog.ids[:3]
        lamp = Item(item_id=edited, text=ItemText(title="A lamp for the desk"))
        request = RankRequest(
            user_id="nobody",
            candidates=tuple(Candidate(item_id=item_id) for item_id in ("coat-1", edited, gone, stays)),
            ts=server._servicer.bundles.model.manifest.window.last_ts + 1,
        )
        asked = server._servicer.bundles.model.items.reader.encoded  # by the golden requests
        assert client.upsert_items([COAT, lamp]).changed == 2
        assert client.delete_items([gone]) == 1
        assert client.rank_request(request).unknown_items == (gone,)
        wait_until_read(client)
        before = client.rank_request(request)
        assert before.items_without_text == ()
        reader = server._servicer.bundles.model.items.reader
        assert reader.encoded - asked == 2

    with served(tiny_registry, tmp_path / "live") as (client, server):
        after = client.rank_request(request)
        assert client.upsert_items([COAT, lamp]).changed == 0
        assert server._servicer.bundles.model.items.reader.encoded == asked
        assert server._servicer.live.item_log.sequence == 3

    assert after.items == before.items
    assert (after.unknown_items, after.items_without_text, after.text_coverage) == ((gone,), (), 0.75)
    assert sorted(path.name for path in (tmp_path / "live").glob("*.sqlite")) == [
        "items.sqlite",
        "receipts.sqlite",
        "vectors.sqlite",
    ]


def test_what_is_learned_is_written_down_while_a_server_serves(tiny_registry: Path, tmp_path: Path) -> None:
    now = time.time_ns() // 1_000
    shown = Impression(event_id="e", request_id="r", user_id="ann", ts=now, item_ids=("item-01",))
    with served(tiny_registry, tmp_path, snapshot_every_s=0.01) as (client, server):
        assert list(tmp_path.glob("state-*")) == []
        client.record([shown])
        end = time.monotonic() + 60
        while not (found := list(tmp_path.glob("state-*"))):
            assert time.monotonic() < end
            time.sleep(0.01)

    assert [path.name for path in found] == [f"state-{server._servicer.bundles.model.bundle_id}.safetensors"]


def test_without_a_data_directory_a_server_keeps_its_changes_in_memory(tiny_registry: Path) -> None:
    files = sorted(tiny_registry.rglob("*"))
    with served(tiny_registry, None) as (client, _):
        assert client.upsert_items([COAT]).changed == 1
        assert client.rank("nobody", ["coat-1"]).unknown_items == ()

    assert sorted(tiny_registry.rglob("*")) == files


def test_the_command_keeps_its_data_beside_the_bundles_unless_it_is_told_otherwise(
    tiny_registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[Path | None] = []
    monkeypatch.setattr("serving.process.run_server", lambda config: used.append(config.data))
    serve(tiny_registry)
    serve(tiny_registry, data=tmp_path / "named")
    serve(resolve(tiny_registry))
    monkeypatch.setenv("RECSYS_DATA", str(tmp_path / "set"))
    serve(tiny_registry)

    assert used == [tiny_registry / "live", tmp_path / "named", None, tmp_path / "set"]


@pytest.mark.parametrize(
    ("name", "error"), [("", ConfigError), ("vectors.sqlite", StorageError), ("items.sqlite", StorageError)]
)
def test_a_file_in_the_way_is_named_before_anything_is_served(
    tiny_registry: Path, tmp_path: Path, name: str, error: type[RecsysError]
) -> None:
    data = tmp_path / "live"
    if name:
        data.mkdir()
    (data / name if name else data).write_bytes(b"something else" * 100)

    with pytest.raises(error, match=name or "live"), served(tiny_registry, data):
        pass
