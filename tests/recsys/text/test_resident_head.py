"""Scores from rows of resident vectors are those of the vectors, to the bit; shown on the CPU, where both can run."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.bundle import check_onnx
from recsys.errors import BundleError
from recsys.gpu import Gpu, GpuState
from recsys.onnx_session import cuda_usable, open_session
from recsys.text.gather_graph import identity_graph, with_gather
from recsys.text.head import CANDIDATE_BLOCK, ClickHead
from recsys.text.live_vectors import LiveVectors
from recsys.text.resident import ResidentVectors
from recsys.text.resident_head import ListRows, ResidentHead
from recsys.text.vectors import Vectors
from tests.recsys.text.drawn import CONFIG, head_graph, lists, never, texts

NO_MEMORY = "Non-zero status code returned while running Gather node. Failed to allocate memory for requested buffer"
LOST = "CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; hostname=h"


@pytest.fixture(scope="module")
def graph() -> bytes:
    return head_graph()


@pytest.fixture(scope="module")
def head(graph: bytes) -> ClickHead:
    return ClickHead(graph, threads=1, cuda=False)


@pytest.fixture
def resident(graph: bytes) -> ResidentHead:
    opened = ResidentHead.open(graph, device="cpu", threads=1, gpu=Gpu())
    assert opened is not None
    return opened


def on_host(head: ClickHead, known: Vectors, asked: ListRows, more: Vectors | None = None) -> Any:
    """Score by vectors that are gathered here."""
    (vectors, logits), (history, _) = (
        known.at(np.maximum(rows, 0).ravel(), more) for rows in (asked.candidates, asked.history)
    )
    wide = (*asked.candidates.shape, CONFIG.dimensions)
    return head.score(
        vectors.reshape(wide),
        logits.reshape(asked.candidates.shape),
        history.reshape(*asked.history.shape, CONFIG.dimensions),
        asked.actions,
        asked.ages,
    )


def test_rows_score_as_their_vectors_do_to_the_bit(graph: bytes, head: ClickHead) -> None:
    resident = ResidentHead.open(graph, device="cpu", threads=1, gpu=Gpu())
    assert resident is not None
    known = texts(300)

    @settings(max_examples=30, deadline=None)
    @given(seed=st.integers(0, 2**31), count=st.integers(1, 3), blocks=st.integers(1, 3), own=st.integers(0, 5))
    def same(seed: int, count: int, blocks: int, own: int) -> None:
        more = texts(own, seed=1) if own else None
        asked = lists(300 + own, count, blocks * CANDIDATE_BLOCK, seed)
        assert resident.score(known, asked, more, never).tobytes() == on_host(head, known, asked, more).tobytes()

    same()


def test_items_that_come_while_it_serves_are_found_on_the_device(resident: ResidentHead, head: ClickHead) -> None:
    live, later = LiveVectors(texts(100)), texts(400, seed=5)
    for length in (100, 101, 150, 151, 500):
        live.grow(length)
        new = np.arange(min(100, length), length)[::-1]  # the newest is read first
        live.put(new, Vectors(vectors=later.vectors[new - 100], item_logits=later.item_logits[new - 100]))
        asked = lists(length, 2, CANDIDATE_BLOCK, length)
        assert resident.score(live.now, asked, None, never).tobytes() == on_host(head, live.now, asked).tobytes()


def test_an_item_that_is_read_after_others_were_asked_for_is_copied_then(
    resident: ResidentHead, head: ClickHead
) -> None:
    live, late = LiveVectors(texts(50)), texts(2, seed=5)
    live.grow(52)
    live.put(np.array([51]), Vectors(vectors=late.vectors[1:], item_logits=late.item_logits[1:]))
    asked = lists(50, 1, CANDIDATE_BLOCK)
    asked.candidates[0, 3] = 51
    resident.score(live.now, asked, None, never)
    live.put(np.array([50]), Vectors(vectors=late.vectors[:1], item_logits=late.item_logits[:1]))
    asked.candidates[0, 4] = 50

    assert resident.score(live.now, asked, None, never).tobytes() == on_host(head, live.now, asked).tobytes()


def test_a_row_that_is_written_again_is_copied_again(resident: ResidentHead, head: ClickHead) -> None:
    live, later = LiveVectors(texts(50)), texts(9, seed=5)
    asked = lists(50, 1, CANDIDATE_BLOCK)
    for number in range(9):
        resident.score(live.now, asked, None, never)
        row = np.array([asked.candidates[0, number % 2]])
        live.forget(row)
        one = slice(number, number + 1)
        live.put(row, Vectors(vectors=later.vectors[one], item_logits=later.item_logits[one]))
        assert resident.score(live.now, asked, None, never).tobytes() == on_host(head, live.now, asked).tobytes()


def test_who_knows_a_row_as_it_was_does_not_copy_it_over_what_it_is_now() -> None:
    resident = ResidentVectors(open_session(identity_graph(), threads=1, cuda=False), "cpu")
    live, later = LiveVectors(texts(50)), texts(1, seed=5)
    live.grow(51)
    early = live.now
    live.grow(300)  # other arrays from here on: what came early keeps its own
    live.forget(np.array([18, 20, 22]))
    live.put(np.array([20]), later)
    resident.holding(live.now, np.array([20]))

    for row in (18, 22, 3):
        table = resident.holding(early, np.array([row]))
        assert table.vectors.numpy()[row].tobytes() == early.vectors[row].tobytes()
        assert table.vectors.numpy()[20].tobytes() == later.vectors[0].tobytes()


def test_a_filler_that_was_not_read_is_a_number_and_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    resident = ResidentVectors(open_session(identity_graph(), threads=1, cuda=False), "cpu")
    live = LiveVectors(texts(50))
    live.forget(np.array([0]))
    table = resident.holding(live.now, np.array([0, 7]))
    monkeypatch.setattr(resident, "_filled", None)

    assert resident.holding(live.now, np.array([0, 7])) is table
    assert np.isfinite(table.vectors.numpy()[0]).all()
    assert np.isfinite(table.logits.numpy()[0])


def test_what_is_written_while_it_is_copied_is_copied_again(monkeypatch: pytest.MonkeyPatch) -> None:
    resident = ResidentVectors(open_session(identity_graph(), threads=1, cuda=False), "cpu")
    live, later = LiveVectors(texts(50)), texts(1, seed=5)
    live.grow(51)
    early = live.now
    write = resident._write

    def written_meanwhile(target: Any, begin: int, values: Any) -> None:
        write(target, begin, values)
        if live.has_read(np.array([20]))[0] and live.now.vectors[20].tobytes() != later.vectors[0].tobytes():
            live.forget(np.array([20]))
            live.put(np.array([20]), later)

    monkeypatch.setattr(resident, "_write", written_meanwhile)
    resident.holding(early, np.array([3]))
    table = resident.holding(live.now, np.array([20]))

    assert table.vectors.numpy()[20].tobytes() == later.vectors[0].tobytes()


def test_room_on_the_device_doubles() -> None:
    resident = ResidentVectors(open_session(identity_graph(), threads=1, cuda=False), "cpu")
    known, rooms = texts(1_000), []
    for length in (100, 101, 200, 201, 900):
        part = Vectors(vectors=known.vectors[:length], item_logits=known.item_logits[:length])
        table = resident.holding(part, np.array([0, length - 1]))
        rooms.append(resident.capacity)
        assert table.vectors.numpy()[:length].tobytes() == part.vectors.tobytes()
        assert table.logits.numpy()[:length].tobytes() == part.item_logits.tobytes()

    assert rooms == [100, 200, 200, 400, 900]


class Failing:
    """A session that fails as ONNX Runtime does, a few times, then works."""

    def __init__(self, session: Any, *errors: str) -> None:
        self.session, self.errors, self.shapes = session, list(errors), []

    def io_binding(self) -> Any:
        return self.session.io_binding()

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def run_with_iobinding(self, binding: Any) -> None:
        if self.errors:
            raise RuntimeError(self.errors.pop(0))
        self.session.run_with_iobinding(binding)


def failing(graph: bytes, gpu: Gpu, *errors: str) -> ResidentHead:
    """Open a head on the CPU that passes for one on a GPU, and fails like one."""
    session = Failing(open_session(with_gather(graph), threads=1, cuda=False), *errors)
    vectors = ResidentVectors(open_session(identity_graph(), threads=1, cuda=False), "cpu")
    head = ResidentHead(session, vectors, device="cpu", gpu=gpu)
    gpu.use()
    return head


@pytest.mark.parametrize(
    ("errors", "state", "instead"),
    [
        ([NO_MEMORY], GpuState.USED, 0),
        ([NO_MEMORY, NO_MEMORY], GpuState.RESTING, 1),
        ([LOST], GpuState.LOST, 1),
    ],
)
@pytest.mark.parametrize("count", [1, 3])
def test_the_same_request_is_answered_whatever_the_gpu_does_and_it_shows(
    graph: bytes, head: ClickHead, errors: list[str], state: GpuState, instead: int, count: int
) -> None:
    gpu, known = Gpu(), texts(100)
    broken = failing(graph, gpu, *errors)
    asked = lists(100, count, 2 * CANDIDATE_BLOCK)
    expected = on_host(head, known, asked)

    answered = broken.score(known, asked, None, lambda: on_host(head, known, asked))

    assert answered.tobytes() == expected.tobytes()
    assert (gpu.state, gpu.instead) == (state, instead)
    assert sum(gpu.faults.values()) == len(errors)


def test_a_head_falls_back_by_itself_and_its_scores_lie_on_the_grid(graph: bytes) -> None:
    gpu, known, asked = Gpu(), texts(100), lists(100, 2, CANDIDATE_BLOCK)
    head = ClickHead(graph, threads=1, cuda=False, grid=2.0**-10, gpu=gpu)
    expected = on_host(head, known, asked)
    head.resident = failing(graph, gpu, LOST)

    for _ in range(2):
        scores = head.score_rows(known, asked, None, lambda: on_host(head, known, asked))
        assert scores.tobytes() == expected.tobytes()
        assert np.array_equal(scores * 1024, np.rint(scores * 1024))
    assert head.providers[0] == "CUDAExecutionProvider"
    assert gpu.instead == 2


def test_the_graph_with_the_gather_passes_the_guard_of_bundles(graph: bytes) -> None:
    check_onnx("click_head.onnx", with_gather(graph))
    check_onnx("copy", identity_graph())


def test_the_graph_with_the_gather_is_valid_onnx(graph: bytes) -> None:
    import onnx

    onnx.checker.check_model(onnx.load_from_string(with_gather(graph)), full_check=True)
    onnx.checker.check_model(onnx.load_from_string(identity_graph()), full_check=True)


@pytest.mark.parametrize(("data", "says"), [(b"no model", "is not an ONNX model"), (identity_graph(), "takes no")])
def test_what_is_no_click_head_gets_no_gather(data: bytes, says: str) -> None:
    with pytest.raises(BundleError, match=says):
        with_gather(data)


def test_a_head_is_wrapped_without_the_onnx_package() -> None:
    program = "import sys; import recsys.text.resident_head; sys.exit('onnx' in sys.modules or 'torch' in sys.modules)"

    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.gpu
@pytest.mark.skipif(not cuda_usable(), reason="no GPU with ONNX Runtime's CUDA provider")
def test_the_gpu_gives_the_cpus_scores_on_the_grid(graph: bytes) -> None:
    known, asked = texts(300), lists(300, 3, 4 * CANDIDATE_BLOCK)
    cpu, gpu = (ClickHead(graph, cuda=cuda, grid=2.0**-10, gpu=Gpu()) for cuda in (False, True))
    assert gpu.resident is not None
    ours = gpu.score_rows(known, asked, None, never)

    assert np.mean(ours == on_host(cpu, known, asked)) > 0.99
    assert np.abs(ours - on_host(cpu, known, asked)).max() <= 2.0**-10
