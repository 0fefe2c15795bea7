"""What can be done with the bundles of a running server, all in one place for whoever operates it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from recsys.errors import RecsysError
from serving.beside import Beside
from serving.bundles import Bundles
from serving.config import ServerConfig
from serving.hot_swap import HotSwap
from serving.loaded import Loaded
from serving.preparation import Preparation
from serving.swap_report import LoadedReport, SwapReport
from serving.telemetry.swaps import SwapsWatched
from serving.trials import Trials
from serving.variants import shadow_of_text, variants_of_text

_log = structlog.get_logger()


class Operations:
    """Swaps by ``hot_swap``, and shadow and variants by ``trials``; made when the first bundle serves.

    From ``begin`` to ``stop`` the registry is followed. ``taken`` is called, in the thread of ``executor``, with a
    bundle that has come to serve.
    """

    def __init__(
        self,
        config: ServerConfig,
        preparation: Preparation,
        bundles: Bundles,
        executor: ThreadPoolExecutor,
        watched: SwapsWatched,
        taken: Callable[[Loaded], None],
    ) -> None:
        self._config, self._bundles, self._preparation = config, bundles, preparation
        self._beside = Beside(preparation, bundles, executor)
        self.hot_swap = HotSwap(config, self._beside, watched, taken)
        self.trials = Trials(self._beside, watched)
        self._beside.lost = self._lost
        self._following: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Load what the configuration has on trial, and follow the registry from now on.

        A bundle on trial that cannot be loaded is logged and left out: the one that serves does not depend on it.

        Raises:
            ConfigError: the settings of shadow or variants are not of their form.
        """
        config = self._config
        variants, shadow = variants_of_text(config.variants, config.variants_salt), shadow_of_text(config.shadow)
        for work in (self.trials.set_variants(variants), self.trials.set_shadow(*shadow)):
            try:
                await work
            except RecsysError as error:
                _log.error("trial left out", reason=str(error))
        self._following = asyncio.create_task(self.hot_swap.follow())

    def stop(self) -> None:
        """Change and compare nothing any more."""
        self._preparation.stop()
        if self._following is not None:
            self._following.cancel()
        self.hot_swap.end_probation()
        self.trials.end_shadow()

    def report(self) -> SwapReport:
        """Say what is loaded, and what happened last; for any thread."""
        loaded, shadow = self._bundles.loaded, self.trials.shadow
        return SwapReport(
            loaded=tuple(
                LoadedReport(
                    bundle_id=name,
                    roles=tuple(roles),
                    in_flight=loaded[name].in_flight,
                    rankings=loaded[name].record.answered,
                    failed=loaded[name].record.failed,
                    load_s=loaded[name].load_s,
                )
                for name, roles in self._bundles.roles().items()
                if name in loaded
            ),
            variants=self._bundles.variants.variants,
            shadow=None if shadow is None else shadow.report(),
            last_swap=self.hot_swap.last_swap,
            last_refusal=self.hot_swap.last_refusal,
            preparing=self._beside.preparing,
            before=self.hot_swap.before,
        )

    def _lost(self, loaded: Loaded) -> None:
        self.hot_swap.lost(loaded)
        if loaded is self._bundles.shadow:
            self.trials.end_shadow()
