"""The operator's service, on a port of its own that only this machine can reach, behind the same door as the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from grpc import aio

from recsys.errors import ConfigError
from serving.access.door import Door
from serving.convert_report import report_to_wire
from serving.pb import ranking_pb2 as pb
from serving.pb import ranking_pb2_grpc as pb_grpc
from serving.report import ServerReport
from serving.status import StatusInterceptor
from serving.telemetry.calls import Calls, CallsInterceptor

ADMIN_SERVICE = pb.DESCRIPTOR.services_by_name["AdminService"].full_name

_HOST = "127.0.0.1"


class AdminServicer(pb_grpc.AdminServiceServicer):
    """Answers an operator; ``report`` is called in a thread."""

    def __init__(self, report: Callable[[], ServerReport]) -> None:
        self._report = report

    async def GetStatus(  # noqa: N802 - gRPC's name
        self,
        request: pb.GetStatusRequest,  # noqa: ARG002
        context: Any,  # noqa: ARG002
    ) -> pb.GetStatusResponse:
        """Say how the server is doing."""
        return report_to_wire(await asyncio.to_thread(self._report))


class AdminPort:
    """Listens for operators from ``open`` to ``close``; ``address`` says where. Its calls are guarded and counted."""

    def __init__(self, servicer: AdminServicer, calls: Calls) -> None:
        self.address = ""
        self._servicer = servicer
        self._calls = calls
        self._server: aio.Server | None = None

    async def open(self, port: int, door: Door) -> None:
        """Listen behind a door; port 0 lets the system choose.

        Raises:
            ConfigError: the port cannot be listened on.
        """
        server = aio.server(
            interceptors=[
                CallsInterceptor(self._calls, ADMIN_SERVICE),
                door.interceptor,
                StatusInterceptor(ADMIN_SERVICE),
            ],
            options=[("grpc.so_reuseport", 0), *door.options],
        )
        pb_grpc.add_AdminServiceServicer_to_server(self._servicer, server)
        try:
            bound = door.listen(server, f"{_HOST}:{port}")
        except RuntimeError as error:
            raise ConfigError(
                f"cannot listen for operators on {_HOST}:{port}; free the port, or choose another admin_port"
            ) from error
        self._server, self.address = server, f"{_HOST}:{bound}"
        await server.start()

    async def close(self) -> None:
        """Stop listening, at once."""
        if self._server is not None:
            await self._server.stop(None)
