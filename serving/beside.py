"""Has bundles stand beside the one that serves, and lets those go that nobody needs any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import ParamSpec, TypeVar

import structlog

from recsys.errors import NotReady, RecsysError, RegistryError, SwapRefused
from serving.bundles import Bundles
from serving.loaded import Loaded
from serving.logging import frames_of
from serving.preparation import Preparation

P = ParamSpec("P")
T = TypeVar("T")

_log = structlog.get_logger()


class Beside:
    """Loads bundles in the one thread of ``executor``; for the event loop.

    Whoever changes what is loaded, or what for, holds ``changing``. ``lost`` is called with a bundle that cannot follow
    what the server is told, and so answers nobody any more.
    """

    def __init__(self, preparation: Preparation, bundles: Bundles, executor: ThreadPoolExecutor) -> None:
        self.preparation, self.bundles = preparation, bundles
        self.changing = asyncio.Lock()
        self.preparing = ""
        self.lost: Callable[[Loaded], None] = lambda _: None
        self._executor = executor
        loop = asyncio.get_running_loop()

        def fell_out(loaded: Loaded) -> None:
            loaded.fault = f"bundle {loaded.bundle_id} could not learn what the server is told; the log says where"
            loop.call_soon_threadsafe(self._lose, loaded)

        preparation.live.fell_out = fell_out
        preparation.spare = bundles.spare

    async def ready(self, bundle_id: str) -> Loaded:
        """Return a bundle of the registry, loaded.

        Raises:
            SwapRefused: it must not be used, or cannot be loaded; says why.
        """
        if (found := self.bundles.loaded.get(bundle_id)) is not None:
            return found
        async with explained(bundle_id):
            await self._make_room(bundle_id)
            self.preparing = bundle_id  # only now: it is one that there is
            try:
                loaded = await self.in_thread(self.preparation.beside, bundle_id)
            finally:
                self.preparing = ""
        self.bundles.add(loaded)
        check(loaded)
        return loaded

    async def in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Have the thread do something, after what it does already."""
        try:
            job = self._executor.submit(work, *args, **kwargs)
        except RuntimeError:
            raise NotReady("the server is shutting down; ask another one") from None
        return await asyncio.wrap_future(job)

    def let_go(self) -> None:
        """Let those go that are there for nothing: no request gets them, and they close when their last one is done."""
        for loaded in self.bundles.unused():
            self._remove(loaded)

    def _remove(self, loaded: Loaded) -> None:
        self.bundles.remove(loaded)
        # In the thread, so that its memory is free before another one is loaded.
        with suppress(RuntimeError):  # the server stops, which closes whatever is loaded
            self._executor.submit(self._leave, loaded)

    def _leave(self, loaded: Loaded) -> None:
        self.preparation.live.leave(loaded)
        loaded.retire()

    def _lose(self, loaded: Loaded) -> None:
        if loaded.bundle_id in self.bundles.loaded:  # else whoever prepares it finds its fault
            self.lost(loaded)
            if loaded is not self.bundles.serving:  # else whoever comes to serve in its place lets it go
                self._remove(loaded)

    async def _make_room(self, bundle_id: str) -> None:
        """Drop the bundle before where another one would not fit beside it.

        Raises:
            SwapRefused: there is no room all the same.
        """
        if await self.in_thread(self.preparation.has_room, bundle_id):
            return
        self.bundles.previous = None
        self.let_go()
        if not await self.in_thread(self.preparation.has_room, bundle_id):
            raise SwapRefused(
                "there is not memory enough for another bundle beside the one that serves; give the server more, or "
                "restart it"
            )


def check(loaded: Loaded) -> None:
    """Refuse a bundle that does not follow any more; raises SwapRefused."""
    if loaded.fault:
        raise SwapRefused(loaded.fault)


@asynccontextmanager
async def explained(bundle_id: str) -> AsyncIterator[None]:
    """Make SwapRefused of whatever is wrong with a bundle, and keep from callers what is for the log."""
    try:
        yield
    except SwapRefused:
        raise
    except RegistryError as error:  # its text says where the registry lies
        raise SwapRefused("the registry has no such bundle; see `recsys bundle list`, and promote one") from error
    except RecsysError as error:
        raise SwapRefused(str(error)) from error
    except Exception as error:
        _log.error("bundle not usable", bundle_id=bundle_id, frames=frames_of(error))
        raise SwapRefused(
            f"bundle {bundle_id} cannot be used ({type(error).__name__}); the server's log says where, "
            "`recsys bundle verify` may say why"
        ) from error
