"""A bundle is used only after another process has loaded it and answered its golden requests as expected."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from recsys.bundle import GoldenRequest, ManifestDraft, read_bundle, write_bundle
from recsys.schema import Candidate, RankedItem, Ranking, RankRequest
from recsys.verification import Check, compare, verify

Files = dict[str, bytes]

# The real child with a pipeline of a few lines in place of the real one; it ranks "tea" before "new" as planted.
_CHILD = """
import ctypes, os, signal, sys, time, types
from pathlib import Path

sys.modules["recsys.ranker"] = types.ModuleType("recsys.ranker")  # slow to import, and only the real pipeline needs it
sys.modules["recsys.ranker"].check_model_text = None
from recsys.errors import BundleError
from recsys.schema import RankedItem, Ranking

class RankingPipeline:
    bundle_id = "planted"

    @classmethod
    def load(cls, directory, **_):
        {load}
        return cls()

    def rank(self, request):
        {rank}
        items = tuple(RankedItem(item_id=i, score=s, click_probability=0.5) for i, s in scores.items())
        return Ranking(request_id="", bundle_id=self.bundle_id, items=items, text_coverage=1.0)

sys.modules["recsys.pipeline"] = types.ModuleType("recsys.pipeline")
sys.modules["recsys.pipeline"].RankingPipeline = RankingPipeline
from recsys.verification import main
status = main(Path(sys.argv[1]))
{leave}
sys.exit(status)
"""
_RIGHT = 'scores = {"tea": 0.1 + 0.2, "new": -1e-17}'


@pytest.fixture
def bundle(tmp_path: Path, planted_files: Files, planted_draft: ManifestDraft) -> Path:
    write_bundle(tmp_path / "bundle", planted_files, planted_draft)
    return tmp_path / "bundle"


def play(monkeypatch: pytest.MonkeyPatch, *, load: str = "pass", rank: str = _RIGHT, leave: str = "") -> None:
    """Let the child process run these lines when it loads, ranks and leaves."""
    program = _CHILD.format(load=load, rank=rank, leave=leave)
    monkeypatch.setattr("recsys.verification._CHILD", (sys.executable, "-c", program))


def test_a_bundle_that_answers_as_expected_is_accepted(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, load="os.write(1, b'[LightGBM] [Warning] chatter\\n')")
    verdict = verify(bundle)

    assert verdict.ok, verdict
    assert [check.name for check in verdict.checks] == ["files", "load", "golden requests"]
    assert "all 1 answered as expected" in verdict.checks[-1].detail


@pytest.mark.parametrize(
    ("lines", "stage", "reason"),
    [
        ({"load": "os.kill(os.getpid(), signal.SIGSEGV)"}, "load", "killed by SIGSEGV"),
        ({"load": "ctypes.string_at(0)"}, "load", "killed by SIGSEGV"),
        ({"load": "os._exit(0)"}, "load", "ended without a report"),
        ({"load": "os._exit(3)"}, "load", "ended with status 3"),
        ({"load": "raise BundleError('the features are others')"}, "load", "BundleError: the features are others"),
        ({"load": "cls.hog = bytearray(12 * 1024**3)"}, "load", "MemoryError"),
        ({"rank": "os.abort()"}, "golden requests", "killed by SIGABRT"),
        ({"rank": "scores = 1 / 0"}, "golden requests", "ZeroDivisionError"),
        ({"rank": 'scores = {"tea": 0.3001, "new": 0.0}'}, "golden requests", "'tea' scores 0.3001, expected 0.3"),
        ({"leave": "os.kill(os.getpid(), signal.SIGSEGV)"}, "exit", "killed by SIGSEGV"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_child_that_dies_or_answers_otherwise_refuses_the_bundle_by_name(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, lines: dict[str, str], stage: str, reason: str
) -> None:
    play(monkeypatch, **lines)
    verdict = verify(bundle)

    assert not verdict.ok
    assert verdict.checks[-1].name == stage
    assert reason in verdict.checks[-1].detail
    assert all(check.passed for check in verdict.checks[:-1])


def test_a_gentle_child_is_nice_within_the_session_of_who_asks(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, load=f"assert os.getsid(0) == {os.getsid(0)} and os.environ['POLARS_MAX_THREADS'] == '1'")
    verdict = verify(bundle, gently=True)

    assert verdict.ok, verdict
    assert [check.name for check in verdict.checks] == ["load", "golden requests"]


def test_a_child_that_hangs_is_stopped(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, load="time.sleep(600)")
    verdict = verify(bundle, timeout_s=0.5)

    assert not verdict.ok
    assert "no answer within 0.5 s; try again, with more cores" in verdict.checks[-1].detail


def test_a_child_that_leaves_a_process_behind_does_not_hold_us_up(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.verification._CHILD", ("/bin/sh", "-c", "sleep 600 & sleep 600"))
    verdict = verify(bundle, timeout_s=0.5)

    assert not verdict.ok


@pytest.mark.parametrize(
    "line",
    ["nonsense", "[]", "{}", '{"name": "golden requests", "passed": true, "detail": ""}', '{"name": "load"}', "\\377"],
)
def test_a_report_that_is_none_counts_for_nothing(bundle: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.setattr("recsys.verification._CHILD", ("/bin/sh", "-c", f"printf '{line}\\n'"))
    verdict = verify(bundle)

    assert not verdict.ok
    assert verdict.checks[-1] == Check(
        name="load",
        passed=False,
        detail="the child process ended without a report; do not use this bundle, train a new one",
    )


# A pipeline that scores with the bundle's real ranker, by LightGBM itself.
_BOOSTER = {
    "load": "import lightgbm as lgb; cls.booster = lgb.Booster(model_str=(directory / 'ranker.txt').read_text())",
    "rank": "scores = dict(zip(['tea', 'new'], self.booster.predict([[2, 0, 0], [-2, 0, 0]], raw_score=True)))",
}


@pytest.fixture
def scored_draft(ranker_text: bytes, planted_draft: ManifestDraft) -> ManifestDraft:
    import lightgbm as lgb

    booster = lgb.Booster(model_str=ranker_text.decode())
    tea, new = booster.predict([[2, 0, 0], [-2, 0, 0]], raw_score=True)
    golden = GoldenRequest(
        request=planted_draft.golden[0].request, scores={"tea": tea, "new": new}, order=("tea", "new")
    )
    return planted_draft.model_copy(update={"golden": (golden,)})


@pytest.mark.parametrize("factor", [1.0, 1.01])
def test_a_ranker_that_answers_otherwise_is_refused_though_every_hash_fits(
    tmp_path: Path,
    planted_files: Files,
    scored_draft: ManifestDraft,
    monkeypatch: pytest.MonkeyPatch,
    factor: float,
) -> None:
    head, _, leaves = planted_files["ranker.txt"].decode().partition("leaf_value=")
    values, _, tail = leaves.partition("\n")
    grown = " ".join(f"{float(value) * factor:.17g}" for value in values.split())
    data = f"{head}leaf_value={grown}\n{tail}"
    size = len(data) - len(planted_files["ranker.txt"])
    first = data.partition("tree_sizes=")[2].split()[0]  # the guard compares it to where the next tree begins
    data = data.replace(f"tree_sizes={first}", f"tree_sizes={int(first) + size}", 1)
    play(monkeypatch, **_BOOSTER)
    write_bundle(tmp_path / "bundle", {**planted_files, "ranker.txt": data.encode()}, scored_draft)
    verdict = verify(tmp_path / "bundle")

    assert verdict.ok == (factor == 1.0), verdict
    assert verdict.ok or "'tea' scores" in verdict.checks[-1].detail


def test_a_ranker_that_kills_its_parser_kills_the_child_alone(
    tmp_path: Path, planted_files: Files, scored_draft: ManifestDraft, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the structural guard switched off, so that the child is all that stands between."""
    monkeypatch.setattr("recsys.bundle.contents.check_model_text", lambda _model: None)
    play(monkeypatch, **_BOOSTER)
    text = planted_files["ranker.txt"].partition(b"end of trees")[0]
    endings = []
    for share in (0.3, 0.5, 0.7, 0.9):
        directory = tmp_path / str(share)
        write_bundle(directory, {**planted_files, "ranker.txt": text[: int(len(text) * share)]}, scored_draft)
        verdict = verify(directory, timeout_s=10)
        endings.append(verdict.checks[-1].detail)

        assert not verdict.ok

    assert any("killed by SIG" in ending for ending in endings), endings


def test_a_damaged_bundle_never_reaches_the_child(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys.verification._CHILD", ("/nonexistent",))
    (bundle / "state.safetensors").write_bytes(b"\0" * 256)
    verdict = verify(bundle)

    assert not verdict.ok
    assert [check.name for check in verdict.checks] == ["files"]
    assert "state.safetensors is damaged" in verdict.checks[0].detail


def test_a_bundle_without_golden_requests_is_refused(
    tmp_path: Path, planted_files: Files, planted_draft: ManifestDraft, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch)
    write_bundle(tmp_path / "bundle", planted_files, planted_draft.model_copy(update={"golden": ()}))
    verdict = verify(tmp_path / "bundle")

    assert not verdict.ok
    assert "publish it with golden requests" in verdict.checks[-1].detail


def answer(**scores: float) -> Ranking:
    items = tuple(RankedItem(item_id=name, score=score, click_probability=0.5) for name, score in scores.items())
    return Ranking(request_id="", bundle_id="b", items=items, text_coverage=1.0)


@pytest.mark.parametrize(
    ("ranking", "fault"),
    [
        (answer(a=2.0, b=1.0), ""),
        (answer(a=2.0 + 9e-7, b=1.0 - 9e-7), ""),
        (answer(a=2.0 + 2e-6, b=1.0), "'a' scores"),
        (answer(b=1.0, a=2.0), "order"),
        (answer(a=2.0), "ranked 1 items, not the 2"),
        (answer(a=2.0, b=1.0, c=0.0), "ranked 3 items, not the 2"),
        (answer(a=2.0, c=1.0), "other items"),
    ],
)
def test_scores_are_compared_to_a_millionth_and_the_order_exactly(ranking: Ranking, fault: str) -> None:
    request = RankRequest(user_id="ann", candidates=(Candidate(item_id="a"), Candidate(item_id="b")), ts=1)
    golden = GoldenRequest(request=request, scores={"a": 2.0, "b": 1.0}, order=("a", "b"))

    assert compare(golden, ranking) == "" if not fault else fault in compare(golden, ranking)


@pytest.mark.parametrize(
    ("order", "fault"),
    [
        (list("abcdefghij"), ""),
        (list("abdcefghij"), ""),
        (list("jihgfedcba"), "Kendall's tau of -1.000"),
        (list("abcdefghi"), "ranked 9 items"),
    ],
)
def test_another_device_may_turn_neighbours_round_and_no_more(order: list[str], fault: str) -> None:
    ids = list("abcdefghij")
    request = RankRequest(user_id="ann", candidates=tuple(Candidate(item_id=item_id) for item_id in ids), ts=1)
    golden = GoldenRequest(request=request, scores={name: -float(n) for n, name in enumerate(ids)}, order=tuple(ids))
    items = tuple(RankedItem(item_id=name, score=-float(n), click_probability=0.5) for n, name in enumerate(order))
    ranking = Ranking(request_id="", bundle_id="b", items=items, text_coverage=1.0)

    found = compare(golden, ranking, exact=False)
    assert found == "" if not fault else fault in found


@pytest.mark.parametrize(
    ("probabilities", "fault"),
    [
        ({}, ""),
        ({"a": 0.5 + 9e-7, "b": 0.5}, ""),
        ({"a": 0.5, "b": 0.500_002}, "'b' has click probability 0.5, expected"),
    ],
)
def test_click_probabilities_are_compared_where_the_bundle_says_them(
    probabilities: dict[str, float], fault: str
) -> None:
    request = RankRequest(user_id="ann", candidates=(Candidate(item_id="a"), Candidate(item_id="b")), ts=1)
    golden = GoldenRequest(request=request, scores={"a": 2.0, "b": 1.0}, order=("a", "b"), probabilities=probabilities)
    found = compare(golden, answer(a=2.0, b=1.0))

    assert found.startswith(fault)
    assert bool(found) == bool(fault)


def test_a_damaged_bundle_is_refused_by_a_gentle_child_by_name(bundle: Path) -> None:
    path = bundle / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    verdict = verify(bundle, gently=True)

    assert not verdict.ok
    assert [check.name for check in verdict.checks] == ["load"]
    assert "state.safetensors is damaged" in verdict.checks[0].detail


def test_a_bundle_as_training_makes_it_is_accepted_by_a_real_child(tiny_bundle: Path) -> None:
    verdict = verify(tiny_bundle)

    assert verdict.ok, verdict
    assert [check.name for check in verdict.checks] == ["files", "load", "golden requests"]


def test_a_whole_bundle_whose_golden_answers_are_others_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = read_bundle(tiny_bundle)
    first, *others = bundle.manifest.golden
    moved = {name: score + 2e-6 for name, score in first.scores.items()}
    fields = {name: value for name, value in bundle.manifest if name in ManifestDraft.model_fields}
    fields["golden"] = (first.model_copy(update={"scores": moved}), *others)
    write_bundle(tmp_path / "bundle", bundle.files, ManifestDraft(**fields))
    verdict = verify(tmp_path / "bundle")

    assert not verdict.ok
    assert "number 1:" in verdict.checks[-1].detail


def test_a_whole_bundle_with_another_calibration_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = read_bundle(tiny_bundle)
    fields = {name: value for name, value in bundle.manifest if name in ManifestDraft.model_fields}
    other = {**bundle.files, "calibration.json": bundle.files["item_calibration.json"]}
    write_bundle(tmp_path / "bundle", other, ManifestDraft(**fields))
    verdict = verify(tmp_path / "bundle")

    assert not verdict.ok
    assert "click probability" in verdict.checks[-1].detail
