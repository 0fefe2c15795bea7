"""What runs in a peer's own environment: sentence-transformers on one backend, asked line by line.

Nothing of the project is imported here, for none of it is installed there. The first line on stdin says what to load
(``Peer`` in ``peers.py``), each later one what to score or encode; each is answered by one line of JSON on stdout.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.backend import export_dynamic_quantized_onnx_model

CALIBRATED_ON = 128  # texts that OpenVINO's int8 learns its ranges from
WIDTH = 256  # tokens; longer than any text that is asked here


def serve() -> None:
    """Load what the first line names, say what it is, and answer until the pipe closes."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # the libraries print, too
    order = json.loads(sys.stdin.readline())
    torch.set_num_threads(order["threads"])
    model = load(order)
    print(json.dumps({"about": about(order["backend"])}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(model, json.loads(line))), file=answers, flush=True)


def load(order: dict[str, Any]) -> Any:
    """Load a saved model as its documentation says for this backend and precision, in this many threads."""
    kinds = {"cross_encoder": CrossEncoder, "encoder": SentenceTransformer}
    kind, folder, threads = kinds[order["kind"]], order["model"], order["threads"]

    def opened(**model_kwargs: Any) -> Any:
        model = kind(folder, device="cpu", backend=order["backend"], model_kwargs=model_kwargs, local_files_only=True)
        model.max_seq_length = WIDTH
        return model

    if order["backend"] == "torch":
        return opened(dtype=torch.bfloat16 if order["precision"] == "bf16" else torch.float32)
    if order["backend"] == "onnx":
        import onnxruntime  # noqa: PLC0415  # in this backend's environment alone

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        given = {"provider": "CPUExecutionProvider", "session_options": options}
        if order["precision"] == "fp32":
            return opened(**given)
        export_dynamic_quantized_onnx_model(opened(**given), "avx512_vnni", folder)
        return opened(**given, file_name="onnx/model_qint8_avx512_vnni.onnx")
    hint = {"fp32": "f32", "bf16": "bf16", "int8": "bf16"}[order["precision"]]
    config = {"INFERENCE_NUM_THREADS": str(threads), "INFERENCE_PRECISION_HINT": hint}
    if order["precision"] == "int8":
        file = quantize_openvino(opened(ov_config=config), order["calibration"], Path(folder))
        return opened(ov_config=config, file_name=file)
    return opened(ov_config=config)


def quantize_openvino(model: Any, texts: list[Any], folder: Path) -> str:
    """Write a copy whose weights and activations are int8, as sentence-transformers' export does; returns its name.

    Its ``export_static_quantized_openvino_model`` would fetch a data set to learn the ranges from; these are from texts
    of the caller's own.
    """
    import nncf  # noqa: PLC0415  # in this backend's environment alone
    import openvino  # noqa: PLC0415  # likewise

    transformer = model[0]
    graph = transformer.auto_model.model
    names = {name for port in graph.inputs for name in port.names}
    inputs = (transformer.preprocess([text]) for text in texts[:CALIBRATED_ON])
    data = [{name: value.numpy() for name, value in one.items() if name in names} for one in inputs]
    quantized = nncf.quantize(graph, nncf.Dataset(data), model_type=nncf.ModelType.TRANSFORMER)
    file = "openvino/openvino_model_qint8_quantized.xml"
    openvino.save_model(quantized, folder / file)
    return file


def answer(model: Any, asked: dict[str, Any]) -> dict[str, Any]:
    """Score pairs, or encode texts and write their vectors; with the seconds that this took, by clock and processor."""
    began, worked = time.perf_counter(), time.process_time()
    if "pairs" in asked:
        scores = model.predict(
            asked["pairs"], batch_size=asked["batch"], activation_fn=torch.nn.Identity(), show_progress_bar=False
        )
        found = {"scores": scores.astype(float).tolist()}
    else:
        vectors = model.encode(
            asked["texts"], batch_size=asked["batch"], normalize_embeddings=True, show_progress_bar=False
        )
        found = {}
    took = {"seconds": time.perf_counter() - began, "processor_s": time.process_time() - worked}
    if "vectors" in asked:
        np.save(Path(asked["vectors"]), vectors.astype(np.float32))
    return {**took, **found}


def about(backend: str) -> str:
    """Name the libraries that compute."""
    names = ["sentence-transformers", {"torch": "torch", "onnx": "onnxruntime", "openvino": "openvino"}[backend]]
    return ", ".join(f"{name} {metadata.version(name)}" for name in names)
