"""Requests that are in flight together are ranked together: one pass over all candidates instead of one per request.

A batch is what waits when a thread has become free, cut by its work. Nobody waits for a batch to fill: a request that
finds a thread idle is ranked at once and alone. That is how Triton and text-embeddings-inference batch too, with a
delay of 0.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import structlog

from recsys.errors import TextFault, TooLate
from recsys.schema import Ranking, RankRequest, Reason, Rung
from serving.admission import Place
from serving.ladder import FIRST, WITHOUT_TEXT, Ladder, Step
from serving.logging import frames_of
from serving.model import Model, Ranked
from serving.one_at_a_time import OneAtATime
from serving.rung_costs import Load

# How many candidates are ranked in one pass, unless a single request has more: about as many as one of the largest
# requests, so that nobody waits longer for those beside him than for one of those before him.
MOST_CANDIDATES = 1_000

Answer = tuple[Ranking, Mapping[str, tuple[Reason, ...]]]
# What is done with each ranking that has been answered: receipts, samples.
Keep = Callable[[RankRequest, Ranked, Ranking], None]

_log = structlog.get_logger()


@dataclass(slots=True, eq=False, kw_only=True)
class Job:
    """A request that waits to be ranked by ``model``, and where the answer is to go."""

    model: Model
    request: RankRequest
    place: Place
    keep: Keep
    answer: asyncio.Future[Answer]
    explain: bool = False
    submitted: float = field(default_factory=time.perf_counter)
    load: Load = field(init=False)

    def __post_init__(self) -> None:
        self.load = Load.of(self.request)


class Batches:
    """What waits to be ranked, and up to ``threads`` threads of ``executor`` that rank it; for one event loop.

    ``took`` is told of each job's share of the seconds of its pass, and ``batched`` of the number of requests in it.
    Where there is a ``ladder``, it says on which rung each is ranked, and a request at which the text model fails is
    ranked without. Where ``alone`` says so, the event loop ranks a request itself.
    """

    def __init__(
        self,
        executor: ThreadPoolExecutor,
        threads: int,
        *,
        took: Callable[[Place, float], None],
        batched: Callable[[int], None],
        ladder: Ladder | None = None,
        alone: OneAtATime | None = None,
    ) -> None:
        self._executor, self._threads = executor, threads
        self._took, self._batched = took, batched
        self._ladder, self._alone = ladder, alone
        self._queue: deque[Job] = deque()
        # Threads that rank, or are about to look for something to rank; and those of them that rank.
        self._running = self._at_work = 0
        self._lock = threading.Lock()
        self.unanswered: set[asyncio.Future[Answer]] = set()

    @property
    def busy(self) -> bool:
        """Whether a thread ranks, or something waits for one."""
        return bool(self._running or self._queue)

    @property
    def waiting(self) -> int:
        """How many requests wait for a thread."""
        return len(self._queue)

    @property
    def spare(self) -> bool:
        """Whether a thread is free, and so nobody waits for one."""
        return self._running < self._threads and not self._queue

    def submit(self, job: Job) -> asyncio.Future[Answer]:
        """Have a request ranked, and return its answer to be; cancelled, it is not begun, or finished for nobody."""
        if self._ladder is not None:
            self._ladder.asked(job.load)
        self.unanswered.add(job.answer)
        job.answer.add_done_callback(self.unanswered.discard)
        alone = self._alone is not None and self._alone.suits(job.model, job.request) and not job.explain
        with self._lock:
            self._queue.append(job)
            alone = alone and not self._running
            idle = self._running < self._threads
            self._running += idle
        loop = asyncio.get_running_loop()
        if alone:
            self._work(_at_once, loop.call_soon)
        elif idle:
            self._executor.submit(self._work, loop.call_soon_threadsafe, _at_once)
        return job.answer

    def _work(self, soon: Callable[..., object], then: Callable[..., object]) -> None:
        """Rank what waits until nothing does; ``soon`` has answers handed over, ``then`` does what can wait."""
        batch: list[Job] = []
        while batch := self._take(len(batch)):
            late: list[tuple[Job, Answer | Exception]] = []
            begun = [job for job in batch if _begins(job, late)]
            if late:
                soon(_deliver, late)
            for step, jobs in self._by_step(begun):
                began = time.perf_counter()
                notes: list[Callable[[], None]] = []
                answers = self._answers(jobs, step, notes)
                seconds = time.perf_counter() - began
                soon(_deliver, answers)
                then(_note, [partial(self._book, jobs, seconds), *notes])

    def _by_step(self, jobs: Sequence[Job]) -> list[tuple[Step, list[Job]]]:
        """Part jobs by how they are to be ranked, the lowest rung first: there the time is shortest."""
        if not jobs or self._ladder is None:
            return [(FIRST, [*jobs])] if jobs else []
        asked = [(job.load, job.place.left_s) for job in jobs]
        parts: dict[Step, list[Job]] = {}
        steps = self._ladder.steps(asked, waiting=self.waiting)
        for job, step in zip(jobs, steps, strict=True):
            parts.setdefault(step, []).append(job)
        rungs = [*Rung]
        return sorted(parts.items(), key=lambda part: -rungs.index(part[0].rung))

    def _take(self, had: int) -> list[Job]:
        """Take what is ranked together next: of one model, oldest first; none where this thread is to end.

        No more than is fair to the other threads that are free; ``had`` is what this one has just ranked.
        """
        batch: list[Job] = []
        room = MOST_CANDIDATES
        with self._lock:
            self._at_work -= had > 0
            fair = -(-len(self._queue) // (self._threads - self._at_work))
            while self._queue and len(batch) < fair:
                job = self._queue[0]
                room -= len(job.request.candidates)
                if batch and (room < 0 or job.explain or batch[0].explain or job.model is not batch[0].model):
                    break
                self._queue.popleft()
                if not job.answer.done():  # else its caller has gone
                    batch.append(job)
            self._at_work += len(batch) > 0
            self._running -= not batch
        return batch

    def _answers(
        self, jobs: Sequence[Job], step: Step, notes: list[Callable[[], None]]
    ) -> list[tuple[Job, Answer | Exception]]:
        """Rank jobs of one model in one pass, or, where one of them cannot be ranked, each by itself.

        What is to be noted of them once they are answered is added to ``notes``.
        """
        try:
            return self._ranked(jobs, step, notes)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            if len(jobs) > 1:
                return [each for job in jobs for each in self._answers([job], step, notes)]
            if isinstance(error, TextFault) and self._ladder is not None and step != WITHOUT_TEXT:
                frames = frames_of(error.__cause__ or error)
                _log.error("text model failed", error=str(error), frames=frames, bundle_id=jobs[0].model.bundle_id)
                return self._answers(jobs, WITHOUT_TEXT, notes)
            return [(jobs[0], error)]

    def _ranked(
        self, jobs: Sequence[Job], step: Step, notes: list[Callable[[], None]]
    ) -> list[tuple[Job, Answer | Exception]]:
        """Rank jobs of one model in one pass; adds the stages that only the server sees."""
        began = time.perf_counter()
        model = jobs[0].model
        answers: list[tuple[Job, Answer | Exception]] = []
        kept: list[Callable[[], None]] = []
        seconds: Mapping[str, float] = {}
        for job, ranked in zip(jobs, model.rank_many([job.request for job in jobs], *step), strict=True):
            ranking = ranked.ranking({"queue": began - job.submitted})
            kept.append(partial(job.keep, job.request, ranked, ranking))
            seconds = ranking.stage_seconds
            reasons: Mapping[str, tuple[Reason, ...]] = {}
            if job.explain and step.rung is Rung.FULL:
                at = time.perf_counter()
                reasons = model.explain(job.request)
                explained = {**seconds, "explain": time.perf_counter() - at}
                ranking = replace(ranking, stage_seconds=explained)
            answers.append((job, (ranking, reasons)))
        notes += kept  # none of a pass that failed midway
        if self._ladder is not None:
            notes.append(partial(self._ladder.took, step.rung, Load.of_all(job.load for job in jobs), seconds))
        return answers

    def _book(self, jobs: Sequence[Job], seconds: float) -> None:
        self._batched(len(jobs))
        work = sum(job.place.work for job in jobs)
        for job in jobs:
            self._took(job.place, seconds * job.place.work / work)


def _begins(job: Job, answers: list[tuple[Job, Answer | Exception]]) -> bool:
    """Take a job from the queue; where nobody waits for it any more, that is its answer."""
    try:
        job.place.begin()
    except TooLate as error:
        answers.append((job, error))
        return False
    return True


def _note(notes: Iterable[Callable[[], None]]) -> None:
    """Note what has been answered: nobody waits for it, and others wait to be ranked."""
    for note in notes:
        try:
            note()
        except Exception as error:  # noqa: BLE001 - it is answered
            _log.error("ranking not noted", frames=frames_of(error))


def _at_once(function: Callable[..., None], *given: Any) -> None:
    function(*given)


def _deliver(answers: Sequence[tuple[Job, Answer | Exception]]) -> None:
    for job, answer in answers:
        if job.answer.done():
            continue
        if isinstance(answer, Exception):
            job.answer.set_exception(answer)
        else:
            job.answer.set_result(answer)
