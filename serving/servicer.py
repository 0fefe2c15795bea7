"""Answers the service's methods; the computing happens in threads, so that the event loop stays free."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import structlog
from structlog.contextvars import bind_contextvars

from recsys.errors import NotReady, TooLate
from recsys.schema import Ranking, RankRequest, Rung
from serving.access.caller import current
from serving.admission import Admission, Place
from serving.batching import Batches, Job
from serving.bundles import Bundles
from serving.convert import info_to_wire, ranking_to_wire, reasons_wanted, request_from_wire
from serving.convert_items import ids_from_wire
from serving.event_intake import EventIntake
from serving.item_changes import ItemChanges
from serving.item_rows import items_from_wire
from serving.ladder import Ladder
from serving.live_state import LiveState
from serving.loaded import Lease
from serving.logging import frames_of
from serving.model import Model, Ranked, describe
from serving.one_at_a_time import OneAtATime
from serving.pb import ranking_pb2 as pb
from serving.pb import ranking_pb2_grpc as pb_grpc
from serving.pseudonyms import Pseudonyms
from serving.quotas import Quotas
from serving.receipt_writer import ReceiptWriter
from serving.refusals import Reason
from serving.telemetry.drift_watch import DriftWatch
from serving.telemetry.telemetry import Telemetry

T = TypeVar("T")

_log = structlog.get_logger()

_SHUTTING_DOWN = "the server is shutting down; ask another one"
_NO_QUOTA = nullcontext()


class RankingServicer(pb_grpc.RankingServiceServicer):
    """Ranks with what ``bundles`` chooses for each request, which keeps what it began with.

    ``live`` takes every change of items; where it is None, none can be made. ``receipts`` takes what some rankings were
    made of, ``telemetry`` is told each, ``quotas`` says what each caller may have. The log names requests by
    ``pseudonyms`` where callers named them.
    """

    def __init__(
        self,
        executor: ThreadPoolExecutor,
        intake: EventIntake,
        telemetry: Telemetry,
        admission: Admission,
        *,
        threads: int,
        ladder: Ladder | None = None,
    ) -> None:
        self._admission = admission
        self._batches = Batches(
            executor,
            threads,
            took=admission.took,
            batched=telemetry.metrics.batch_size.labels("rankings").observe,
            ladder=ladder,
            alone=OneAtATime(partial(telemetry.calls.count, "Rank")),
        )
        if ladder is not None:
            admission.least_share = ladder.least_share
            ladder.refused_s = admission.people_refused_s
        self.bundles = Bundles(lambda: self._batches.spare)
        self._telemetry = telemetry
        self._intake = intake
        self.live: LiveState | None = None
        self.receipts: ReceiptWriter | None = None
        self.quotas: Quotas | None = None
        self.pseudonyms = Pseudonyms.read(None)
        self.item_changes = ItemChanges()
        self._stopping = False
        self._given_up = False

    @property
    def busy(self) -> bool:
        """Whether something is still being computed, or waits to be, even if its caller has gone."""
        return self.item_changes.busy or self._batches.busy

    @property
    def waiting(self) -> int:
        """How much waits for a thread."""
        return self._batches.waiting + self.item_changes.waiting

    async def drain(self, grace_s: float) -> bool:
        """Refuse new requests and finish the accepted ones; False if some were told to go elsewhere after the grace."""
        self._stopping = True
        waiting = [*self.item_changes.unanswered, *self._batches.unanswered]
        if not waiting:
            return True
        _, late = await asyncio.wait(waiting, timeout=grace_s)
        self._given_up = True
        for answer in late:
            answer.cancel()
        return not late

    def knock(self, told_s: float | None) -> None:
        """Refuse the current caller's ranking before it is read, if it is one too many; raises Overloaded."""
        caller = current()
        if self.quotas is not None:
            self.quotas.check(caller.name)
        self._admission.knock(self._admission.time_left(told_s), caller.priority)

    def lost(self, calls: int) -> None:
        """Count calls that nobody has seen."""
        self._admission.refusals.add(Reason.UNREAD, calls)

    def dropping(self, calls: int) -> None:
        """Note that so many are being dropped unread."""
        self._admission.dropping(calls)

    async def Rank(self, request: pb.RankRequest, context: Any) -> pb.RankResponse:  # noqa: N802 - gRPC's name
        """Order the candidates, in the time that is left, or refuse at once."""
        left_s, caller = self._admission.time_left(context.time_remaining()), current()
        candidates = len(request.candidates) + len(request.candidate_ids)
        quota = _NO_QUOTA if self.quotas is None else self.quotas.taken(caller.name, candidates)
        with quota, self._admission.admitted(candidates, left_s, caller.priority) as place:
            return await self._ranked(request, place, left_s)

    async def _ranked(self, request: pb.RankRequest, place: Place, left_s: float) -> pb.RankResponse:
        began = time.perf_counter()
        self._loaded()
        per_item = reasons_wanted(request)
        now_us = time.time_ns() // 1_000
        asked = request_from_wire(request, now_us=now_us)
        named = self.pseudonyms.of(request.request_id) if request.request_id else asked.request_id
        with self.bundles.choose(asked) as lease:
            bind_contextvars(request_id=named, bundle_id=lease.model.bundle_id, n=len(asked.candidates))
            sampler, variant = self._telemetry.sampler, lease.variant
            job = Job(
                model=lease.model,
                request=asked,
                place=place,
                keep=partial(_keep, variant=variant, receipts=self.receipts, sampler=sampler, now_us=now_us),
                answer=asyncio.get_running_loop().create_future(),
                explain=per_item > 0,
            )
            answer = self._batches.submit(job)
            # Where the event loop has ranked it, it is there already.
            ranking, reasons = answer.result() if answer.done() else await self._in_time(answer, left_s)
        ranking = replace(ranking, variant=variant) if variant else ranking
        message = ranking_to_wire(
            ranking, reasons, per_item=per_item, candidate_ids=asked.item_ids if request.candidate_ids else ()
        )
        note = partial(self._note, lease, asked, ranking, named=named, seconds=time.perf_counter() - began)
        if self._telemetry.traces:
            note()  # while the call's span is open
        else:
            asyncio.get_running_loop().call_soon(note)  # the answer leaves first
        return message

    def _note(self, lease: Lease, asked: RankRequest, ranking: Ranking, *, named: str, seconds: float) -> None:
        try:
            self.bundles.answered(lease, asked, ranking)
            self._telemetry.ranked(ranking, request_id=named, candidates=len(asked.candidates), seconds=seconds)
        except Exception as error:  # noqa: BLE001 - it is answered, and asyncio would print what the request said
            _log.error("ranking not noted", frames=frames_of(error))

    async def RecordEvents(  # noqa: N802 - gRPC's name
        self,
        request: pb.RecordEventsRequest,
        context: Any,  # noqa: ARG002
    ) -> pb.RecordEventsResponse:
        """Record the events of one message."""
        return await self._intake.record(request)

    async def StreamEvents(  # noqa: N802 - gRPC's name
        self,
        request_iterator: AsyncIterator[pb.StreamEventsRequest],
        context: Any,  # noqa: ARG002
    ) -> pb.StreamEventsResponse:
        """Record the events of many messages."""
        return await self._intake.stream(request_iterator)

    async def GetModelInfo(  # noqa: N802 - gRPC's name
        self,
        request: pb.GetModelInfoRequest,  # noqa: ARG002
        context: Any,  # noqa: ARG002
    ) -> pb.GetModelInfoResponse:
        """Describe the model."""
        return info_to_wire(describe(self._loaded()))

    async def UpsertItems(  # noqa: N802 - gRPC's name
        self,
        request: pb.UpsertItemsRequest,
        context: Any,  # noqa: ARG002
    ) -> pb.UpsertItemsResponse:
        """Add or replace items."""
        model, live = self._loaded(), self._live()
        items = items_from_wire(request, model.item_schema)
        bind_contextvars(bundle_id=model.bundle_id, n=len(items))
        changed = await self._answered(self.item_changes.submit(partial(live.upsert, items)))
        return pb.UpsertItemsResponse(changed=changed, pending_texts=model.pending_texts)

    async def DeleteItems(  # noqa: N802 - gRPC's name
        self,
        request: pb.DeleteItemsRequest,
        context: Any,  # noqa: ARG002
    ) -> pb.DeleteItemsResponse:
        """Take items out."""
        model, live = self._loaded(), self._live()
        ids = ids_from_wire(request)
        bind_contextvars(bundle_id=model.bundle_id, n=len(ids))
        deleted = await self._answered(self.item_changes.submit(partial(live.delete, ids)))
        return pb.DeleteItemsResponse(deleted=deleted)

    async def _in_time(self, answer: asyncio.Future[T], left_s: float) -> T:
        try:
            async with asyncio.timeout(left_s):
                return await self._answered(answer)
        except TimeoutError:
            raise TooLate(f"no answer within {left_s:g} s; allow more time, or ask for less") from None

    async def _answered(self, answer: asyncio.Future[T]) -> T:
        """Wait for what a thread computes."""
        try:
            return await answer
        except asyncio.CancelledError:
            if self._given_up:
                raise NotReady(_SHUTTING_DOWN) from None
            raise

    def _live(self) -> LiveState:
        if self.live is None:
            raise NotReady("no item log is open yet; wait until the health service says SERVING")
        return self.live

    def _loaded(self) -> Model:
        if self._stopping:
            raise NotReady(_SHUTTING_DOWN)
        return self.bundles.model


def _keep(
    request: RankRequest,
    ranked: Ranked,
    ranking: Ranking,
    *,
    variant: str,
    receipts: ReceiptWriter | None,
    sampler: DriftWatch | None,
    now_us: int,
) -> None:
    """Leave a receipt or a sample where this request is to have one."""
    if receipts is not None and receipts.wants(request.request_id):
        receipts.offer(replace(ranked.receipt(ranking, now_us=now_us), variant=variant))
    # Of another bundle the columns are others, and what a lower rung does without has not drifted.
    ours = sampler is not None and sampler.bundle_id == ranking.bundle_id and ranking.rung is Rung.FULL
    if sampler is not None and ours and sampler.wants(request.request_id):
        sampler.offer(ranked.table)
