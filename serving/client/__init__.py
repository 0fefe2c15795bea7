"""Typed clients: domain nouns in, domain nouns out; a deadline, and a second chance, for every call."""

from serving.client.asked import Asked, Explanation, ask
from serving.client.asynchronous import AsyncRankingClient
from serving.client.blocking import RankingClient
from serving.client.channel import Credentials
from serving.client.ended import ServiceError
from serving.client.fallback import SHOWN_ORDER, Fallback
from serving.client.hedge_delay import P95

__all__ = [
    "P95",
    "SHOWN_ORDER",
    "Asked",
    "AsyncRankingClient",
    "Credentials",
    "Explanation",
    "Fallback",
    "RankingClient",
    "ServiceError",
    "ask",
]
