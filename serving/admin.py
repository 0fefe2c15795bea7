"""The operator's service, on a port of its own that only this machine can reach, behind the same door as the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from grpc import aio

from recsys.errors import ConfigError, NotReady
from serving.access.door import Door
from serving.convert_report import report_to_wire
from serving.convert_swaps import variants_from_wire
from serving.interceptors import Interceptors
from serving.operations import Operations
from serving.pb import ranking_pb2 as pb
from serving.pb import ranking_pb2_grpc as pb_grpc
from serving.report import ServerReport
from serving.status import StatusInterceptor
from serving.telemetry.calls import Calls, CallsInterceptor

ADMIN_SERVICE = pb.DESCRIPTOR.services_by_name["AdminService"].full_name

_HOST = "127.0.0.1"


class AdminServicer(pb_grpc.AdminServiceServicer):
    """Answers an operator; ``report`` is called in a thread. ``operations`` are None until a bundle serves."""

    def __init__(self, report: Callable[[], ServerReport]) -> None:
        self.operations: Operations | None = None
        self._report = report

    async def GetStatus(  # noqa: N802 - gRPC's name
        self,
        request: pb.GetStatusRequest,  # noqa: ARG002
        context: Any,  # noqa: ARG002
    ) -> pb.GetStatusResponse:
        """Say how the server is doing."""
        return report_to_wire(await asyncio.to_thread(self._report))

    async def Swap(  # noqa: N802 - gRPC's name
        self,
        request: pb.SwapRequest,
        context: Any,  # noqa: ARG002
    ) -> pb.SwapResponse:
        """Take the registry's current bundle now."""
        began = time.perf_counter()
        serving, before = await self._ready().hot_swap.swap(any_order=request.any_order)
        seconds = time.perf_counter() - began
        return pb.SwapResponse(bundle_id=serving, previous_bundle_id=before, seconds=seconds)

    async def Rollback(  # noqa: N802 - gRPC's name
        self,
        request: pb.RollbackRequest,  # noqa: ARG002
        context: Any,  # noqa: ARG002
    ) -> pb.RollbackResponse:
        """Go back to the bundle that served before."""
        return pb.RollbackResponse(bundle_id=await self._ready().hot_swap.rollback())

    async def SetShadow(  # noqa: N802 - gRPC's name
        self,
        request: pb.SetShadowRequest,
        context: Any,  # noqa: ARG002
    ) -> pb.SetShadowResponse:
        """Have a bundle rank a share of the requests too."""
        await self._ready().trials.set_shadow(request.bundle_id, request.share)
        return pb.SetShadowResponse()

    async def SetVariants(  # noqa: N802 - gRPC's name
        self,
        request: pb.SetVariantsRequest,
        context: Any,  # noqa: ARG002
    ) -> pb.SetVariantsResponse:
        """Divide the users between bundles."""
        await self._ready().trials.set_variants(variants_from_wire(request))
        return pb.SetVariantsResponse()

    def _ready(self) -> Operations:
        if self.operations is None:
            raise NotReady("no model is loaded yet; wait until the health service says SERVING")
        return self.operations


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
                Interceptors(
                    CallsInterceptor(self._calls, ADMIN_SERVICE),
                    door.interceptor,
                    StatusInterceptor(ADMIN_SERVICE),
                )
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
