"""Fine-tuning finds a planted taste, repeats itself exactly, and goes on where it was stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from recsys.features import Histories
from recsys.schema import ItemText
from training.finetune import finetune, report, score_lists, set_click_rate
from training.text_lists import TextLists

TRAINING, VALIDATION = np.arange(240), np.arange(240, 300)


class Stopped(Exception):
    """What a test stops a run with."""


@pytest.fixture(scope="module")
def shop(tiny_shop: Any, tiny_backbone: Path) -> Any:
    """Lists and tokens of 60 items."""
    texts, topics = tiny_shop.make_texts(60)
    return tiny_shop.make_lists(topics, 300), tiny_shop.make_tokens(tiny_backbone, texts)


@pytest.fixture
def fresh(tiny_shop: Any, tiny_backbone: Path, shop: Any) -> Any:
    """Make an untrained predictor, the same one every time."""
    return lambda **options: tiny_shop.make_predictor(tiny_backbone, shop[1], **options)


def stop_at(share: float) -> Any:
    def tell(done: float, _: str) -> None:
        if done > share:
            raise Stopped

    return tell


def equal(left: Any, right: Any) -> bool:
    ours, theirs = left.state_dict(), right.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("options", [{}, {"batch": "lists", "lists_per_step": 32, "epochs": 5}, {"bf16": True}])
def test_a_planted_taste_is_found_on_lists_never_seen(
    tiny_shop: Any, shop: Any, fresh: Any, tmp_path: Path, options: Any
) -> None:
    predictor, lists = fresh(), shop[0]
    predictor.refresh()
    before = report(predictor, lists, VALIDATION)["auc"]
    config = tiny_shop.tune(**{"epochs": 10, "patience": 0, **options})
    figures = finetune(
        predictor, lists, training=TRAINING, validation=VALIDATION, config=config, output=tmp_path / "run"
    )

    assert figures["auc"] > max(0.85, before + 0.1)
    set_click_rate(predictor, lists, TRAINING)
    assert report(predictor, lists, VALIDATION)["click.precision"] > 0.5


def test_a_click_on_an_item_that_was_shown_to_nobody_before_is_foreseen(
    tiny_shop: Any, tiny_backbone: Path, tmp_path: Path
) -> None:
    texts, topics = tiny_shop.make_texts(90)
    known = topics.copy()
    known[60:] = -1  # these are in no list of the first shop
    lists, later = tiny_shop.make_lists(known, 240), tiny_shop.make_lists(topics, 60, seed=9)
    showing_known = lists.items[lists.rows(np.arange(240))] < 60
    lists.items[lists.rows(np.arange(240))[~showing_known]] = lists.pad
    predictor = tiny_shop.make_predictor(tiny_backbone, tiny_shop.make_tokens(tiny_backbone, texts))
    config = tiny_shop.tune(epochs=12)
    finetune(predictor, lists, training=np.arange(240), validation=np.arange(0), config=config, output=tmp_path / "run")
    scores = score_lists(predictor, later, np.arange(60))[:, 0].reshape(60, -1)
    new = (later.items >= 60).reshape(60, -1)
    clicked = later.clicked.reshape(60, -1)

    assert scores[new & clicked].mean() > scores[new & ~clicked].mean() + 1.0


def test_the_same_seed_gives_the_same_numbers_and_another_one_others(
    tiny_shop: Any, shop: Any, fresh: Any, tmp_path: Path
) -> None:
    runs = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        predictor = fresh(dropout=0.1)
        finetune(
            predictor,
            shop[0],
            training=TRAINING,
            validation=VALIDATION,
            config=tiny_shop.tune(seed=seed),
            output=tmp_path / name,
        )
        runs.append(predictor)

    assert equal(runs[0], runs[1])
    assert not equal(runs[0], runs[2])


@pytest.mark.parametrize("judged", [True, False])
@pytest.mark.parametrize("frozen", [0, 1])
def test_a_stopped_run_goes_on_to_the_numbers_of_one_that_was_never_stopped(
    tiny_shop: Any, shop: Any, fresh: Any, tmp_path: Path, judged: bool, frozen: int
) -> None:
    job = {
        "lists": shop[0],
        "training": TRAINING,
        "validation": VALIDATION[: 60 * judged],
        "config": tiny_shop.tune(epochs=4, patience=3),
    }
    through, stopped, resumed = (fresh(dropout=0.1, frozen=frozen) for _ in range(3))
    whole = finetune(through, **job, output=tmp_path / "through")
    with pytest.raises(Stopped):
        finetune(stopped, **job, output=tmp_path / "run", progress=stop_at(0.6))
    steps = []
    rest = finetune(resumed, **job, output=tmp_path / "run", progress=lambda share, _: steps.append(share))

    assert min(steps) > 0.5
    assert rest == whole
    assert equal(resumed, through)


def test_a_checkpoint_that_was_not_written_to_its_end_is_passed_over(
    tiny_shop: Any, shop: Any, fresh: Any, tmp_path: Path
) -> None:
    job = {"lists": shop[0], "training": TRAINING, "validation": VALIDATION, "config": tiny_shop.tune(epochs=3)}
    through, stopped, resumed = (fresh() for _ in range(3))
    finetune(through, **job, output=tmp_path / "through")
    with pytest.raises(Stopped):
        finetune(stopped, **job, output=tmp_path / "run", progress=stop_at(0.7))
    (tmp_path / "run" / "checkpoint-99").mkdir()
    (tmp_path / "run" / "checkpoint-99" / "model.safetensors").write_bytes(b"half")
    (tmp_path / "run" / "checkpoint-98").mkdir()
    (tmp_path / "run" / "checkpoint-98" / "trainer_state.json").write_text('{"epoch":')
    finetune(resumed, **job, output=tmp_path / "run")

    assert equal(resumed, through)


def test_the_best_epoch_is_kept_and_patience_ends_the_run(
    tiny_shop: Any, shop: Any, fresh: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = iter([0.5, 0.9, 0.7, 0.6, 0.8, 0.8])
    kept: list[Any] = []

    def judged(predictor: Any, *_: Any) -> dict[str, float]:
        kept.append({name: part.clone() for name, part in predictor.state_dict().items()})
        return {"auc": next(planned)}

    monkeypatch.setattr("training.finetune.report", judged)
    predictor = fresh()
    finetune(
        predictor,
        shop[0],
        training=TRAINING,
        validation=VALIDATION,
        config=tiny_shop.tune(epochs=6, patience=2),
        output=tmp_path / "run",
    )

    assert len(kept) == 5  # epochs 1 to 4, and once more with the best one's weights
    assert all(torch.equal(kept[-1][name], part) for name, part in kept[1].items())


def test_patience_is_remembered_when_a_run_goes_on(
    tiny_shop: Any, shop: Any, fresh: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = iter([0.9, 0.7, 0.6, 0.8])
    monkeypatch.setattr("training.finetune.report", lambda *_: {"auc": next(planned)})
    job = {"lists": shop[0], "training": TRAINING, "validation": VALIDATION}
    config = tiny_shop.tune(epochs=6, patience=2)
    with pytest.raises(Stopped):
        finetune(fresh(), **job, config=config, output=tmp_path / "run", progress=stop_at(0.4))
    finetune(fresh(), **job, config=config, output=tmp_path / "run")

    assert next(planned, None) is None


def test_frozen_layers_do_not_move(tiny_shop: Any, shop: Any, fresh: Any, tmp_path: Path) -> None:
    predictor = fresh(frozen=1)
    before = {name: part.clone() for name, part in predictor.encoder.backbone.state_dict().items()}
    finetune(
        predictor,
        shop[0],
        training=TRAINING,
        validation=VALIDATION[:0],
        config=tiny_shop.tune(weight_decay=0.1),
        output=tmp_path / "run",
    )
    after = predictor.encoder.backbone.state_dict()
    moved = {name for name, part in before.items() if not torch.equal(part, after[name])}

    assert moved
    assert all(name.startswith("encoder.layer.1.") for name in moved)


def test_a_query_is_attended_and_learns_though_it_is_never_shown(
    tiny_shop: Any, tiny_backbone: Path, tmp_path: Path
) -> None:
    texts, topics = tiny_shop.make_texts(60)
    texts += [ItemText(title=word) for word in "qwxz"]  # no item says these
    plain = tiny_shop.make_lists(topics, 300)
    taste = np.array([topics[row[row < plain.pad][0]] for row in plain.history])
    nothing = np.full((300, 16), -1, np.int32)
    lists = TextLists(
        plain.lists,
        Histories(rows=nothing, actions=np.zeros((300, 16), np.int8), ages=np.zeros((300, 16), np.float32)),
        plain.clicked,
        pad=64,
        query_rows=(60 + taste).astype(np.int32),
        weight=plain.weight,
    )
    predictor = tiny_shop.make_predictor(tiny_backbone, tiny_shop.make_tokens(tiny_backbone, texts))
    asked = predictor._tokens.ids[predictor._tokens.offsets[60:64] + 1]
    words = predictor.encoder.backbone.embeddings.word_embeddings.weight
    start = words[asked].detach().clone()
    config = tiny_shop.tune(epochs=12, weight_decay=0.0)
    figures = finetune(
        predictor, lists, training=TRAINING, validation=VALIDATION, config=config, output=tmp_path / "run"
    )
    scores = score_lists(predictor, lists, VALIDATION)[:, 0]
    lists.history[:, 0] = 60 + (taste + 1) % 4

    assert figures["auc"] > 0.85
    assert not np.allclose(score_lists(predictor, lists, VALIDATION)[:, 0], scores)
    assert float((words[asked] - start).detach().norm(dim=-1).min()) > 0.01


def test_items_without_a_text_have_no_score(tiny_shop: Any, fresh: Any) -> None:
    lists = tiny_shop.make_lists(np.arange(60) % 4, 5)
    lists.items[3] = lists.pad
    predictor = fresh()
    predictor.refresh()
    scores = score_lists(predictor, lists, np.arange(5))

    assert np.isnan(scores[3]).all()
    assert np.isfinite(np.delete(scores, 3, axis=0)).all()
    assert np.isfinite(report(predictor, lists, np.arange(5))["auc"])


def test_lists_are_reported_in_the_order_in_which_they_are_named(shop: Any, fresh: Any) -> None:
    predictor = fresh()
    predictor.refresh()
    backwards = report(predictor, shop[0], VALIDATION[::-1])

    assert backwards == pytest.approx(report(predictor, shop[0], VALIDATION))


@pytest.mark.slow
def test_two_processes_train_one_model(tiny_shop: Any, tiny_backbone: Path, tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, str(Path(tiny_shop.__file__)), str(tiny_backbone), str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4_000:]

    for name in ("frozen", "lora"):
        first, second = (load_file(tmp_path / f"{name}-{rank}.safetensors") for rank in (0, 1))
        start = tiny_shop.make_predictor(
            tiny_backbone, tiny_shop.make_tokens(tiny_backbone, tiny_shop.make_texts(40)[0])
        ).state_dict()

        assert all(torch.equal(first[key], second[key]) for key in first)
        assert not torch.equal(first["head.mix"], start["head.mix"])
