"""How one try ended, and which of our errors that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from grpc import StatusCode

from recsys.errors import InvalidRequest, NotReady, RecsysError

# gRPC's name for the trailer by which a server says when to come back; negative is never.
PUSHBACK = "grpc-retry-pushback-ms"
CLOSED = "this client was closed"
# What a connection that does not come about may be for, beside a server that is away.
TLS = "with a server that speaks TLS only, give credentials (--ca)"

# What to do about an answer that does not say so itself.
_FURTHER = {
    **dict.fromkeys((StatusCode.INTERNAL, StatusCode.UNKNOWN, StatusCode.DATA_LOSS), "; see the server's log"),
    StatusCode.UNIMPLEMENTED: "; check the address: operators and metrics have other ports than rankings",
}


class ServiceError(RecsysError):
    """The service failed, or did not answer in time; ``code`` is gRPC's name for it, such as DEADLINE_EXCEEDED."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The end of a try on a lane: an answer (code OK), or a failure; ``pushback`` is the server's trailer, if any."""

    lane: int
    code: StatusCode
    answer: Any = None
    details: str = ""
    pushback: str | None = None

    @classmethod
    def by_error(cls, lane: int, error: Any) -> Self:
        """Read a failure off a gRPC error, or off a call that failed."""
        trailers = {str(key): value for key, value in error.trailing_metadata() or ()}
        return cls(lane=lane, code=error.code(), details=error.details() or "", pushback=trailers.get(PUSHBACK))

    @property
    def answered(self) -> bool:
        """Whether there is an answer."""
        return self.code is StatusCode.OK

    def as_ours(self, address: str, deadline_s: float | None) -> RecsysError:
        """Say the failure as one of our errors."""
        if self.code is StatusCode.INVALID_ARGUMENT:
            return InvalidRequest(self.details)
        # CANCELLED is not the caller's doing here, it is what gRPC makes of a request that meets a closing server.
        if self.code in (StatusCode.UNAVAILABLE, StatusCode.CANCELLED):
            return NotReady(
                f"{address} does not serve: {self.details}; start it with `recsys serve`, or try again later; {TLS}"
            )
        if self.code is StatusCode.DEADLINE_EXCEEDED and deadline_s is not None:
            return ServiceError(
                self.code.name, f"{address} gave no answer within {deadline_s:g} s; allow more, or ask for less"
            )
        further = _FURTHER.get(self.code, "")
        return ServiceError(self.code.name, f"{address} answered {self.code.name}: {self.details}{further}")
