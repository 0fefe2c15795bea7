"""Takes another bundle while the server serves, and goes back from it, by command or by alarm."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import structlog

from recsys.errors import SwapRefused
from recsys.registry import Registry
from serving.beside import Beside, check, explained
from serving.config import ServerConfig
from serving.loaded import Loaded
from serving.logging import frames_of
from serving.probation import Probation
from serving.swap_report import Swapped
from serving.telemetry.swaps import SwapsWatched

T = TypeVar("T")

# How often a bundle on probation is looked at.
_LOOK_S = 0.25

_log = structlog.get_logger()


class HotSwap:
    """Has the bundle serve that the registry says is current; one change after the other, in the event loop.

    ``taken`` is called, in the thread that loads, with a bundle that has come to serve. ``last_swap`` and
    ``last_refusal`` say what happened.

    What the registry says is tried once: a bundle that was refused, or taken back, is not tried again before the
    registry names another one, or ``swap`` is called. The registry itself is never changed.
    """

    def __init__(
        self, config: ServerConfig, beside: Beside, watched: SwapsWatched, taken: Callable[[Loaded], None]
    ) -> None:
        self.last_swap: Swapped | None = None
        self.last_refusal: Swapped | None = None
        self._config, self._beside, self._bundles = config, beside, beside.bundles
        self._watched, self._taken = watched, taken
        self._registry = Registry(config.registry)
        # What the registry said when it was last acted upon, and where a rollback goes.
        self._tried = self._bundles.model.bundle_id
        self._before = ""
        self._probation: Probation | None = None
        self._kept_until = 0.0
        self._tasks = set[asyncio.Task[Any]]()

    @property
    def before(self) -> str:
        """Where a rollback goes; "" where it cannot."""
        return self._before

    async def follow(self) -> None:
        """Look at the registry, and meanwhile after what is on probation, until cancelled."""
        await asyncio.gather(
            _every(self._config.swap_poll_s, self._look_at_the_registry), _every(_LOOK_S, self._look_after)
        )

    async def swap(self, *, any_order: bool = False) -> tuple[str, str]:
        """Take the registry's current bundle now; returns who serves, and who did before.

        A caller that goes away does not stop it.

        Raises:
            SwapRefused: it must not be used, or cannot be loaded; the one before goes on serving.
        """

        async def swapped() -> tuple[str, str]:
            async with explained("of the registry"):
                current = await asyncio.to_thread(self._registry.current)
            before = self._bundles.model.bundle_id
            await self._take(current, reason="asked for", any_order=any_order)
            return self._bundles.model.bundle_id, before

        return await self._whole(swapped())

    async def rollback(self) -> str:
        """Go back to the bundle that served before, which is loaded again where it is not any more; names it.

        A caller that goes away does not stop it.

        Raises:
            SwapRefused: there is none, or it cannot be loaded.
        """
        return await self._whole(self._rolled_back())

    def lost(self, loaded: Loaded) -> None:
        """Note that a loaded bundle cannot be used any more; where it has just come to serve, go back."""
        former = self._bundles.previous
        if loaded is former:
            self.end_probation()
        self._refused(loaded.bundle_id, 0.0, loaded.fault)
        if loaded is self._bundles.serving and former is not None and not former.fault:
            self._begun(self._take_back(loaded, former, loaded.fault))

    def end_probation(self) -> None:
        """Watch the bundle that serves no longer."""
        probation, self._probation = self._probation, None
        if probation is not None:
            watcher = probation.shadow.offer
            self._bundles.watchers = tuple(each for each in self._bundles.watchers if each != watcher)
            probation.close()

    async def _look_at_the_registry(self) -> None:
        current = "".join((await asyncio.to_thread(self._registry.promoted))[-1:])
        if current and current != self._tried:
            await self._whole(self._take(current, reason="promoted"))

    async def _take(self, bundle_id: str, *, reason: str, any_order: bool = False) -> None:
        async with self._beside.changing:
            self._tried = bundle_id
            if self._bundles.model.bundle_id == bundle_id:
                return
            began = time.perf_counter()
            try:
                loaded = await self._beside.ready(bundle_id)
                known = loaded is self._bundles.previous
                if not known:
                    await self._try_out(loaded, any_order=any_order)
                self._serve(loaded, began, reason)
            except Exception as error:
                self._refused(bundle_id, time.perf_counter() - began, str(error))
                self._beside.let_go()
                raise
            if not known:
                self._begin_probation(loaded, any_order=any_order)
            self._watched.swapped(time.perf_counter() - began)
            await self._settle(loaded)
            self._drop_the_one_before_when_due()
            self._beside.let_go()

    async def _try_out(self, loaded: Loaded, *, any_order: bool) -> None:
        least = 0.0 if any_order else self._config.least_overlap
        recent, serving = list(self._bundles.recent), self._bundles.model
        async with explained(loaded.bundle_id):
            await self._beside.in_thread(self._beside.preparation.try_out, loaded, serving, recent, least_overlap=least)

    async def _rolled_back(self) -> str:
        async with self._beside.changing:
            if not self._before:
                raise SwapRefused("no other bundle served before this one; promote one by `recsys bundle promote`")
            began = time.perf_counter()
            loaded = await self._beside.ready(self._before)
            self._serve(loaded, began, "rolled back by command")
            self._watched.rolled_back("command")
            await self._settle(loaded)
            self._beside.let_go()
            return loaded.bundle_id

    def _serve(self, loaded: Loaded, began: float, reason: str) -> None:
        """Have a bundle answer from the next request on; those that have begun keep what they have."""
        check(loaded)
        self.end_probation()
        self._before = self._bundles.model.bundle_id
        self._bundles.serve(loaded)
        self._kept_until = time.monotonic() + self._config.previous_kept_s
        seconds = time.perf_counter() - began
        self.last_swap = _event(loaded.bundle_id, self._before, seconds, reason)
        _log.info("swapped", bundle_id=loaded.bundle_id, before=self._before, seconds=round(seconds, 3), why=reason)

    def _begin_probation(self, loaded: Loaded, *, any_order: bool) -> None:
        former = self._bundles.previous
        if former is not None and self._config.probation_s:
            self._probation = Probation.begin(loaded, former, self._config, self._bundles.spare, any_order=any_order)
            self._bundles.watchers = (*self._bundles.watchers, self._probation.shadow.offer)

    async def _settle(self, loaded: Loaded) -> None:
        """Have the rest of the server follow the bundle that serves now."""
        await self._beside.in_thread(self._beside.preparation.live.lead, loaded)
        await self._beside.in_thread(self._taken, loaded)

    async def _look_after(self) -> None:
        """Take a bundle on probation back if it does badly, and let the one before go when its time is over.

        Nobody is waited for: another bundle may take minutes to load, and a bad one must not serve for as long.
        """
        probation, former = self._probation, self._bundles.previous
        if probation is not None and former is not None and (fault := probation.fault()):
            await self._take_back(probation.loaded, former, fault)
        elif probation is not None and (probation.over or former is None):
            self.end_probation()
        self._drop_the_one_before_when_due()
        if not self._beside.changing.locked():  # else what is being loaded would seem to be there for nothing
            self._beside.let_go()

    async def _take_back(self, bad: Loaded, former: Loaded, fault: str) -> None:
        self._serve(former, time.perf_counter(), f"rolled back by alarm: {fault}")
        self._before, self._bundles.previous = "", None
        self.last_refusal = _event(bad.bundle_id, former.bundle_id, 0.0, fault)
        self._watched.rolled_back("alarm")
        _log.error("bundle taken back", bundle_id=bad.bundle_id, reason=fault)
        await self._settle(former)

    def _drop_the_one_before_when_due(self) -> None:
        if self._probation is None and time.monotonic() >= self._kept_until:
            self._bundles.previous = None

    def _refused(self, bundle_id: str, seconds: float, reason: str) -> None:
        self.last_refusal = _event(bundle_id, self._bundles.model.bundle_id, seconds, reason)
        self._watched.refused()
        _log.error("bundle refused", bundle_id=bundle_id, reason=reason)

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something to its end, whoever waits for it."""
        return await asyncio.shield(self._begun(work))

    def _begun(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _every(seconds: float, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except SwapRefused:
            pass  # it is logged, counted and reported
        except Exception as error:  # noqa: BLE001 - whatever it is, the server goes on following
            _log.error("not followed", frames=frames_of(error))


def _event(bundle_id: str, before: str, seconds: float, reason: str) -> Swapped:
    return Swapped(
        bundle_id=bundle_id, from_bundle_id=before, time_us=time.time_ns() // 1_000, seconds=seconds, reason=reason
    )
