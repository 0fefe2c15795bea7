"""A graph is opened once for all who have it, and let go of with the last of them."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from recsys.onnx_session import open_session
from recsys.text.gather_graph import identity_graph


def test_the_same_graph_is_opened_once_while_somebody_has_it() -> None:
    first = open_session(identity_graph(), threads=1, cuda=False)
    second = open_session(bytes(bytearray(identity_graph())), threads=1, cuda=False)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)

    assert second is first
    assert (second.run(None, {"x": x})[0] == x).all()


def test_the_control_another_graph_or_number_of_threads_is_another_session() -> None:
    graph = identity_graph()
    first = open_session(graph, threads=1, cuda=False)

    assert open_session(graph, threads=2, cuda=False) is not first
    assert open_session(graph.replace(b"copy", b"twin"), threads=1, cuda=False) is not first


def test_a_session_is_let_go_of_with_its_last_owner() -> None:
    graph = identity_graph().replace(b"copy", b"mine")
    gone = weakref.ref(open_session(graph, threads=1, cuda=False))
    gc.collect()

    assert gone() is None
    assert open_session(graph, threads=1, cuda=False).get_inputs()[0].name == "x"


@pytest.mark.parametrize("module", ["recsys.onnx_session", "training.export"])
def test_onnx_runtime_tells_nobody_of_us(tmp_path: Path, module: str) -> None:
    # In continuous integration it tells nobody anyway.
    environment = {key: value for key, value in os.environ.items() if key not in ("ORT_DISABLE_TELEMETRY", "CI")}

    command = [sys.executable, "-c", f"import {module}"]
    subprocess.run(command, env={**environment, "HOME": str(tmp_path)}, check=True)

    assert list(tmp_path.rglob("*onnxruntime*")) == []
    # It still looks at what we set.
    assert b"ORT_DISABLE_TELEMETRY" in Path(onnxruntime.capi.onnxruntime_pybind11_state.__file__).read_bytes()
