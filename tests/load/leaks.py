"""What must not come out of a server: what callers sent, and what the server is made of."""

from __future__ import annotations

import builtins
import logging
import re
from collections import Counter
from pathlib import Path
from typing import Any

import structlog
from google.protobuf.message import Message
from grpc import StatusCode

import recsys.errors

# Codes by which a server says that it failed, and the caller did nothing wrong.
FAULTS = frozenset({
    StatusCode.INTERNAL, StatusCode.UNKNOWN, StatusCode.DATA_LOSS, StatusCode.UNAVAILABLE, StatusCode.ABORTED,
})  # fmt: skip

# Fields of answers that say again what was sent, as they are there for.
_SAID_AGAIN = frozenset({"item_id", "request_id", "event_id", "unknown_items", "items_without_text"})

_CLASSES = {
    name
    for module in (builtins, recsys.errors)
    for name, value in vars(module).items()
    if isinstance(value, type) and issubclass(value, BaseException)
}
_INSIDE = re.compile(
    rf"Traceback|\.py\b|<class|object at 0x|site-packages|\b(?:{'|'.join(sorted(_CLASSES))})\b"
    rf"|{re.escape(str(Path.home()))}/|{re.escape(str(Path.cwd()))}|/tmp/|/usr/"
)


class Findings:
    """What was found, each with where; and how often which code was answered."""

    def __init__(self, canary: str) -> None:
        self.found: list[str] = []
        self.codes: Counter[str] = Counter()
        self.lines = 0
        self._canary = canary

    def answer(self, where: str, code: StatusCode, text: str, response: Message | None) -> None:
        """Look at an answer."""
        self.codes[code.name] += 1
        if code in FAULTS:
            self.add(where, f"{code.name}: {text}")
        elif text and ((inside := _INSIDE.search(text)) or self._canary in text):
            self.add(where, f"tells {inside[0] if inside else 'what was sent'!r} in: {text}")
        if response is not None:
            for name in _telling(response, self._canary):
                self.add(where, f"says what was sent in {name}")

    def line(self, where: str, text: str) -> None:
        """Look at a line of a log, at metrics, at a span."""
        self.lines += 1
        if (at := text.find(self._canary)) >= 0:
            self.add(where, f"tells what was sent: ...{text[max(at - 200, 0) : at + 60]!r}...")

    def add(self, where: str, what: str) -> None:
        """Take note, of a few."""
        if len(self.found) < 20:
            self.found.append(f"{where}: {what[:500]}")


def _telling(message: Message, canary: str) -> list[str]:
    """Name the fields of an answer that tell what was sent, but for those that are to."""
    found = []
    for field, value in message.ListFields():
        if field.name in _SAID_AGAIN:
            continue
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            found += [field.name] if canary in str(value) else []
        else:
            for inner in value if field.is_repeated else [value]:
                found += _telling(inner, canary)
    return found


class Listener(logging.Handler):
    """Hears every line that this process logs, by structlog or otherwise."""

    def __init__(self, findings: Findings) -> None:
        super().__init__()
        self._findings = findings

    def emit(self, record: logging.LogRecord) -> None:
        self._findings.line("log", logging.Formatter().format(record))

    def __enter__(self) -> None:
        self._before = structlog.get_config()
        structlog.configure(
            processors=[structlog.contextvars.merge_contextvars, self._hear], cache_logger_on_first_use=False
        )
        logging.getLogger().addHandler(self)

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)
        structlog.configure(**self._before)

    def _hear(self, _logger: Any, method: str, event: Any) -> Any:
        self._findings.line("log", str(event))
        if method in ("error", "critical", "exception"):  # it says where a fault of ours was raised
            self._findings.add("log", f"has a fault: {event}")
        raise structlog.DropEvent
