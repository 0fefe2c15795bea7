"""The behaviour state in Redis or Valkey, where several servers share it."""

from serving.shared_state.generation import forget_generation
from serving.shared_state.link import NoState
from serving.shared_state.settings import RedisSettings
from serving.shared_state.state import RedisState, connect

__all__ = ["NoState", "RedisSettings", "RedisState", "connect", "forget_generation"]
