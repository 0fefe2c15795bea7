"""One connection to Redis on which every call ends by a moment of its own, and which ends with the first doubt."""

from __future__ import annotations

import select
import time
from hashlib import sha1
from typing import Any

from redis.backoff import NoBackoff
from redis.connection import Connection, parse_url
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from recsys.errors import ConfigError, RecsysError

_CONNECT_S = 2.0


class NoState(RecsysError):
    """The shared state did not answer, or not with what was asked; ``reason`` is one word for counting."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"the shared state does not answer ({message}); check the store, and the network to it")
        self.reason = reason


class Script:
    """A Lua script, known to the store by the hash of its text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = sha1(text.encode(), usedforsecurity=False).hexdigest()


class Link:
    """One connection; not to be used by two threads at once.

    A call that fails in any way closes the connection, because its answer may still be under way and would be taken for
    the answer to the next call. A closed link connects again when it is next called.
    """

    def __init__(self, url: str) -> None:
        try:
            options = parse_url(url)  # type: ignore[no-untyped-call]
            kind = options.pop("connection_class", Connection)
            self._connection = type("LimitedConnection", (_Limited, kind), {})(
                **{"socket_connect_timeout": _CONNECT_S, "socket_read_size": 1 << 18, **options},
                retry=Retry(NoBackoff(), 0),
                protocol=2,
            )
        except (ValueError, TypeError) as error:
            raise ConfigError(f"the store {url!r} cannot be used: {error}; name it as redis://host:port/db") from error

    def call(self, *words: Any, deadline: float) -> Any:
        """Send a command and return its answer, as bytes, integers and lists of these.

        Raises:
            NoState: it did not come by ``deadline``, a moment of ``time.monotonic``; the connection is closed.
        """
        try:
            return self._call(words, deadline)
        except BaseException:
            self.close()
            raise

    def run(self, script: Script, *words: Any, deadline: float) -> Any:
        """Run a script as ``call`` calls, sending its text where the store does not know it."""
        try:
            try:
                return self._call(("EVALSHA", script.sha, 0, *words), deadline)
            except NoScriptError:
                return self._call(("EVAL", script.text, 0, *words), deadline)
        except BaseException:
            self.close()
            raise

    @property
    def quiet(self) -> bool:
        """Whether the connection stands and nothing waits to be read: what comes unasked answers somebody else."""
        socket = self._connection._sock  # noqa: SLF001 - redis-py reads what it finds; this only looks
        if socket is None:
            return False
        poll = select.poll()
        poll.register(socket.fileno(), select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        """Close the connection."""
        self._connection.disconnect()

    def _call(self, words: tuple[Any, ...], deadline: float) -> Any:
        self._connection.deadline = deadline
        try:
            self._connection.send_command(*words)
            return self._connection.read_response(disable_decoding=True)
        except NoScriptError:
            raise
        except (RedisTimeoutError, TimeoutError):
            raise NoState("timeout", "no answer within the time limit") from None
        except RedisConnectionError as error:
            raise NoState("connection", str(error)) from error
        except ResponseError as error:
            raise NoState("refused", str(error)) from error
        except (RedisError, OSError, ValueError, RecursionError) as error:
            raise NoState("reply", f"{type(error).__name__}: {error}") from error


class _Limited:
    """Makes a redis-py connection whose socket waits no longer than ``deadline``, however the bytes come."""

    deadline = 0.0

    def _connect(self) -> Any:
        return _LimitedSocket(super()._connect(), self)  # type: ignore[misc] # of the connection beside it


class _LimitedSocket:
    """A socket whose every wait ends at one moment; redis-py's own limit starts anew with every byte."""

    def __init__(self, socket: Any, owner: _Limited) -> None:
        self._socket = socket
        self._owner = owner

    def recv(self, size: int) -> bytes:
        self._socket.settimeout(self._left())
        received: bytes = self._socket.recv(size)
        return received

    def recv_into(self, buffer: Any, size: int = 0) -> int:
        self._socket.settimeout(self._left())
        received: int = self._socket.recv_into(buffer, size)
        return received

    def sendall(self, data: bytes) -> None:
        self._socket.settimeout(self._left())
        self._socket.sendall(data)

    def _left(self) -> float:
        left = self._owner.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)
