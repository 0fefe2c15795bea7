"""The cross-encoder reads history and candidate together, and learns a planted taste."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from torch.utils.flop_counter import FlopCounterMode

from recsys.schema import ACTION_CODE
from recsys.text.tokens import TextSettings
from training.backbone import load_backbone
from training.click_model import ClickHead, ClickModelConfig
from training.compute import click_predictor_flops, encoder_flops
from training.cross_encoder import CrossEncoder, CrossEncoderConfig, _PairCollator, train_cross_encoder
from training.finetune import report_scores
from training.pair_tokens import PairTokens

CLS, SEP = 2, 3


@pytest.fixture(scope="module")
def shop(tiny_shop: Any) -> Any:
    """Texts and lists of 40 items."""
    texts, topics = tiny_shop.make_texts(40)
    return texts, tiny_shop.make_lists(topics, 240)


@pytest.fixture
def settings(tiny_backbone: Path) -> Any:
    """Make a configuration that fits the shop."""
    small = {"backbone": str(tiny_backbone), "bf16": False, "dropout": 0.0, "encoder_lr": 2e-3, "head_lr": 5e-3}
    return lambda **more: CrossEncoderConfig.model_validate({**small, "history_tokens": 16, **more})


def train(shop: Any, config: Any, output: Path, *, lists: int = 200, **more: Any) -> CrossEncoder:
    return train_cross_encoder(
        *shop, training=np.arange(lists), validation=np.arange(0), config=config, output=output, **more
    )


def words_of(pairs: Any, tokenizer: Tokenizer, place: int) -> tuple[str, str]:
    ids, fields = pairs.padded(np.array([place]))
    left, right = ids[0][fields[0] == 0].tolist(), ids[0][fields[0] == 1].tolist()
    return tuple(" ".join(tokenizer.id_to_token(code) for code in part) for part in (left, right))  # type: ignore[return-value]


def test_a_pair_is_the_newest_choices_within_the_budget_and_the_whole_candidate(shop: Any, tiny_backbone: Path) -> None:
    texts, lists = shop
    tokenizer = Tokenizer.from_file(str(tiny_backbone / "tokenizer.json"))
    reader = PairTokens(texts, tokenizer, settings=TextSettings(), title_tokens=3, history_tokens=8)
    pairs = reader.pairs(lists, np.array([5, 0]), np.array([7, 1]))
    newest, second = (texts[row].title for row in lists.history[5][:2])
    left, right = words_of(pairs, tokenizer, 0)
    description = f" {texts[7].description} [SEP]" if texts[7].description else ""

    assert left == f"[CLS] {newest} [SEP] {second} [SEP]"
    assert right == f"{texts[7].title} [SEP]{description}"


def test_skipped_items_and_padding_are_not_read(tiny_shop: Any, shop: Any, tiny_backbone: Path) -> None:
    texts, _ = shop
    lists = tiny_shop.make_lists(np.arange(40) % 4, 3)
    tokenizer = Tokenizer.from_file(str(tiny_backbone / "tokenizer.json"))
    reader = PairTokens(texts, tokenizer, settings=TextSettings(), title_tokens=3, history_tokens=64)
    lists.history[0, :3] = [4, 5, lists.pad]
    lists.actions[0, :] = 0
    lists.actions[0, :2] = [ACTION_CODE["skip"], ACTION_CODE["query"]]
    lists.history[1, :], lists.actions[1, :] = lists.pad, 0
    pairs = reader.pairs(lists, np.array([0, 1]), np.array([1, 1]))

    assert words_of(pairs, tokenizer, 0)[0] == f"[CLS] {texts[5].title} [SEP]"
    assert words_of(pairs, tokenizer, 1)[0] == "[CLS]"


def test_a_planted_taste_is_found_on_lists_never_seen(shop: Any, settings: Any, tmp_path: Path) -> None:
    held_out = np.arange(200, 240)
    told = []
    model = train(shop, settings(epochs=8), tmp_path / "run", progress=lambda share, _: told.append(share))
    figures = report_scores(model.score(shop[1], held_out), shop[1], held_out)

    assert figures["auc"] > 0.85
    assert told[-1] == 1.0


def test_the_same_seed_gives_the_same_scores(shop: Any, settings: Any, tmp_path: Path) -> None:
    config = settings(dropout=0.1)
    first, second = (train(shop, config, tmp_path / name, lists=60) for name in ("a", "b"))

    assert np.array_equal(first.score(shop[1], np.arange(10)), second.score(shop[1], np.arange(10)))


def test_a_stopped_training_goes_on_to_the_same_scores(shop: Any, settings: Any, tmp_path: Path) -> None:
    def stop(share: float, _: str) -> None:
        if share > 0.6:
            raise KeyboardInterrupt

    config = settings(dropout=0.1, epochs=2)
    through = train(shop, config, tmp_path / "a", lists=60)
    with pytest.raises(KeyboardInterrupt):
        train(shop, config, tmp_path / "b", lists=60, progress=stop)
    resumed = train(shop, config, tmp_path / "b", lists=60)

    assert np.array_equal(resumed.score(shop[1], np.arange(10)), through.score(shop[1], np.arange(10)))


def test_a_pair_is_scored_the_same_alone_and_among_others(shop: Any, settings: Any, tmp_path: Path) -> None:
    model = train(shop, settings(), tmp_path / "run", lists=60)
    together = model.score(shop[1], np.arange(100))
    alone = model.score(shop[1], np.array([70]))

    np.testing.assert_allclose(together[shop[1].rows(np.array([70]))], alone, atol=1e-5)


def test_saved_and_loaded_it_scores_the_same(shop: Any, settings: Any, tmp_path: Path) -> None:
    model = train(shop, settings(), tmp_path / "run", lists=60)
    model.save(tmp_path / "saved")
    loaded = CrossEncoder.load(tmp_path / "saved", shop[0])

    assert np.array_equal(loaded.score(shop[1], np.arange(10)), model.score(shop[1], np.arange(10)))
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    with pytest.raises(FileExistsError):
        model.save(tmp_path / "saved")


def test_items_without_a_text_have_no_score_and_are_not_learned_from(
    tiny_shop: Any, shop: Any, settings: Any, tmp_path: Path
) -> None:
    lists = tiny_shop.make_lists(np.arange(40) % 4, 40)
    lists.items[lists.rows(np.arange(30))[lists.clicked[:180]]] = lists.pad  # 30 lists whose clicks have no text
    model = train((shop[0], lists), settings(), tmp_path / "run", lists=40)
    scores = model.score(lists, np.arange(40))

    assert np.array_equal(np.isnan(scores), lists.items == lists.pad)


def test_each_list_gives_one_click_and_some_non_clicks(shop: Any, settings: Any, tmp_path: Path) -> None:
    _, lists = shop
    model = train(shop, settings(negatives=3), tmp_path / "run", lists=10)
    clickable = [place for place in range(200) if 0 < lists.clicked[lists.rows(np.array([place]))].sum() < 6][:20]
    batch = _PairCollator(model.pairs, lists, model.config)(clickable)

    assert batch["clicked"].tolist() == [[1.0, 0.0, 0.0, 0.0]] * 20
    assert len(batch["places"]) <= 80
    assert set(range(0, 80, 4)) <= set(batch["places"].tolist())
    assert len(batch["offsets"]) == len(batch["places"]) + 1


def test_scoring_counts_its_lists(shop: Any, settings: Any, tmp_path: Path) -> None:
    model = train(shop, settings(), tmp_path / "run", lists=10)
    done: list[int] = []
    model.score(shop[1], np.arange(50), progress=done.append)

    assert done == [32, 50]


def test_a_matrix_product_counts_two_operations_per_weight(tiny_backbone: Path) -> None:
    bert = load_backbone(str(tiny_backbone), dropout=0.0, attention="eager").eval()
    ids = torch.ones(1, 24, dtype=torch.long)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        bert(input_ids=ids)
    assert encoder_flops(bert.config, 24) == pytest.approx(counter.get_total_flops(), rel=0.01)

    head = ClickHead(ClickModelConfig()).eval()
    asked = (torch.randn(1, 100, 256), torch.randn(1, 100), torch.randn(1, 48, 256), torch.ones(1, 48).long())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        head(*asked, torch.rand(1, 48))
    # The counter sees matrix products only.
    assert click_predictor_flops(candidates=100, history=48) == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_a_request_costs_the_cross_encoder_a_forward_pass_per_candidate(
    shop: Any, settings: Any, tmp_path: Path
) -> None:
    model = train(shop, settings(), tmp_path / "run", lists=10)

    assert model.flops_per_request(200, 5) == pytest.approx(2 * model.flops_per_request(100, 5))
    assert model.flops_per_request(100, 5) > model.flops_per_request(100, 0)
    assert model.flops_per_request(100, 500) == model.flops_per_request(100, 50)  # the history's budget is used up
