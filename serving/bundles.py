"""The bundles that a server has in memory: which one answers a request, and which are needed no longer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from recsys.errors import NotReady, UnknownBundle
from recsys.schema import Ranking, RankRequest, Rung
from serving.loaded import Lease, Loaded
from serving.model import Model
from serving.track_record import TrackRecord
from serving.variants import Variants

# Requests that are kept to be asked again when another bundle comes.
RECENT = 64

# Stages of an answer that say nothing of the bundle.
_NOT_THE_BUNDLES = ("queue", "explain")

# Told a request, the answer of the bundle that serves, and the seconds that it took to compute.
Watcher = Callable[[RankRequest, Ranking, float], None]


class Bundles:
    """What is loaded, by id, and who answers; everything here is for the event loop's thread, and takes no time.

    ``serving`` answers; ``previous`` did before, and may again. ``recent`` are requests of late. ``watchers`` are told
    what ``serving`` answers; ``spare`` tells them whether there is capacity that nobody waits for.
    """

    def __init__(self, spare: Callable[[], bool] = lambda: True) -> None:
        self.spare = spare
        self.loaded: Mapping[str, Loaded] = {}
        self.serving: Loaded | None = None
        self.previous: Loaded | None = None
        self.shadow: Loaded | None = None
        self.variants = Variants()
        self.recent: deque[RankRequest] = deque(maxlen=RECENT)
        self.watchers: tuple[Watcher, ...] = ()

    @property
    def model(self) -> Model:
        """The model that serves.

        Raises:
            NotReady: none does yet.
        """
        return self._serves().model

    def choose(self, request: RankRequest) -> Lease:
        """Return who answers a request: the bundle or variant that it names, its user's variant, or who serves.

        Raises:
            NotReady: nothing is loaded yet.
            UnknownBundle: what it names is not loaded.
        """
        serving = self._serves()
        name = request.bundle
        variant = self.variants.named(name) if name else self.variants.of(request)
        if variant is not None:
            # One that fell out is not there any more: its users get what all others get.
            found = self.loaded.get(variant.bundle_id) if variant.bundle_id else serving
            if found is not None:
                return Lease(found, variant=variant.name, serving=found is serving)
        if not name:
            return Lease(serving, variant="", serving=True)
        if (found := self.loaded.get(name)) is None:
            raise UnknownBundle(
                "the bundle or variant that the request names is not loaded here; leave RankRequest.bundle empty, or "
                "see `recsys status` for those that are"
            )
        return Lease(found, variant="", serving=found is serving)

    def answered(self, lease: Lease, request: RankRequest, ranking: Ranking) -> None:
        """Note an answer, and show it to those who compare."""
        seconds = sum(spent for stage, spent in ranking.stage_seconds.items() if stage not in _NOT_THE_BUNDLES)
        lease.took(ranking, len(request.candidates), seconds)
        if lease.serving:
            self.recent.append(request)
        # On a lower rung it orders otherwise than it would.
        if lease.serving and ranking.rung is Rung.FULL:
            for watcher in self.watchers:
                watcher(request, ranking, seconds)

    def add(self, loaded: Loaded) -> None:
        """Have a bundle answer those who ask for it by its id."""
        self.loaded = {**self.loaded, loaded.bundle_id: loaded}

    def remove(self, loaded: Loaded) -> None:
        """Have a bundle answer nobody any more; what has begun is finished, and then it may ``retire``."""
        self.loaded = {name: each for name, each in self.loaded.items() if each is not loaded}
        if self.previous is loaded:
            self.previous = None
        if self.shadow is loaded:
            self.shadow = None

    def serve(self, loaded: Loaded) -> None:
        """Have a bundle answer from the next request on; the one before becomes ``previous``."""
        self.previous = self.serving if self.serving is not loaded else self.previous
        loaded.recent_record = TrackRecord()
        self.serving = loaded

    def roles(self) -> dict[str, list[str]]:
        """Say of each loaded bundle what it is there for; the one that serves first."""
        roles: dict[str, list[str]] = {self.serving.bundle_id: ["serving"]} if self.serving is not None else {}
        roles |= {name: [] for name in self.loaded if name not in roles}
        for role, loaded in (("previous", self.previous), ("shadow", self.shadow)):
            if loaded is not None:
                roles.setdefault(loaded.bundle_id, []).append(role)
        for variant in self.variants.variants:
            if variant.bundle_id in roles:
                roles[variant.bundle_id].append(f"variant {variant.name}")
        return roles

    def unused(self) -> list[Loaded]:
        """Return what is loaded and has no role any more."""
        return [self.loaded[name] for name, roles in self.roles().items() if not roles and name in self.loaded]

    def close(self) -> None:
        """Close everything that is loaded; may wait for texts that are being read."""
        for loaded in self.loaded.values():
            loaded.close()

    def _serves(self) -> Loaded:
        if self.serving is None:
            raise NotReady("no model is loaded yet; wait until the health service says SERVING")
        return self.serving
