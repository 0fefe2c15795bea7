"""Peers run in processes of their own; what cannot run is skipped, and said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recsys.schema import ItemText
from recsys.text.tokens import ItemTokenizer, TextSettings
from training.backbone import load_backbone
from training.click_model import ClickModelConfig, ItemEncoder
from training.pair_network import PairNetwork

PAIRS = [["wool socks [SEP] a hat", "gloves"], ["wool socks", "a kettle of steel, for tea"], ["a saw", "nails"]]


def test_rank_correlation_is_of_ranks_and_shares_those_of_equal_values() -> None:
    from peers import spearman

    assert spearman([1.0, 2.0, 30.0], [0.1, 0.2, 0.3]) == pytest.approx(1.0)
    assert spearman([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == pytest.approx(-1.0)
    assert spearman([1.0, 1.0, 2.0], [1.0, 2.0, 3.0]) == pytest.approx(0.8660, abs=1e-4)


@pytest.mark.slow
def test_the_peer_scores_pairs_as_our_cross_encoder_does(tmp_path: Path) -> None:
    from peer_models import save_cross_encoder
    from peers import REFERENCE, peers

    network = PairNetwork(load_backbone("", dropout=0.0), dropout=0.0, bce=0.0, start=-1.0).eval()
    torch.nn.init.constant_(network.out.weight, 0.5)
    save_cross_encoder(network, tmp_path / "model")
    with peers([REFERENCE], {"torch": Path(sys.executable)}, **given("cross_encoder", tmp_path / "model")) as (peer,):
        found = peer.ask(pairs=PAIRS, batch=2)

    assert found["scores"] == pytest.approx(alone(network), abs=1e-4)
    assert found["seconds"] > 0


@pytest.mark.slow
def test_the_peer_encodes_texts_as_our_item_encoder_does(tmp_path: Path) -> None:
    from peer_models import item_string, packaged_tokenizer, save_encoder
    from peers import REFERENCE, peers

    texts = [ItemText(title="Wool socks", description="Warm.", category="Clothing"), ItemText(title="A saw")]
    encoder = ItemEncoder(load_backbone("", dropout=0.0), ClickModelConfig(dimensions=32)).eval()
    save_encoder(encoder, tmp_path / "model")
    with peers([REFERENCE], {"torch": Path(sys.executable)}, **given("encoder", tmp_path / "model")) as (peer,):
        peer.ask(texts=[item_string(text) for text in texts], batch=2, vectors=str(tmp_path / "vectors.npy"))
    tokens = ItemTokenizer(packaged_tokenizer(), TextSettings()).encode(texts)
    with torch.no_grad():
        ours, _ = encoder(*(torch.from_numpy(part) for part in tokens.padded(np.arange(2))))

    assert np.load(tmp_path / "vectors.npy") == pytest.approx(ours.numpy(), abs=1e-4)


def test_a_peer_that_does_not_come_up_is_skipped_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from peers import REFERENCE, peers

    (tmp_path / "model").mkdir()
    without = tmp_path / "python"
    without.write_text('#!/bin/sh\necho "no such library" >&2\n')
    without.chmod(0o755)
    with peers([REFERENCE], {"torch": without}, **given("encoder", tmp_path / "model")) as found:
        assert found == []

    assert "no such library" in capsys.readouterr().out


def test_without_a_folder_for_environments_only_torch_is_had(capsys: pytest.CaptureFixture[str]) -> None:
    from peers import interpreters

    assert interpreters(None) == {"torch": Path(sys.executable)}
    assert "the onnx backend" in capsys.readouterr().out


def test_an_environment_of_these_packages_is_used_as_it_is(tmp_path: Path) -> None:
    from peers import environment

    (tmp_path / "packages.txt").write_text("a==1\nb==2\n")

    assert environment(tmp_path, ["a==1", "b==2"]) == tmp_path / "bin" / "python"


def test_an_environment_of_other_packages_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from peers import environment

    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    (tmp_path / "peer").mkdir()
    (tmp_path / "peer" / "packages.txt").write_text("a==1\n")

    with pytest.raises(subprocess.CalledProcessError, match="install"):
        environment(tmp_path / "peer", ["no-such-package==1"])
    assert not (tmp_path / "peer" / "packages.txt").exists()


def given(kind: str, model: Path) -> dict[str, Any]:
    """Say what a peer is started with."""
    return {"kind": kind, "model": model, "calibration": []}


@torch.no_grad()
def alone(network: PairNetwork) -> list[float]:
    """Score each pair by our own network."""
    from peer_models import packaged_tokenizer

    encoded = packaged_tokenizer().encode_batch(PAIRS)
    rows = [(np.array([one.ids]), np.array([one.type_ids])) for one in encoded]
    return [float(network.logits(ids, fields)[0]) for ids, fields in rows]
