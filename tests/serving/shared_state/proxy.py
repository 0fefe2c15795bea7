"""A proxy that stands between a client and Redis and does what networks do."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable


class Proxy:
    """Passes bytes on until told otherwise; ``mode`` says what becomes of the store's answers from now on.

    ``pass``; ``hold``: keep them, and pass them on when the mode changes; ``half``: the first 40 bytes, then hold;
    ``drip``: byte by byte, with pauses; ``cut``: the first 40 bytes, then reset the connection; ``noise``: bytes that
    are no answer; ``twice``: everything two times. ``change`` rewrites what is asked.
    """

    def __init__(self, port: int) -> None:
        self.mode = "pass"
        self.change: Callable[[bytes], bytes] = lambda data: data
        self.answers_held = 0
        self._store = port
        self._closed = threading.Event()
        self._changed = threading.Condition()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._start(self._accept)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def set(self, mode: str) -> None:
        with self._changed:
            self.mode = mode
            self._changed.notify_all()

    def wait_held(self, answers: int) -> None:
        """Wait until so many answers, or parts of one, have been kept back in all."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.answers_held >= answers, 30)

    def close(self) -> None:
        self._closed.set()
        self.set("pass")
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for each in self._sockets:
            each.close()

    def _start(self, work: Callable[..., None], *given: socket.socket) -> None:
        thread = threading.Thread(target=work, args=given, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            store = socket.create_connection(("127.0.0.1", self._store))
            for each in (client, store):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets += [client, store]
            self._start(self._questions, client, store)
            self._start(self._answers, store, client)

    def _questions(self, client: socket.socket, store: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 20):
                store.sendall(self.change(data))
            store.shutdown(socket.SHUT_WR)

    def _answers(self, store: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := store.recv(1 << 20):
                self._pass_on(data, client)
            client.shutdown(socket.SHUT_WR)

    def _pass_on(self, data: bytes, client: socket.socket) -> None:
        mode = self.mode
        if mode in ("half", "cut"):
            client.sendall(data[:40])
            data = data[40:]
        if mode == "cut":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.shutdown(socket.SHUT_RDWR)
            client.close()
            return
        if mode == "noise":
            client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            return
        if mode in ("half", "hold"):
            with self._changed:
                self.answers_held += 1
                self._changed.notify_all()
                self._changed.wait_for(lambda: self.mode != mode or self._closed.is_set())
        if mode == "drip":
            while data and self.mode == "drip" and not self._closed.wait(0.02):
                client.sendall(data[:1])
                data = data[1:]
        client.sendall(data * 2 if mode == "twice" else data)
