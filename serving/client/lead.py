"""Leads calls along their courses: sends, listens and sleeps, with threads or with asyncio."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Any

import grpc
from grpc import StatusCode

from serving.client.dispatch import Course, Listen, Send, Sleep
from serving.client.ended import CLOSED, Ended
from serving.final_status import answer_of


def lead(course: Course, methods: Sequence[Any], message: Any) -> Ended:
    """Call the method, given for each lane, as the course says; blocks."""
    running: dict[Any, int] = {}
    over: SimpleQueue[Any] = SimpleQueue()
    ended: Ended | None = None
    try:
        while True:
            match course.send(ended):
                case Send(lane, within_s, alone=True):
                    ended = _ended(lane, methods[lane], message, _limit(within_s))
                case Send(lane, within_s):
                    call = methods[lane].future(message, timeout=_limit(within_s))
                    running[call] = lane
                    call.add_done_callback(over.put)
                    ended = None
                case Listen(for_s):
                    ended = _next(over, running, for_s)
                case Sleep(for_s):
                    time.sleep(for_s)
                    ended = None
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return] # the course's type says it
    finally:
        course.close()
        for call in running:
            call.cancel()


async def lead_async(course: Course, methods: Sequence[Any], message: Any) -> Ended:
    """Call the method as ``lead`` does; cancelled, it cancels what it sent."""
    running: set[asyncio.Task[Ended]] = set()
    ended: Ended | None = None
    try:
        while True:
            match course.send(ended):
                case Send(lane, within_s, alone=True):
                    ended = await _ended_async(lane, methods[lane], message, _limit(within_s))
                case Send(lane, within_s):
                    running.add(asyncio.create_task(_ended_async(lane, methods[lane], message, _limit(within_s))))
                    ended = None
                case Listen(for_s):
                    done, _ = await asyncio.wait(running, timeout=_limit(for_s), return_when=asyncio.FIRST_COMPLETED)
                    ended = None
                    if done:
                        running.remove(first := done.pop())
                        ended = first.result()
                case Sleep(for_s):
                    await asyncio.sleep(for_s)
                    ended = None
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return] # the course's type says it
    finally:
        course.close()
        for task in running:
            task.cancel()


def _ended(lane: int, method: Any, message: Any, within_s: float | None) -> Ended:
    try:
        return Ended(lane=lane, code=StatusCode.OK, answer=method(message, timeout=within_s))
    except grpc.RpcError as error:
        return Ended.by_error(lane, error)


async def _ended_async(lane: int, method: Any, message: Any, within_s: float | None) -> Ended:
    call = method(message, timeout=within_s)
    try:
        return Ended(lane=lane, code=StatusCode.OK, answer=await answer_of(call))
    except grpc.RpcError as error:
        return Ended.by_error(lane, error)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if not call.cancelled() or (task is not None and task.cancelling()):
            raise
        # Nobody has cancelled us: the channel was closed meanwhile.
        return Ended(lane=lane, code=StatusCode.CANCELLED, details=CLOSED)


def _next(over: SimpleQueue[Any], running: dict[Any, int], for_s: float) -> Ended | None:
    try:
        call = over.get(timeout=_limit(max(for_s, 0)))
    except Empty:
        return None
    lane = running.pop(call)
    if call.code() is StatusCode.OK:
        return Ended(lane=lane, code=StatusCode.OK, answer=call.result())
    return Ended.by_error(lane, call)


def _limit(seconds: float) -> float | None:
    return None if seconds == math.inf else seconds
