"""The operator's side of the admin service."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import grpc
from grpc import StatusCode

from recsys.errors import InvalidRequest, NotReady, RecsysError, SwapRefused
from serving.client import ServiceError
from serving.client.channel import Credentials, Token, open_channel
from serving.client.ended import TLS
from serving.convert_report import report_from_wire
from serving.convert_swaps import variants_to_wire
from serving.pb import ranking_pb2 as pb
from serving.pb import ranking_pb2_grpc as pb_grpc
from serving.report import ServerReport
from serving.variants import Variants

_DEADLINE_S = 5.0
# A bundle may have to be loaded, and texts to be read.
_LOADING_S = 1_800.0


class AdminClient:
    """Asks one server how it is doing, and has it change its bundles; close it, or use it in a ``with`` block."""

    def __init__(
        self,
        address: str,
        *,
        deadline_s: float = _DEADLINE_S,
        credentials: Credentials | None = None,
        token: Token | None = None,
    ) -> None:
        self._address = address
        self._deadline_s = deadline_s
        self._channel = open_channel(address, credentials, token)
        self._stub = pb_grpc.AdminServiceStub(self._channel)

    def status(self) -> ServerReport:
        """Return the server's report.

        Raises:
            NotReady: no server listens for operators at the address.
            ServiceError: anything else.
        """
        return report_from_wire(self._asked(self._stub.GetStatus, pb.GetStatusRequest(), self._deadline_s))

    def swap(self, *, any_order: bool = False, deadline_s: float = _LOADING_S) -> tuple[str, str]:
        """Have the registry's current bundle serve; returns the ids of the one that serves now and of the one before.

        Raises:
            SwapRefused: it is not taken, and why.
            InvalidRequest, NotReady, ServiceError: as every method.
        """
        answer = self._asked(self._stub.Swap, pb.SwapRequest(any_order=any_order), deadline_s)
        return answer.bundle_id, answer.previous_bundle_id

    def rollback(self, *, deadline_s: float = _LOADING_S) -> str:
        """Have the bundle serve that served before; returns its id. Raises as ``swap``."""
        return str(self._asked(self._stub.Rollback, pb.RollbackRequest(), deadline_s).bundle_id)

    def set_shadow(self, bundle_id: str, share: float, *, deadline_s: float = _LOADING_S) -> None:
        """Have a bundle rank a share of the requests too, or none with "" and 0. Raises as ``swap``."""
        self._asked(self._stub.SetShadow, pb.SetShadowRequest(bundle_id=bundle_id, share=share), deadline_s)

    def set_variants(self, variants: Variants, *, deadline_s: float = _LOADING_S) -> None:
        """Divide the users between bundles. Raises as ``swap``."""
        self._asked(self._stub.SetVariants, variants_to_wire(variants), deadline_s)

    def _asked(self, method: Any, request: Any, deadline_s: float) -> Any:
        try:
            return method(request, timeout=deadline_s)
        except grpc.RpcError as error:
            raise _as_ours(error, self._address) from None

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _as_ours(error: Any, address: str) -> RecsysError:
    code = error.code()
    if code is StatusCode.FAILED_PRECONDITION:
        return SwapRefused(error.details())
    if code is StatusCode.INVALID_ARGUMENT:
        return InvalidRequest(error.details())
    if code in (StatusCode.UNAVAILABLE, StatusCode.UNIMPLEMENTED):
        return NotReady(
            f"nothing at {address} tells its status; start the server with `recsys serve --admin-port 50052` on this "
            f"machine, and ask at that port; {TLS}"
        )
    return ServiceError(code.name, f"{address} answered {code.name}: {error.details()}")
