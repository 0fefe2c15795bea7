"""From PyTorch to ONNX: the item encoder (fp32, int8 for CPUs, fp16 for GPUs) and the click head, as bytes.

The TorchScript exporter on eager attention gives a graph whose attention blocks ONNX Runtime's transformer optimizer
fuses; the dynamo exporter's graph it leaves as it is (measured: docs/experiments.md).
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import TensorProto
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.quant_utils import add_pre_process_metadata
from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference
from onnxruntime.transformers import optimizer
from onnxruntime.transformers.fusion_options import FusionOptions
from torch import Tensor, nn

from training.backbone import merge_lora
from training.click_model import ClickHead, ClickModelConfig, ItemEncoder

OPSET = 17


class _Encoder(nn.Module):
    """The encoder with a signature that the exporter understands."""

    def __init__(self, encoder: ItemEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, ids: Tensor, fields: Tensor) -> tuple[Tensor, Tensor]:
        vectors, logits = self.encoder(ids, fields)
        return vectors, logits


def export_encoder(encoder: ItemEncoder) -> bytes:
    """Export the item encoder in fp32, fused where the backbone's family allows it; the encoder must be on the CPU."""
    encoder = encoder.eval()
    encoder.backbone = merge_lora(encoder.backbone)
    config: Any = encoder.backbone.config
    attention = config._attn_implementation  # noqa: SLF001  # the only name transformers gives it
    encoder.backbone.set_attn_implementation("eager")  # type: ignore[operator]
    ids = torch.randint(5, 100, (2, 12))
    fields = torch.zeros(2, 12, dtype=torch.long)
    fields[1, 8:] = -1
    try:
        graph = _export(
            _Encoder(encoder),
            (ids, fields),
            inputs=["ids", "fields"],
            outputs=["vectors", "item_logits"],
            dynamic={"ids": {0: "b", 1: "t"}, "fields": {0: "b", 1: "t"}, "vectors": {0: "b"}, "item_logits": {0: "b"}},
        )
    finally:
        encoder.backbone.set_attn_implementation(attention)  # type: ignore[operator]
    return fuse(graph, heads=int(config.num_attention_heads), width=int(config.hidden_size))


def export_head(head: ClickHead, config: ClickModelConfig) -> bytes:
    """Export the click head in fp32, with free numbers of lists, candidates and history entries."""
    batch, candidates, length, width = 2, 3, config.history_length, config.dimensions
    actions = torch.ones(batch, length, dtype=torch.long)
    actions[1, 2:] = 0
    return _export(
        head.eval(),
        (
            torch.randn(batch, candidates, width),
            torch.randn(batch, candidates),
            torch.randn(batch, length, width),
            actions,
            torch.rand(batch, length),
        ),
        inputs=["candidates", "item_logits", "history", "actions", "ages"],
        outputs=["outputs"],
        dynamic={
            "candidates": {0: "b", 1: "n"},
            "item_logits": {0: "b", 1: "n"},
            "history": {0: "b"},
            "actions": {0: "b"},
            "ages": {0: "b"},
            "outputs": {0: "b", 1: "n"},
        },
    )


def fuse(graph: bytes, *, heads: int, width: int) -> bytes:
    """Let ONNX Runtime's transformer optimizer fuse what it recognises (attention, layer norm, GELU)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(graph)
        options = FusionOptions("bert")
        options.enable_gelu_approximation = False  # exact GELU: the approximation costs parity
        model = optimizer.optimize_model(
            str(path), model_type="bert", num_heads=heads, hidden_size=width, optimization_options=options, opt_level=0
        )
        fused = model.model
    if all(entry.domain != "com.microsoft" for entry in fused.opset_import):
        fused.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    return bytes(fused.SerializeToString())


def quantize_int8(graph: bytes) -> bytes:
    """Quantize the weights per channel to int8; activations are quantized as they come (dynamic)."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        # Only ONNX Runtime's own shape inference sees through fused operators; what it leaves open is float.
        model = SymbolicShapeInference.infer_shapes(onnx.load_from_string(graph), auto_merge=True)
        add_pre_process_metadata(model)  # or it would be warned that this has not been done
        onnx.save(model, str(source))
        logging.disable(logging.WARNING)  # it advises a pre-processing that the fused graph has had
        try:
            _quantize(source, target)
        finally:
            logging.disable(logging.NOTSET)
        return target.read_bytes()


def _quantize(source: Path, target: Path) -> None:
    quantize_dynamic(
        str(source),
        str(target),
        per_channel=True,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul", "Attention"],
        extra_options={"DefaultTensorType": TensorProto.FLOAT},
    )


def convert_fp16(graph: bytes) -> bytes:
    """Convert to fp16 inside, float32 at the border."""
    from onnxruntime.transformers.float16 import convert_float_to_float16  # noqa: PLC0415  # slow to import

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of every constant below fp16's smallest number
        return bytes(convert_float_to_float16(onnx.load_from_string(graph), keep_io_types=True).SerializeToString())


def fused_operators(graph: bytes) -> dict[str, int]:
    """Count the operators that only fusion makes."""
    counts: dict[str, int] = {}
    for node in onnx.load_from_string(graph).graph.node:
        if node.domain == "com.microsoft":
            counts[node.op_type] = counts.get(node.op_type, 0) + 1
    return counts


def _export(
    module: nn.Module,
    arguments: tuple[Tensor, ...],
    *,
    inputs: list[str],
    outputs: list[str],
    dynamic: dict[str, dict[int, str]],
) -> bytes:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's own deprecation and tracer warnings
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            module,
            arguments,
            str(path),
            input_names=inputs,
            output_names=outputs,
            dynamic_axes=dynamic,
            opset_version=OPSET,
            dynamo=False,
            do_constant_folding=True,
        )
        return path.read_bytes()
