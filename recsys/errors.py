"""The product's errors: each message names the cause and the remedy, and is safe to show to a caller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class RecsysError(Exception):
    """Anything that this product refuses to do, with the reason and what to do about it."""


class InvalidRequest(RecsysError, ValueError):
    """A ranking request cannot be answered as asked; the caller has to change it."""


class ConfigError(RecsysError, ValueError):
    """A setting is unknown, out of range or contradicts another one."""


class BundleError(RecsysError):
    """A bundle is missing, damaged, or does not fit this build."""


class RegistryError(RecsysError):
    """A registry has no such version, no current one, or none to go back to."""


class LeakError(RecsysError):
    """Training data knows what it must not know, such as text scores of a model that saw the list."""


class NotReady(RecsysError):
    """The service has no bundle loaded yet, or is shutting down; try again later."""


class UnknownBundle(RecsysError, LookupError):
    """A ranking asks for a bundle or a variant that the server has not loaded."""


class SwapRefused(RecsysError):
    """A server goes on with the bundle that it has; says why it does not take another one."""


class NoEventLog(RecsysError):
    """The server was started without a place to keep events."""


class NotRecorded(RecsysError):
    """Events could not be made durable; nothing of them is recorded."""


class Overloaded(RecsysError):
    """More is waiting than the server takes on; ``after_s`` says when to send it again, in seconds, None if unknown."""

    def __init__(self, message: str, *, after_s: float | None = None) -> None:
        self.after_s = after_s
        super().__init__(message)


class TooLate(RecsysError):
    """The time that the caller allowed was over before there was an answer."""


class TextFault(RecsysError):
    """The text model failed, or says what is no number; there are answers without it."""


class Unauthenticated(RecsysError):
    """Nobody knows who calls: there are no credentials, or none that are accepted."""


class PermissionDenied(RecsysError):
    """The caller is known, and may not do this."""


class StorageError(RecsysError):
    """A file that the service keeps beside its bundles cannot be used; says which, and what to do with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong with a table.

    ``row`` counts data rows from 1, header excluded; 0 means the whole file or column.
    """

    file: str
    column: str
    row: int
    problem: str
    remedy: str

    def __str__(self) -> str:
        """One line: where, what, and what to do."""
        place = (
            self.file + (f", column {self.column}" if self.column else "") + (f", row {self.row}" if self.row else "")
        )
        return f"{place}: {self.problem}; {self.remedy}"


class DatasetError(RecsysError):
    """A dataset cannot be used; ``faults`` lists everything that is wrong with it, all at once."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))
