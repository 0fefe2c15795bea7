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
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from recsys.errors import TooLate
from recsys.schema import Ranking, RankRequest, Reason
from serving.admission import Place
from serving.model import Model, Ranked

# How many candidates are ranked in one pass, unless a single request has more: about as many as one of the largest
# requests, so that nobody waits longer for those beside him than for one of those before him.
MOST_CANDIDATES = 1_000

Answer = tuple[Ranking, Mapping[str, tuple[Reason, ...]]]
# What is done with each ranking before it is answered: receipts, samples.
Keep = Callable[[RankRequest, Ranked, Ranking], None]


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


class Batches:
    """What waits to be ranked, and up to ``threads`` threads of ``executor`` that rank it; for one event loop.

    ``took`` is told of each job's share of the seconds of its batch, and ``batched`` of the number of requests in it.
    """

    def __init__(
        self,
        executor: ThreadPoolExecutor,
        threads: int,
        *,
        took: Callable[[Place, float], None],
        batched: Callable[[int], None],
    ) -> None:
        self._executor, self._threads = executor, threads
        self._took, self._batched = took, batched
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
        self.unanswered.add(job.answer)
        job.answer.add_done_callback(self.unanswered.discard)
        with self._lock:
            self._queue.append(job)
            idle = self._running < self._threads
            self._running += idle
        if idle:
            self._executor.submit(self._work, asyncio.get_running_loop())
        return job.answer

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        batch: list[Job] = []
        while batch := self._take(len(batch)):
            began = time.perf_counter()
            answers: list[tuple[Job, Answer | Exception]] = []
            begun = [job for job in batch if _begins(job, answers)]
            try:
                answers += self._ranked(begun)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
                # One of them cannot be ranked; the others shall not be harmed by it.
                answers += (
                    [(begun[0], error)] if len(begun) == 1 else [each for job in begun for each in self._tried(job)]
                )
            self._book(begun, time.perf_counter() - began)
            loop.call_soon_threadsafe(_deliver, answers)

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

    def _tried(self, job: Job) -> list[tuple[Job, Answer | Exception]]:
        try:
            return self._ranked([job])
        except Exception as error:  # noqa: BLE001 - as above
            return [(job, error)]

    def _ranked(self, jobs: Sequence[Job]) -> list[tuple[Job, Answer | Exception]]:
        """Rank jobs of one model in one pass; adds the stages that only the server sees."""
        if not jobs:
            return []
        began = time.perf_counter()
        model = jobs[0].model
        answers: list[tuple[Job, Answer | Exception]] = []
        for job, ranked in zip(jobs, model.rank_many([job.request for job in jobs]), strict=True):
            ranking = ranked.ranking()
            job.keep(job.request, ranked, ranking)
            stages = {"queue": began - job.submitted, **ranking.stage_seconds}
            reasons: Mapping[str, tuple[Reason, ...]] = {}
            if job.explain:
                at = time.perf_counter()
                reasons = model.explain(job.request)
                stages["explain"] = time.perf_counter() - at
            answers.append((job, (replace(ranking, stage_seconds=stages), reasons)))
        return answers

    def _book(self, jobs: Sequence[Job], seconds: float) -> None:
        if not jobs:
            return
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


def _deliver(answers: Sequence[tuple[Job, Answer | Exception]]) -> None:
    for job, answer in answers:
        if job.answer.done():
            continue
        if isinstance(answer, Exception):
            job.answer.set_exception(answer)
        else:
            job.answer.set_result(answer)
