"""Calls of recorded shapes give the bits of those that are not; shown on the CPU, where there is nothing to record."""

from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from recsys.gpu import Gpu, GpuState
from recsys.onnx_session import cuda_usable, open_session
from recsys.text.gather_graph import identity_graph, with_gather
from recsys.text.live_vectors import LiveVectors
from recsys.text.recorded import RecordedHead
from recsys.text.resident import ResidentVectors
from recsys.text.resident_head import ListRows, ResidentHead
from recsys.text.vectors import Vectors
from tests.recsys.text.drawn import head_graph, lists, never, texts

TEXTS = 200


@pytest.fixture(scope="module")
def graph() -> bytes:
    return head_graph()


@pytest.fixture(scope="module")
def known() -> Vectors:
    return texts(TEXTS)


class Session:
    """A session on the CPU that counts its runs, and fails where told to."""

    def __init__(self, graph: bytes, error: str = "") -> None:
        self.session, self.error, self.runs = open_session(graph, threads=1, cuda=False), error, 0

    def io_binding(self) -> Any:
        return self.session.io_binding()

    def run_with_iobinding(self, binding: Any, options: Any = None) -> None:
        self.runs += 1
        if self.error:
            raise RuntimeError(self.error)
        self.session.run_with_iobinding(binding, options)


class Heads:
    """Two heads of one graph, of which one records; ``played`` counts the calls of shapes that it has recorded."""

    def __init__(self, graph: bytes, error: str = "") -> None:
        wrapped, self.gpu = with_gather(graph), Gpu()
        self.recording, plain = Session(wrapped, error), open_session(wrapped, threads=1, cuda=False)
        copies = open_session(identity_graph(), threads=1, cuda=False)
        recorded = RecordedHead(self.recording, device="cpu", gpu=self.gpu)
        self.vectors = ResidentVectors(copies, "cpu")
        self.head = ResidentHead(plain, self.vectors, device="cpu", gpu=self.gpu, recorded=recorded)
        self.plain = ResidentHead(plain, ResidentVectors(copies, "cpu"), device="cpu", gpu=self.gpu)

    def both(self, known: Vectors, asked: ListRows, more: Vectors | None = None) -> tuple[Any, Any]:
        return self.head.score(known, asked, more, never), self.plain.score(known, asked, more, never)

    @property
    def table(self) -> Any:
        return self.vectors._table

    @property
    def played(self) -> int:
        return self.recording.runs


def test_lists_of_any_size_score_as_if_nothing_were_recorded_to_the_bit(graph: bytes, known: Vectors) -> None:
    heads = Heads(graph)

    @settings(max_examples=60, deadline=None)
    @given(count=st.integers(1, 9), blocks=st.integers(1, 5), seed=st.integers(0, 2**31))
    def same(count: int, blocks: int, seed: int) -> None:
        ours, theirs = heads.both(known, lists(TEXTS, count, 16 * blocks, seed))
        assert ours.tobytes() == theirs.tobytes()

    same()
    assert heads.played >= 60


def test_the_answer_of_a_call_stays_what_it_was_when_the_next_one_is_computed(graph: bytes, known: Vectors) -> None:
    heads = Heads(graph)
    first, expected = heads.both(known, lists(TEXTS, 2, 32, seed=1))
    heads.both(known, lists(TEXTS, 2, 32, seed=2))

    assert first.tobytes() == expected.tobytes()


@pytest.mark.parametrize(("count", "each"), [(65, 16), (2, 8_208)])
def test_what_is_too_large_is_not_recorded_but_computed(graph: bytes, known: Vectors, count: int, each: int) -> None:
    heads = Heads(graph)
    ours, theirs = heads.both(known, lists(TEXTS, count, each))

    assert ours.tobytes() == theirs.tobytes()
    assert heads.played == 0


def test_texts_of_the_call_itself_are_not_recorded_but_computed(graph: bytes, known: Vectors) -> None:
    heads = Heads(graph)
    ours, theirs = heads.both(known, lists(TEXTS + 3, 2, 16), texts(3))

    assert ours.tobytes() == theirs.tobytes()
    assert heads.played == 0


def test_a_table_that_has_moved_is_recorded_anew(graph: bytes) -> None:
    heads, live = Heads(graph), LiveVectors(texts(100))
    heads.both(live.now, lists(100, 1, 16))
    live.grow(300)
    live.put(np.arange(100, 300), texts(200))
    ours, theirs = heads.both(live.now, lists(300, 1, 16, seed=3))

    assert ours.tobytes() == theirs.tobytes()


def test_threads_share_a_session_and_nobody_gets_anothers_answer(graph: bytes, known: Vectors) -> None:
    heads = Heads(graph)
    asked = [lists(TEXTS, count, 16 * blocks, seed=count) for count in (1, 2, 3) for blocks in (1, 2, 3)]
    expected = [heads.plain.score(known, one, None, never).tobytes() for one in asked]

    def ask(thread: int) -> bool:
        order = np.random.default_rng(thread).integers(0, len(asked), 100)
        return all(heads.head.score(known, asked[n], None, never).tobytes() == expected[n] for n in order)

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(ask, range(4)))
    assert heads.played > 100


def test_a_shape_is_recorded_by_who_is_alone_with_the_gpu_and_computed_otherwise(graph: bytes, known: Vectors) -> None:
    heads = Heads(graph)
    at_work, done = threading.Event(), threading.Event()

    def work() -> bool:
        at_work.set()
        return done.wait(5)

    with ThreadPoolExecutor(1) as threads:
        other = threads.submit(heads.gpu.answer, work, cpu=lambda: False)
        assert at_work.wait(5)
        ours, theirs = heads.both(known, lists(TEXTS, 1, 16))
        assert (ours.tobytes() == theirs.tobytes(), heads.played) == (True, 0)
        done.set()
        assert other.result(5)
    heads.both(known, lists(TEXTS, 1, 16))

    assert heads.played == 1


def test_where_recording_fails_the_head_computes_without_and_says_so_once(graph: bytes, known: Vectors) -> None:
    heads = Heads(graph, "CUDA failure 901: operation failed due to a previous error during capture ; GPU=0")
    with capture_logs() as logs:
        for seed in (1, 2):
            ours, theirs = heads.both(known, lists(TEXTS, 1, 16, seed))
            assert ours.tobytes() == theirs.tobytes()

    assert [line["event"] for line in logs] == ["not recorded"]
    assert heads.played == 1


def test_a_gpu_that_is_lost_while_it_records_is_lost_and_keeps_what_it_recorded(graph: bytes, known: Vectors) -> None:
    heads = Heads(graph, "CUDA failure 700: an illegal memory access was encountered ; GPU=0")
    answer = heads.plain.score(known, lists(TEXTS, 1, 16), None, never)
    heads.head._session = heads.recording  # what launches fails as well

    assert heads.head.score(known, lists(TEXTS, 1, 16), None, lambda: answer) is answer
    assert (heads.gpu.faults["lost"], heads.head.recording) == (1, True)


def test_for_want_of_memory_to_record_the_gpu_goes_on_without(graph: bytes, known: Vectors) -> None:
    heads = Heads(graph, "Failed to allocate memory for requested buffer of size 8388608000")
    ours, theirs = heads.both(known, lists(TEXTS, 1, 16))

    assert ours.tobytes() == theirs.tobytes()
    assert (heads.gpu.state, heads.gpu.faults["out_of_memory"], heads.head.recording) == (GpuState.NONE, 0, False)


def test_what_was_recorded_with_a_table_is_let_go_of_when_another_one_comes(graph: bytes) -> None:
    heads, live = Heads(graph), LiveVectors(texts(100))
    with ThreadPoolExecutor(1) as other:
        other.submit(heads.both, live.now, lists(100, 1, 16)).result(30)
        first = weakref.ref(heads.table.here)
        live.grow(300)
        live.put(np.arange(100, 300), texts(200))
        heads.both(live.now, lists(300, 1, 16))
        gc.collect()

        assert first() is None, "a thread that asks no more keeps the table from before"


def test_what_a_head_has_is_freed_by_who_is_at_work_after_it_and_recordings_that_failed_as_well(
    graph: bytes, known: Vectors
) -> None:
    heads = Heads(graph, "CUDA failure 901: operation failed due to a previous error during capture ; GPU=0")
    gpu, session = heads.gpu, weakref.ref(heads.recording)
    heads.head.score(known, lists(TEXTS, 1, 16), None, never)
    del heads.recording
    gc.collect()
    gpu.answer(lambda: None, cpu=lambda: None)
    assert session() is None, "the session that failed to record stays with the head"

    vectors = weakref.ref(heads.vectors)
    del heads
    gc.collect()
    assert vectors() is not None
    gpu.answer(lambda: None, cpu=lambda: None)
    assert vectors() is None


@pytest.mark.gpu
@pytest.mark.skipif(not cuda_usable(), reason="no GPU with ONNX Runtime's CUDA provider")
def test_a_gpu_plays_what_it_has_recorded_to_the_bit(graph: bytes, known: Vectors) -> None:
    recording, launching = (ResidentHead.open(graph, device="cuda", gpu=Gpu()) for _ in range(2))
    assert recording is not None
    assert launching is not None
    launching._recorded = None
    asked = [lists(TEXTS, 4, 64, seed) for seed in range(3)]
    expected = [launching.score(known, one, None, never).tobytes() for one in asked]

    for _ in range(3):
        assert [recording.score(known, one, None, never).tobytes() for one in asked] == expected
    assert recording.recording, "recording failed"
