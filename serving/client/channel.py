"""Makes the channels of the clients: one for each address."""

from __future__ import annotations

import grpc
from grpc import aio

_OPTIONS = (
    # Channels to one address would share one connection, and so one of the processes that listen on its port.
    ("grpc.use_local_subchannel_pool", 1),
    # A name may stand for several servers.
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
    # gRPC would leave a server that was away for long alone for two minutes more.
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


def open_channel(address: str) -> grpc.Channel:
    """Open a channel to an address, in whichever form gRPC takes one."""
    return grpc.insecure_channel(address, options=_OPTIONS)


def open_aio_channel(address: str) -> aio.Channel:
    """Open a channel for asyncio, as ``open_channel``."""
    return aio.insecure_channel(address, options=_OPTIONS)
