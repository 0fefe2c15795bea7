"""How an ONNX graph is loaded: from bytes, on the GPU where there is one, on the CPU otherwise."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any
from weakref import WeakValueDictionary

import onnxruntime as ort

CUDA = "CUDAExecutionProvider"
# TF32 would round what is multiplied to 10 bits, and the order of near items with it (docs/decisions/0015). Memory is
# taken as it is needed: an arena that doubles takes twice the item vectors from whoever shares the GPU.
_CUDA_OPTIONS = {"use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"}

# Sessions that somebody has, by what they were opened from. To open an encoder holds Python's lock for 20 ms, and takes
# its size in memory again; a bundle that takes another's place may well differ in its trees alone.
_OPEN: WeakValueDictionary[tuple[bytes, int, bool], Any] = WeakValueDictionary()


@cache
def cuda_usable() -> bool:
    """Tell whether ONNX Runtime's CUDA provider can start here.

    ``get_available_providers`` lists CUDA wherever the GPU wheel is installed, so the driver is asked first.
    """
    if CUDA not in ort.get_available_providers():
        return False
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        return False
    ort.preload_dlls(directory="")
    return True


def open_recording(graph: bytes) -> Any:
    """Open a session on the GPU that records its kernels and plays them again (CUDA graphs); nobody else gets it.

    Runs must be bound to memory on the GPU, the same each time for a ``gpu_graph_id``.
    """
    return _opened(graph, 0, [(CUDA, {**_CUDA_OPTIONS, "enable_cuda_graph": "1"}), "CPUExecutionProvider"])


def open_session(graph: bytes, *, threads: int = 0, cuda: bool | None = None) -> Any:
    """Open an ONNX Runtime session on the given graph, or return the one that is open; any thread may run it.

    Args:
        graph: the serialised model; bytes, never a path, so that no external data can be pulled in.
        threads: threads for one operator; 0 lets ONNX Runtime choose.
        cuda: True or False forces the choice; None uses the GPU where there is one.
    """
    use_cuda = cuda_usable() if cuda is None else cuda
    key = (hashlib.sha256(graph).digest(), threads, use_cuda)
    # One that has fallen back to the CPU is not passed on: the GPU may be there again.
    if (known := _OPEN.get(key)) is not None and on_cuda(known) == use_cuda:
        return known
    providers = [(CUDA, _CUDA_OPTIONS), "CPUExecutionProvider"] if use_cuda else ["CPUExecutionProvider"]
    _OPEN[key] = session = _opened(graph, threads, providers)
    return session


def _opened(graph: bytes, threads: int, providers: Sequence[Any]) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spinning threads starve the event loop on small machines.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(graph, options, providers=providers)


def on_cuda(session: Any) -> bool:
    """Tell whether a session really got the GPU; it was opened on the CPU where the provider did not start."""
    return CUDA in session.get_providers()
