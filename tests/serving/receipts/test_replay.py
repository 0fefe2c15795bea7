"""A receipt gives the answered ranking again, and says what another bundle would have made of the same moment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from typer.testing import CliRunner

from recsys.bundle import ManifestDraft, read_bundle
from recsys.cli.commands import app
from recsys.errors import ConfigError
from recsys.pipeline import RankingPipeline
from recsys.registry import Registry
from recsys.schema import Candidate, ItemText, RankRequest
from serving.receipt_log import ReceiptLog
from serving.receipt_replay import find_receipts, replay_other, replay_own


@pytest.fixture
def live(tmp_path: Path) -> Path:
    return tmp_path / "live"


def test_the_table_of_a_receipt_gives_the_very_answer(serve: Any, traffic: Any, live: Path, tiny_bundle: Path) -> None:
    with serve() as client:
        moving = traffic(client, seed=1)
        moving.run(5)
        asked = RankRequest(
            request_id="asked",
            user_id="ann",
            candidates=(
                *(Candidate(item_id=item_id) for item_id in moving.items[:6]),
                Candidate(item_id="new", text=ItemText(title="A warm coat")),
            ),
            ts=1_800_000_000_000_000,
            top_k=4,
        )
        answered = client.rank_request(asked)
    (kept,) = find_receipts(live, "asked")
    replayed = replay_own(kept.receipt, tiny_bundle)

    assert kept.receipt.request == asked
    assert replayed.faults == ()
    assert replayed.ranking.items == answered.items
    assert replayed.ranking.state_versions == answered.state_versions == kept.receipt.state_versions
    assert replayed.titles["new"] == "A warm coat"
    assert all(replayed.reasons[item.item_id] for item in answered.items)


def test_an_answer_that_its_table_does_not_give_is_told(
    serve: Any, traffic: Any, live: Path, tiny_bundle: Path
) -> None:
    with serve() as client:
        traffic(client, seed=1).run(1)
    (kept,) = find_receipts(live, "request-1-1")
    scores = kept.receipt.scores.copy()
    scores[2] = np.nextafter(scores[2], 9)

    assert "1 of" in replay_own(replace(kept.receipt, scores=scores), tiny_bundle).faults[0]
    turned = replay_own(replace(kept.receipt, order=kept.receipt.order[::-1]), tiny_bundle)
    assert "the order differs" in turned.faults[0]


def test_the_same_bundle_in_the_place_of_the_other_answers_alike(
    serve: Any, traffic: Any, live: Path, tiny_bundle: Path
) -> None:
    with serve() as client:
        traffic(client, seed=1).run(12, items=True)
    (kept,) = find_receipts(live, "request-1-9")
    compared = replay_other(kept.receipt, tiny_bundle, live)

    assert compared.answered == compared.other
    assert compared.answered_scores == compared.other_scores
    assert (compared.overlap, compared.kendall_tau) == (1.0, 1.0)


@pytest.fixture
def two_bundles(tiny_bundle: Path, tmp_path: Path) -> tuple[Path, str, str]:
    """A registry with the tiny bundle, and one that ranks the other way round."""
    bundle = read_bundle(tiny_bundle)
    fields = {name: value for name, value in bundle.manifest if name in ManifestDraft.model_fields}
    registry = Registry(tmp_path / "registry")
    first = registry.publish(bundle.files, ManifestDraft(**fields))
    booster = lgb.Booster(model_str=bundle.files["ranker.txt"].decode())
    for tree, told in enumerate(booster.dump_model()["tree_info"]):
        for leaf in range(told["num_leaves"]):
            booster.set_leaf_output(tree, leaf, -booster.get_leaf_output(tree, leaf))
    files = {**bundle.files, "ranker.txt": booster.model_to_string().encode()}
    second = registry.publish(files, ManifestDraft(**{**fields, "golden": ()}))
    return tmp_path / "registry", first, second


def test_another_bundle_is_asked_about_the_same_moment(
    serve: Any, traffic: Any, live: Path, two_bundles: tuple[Path, str, str], tmp_path: Path
) -> None:
    registry, first, second = two_bundles
    with serve() as client:
        traffic(client, seed=1).run(6)
    log = ReceiptLog(live / "receipts.sqlite")
    (kept,) = log.named("request-1-5")
    log.close()
    compared = replay_other(kept.receipt, Registry(registry).path(second), live)

    assert sorted(compared.other) == sorted(compared.answered)
    assert compared.kendall_tau < 0
    done = CliRunner().invoke(
        app,
        ["replay", "request-1-5", "--data", str(live), "--registry", str(registry), "--bundle", second,
         "--json", str(tmp_path / "replay.json")],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert (tmp_path / "replay.json").is_file()
    assert first != second


def test_the_command_says_that_the_answer_is_the_same_bit_by_bit(
    serve: Any, traffic: Any, live: Path, tiny_registry: Path
) -> None:
    with serve() as client:
        traffic(client, seed=1).run(2)
    told = ["replay", "request-1-2", "--data", str(live), "--registry", str(tiny_registry)]

    assert CliRunner().invoke(app, told).exit_code == 0
    assert CliRunner().invoke(app, [*told, "--number", "99"]).exit_code == 2


def test_a_request_without_a_receipt_is_named(serve: Any, traffic: Any, live: Path) -> None:
    with serve(receipts=0) as client:
        traffic(client, seed=1).run(1)
    assert not (live / "receipts.sqlite").exists()
    with pytest.raises(ConfigError, match="holds no receipts"):
        find_receipts(live, "request-1-1")
    with serve() as client:
        traffic(client, seed=2).run(1)
    with pytest.raises(ConfigError, match="no receipt of request 'request-1-1'"):
        find_receipts(live, "request-1-1")


def test_a_receipt_changes_no_answer(tiny_bundle: Path) -> None:
    pipeline = RankingPipeline.load(tiny_bundle)
    asked = pipeline.manifest.golden[0].request
    scored = pipeline.rank_many([asked])[0]
    ranking, receipt = scored.ranking(), scored.receipt(scored.ranking(), now_us=5)

    assert ranking.items == pipeline.rank(asked).items
    assert (receipt.request, receipt.time_us, receipt.item_sequence) == (asked, 5, 0)
    assert receipt.table.shape == (len(asked.candidates), len(pipeline.ranker.names))
