"""A registry of several real bundles that answer differently, and a server of it that operators can reach."""

from __future__ import annotations

import asyncio
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from recsys.bundle import GoldenRequest, ManifestDraft, read_bundle
from recsys.pipeline import RankingPipeline
from recsys.registry import Registry
from recsys.schema import Candidate, RankRequest
from serving.admin_client import AdminClient
from serving.client import RankingClient
from serving.config import ServerConfig
from serving.server import RankingServer


def publish_another(registry: Path, source: Path, *, factor: float, golden: bool = True) -> str:
    """Publish a bundle whose scores are those of ``source`` times a factor; a negative one turns the order around.

    Without ``golden``, its golden requests are still those of the source, so that nobody may serve it.
    """
    bundle = read_bundle(source)
    text = bundle.files["ranker.txt"].decode()
    scaled = re.sub(
        r"(?<=^leaf_value=).*$",
        lambda values: " ".join(repr(factor * float(value)) for value in values.group().split()),
        text,
        flags=re.MULTILINE,
    )
    # The trees have other lengths now; LightGBM finds them by the sizes in the header.
    trees = re.findall(r"Tree=\d+\n.*?(?=Tree=|end of trees)", scaled, re.DOTALL)
    sizes = " ".join(str(len(tree.encode())) for tree in trees)
    scaled = re.sub(r"(?<=^tree_sizes=).*$", sizes, scaled, flags=re.MULTILINE)
    files = {**bundle.files, "ranker.txt": scaled.encode()}
    draft = ManifestDraft(**{name: getattr(bundle.manifest, name) for name in ManifestDraft.model_fields})
    if golden:
        pipeline = RankingPipeline(files, draft, cuda=False)
        draft = draft.model_copy(update={"golden": tuple(_answered(pipeline, case) for case in draft.golden)})
        pipeline.close()
    return Registry(registry).publish(files, draft, promote=False)


def _answered(pipeline: RankingPipeline, case: GoldenRequest) -> GoldenRequest:
    ranking = pipeline.rank(case.request)
    return GoldenRequest(
        request=case.request,
        scores={item.item_id: item.score for item in ranking.items},
        order=tuple(item.item_id for item in ranking.items),
    )


@dataclass(frozen=True)
class Shop:
    """A registry of the tests' own: ``first`` is current; ``second`` scores twice as high, ``turned`` the other way."""

    registry: Path
    first: str
    second: str
    turned: str

    def promote(self, bundle_id: str) -> None:
        Registry(self.registry).promote(bundle_id)

    def pipeline(self, bundle_id: str) -> RankingPipeline:
        return RankingPipeline.load(Registry(self.registry).path(bundle_id))


@pytest.fixture(scope="session")
def made_shop(tiny_registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    registry = tmp_path_factory.mktemp("swap") / "registry"
    shutil.copytree(tiny_registry, registry)
    first = Registry(registry).current()
    source = Registry(registry).path(first)
    second, turned = (publish_another(registry, source, factor=factor) for factor in (2.0, -1.0))
    return Shop(registry, first, second, turned)


@pytest.fixture
def shop(made_shop: Shop, tmp_path: Path) -> Shop:
    shutil.copytree(made_shop.registry, tmp_path / "registry")
    return Shop(tmp_path / "registry", made_shop.first, made_shop.second, made_shop.turned)


@pytest.fixture
def bad_bundle(shop: Shop) -> str:
    """A bundle whose every byte is as its manifest says, and whose golden requests it answers otherwise."""
    return publish_another(shop.registry, Registry(shop.registry).path(shop.first), factor=3.0, golden=False)


@dataclass(frozen=True)
class Served:
    client: RankingClient
    admin: AdminClient
    server: RankingServer
    metrics: str

    @property
    def serving(self) -> str:
        return self.server._bundles.model.bundle_id

    def figure(self, name: str, **labels: str) -> float | None:
        return self.server.telemetry.registry.get_sample_value(name, labels)


@contextmanager
def served_by(registry: Path, data: Path | None, load: Any = None, **settings: Any) -> Iterator[Served]:
    """Serve a registry on a real port, in a thread with its own event loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    told = {"swap_poll_s": 0.05, "receipts": 1, "threads": 2, **settings}
    config = ServerConfig(registry=registry, data=data, port=0, admin_port=0, metrics_port=0, **told)
    server = RankingServer(config) if load is None else RankingServer(config, load)
    try:
        for step in (server.start, server.load):
            asyncio.run_coroutine_threadsafe(step(), loop).result(120)
        with (
            RankingClient(server.address, deadline_s=30) as client,
            AdminClient(server.admin_address, deadline_s=30) as admin,
        ):
            yield Served(client, admin, server, server.metrics_address)
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@pytest.fixture
def serve(shop: Shop, tmp_path: Path) -> Callable[..., Any]:
    """Serve the shop's registry with this test's own data directory; settings as those of the server."""

    def start(load: Any = None, *, data: Path | None = tmp_path / "live", **settings: Any) -> Any:
        return served_by(shop.registry, data, load, **settings)

    return start


def trusted(path: Path) -> RankingPipeline:
    """Load without a trial in a child process, which takes a second."""
    from recsys.registry import resolve

    return RankingPipeline.load(resolve(path))


@pytest.fixture(scope="session")
def quickly() -> Callable[[Path], RankingPipeline]:
    return trusted


@pytest.fixture(scope="session")
def asked(made_shop: Shop) -> Callable[..., RankRequest]:
    """Make a request for forty of the shop's items, which differ by its number."""
    pipeline = made_shop.pipeline(made_shop.first)
    ids, ts = pipeline.catalog.ids[:80], pipeline.manifest.window.last_ts + 1

    def make(number: int, user: str = "nobody", **fields: Any) -> RankRequest:
        chosen = [ids[(number * 7 + place * 3) % 80] for place in range(40)]
        candidates = tuple(Candidate(item_id=item_id) for item_id in dict.fromkeys(chosen))
        return RankRequest(request_id=f"r-{number}", user_id=user, candidates=candidates, ts=ts, **fields)

    return make
