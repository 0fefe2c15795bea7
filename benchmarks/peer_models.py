"""Our text models as sentence-transformers has them: the same weights in its modules, the same words in its strings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tokenizers import Tokenizer
from torch import nn

from recsys.schema import ItemText
from recsys.text.tokens import TextSettings
from training.backbone import load_tokenizer, resolve_backbone
from training.click_model import ItemEncoder
from training.pair_network import PairNetwork

SEPARATOR = " [SEP] "  # the tokenizer reads it as the one token that it is


def save_cross_encoder(network: PairNetwork, folder: Path) -> None:
    """Write BERT, the mean over its last states and the linear layer on it."""
    out = network.out
    head = Dense(
        out.in_features,
        1,
        activation_function=nn.Identity(),
        init_weight=out.weight.detach(),
        init_bias=out.bias.detach(),
        module_output_name="scores",
    )
    CrossEncoder(
        modules=[_bert(network.backbone), Pooling(out.in_features, "mean"), head], device="cpu"
    ).save_pretrained(str(folder))


def save_encoder(encoder: ItemEncoder, folder: Path) -> None:
    """Write BERT, the mean over its last states and the projection.

    Raises:
        ValueError: the encoder's pooling has been trained, so that it is no mean any more.
    """
    if encoder.field_query.any() or encoder.field_bias.any():
        raise ValueError("sentence-transformers has no attention pooling; give an encoder whose pooling is untrained")
    project = encoder.project
    head = Dense(
        project.in_features,
        project.out_features,
        bias=False,
        activation_function=nn.Identity(),
        init_weight=project.weight.detach(),
    )
    modules = [_bert(encoder.backbone), Pooling(project.in_features, "mean"), head]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder))


def _bert(backbone: nn.Module) -> Transformer:
    transformer = Transformer(resolve_backbone(""))
    # A pooler, which ours is without, keeps its own weights: nothing reads its output.
    missing = transformer.auto_model.load_state_dict(backbone.state_dict(), strict=False).missing_keys
    if strange := [name for name in missing if not name.startswith("pooler.")]:
        raise ValueError(f"not the packaged backbone: it has no {strange[0]}")
    return transformer


def packaged_tokenizer() -> Tokenizer:
    """Return the packaged backbone's tokenizer, which neither cuts nor pads what it is given."""
    tokenizer = load_tokenizer("")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def shortened(text: ItemText, tokenizer: Tokenizer, settings: TextSettings) -> ItemText:
    """Cut each field after the last whole word that ours would read of it, so that both read the same words.

    The tags join the category, as they are read.
    """
    title, description, category = settings.budgets
    return ItemText(
        title=_cut(text.title, tokenizer, title),
        description=_cut(text.description, tokenizer, description),
        category=_cut(", ".join(filter(None, (text.category, *text.tags))), tokenizer, category),
    )


def _cut(text: str, tokenizer: Tokenizer, budget: int) -> str:
    encoded = tokenizer.encode(text, add_special_tokens=False)
    words = encoded.word_ids
    if len(words) <= budget:
        return text
    end = next((place for place in range(budget, 0, -1) if words[place] != words[place - 1]), 0)
    return text[: encoded.offsets[end - 1][1]] if end else ""


def item_string(text: ItemText) -> str:
    """Say a shortened text in one string, as ``ItemTokenizer`` reads it."""
    return SEPARATOR.join([text.title, *filter(None, (text.description, text.category))])


def history_string(titles: Sequence[str], tokenizer: Tokenizer, budget: int) -> str:
    """Say the titles, newest first, as far as the budget of tokens goes, as ``PairTokens`` reads them."""
    spent, fitting = 0, []
    for title in titles:
        spent += len(tokenizer.encode(title, add_special_tokens=False).ids) + 1
        if spent > budget:
            break
        fitting.append(title)
    return SEPARATOR.join(fitting)
