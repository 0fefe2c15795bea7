"""A graph is opened once for all who have it, and let go of with the last of them."""

from __future__ import annotations

import gc
import weakref

import numpy as np

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
