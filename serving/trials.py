"""Bundles on trial beside the one that serves: a shadow that answers nobody, and variants for groups of users."""

from __future__ import annotations

from recsys.errors import InvalidRequest, SwapRefused
from serving.beside import Beside
from serving.shadow import Shadow
from serving.telemetry.swaps import SwapsWatched
from serving.variants import Variants


class Trials:
    """Sets and changes what is on trial; for the event loop. ``shadow`` is the one that ranks now."""

    def __init__(self, beside: Beside, watched: SwapsWatched) -> None:
        self.shadow: Shadow | None = None
        self._beside, self._watched = beside, watched

    async def set_shadow(self, bundle_id: str, share: float) -> None:
        """Have a bundle rank a share of the requests too, in place of the former shadow; "" is none.

        Raises:
            InvalidRequest: the share is out of range.
            SwapRefused: the bundle must not be used, or cannot be loaded; the former shadow goes on.
        """
        if not 0 <= share <= 1 or bool(bundle_id) != bool(share):
            raise InvalidRequest(
                f"the shadow's share is {share:g}; give more than 0 and at most 1, or 0 without a bundle"
            )
        bundles = self._beside.bundles
        async with self._beside.changing:
            loaded = await self._beside.ready(bundle_id) if bundle_id else None
            self.end_shadow()
            bundles.shadow = loaded
            if loaded is not None:
                self.shadow = Shadow(loaded, share, bundles.spare, self._watched.compared)
                self._watched.follow_shadow(self.shadow)
                bundles.watchers = (*bundles.watchers, self.shadow.offer)
            self._beside.let_go()

    def end_shadow(self) -> None:
        """Have the shadow rank nothing more."""
        shadow, self.shadow = self.shadow, None
        bundles = self._beside.bundles
        bundles.shadow = None
        if shadow is not None:
            bundles.watchers = tuple(each for each in bundles.watchers if each != shadow.offer)
            shadow.close()

    async def set_variants(self, variants: Variants) -> None:
        """Divide the users between bundles, in place of the former variants.

        Raises:
            SwapRefused: one of the bundles must not be used, or cannot be loaded; the former variants stay.
        """
        async with self._beside.changing:
            try:
                wanted = dict.fromkeys(each.bundle_id for each in variants.variants if each.bundle_id)
                for bundle_id in wanted:
                    await self._beside.ready(bundle_id)
                # To make room for one, another may have been let go, or it may have fallen out meanwhile.
                if lacking := wanted.keys() - self._beside.bundles.loaded.keys():
                    raise SwapRefused(
                        f"{', '.join(sorted(lacking))} did not stay in memory beside the others; give the server more, "
                        "or name fewer bundles"
                    )
                self._beside.bundles.variants = variants
            finally:
                self._beside.let_go()
