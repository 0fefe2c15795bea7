"""The GPU of this process: whether it may be asked, what went wrong with it, and who answers then."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TypeVar

import structlog

from recsys.gpu_turns import GpuTurns

# How long nothing is asked of a GPU that was out of memory.
REST_S = 30.0

Answer = TypeVar("Answer")
_log = structlog.get_logger()


class GpuState(StrEnum):
    """Whether texts are computed on a GPU: there is none, it is used, it rests after a fault, it is lost for good."""

    NONE = "none"
    USED = "used"
    RESTING = "resting"
    LOST = "lost"


class GpuFault(StrEnum):
    """What went wrong: no memory left, or an error after which CUDA answers nothing else in this process."""

    OUT_OF_MEMORY = "out_of_memory"
    LOST = "lost"


# As ONNX Runtime words them, for it has no types for these (its issues 16307, 9939 and 22702). cuBLAS says that it is
# not initialized where there is no memory for its handle (tensorflow issue 9489), which each thread needs.
_OUT_OF_MEMORY = re.compile(
    r"Failed to allocate memory|out of memory|CUDA(?:\w*) failure 2:"
    r"|(?:CUBLAS|CUDNN)_STATUS_(?:ALLOC_FAILED|NOT_INITIALIZED)",
    re.IGNORECASE,
)
# Of any other failure of CUDA's or of its libraries' it is unknown what still holds (issues 5295, 26312, 4008).
_LOST = re.compile(
    r"\b(?:CUDA|CUBLAS|CUBLASLT|CUDNN|CURAND|CUFFT) (?:failure|error)\b"
    r"|\bcuda(?:Error|Malloc|Memcpy|Memset|Stream|Launch|Event|Device)\w*"
)


# Where its words begin to say something: before it stand the names of its own functions, of hundreds of letters.
_SAYS = re.compile(r"\w+ failure -?\d+:.*|Failed to allocate memory.*", re.DOTALL)
# How much of an error's words is told.
_WORDS = 500


def fault_of(error: Exception) -> GpuFault | None:
    """Tell from an error's words what is wrong with the GPU; None where it is about something else."""
    words = str(error)
    if _OUT_OF_MEMORY.search(words):
        return GpuFault.OUT_OF_MEMORY
    return GpuFault.LOST if _LOST.search(words) else None


def words_of(error: BaseException) -> str:
    """Return an error's name and what it says, for the log."""
    said = _SAYS.search(words := str(error))
    return f"{type(error).__name__}: {said[0] if said else words}"[:_WORDS]


class Gpu:
    """Has computations done on the GPU while it can, and on the CPU otherwise; for any number of threads.

    CUDA's state belongs to the process, so one of these stands for all sessions and bundles in it (``GPU``).
    """

    def __init__(self, *, rest_s: float = REST_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._rest_s, self._clock = rest_s, clock
        self._resting = f"texts are computed on the CPU for {rest_s:g} s; let fewer share the GPU"
        self._changing = threading.Lock()
        self._used = self._lost = False
        self._rests_until = -float("inf")
        self._faults: Counter[str] = Counter({fault.value: 0 for fault in GpuFault})
        self._instead = 0
        self.turns = GpuTurns()

    @property
    def state(self) -> GpuState:
        """Whether it is used as of now."""
        if self._lost:
            return GpuState.LOST
        if not self._used:
            return GpuState.NONE
        return GpuState.RESTING if self._clock() < self._rests_until else GpuState.USED

    @property
    def faults(self) -> Mapping[str, int]:
        """How often it failed, by ``GpuFault``."""
        return dict(self._faults)

    @property
    def instead(self) -> int:
        """How many computations meant for the GPU were done on the CPU."""
        return self._instead

    def use(self) -> None:
        """Note that a session runs on it."""
        self._used = True

    def opened(self, on_gpu: Callable[[], Answer], on_cpu: Callable[[], Answer]) -> Answer:
        """Open something on the GPU; on the CPU where the GPU fails at that, or is lost."""
        if self._lost:
            return on_cpu()
        with self.turns.at_work(opening=True):
            try:
                return on_gpu()
            except Exception as error:
                fault = fault_of(error)
                if fault is None:
                    raise
                self._note(fault, error, now="opened on the CPU; let fewer share the GPU, then load the bundle again")
        return on_cpu()

    def answer(
        self, whole: Callable[[], Answer], *, halved: Callable[[], Answer] | None = None, cpu: Callable[[], Answer]
    ) -> Answer:
        """Compute on the GPU; if it has no memory for that, in halves; if not so either, on the CPU.

        After that the GPU rests, and after any other fault of CUDA's it is not asked again in this process.

        Args:
            whole: computes all at once on the GPU.
            halved: computes the same in two halves; None where there is nothing to halve.
            cpu: computes the same on the CPU.
        """
        for attempt in (whole, halved):
            if attempt is None or self.state in (GpuState.RESTING, GpuState.LOST):
                break
            # A fault is noted while others may still not free what a lost GPU has.
            with self.turns.at_work():
                try:
                    return attempt()
                except Exception as error:
                    fault = fault_of(error)
                    if fault is None:
                        raise
                    last = attempt is halved or halved is None
                    self._note(fault, error, now=self._resting if last else "tried again in halves", rest=last)
        with self._changing:
            self._instead += 1
        return cpu()

    def _note(self, fault: GpuFault, error: Exception, *, now: str, rest: bool = False) -> None:
        """Count a fault and raise the alarm; ``now`` says what follows, where the GPU is not lost."""
        with self._changing:
            self._faults[fault.value] += 1
            self._lost = self._lost or fault is GpuFault.LOST
            if rest:
                self._rests_until = self._clock() + self._rest_s
        if fault is GpuFault.LOST:
            self.turns.keep_for_ever()
            now = "texts are computed on the CPU until this server is started anew; restart it soon"
        _log.error("gpu failed", fault=fault.value, error=words_of(error), now=now)


GPU = Gpu()
