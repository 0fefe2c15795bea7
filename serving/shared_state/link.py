"""One connection to Redis on which every call ends by a moment of its own, and which ends with the first doubt."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Sequence
from typing import Any

from redis.backoff import NoBackoff
from redis.connection import Connection, parse_url
from redis.exceptions import RedisError
from redis.retry import Retry

from recsys.errors import ConfigError, RecsysError
from serving.shared_state.resp import Refused, Replies, pack

# Opening a connection happens in the background, or while a server starts.
_OPEN_S = 2.0
_READ = 1 << 18


class NoState(RecsysError):
    """The shared state did not answer, or not with what was asked; ``reason`` is one word for counting."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"the shared state does not answer ({message}); check the store, and the network to it")
        self.reason = reason


class Link:
    """One connection, to be opened first; not to be used by two threads at once.

    redis-py connects: address, password, TLS and database are as its URLs say. Calls go over the socket itself, because
    redis-py's time limit starts anew with every byte that comes, and it takes a millisecond for the rows of a ranking.
    A call that fails in any way closes the connection, because its answer may still be under way and would be taken for
    the answer to the next call.
    """

    def __init__(self, url: str) -> None:
        try:
            options = parse_url(url)  # type: ignore[no-untyped-call]
            kind = options.pop("connection_class", Connection)
            options = {"socket_timeout": _OPEN_S, "socket_connect_timeout": _OPEN_S, **options}
            self._connection = kind(**options, retry=Retry(NoBackoff(), 0), protocol=2)
        except (ValueError, TypeError) as error:
            # Neither the address nor what is said of it: either may quote a password.
            raise ConfigError("the store's address cannot be used; name it as redis://host:port/db") from error
        self._socket: socket.socket | None = None
        self._deadline = 0.0
        self._replies = Replies(self._receive)

    def open(self) -> None:
        """Connect anew; raises NoState."""
        self.close()
        try:
            self._connection.connect()
        except (RedisError, OSError) as error:
            raise NoState("connection", str(error)) from error
        self._socket = self._connection._sock  # noqa: SLF001 - there is no other way to it
        self._replies = Replies(self._receive)

    def call(self, *words: Any, deadline: float) -> Any:
        """Send a command and return its answer: bytes, None, integers and lists of these.

        Raises:
            NoState: it did not come by ``deadline``, a moment of ``time.monotonic``, or is an error.
        """
        return self._exchange([words], deadline)[0]

    def each(self, *commands: Sequence[Any], deadline: float) -> list[Any]:
        """Send commands at once and return their answers; raises as ``call``."""
        return self._exchange(list(commands), deadline)

    def together(self, *commands: Sequence[Any], deadline: float) -> list[Any] | None:
        """Have commands run at one moment; None, with nothing done, if what was watched has changed.

        Raises:
            NoState: as ``call``; whether they were run is not known then.
        """
        done: list[Any] | None = self._exchange([("MULTI",), *commands, ("EXEC",)], deadline)[-1]
        return done

    @property
    def quiet(self) -> bool:
        """Whether the connection stands and nothing waits to be read: what comes unasked answers somebody else."""
        if self._socket is None or self._replies.unread:
            return False
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        """Close the connection."""
        self._socket = None
        self._connection.disconnect()

    def _exchange(self, commands: list[Sequence[Any]], deadline: float) -> list[Any]:
        whole = False
        try:
            answers = self._exchanged(commands, deadline)
            whole = not self._replies.unread
        except TimeoutError:
            raise NoState("timeout", "no answer within the time limit") from None
        except Refused as error:
            raise NoState("refused", str(error)) from error
        except OSError as error:
            raise NoState("connection", str(error)) from error
        except (ValueError, RecursionError) as error:
            raise NoState("reply", f"it does not speak as Redis does: {error}") from error
        finally:
            if not whole:
                self.close()
        if not whole:
            raise NoState("reply", "it answered more than was asked")
        return answers

    def _exchanged(self, commands: list[Sequence[Any]], deadline: float) -> list[Any]:
        if self._socket is None:
            raise ConnectionError("the connection is closed")
        self._deadline = deadline
        self._socket.settimeout(self._left())
        self._socket.sendall(b"".join(map(pack, commands)))
        return [self._replies.read() for _ in commands]

    def _receive(self) -> bytes:
        assert self._socket is not None  # noqa: S101  # it was open when this exchange began
        self._socket.settimeout(self._left())
        return self._socket.recv(_READ)

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left
