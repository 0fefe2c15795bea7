"""Loads bundles for one server: checked, restored from its logs, and warm before anybody is answered by them."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import structlog

from recsys.errors import BundleError, SwapRefused
from recsys.gentle import gentle
from recsys.registry import Registry
from recsys.schema import RankRequest
from serving.config import ServerConfig
from serving.data_directory import DataDirectory
from serving.item_log import ItemLog
from serving.item_replay import replay_items
from serving.live_state import LiveState
from serving.load import warm_up
from serving.loaded import Loaded
from serving.model import Model
from serving.order_shift import mean_overlap
from serving.probation import order_fault
from serving.receipt_writer import ReceiptWriter
from serving.restore import Restored, restore_items, restore_state
from serving.spare_memory import spare_memory

# What a bundle takes in memory at most while it is loaded, in sizes of its files.
_TIMES_ITS_FILES = 4
_POLL_S = 0.05
# How long a recent request waits for a moment in which nobody waits for an answer, and how often it looks.
_PATIENCE_S, _LOOK_S = 0.05, 0.004

_log = structlog.get_logger()


class Preparation:
    """Loads one bundle after the other, in a thread of whoever calls; ``live`` is there after the first.

    ``load_model`` is given the registry for its current bundle, ``load_beside`` a bundle's directory; both return a
    model that may be trusted. ``receipts`` are kept where there is a data directory. ``spare`` tells whether there is
    capacity that nobody waits for.
    """

    def __init__(
        self,
        config: ServerConfig,
        load_model: Callable[[Path], Model],
        load_beside: Callable[[Path], Model],
        data: DataDirectory | None,
        receipts: ReceiptWriter | None,
    ) -> None:
        self.live = LiveState(ItemLog(None), None) if data is None else LiveState(data.item_log, data.event_log)
        self.live.receipts = receipts
        self._config = config
        self._load_model, self._load_beside = load_model, load_beside
        self._data = data
        self._registry = Registry(config.registry)
        self.spare: Callable[[], bool] = lambda: True
        self._stopping = False
        self._at_work = threading.Lock()

    @property
    def busy(self) -> bool:
        """Whether a thread is at it."""
        return self._at_work.locked()

    def first(self) -> tuple[Loaded, Restored]:
        """Load the registry's current bundle, and have it follow the logs; raises what the loader raises."""
        began = time.perf_counter()
        return self._followed(self._load_model(self._config.registry), began)

    def has_room(self, bundle_id: str) -> bool:
        """Tell whether another bundle fits into the memory; where nothing is known of memory, it does.

        Raises:
            RegistryError: there is no such bundle.
        """
        spare = spare_memory()
        size = sum(path.stat().st_size for path in self._registry.path(bundle_id).iterdir())
        return spare is None or spare > _TIMES_ITS_FILES * size

    def beside(self, bundle_id: str) -> Loaded:
        """Load a bundle of the registry beside those that are there, and have it follow the logs like them.

        Raises:
            RecsysError: it must not be used; whatever else is raised says so too.
        """
        began = time.perf_counter()
        with self._at_work, gentle():
            model = self._load_beside(self._registry.path(bundle_id))
            if model.bundle_id != bundle_id:
                model.close()
                raise BundleError(f"version {bundle_id} holds bundle {model.bundle_id}; restore it or publish it again")
            loaded, _ = self._followed(model, began)
        return loaded

    def try_out(self, loaded: Loaded, serving: Model, recent: Iterable[RankRequest], *, least_overlap: float) -> float:
        """Ask a loaded bundle what was asked of late, so that it is warm; returns how far it orders alike, as a share.

        One request after the other, each while there is ``spare`` capacity, or else after a little while.

        Raises:
            SwapRefused: it orders too differently.
        """
        with self._at_work, gentle():
            overlap = mean_overlap(self._when_spare(recent), serving, loaded.model)
        if not math.isnan(overlap) and overlap < least_overlap:
            raise SwapRefused(order_fault(overlap, least_overlap))
        return overlap

    def stop(self) -> None:
        """Have whoever waits for texts wait no longer."""
        self._stopping = True

    def _when_spare(self, requests: Iterable[RankRequest]) -> Iterator[RankRequest]:
        for request in requests:
            end = time.monotonic() + _PATIENCE_S
            time.sleep(_LOOK_S)
            while not self.spare() and time.monotonic() < end:
                time.sleep(_LOOK_S)
            yield request

    def _followed(self, model: Model, began: float) -> tuple[Loaded, Restored]:
        closing = model.close
        try:
            warm_up(model)  # before anything is added to it: the golden requests are about the bundle alone
            restored, closing = self._restored(model)
            self._wait_for_texts(model)
            if self.live.receipts is not None:
                self.live.receipts.begin(restored.run)
            loaded = Loaded(model, learn=restored.learn, closing=closing, load_s=time.perf_counter() - began)
            self.live.join(loaded, restored)
        except BaseException:
            closing()
            raise
        return loaded, restored

    def _restored(self, model: Model) -> tuple[Restored, Callable[[], None]]:
        """Bring a model to where the logs are; returns what closes it, too."""
        if self._data is None:
            items = self.live.item_log.sequence
            replay_items(self.live.item_log, model, sequence=items)
            return Restored(model=model, learn=model.learn, log=None, items=items), model.close
        items, log = restore_items(model, self._data), self._data.event_log
        if not self._config.store:
            return restore_state(model, self._data, items=items), model.close
        from serving.shared_learning import share  # noqa: PLC0415 - it loads the model libraries

        events = log.sequence
        learning = share(model, self._config, log)
        found, heard = learning.caught_up
        restored = Restored(
            model=model, learn=learning, log=log, events=events, items=items, snapshot=found, stored=heard
        )
        return restored, learning.close

    def _wait_for_texts(self, model: Model) -> None:
        """Wait until the vectors of all items are there; a server that has nothing better to serve does not."""
        end = time.monotonic() + self._config.text_wait_s
        while self.live.leads and model.pending_texts:
            if self._stopping or time.monotonic() > end:
                raise SwapRefused(
                    f"{model.pending_texts} texts of new or changed items were still unread after "
                    f"{self._config.text_wait_s:g} s; allow more time by RECSYS_TEXT_WAIT_S, or train with these items"
                )
            time.sleep(_POLL_S)
