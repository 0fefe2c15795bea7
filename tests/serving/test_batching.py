"""Requests that wait together are ranked together, and each is answered as if it had been alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from structlog.testing import capture_logs

from recsys.errors import TextFault, TooLate
from recsys.schema import Candidates, RankRequest, Rung, RungReason
from serving.admission import Admission, Place
from serving.batching import Batches, Job, Keep
from serving.ladder import Ladder, Rules, Step
from serving.one_at_a_time import OneAtATime
from serving.rung_costs import Load


def request(name: str, *, surface: str = "", candidates: int = 2) -> RankRequest:
    ids = [f"{name}{'x' * place}" for place in range(candidates)] if candidates < 20 else [*map(str, range(candidates))]
    return RankRequest(user_id=name, request_id=name, candidates=Candidates(ids), ts=1, surface=surface)


def run(
    check: Callable[[Batches, Callable[..., Job]], Awaitable[None]],
    *,
    threads: int = 1,
    ladder: Ladder | None = None,
    alone: OneAtATime | None = None,
) -> tuple[list[int], Any]:
    """Have ``check`` submit jobs; returns the sizes of the batches, and what each place was told to have taken."""
    sizes: list[int] = []
    took: list[tuple[Place, float]] = []

    async def whole() -> None:
        with ThreadPoolExecutor(threads) as executor:
            batches = Batches(
                executor,
                threads,
                took=lambda place, seconds: took.append((place, seconds)),
                batched=sizes.append,
                ladder=ladder,
                alone=alone,
            )
            admission = Admission(threads=threads, most_waiting=1_000, default_s=60, most_s=60)

            def job(
                model: Any,
                asked: RankRequest,
                *,
                left_s: float = 60.0,
                explain: bool = False,
                keep: Keep = lambda *_: None,
            ) -> Job:
                return Job(
                    model=model,
                    request=asked,
                    place=Place(admission, len(asked.candidates), left_s, "interactive"),
                    keep=keep,
                    answer=asyncio.get_running_loop().create_future(),
                    explain=explain,
                )

            await check(batches, job)
            await asyncio.sleep(0)  # futures tell those who asked to be told in the loop's next round
            assert not batches.unanswered

    asyncio.run(asyncio.wait_for(whole(), 30))
    return sizes, took


async def held(batches: Batches, job: Any, model: Any) -> asyncio.Future[Any]:
    """Keep the only thread busy, so that what comes next has to wait."""
    answer = batches.submit(job(model, request("held", surface="held")))
    while not model.asked:  # noqa: ASYNC110 - it is a thread that asks
        await asyncio.sleep(0.001)
    return answer


async def alone_for(batches: Batches, job: Any, model: Any, count: int) -> None:
    """Have so many ranked, one after the other, and threads idle again."""
    for number in range(count):
        await answered(batches.submit(job(model, request(str(number), surface="brief"))))
    while batches.busy:  # noqa: ASYNC110 - a thread ends a little after it has answered
        await asyncio.sleep(0.001)


def names(model: Any) -> list[str]:
    return [asked.request_id for asked in model.asked]


async def answered(*answers: Awaitable[Any]) -> list[str]:
    return [ranking.request_id for ranking, _ in await asyncio.gather(*answers)]


@pytest.fixture
def model(length_model: Any) -> Any:
    return length_model.LengthModel()


def test_one_that_finds_a_thread_idle_is_ranked_alone_and_at_once(model: Any) -> None:
    async def check(batches: Batches, job: Any) -> None:
        assert await answered(batches.submit(job(model, request("a")))) == ["a"]

    assert run(check)[0] == [1]


def test_while_callers_come_one_at_a_time_the_event_loop_ranks_what_is_brief(model: Any) -> None:
    by: list[int] = []
    rank = model.rank_many
    model.rank_many = lambda *given: (by.append(threading.get_ident()), rank(*given))[1]

    async def check(batches: Batches, job: Any) -> None:
        await alone_for(batches, job, model, 16)
        assert batches.submit(job(model, request("at once", surface="brief"))).done()
        explained = batches.submit(job(model, request("explained", surface="brief"), explain=True))
        assert not explained.done()
        await answered(explained)
        model.asked.clear()
        first = await held(batches, job, model)
        behind = batches.submit(job(model, request("behind", surface="brief")))
        assert not behind.done()  # a thread is at work, so the loop goes on reading
        model.release.set()
        await answered(first, behind)

    loop = threading.get_ident()
    sizes, _ = run(check, alone=OneAtATime(lambda: 1))
    assert [thread == loop for thread in by] == [False] * 16 + [True] + [False] * 3
    assert sizes == [1] * len(by)


def test_a_fault_of_the_event_loops_own_ranking_is_its_answer(model: Any) -> None:
    async def check(batches: Batches, job: Any) -> None:
        await alone_for(batches, job, model, 16)
        model.rank_many = lambda *_: 1 / 0
        answer = batches.submit(job(model, request("a", surface="brief")))
        assert answer.done()
        with pytest.raises(ZeroDivisionError):
            await answer
        with pytest.raises(TooLate):
            await batches.submit(job(model, request("b", surface="brief"), left_s=-1))

    run(check, alone=OneAtATime(lambda: 1))


def test_what_a_thread_ranked_is_kept_after_it_is_answered(model: Any) -> None:
    at_hand = threading.Event()
    waited: list[bool] = []

    async def check(batches: Batches, job: Any) -> None:
        await answered(batches.submit(job(model, request("a"), keep=lambda *_: waited.append(at_hand.wait(10)))))
        at_hand.set()

    run(check)
    assert waited == [True]


def test_what_the_event_loop_ranked_is_kept_when_it_comes_round(model: Any) -> None:
    kept: list[str] = []

    async def check(batches: Batches, job: Any) -> None:
        await alone_for(batches, job, model, 16)
        asked = request("a", surface="brief")
        assert batches.submit(job(model, asked, keep=lambda given, *_: kept.append(given.request_id))).done()
        assert not kept
        await asyncio.sleep(0)

    run(check, alone=OneAtATime(lambda: 1))
    assert kept == ["a"]


def test_one_that_cannot_be_kept_is_answered_and_so_is_the_next_one(model: Any) -> None:
    async def check(batches: Batches, job: Any) -> None:
        with capture_logs() as lines:
            assert await answered(batches.submit(job(model, request("a"), keep=lambda *_: 1 / 0))) == ["a"]
            assert await answered(batches.submit(job(model, request("b")))) == ["b"]
        assert [line["event"] for line in lines] == ["ranking not noted"]

    run(check)


def test_what_waits_when_a_thread_becomes_free_is_ranked_in_one_pass(model: Any) -> None:
    async def check(batches: Batches, job: Any) -> None:
        first = await held(batches, job, model)
        waiting = [batches.submit(job(model, request(name))) for name in "abc"]
        assert batches.waiting == 3
        model.release.set()
        assert await answered(first, *waiting) == ["held", "a", "b", "c"]

    sizes, took = run(check)

    assert sizes == [1, 3]
    # Each is booked its share of the pass.
    assert len({seconds for _, seconds in took[1:]}) == 1


def test_a_pass_has_a_thousand_candidates_or_one_request(model: Any) -> None:
    async def check(batches: Batches, job: Any) -> None:
        first = await held(batches, job, model)
        sizes = [600, 300, 200, 1_000, 900, 50]
        waiting = [batches.submit(job(model, request("r", candidates=size))) for size in sizes]
        model.release.set()
        await answered(first, *waiting)

    assert run(check)[0] == [1, 2, 1, 1, 2]


def test_requests_of_two_models_are_never_ranked_together(model: Any, length_model: Any) -> None:
    other = length_model.LengthModel()

    async def check(batches: Batches, job: Any) -> None:
        first = await held(batches, job, model)
        waiting = [
            batches.submit(job(each, request(name))) for each, name in ((model, "a"), (other, "b"), (model, "c"))
        ]
        model.release.set()
        await answered(first, *waiting)

    assert run(check)[0] == [1, 1, 1, 1]
    assert names(other) == ["b"]


def test_one_that_wants_reasons_is_ranked_alone(model: Any) -> None:
    async def check(batches: Batches, job: Any) -> None:
        first = await held(batches, job, model)
        waiting = [batches.submit(job(model, request(name), explain=name == "b")) for name in "abcd"]
        model.release.set()
        answers = await asyncio.gather(first, *waiting)
        assert [bool(reasons) for _, reasons in answers] == [False, False, True, False, False]

    assert run(check)[0] == [1, 1, 1, 2]


def test_those_whose_caller_has_gone_or_whose_time_is_over_are_not_ranked(model: Any) -> None:
    async def check(batches: Batches, job: Any) -> None:
        first = await held(batches, job, model)
        gone, late, there = (
            batches.submit(job(model, request(name), left_s=left_s))
            for name, left_s in (("gone", 60.0), ("late", 0.0), ("there", 60.0))
        )
        gone.cancel()
        model.release.set()
        assert await answered(first, there) == ["held", "there"]
        with pytest.raises(TooLate):
            await late

    run(check)
    assert names(model) == ["held", "there"]


def test_one_that_cannot_be_ranked_does_not_harm_those_beside_it(model: Any) -> None:
    async def check(batches: Batches, job: Any) -> None:
        first = await held(batches, job, model)
        good, bad, other = (
            batches.submit(job(model, request(name, surface=surface)))
            for name, surface in (("good", ""), ("bad", "broken"), ("other", ""))
        )
        model.release.set()
        assert await answered(first, good, other) == ["held", "good", "other"]
        with pytest.raises(KeyError):
            await bad

    run(check)


class Known(Ladder):
    """A ladder that gives who has less than ten seconds the behaviour rung."""

    def __init__(self) -> None:
        super().__init__(Rules(margin=2, down=0.8, down_s=1, up=0.6, up_s=10), threads=1, most_waiting=64)

    def steps(self, asked: Sequence[tuple[Load, float]], *, waiting: int) -> list[Step]:  # noqa: ARG002
        return [Step(Rung.BEHAVIOUR, RungReason.DEADLINE) if left_s < 10 else Step(Rung.FULL) for _, left_s in asked]


def test_each_rung_is_a_pass_of_its_own_and_the_lowest_comes_first(model: Any) -> None:
    async def check(batches: Batches, job: Any) -> None:
        first = await held(batches, job, model)
        waiting = [
            batches.submit(job(model, request(name), left_s=left_s))
            for name, left_s in (("a", 60), ("b", 9), ("c", 60), ("d", 9))
        ]
        model.release.set()
        answers = await asyncio.gather(first, *waiting)
        assert [ranking.rung for ranking, _ in answers] == [
            Rung.FULL, Rung.FULL, Rung.BEHAVIOUR, Rung.FULL, Rung.BEHAVIOUR,
        ]  # fmt: skip

    assert run(check, ladder=Known())[0] == [1, 2, 2]
    assert names(model) == ["held", "b", "d", "a", "c"]


def test_the_one_at_which_the_text_model_fails_is_ranked_without_and_the_others_with(model: Any) -> None:
    async def check(batches: Batches, job: Any) -> None:
        first = await held(batches, job, model)
        waiting = [batches.submit(job(model, request(name, surface=name))) for name in ("good", "mute", "other")]
        model.release.set()
        _, *answers = await asyncio.gather(first, *waiting)
        assert [(ranking.rung, ranking.rung_reason) for ranking, _ in answers] == [
            (Rung.FULL, None), (Rung.BEHAVIOUR, RungReason.FAULT), (Rung.FULL, None),
        ]  # fmt: skip

    run(check, ladder=Known())


def test_without_a_ladder_a_text_model_that_fails_is_no_answer(model: Any) -> None:
    async def check(batches: Batches, job: Any) -> None:
        with pytest.raises(TextFault):
            await batches.submit(job(model, request("mute", surface="mute")))

    run(check)


def test_two_free_threads_share_what_comes(model: Any) -> None:
    """The control of batching: where nothing waits, nobody is kept from a thread to fill a pass."""
    met = threading.Barrier(2, timeout=10)

    def rank_many(requests: Sequence[RankRequest], *step: Any) -> Any:
        met.wait()  # both at the same time, or never
        return type(model).rank_many(model, requests, *step)

    model.rank_many = rank_many

    async def check(batches: Batches, job: Any) -> None:
        assert sorted(await answered(*(batches.submit(job(model, request(name))) for name in "ab"))) == ["a", "b"]

    assert run(check, threads=2)[0] == [1, 1]
