"""The operator's side of the admin service."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import grpc
from grpc import StatusCode

from recsys.errors import NotReady
from serving.client import ServiceError
from serving.client.channel import Credentials, Token, open_channel
from serving.convert_report import report_from_wire
from serving.pb import ranking_pb2 as pb
from serving.pb import ranking_pb2_grpc as pb_grpc
from serving.report import ServerReport

_DEADLINE_S = 5.0


class AdminClient:
    """Asks one server how it is doing; close it, or use it in a ``with`` block."""

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
        try:
            return report_from_wire(self._stub.GetStatus(pb.GetStatusRequest(), timeout=self._deadline_s))
        except grpc.RpcError as error:
            raise _as_ours(error, self._address) from None

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _as_ours(error: Any, address: str) -> NotReady | ServiceError:
    code = error.code()
    if code in (StatusCode.UNAVAILABLE, StatusCode.UNIMPLEMENTED):
        return NotReady(
            f"nothing at {address} tells its status; start the server with `recsys serve --admin-port 50052` on this "
            "machine, and ask at that port"
        )
    return ServiceError(code.name, f"{address} answered {code.name}: {error.details()}")
