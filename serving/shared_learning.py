"""Makes a model share what people did with other servers, and keeps the shared store up to this server's event log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from recsys.errors import ConfigError
from recsys.events import Logged
from recsys.pipeline import RankingPipeline
from serving.config import ServerConfig
from serving.event_log import EventLog
from serving.model import Model
from serving.shared_state import RedisSettings, RedisState, connect


class SharedLearning:
    """Called with what the event log tells; where the store was away, it is told first what it has missed."""

    def __init__(self, pipeline: RankingPipeline, state: RedisState, log: EventLog) -> None:
        self._pipeline = pipeline
        self._state = state
        self._log = log

    def __call__(self, told: Sequence[Logged]) -> None:
        """Learn; never raises for the store's sake, because the events are in the log."""
        if self._state.behind:
            self.catch_up()
        else:
            self._pipeline.learn(told)

    @property
    def behind(self) -> bool:
        """Whether the store may lack events of this server's log."""
        return self._state.behind

    @property
    def away(self) -> bool:
        """Whether the store does not answer rankings just now."""
        return self._state.away

    @property
    def missed(self) -> Mapping[str, int]:
        """How often the store did not answer a ranking, by reason."""
        return self._state.missed

    @property
    def caught_up(self) -> tuple[int, int]:
        """Up to where the store knew the log when it was last caught up, and up to where it knows it since."""
        return self._state.caught_up

    def close(self) -> None:
        """Close the model, and leave the store."""
        self._pipeline.close()
        self._state.close()

    def catch_up(self) -> bool:
        """Tell the store everything of the log that it lacks; False where it is away."""
        return self._state.catch_up(self._log.name, self._untold)

    def _untold(self, sequence: int) -> Iterator[Logged]:
        for told in self._log.since(sequence):
            yield from self._pipeline.untrained(told)


def share(model: Model, config: ServerConfig, log: EventLog) -> SharedLearning:
    """Let a model answer from the store that the configuration names, and learn into it.

    Raises:
        ConfigError: the address of the store cannot be used, or the model has no state to share.
    """
    if not isinstance(model, RankingPipeline):
        raise ConfigError("this model cannot share its state; leave the store out")
    settings = RedisSettings(
        limit_s=config.store_limit_s,
        connections=config.threads,
        keep_s=int(config.store_keep_days * 86_400),
        late_s=int(config.late_window_s),
    )
    model.state = state = connect(config.store, model, settings)
    learning = SharedLearning(model, state, log)
    learning.catch_up()
    return learning
