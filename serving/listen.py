"""The port that callers see: what is asked of a call before it is answered, and what is served."""

from __future__ import annotations

from typing import Any

from grpc import aio
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from recsys.errors import ConfigError
from serving.access.door import Door
from serving.config import ServerConfig
from serving.front import FrontInterceptor
from serving.interceptors import Interceptors
from serving.pb import ranking_pb2 as pb
from serving.pb import ranking_pb2_grpc as pb_grpc
from serving.relay import RelayInterceptor
from serving.servicer import RankingServicer
from serving.status import StatusInterceptor
from serving.telemetry.calls import Calls, CallsInterceptor
from serving.unread import UNREAD, Unread

SERVICE = pb.DESCRIPTOR.services_by_name["RankingService"].full_name


def listening(
    config: ServerConfig, door: Door, servicer: RankingServicer, healthy: Any, calls: Calls
) -> tuple[aio.Server, str, Unread | None]:
    """Make a server that listens, to be started; returns its address and, if it sheds, what it drops unread, too.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    interceptors = Interceptors(
        # Counted first, so that those who are refused are counted too.
        CallsInterceptor(calls, SERVICE),
        door.interceptor,
        FrontInterceptor(SERVICE, {"Rank": servicer.knock}),
        StatusInterceptor(SERVICE),
        *([RelayInterceptor(SERVICE, config)] if config.worker else []),
    )
    server = aio.server(
        interceptors=[interceptors],
        options=[
            ("grpc.max_receive_message_length", config.max_message_bytes),
            # A second server on the port shall fail, not silently take half of the requests; among workers, who started
            # them has seen to that.
            ("grpc.so_reuseport", int(config.worker > 0)),
            *(UNREAD if config.sheds else ()),
            *door.options,
        ],
    )
    unread = Unread(lambda: interceptors.taken, servicer.lost, servicer.dropping) if config.sheds else None
    pb_grpc.add_RankingServiceServicer_to_server(servicer, server)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    if config.describes_itself:
        reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    host = f"[{config.host}]" if ":" in config.host else config.host
    try:
        port = door.listen(server, f"{host}:{config.port}")
    except RuntimeError as error:
        raise ConfigError(
            f"cannot listen on {host}:{config.port}; free the port, or choose another host or port"
        ) from error
    return server, f"{host}:{port}", unread
