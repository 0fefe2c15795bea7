"""Shadows compare and answer nobody; pins and variants choose who answers, and answers and receipts say so."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import grpc
import pytest
from typer.testing import CliRunner

from recsys.cli.commands import app
from recsys.errors import InvalidRequest, SwapRefused
from recsys.registry import Registry
from recsys.schema import Ranking, RankRequest
from serving.client import ServiceError
from serving.convert import request_to_wire
from serving.loaded import Loaded
from serving.pb import ranking_pb2_grpc as pb_grpc
from serving.receipt_audit import audit
from serving.receipt_replay import find_receipts
from serving.shadow import Shadow
from serving.variants import Variant, Variants


def test_a_shadow_compares_every_request_of_its_share_and_answers_none(
    shop: Any, serve: Any, asked: Any, eventually: Any, quickly: Callable[..., Any]
) -> None:
    with serve(quickly) as served:
        served.admin.set_shadow(shop.turned, 1.0)
        by = set()
        for number in range(20):
            by.add(served.client.rank_request(asked(number)).bundle_id)
            eventually(lambda seen=number: served.admin.status().swaps.shadow.ranked == seen + 1)
        shadow, loaded = served.admin.status().swaps.shadow, served.admin.status().swaps.loaded
        assert served.figure("recsys_shadow_rankings_total", outcome="ranked") == 20
        assert served.figure("recsys_shadow_kendall_tau_bucket", le="-0.5") == 20
        served.admin.set_shadow("", 0)
        assert served.admin.status().swaps.shadow is None
        assert [each.bundle_id for each in served.admin.status().swaps.loaded] == [shop.first]

    assert by == {shop.first}
    assert (shadow.bundle_id, shadow.share, shadow.dropped, shadow.failed) == (shop.turned, 1.0, 0, 0)
    assert (shadow.top_overlap, shadow.kendall_tau) == (pytest.approx(0, abs=0.05), pytest.approx(-1, abs=0.05))
    assert shadow.p50_s > 0
    assert shadow.answer_p50_s > 0
    assert [(each.bundle_id, each.roles) for each in loaded] == [
        (shop.first, ("serving",)),
        (shop.turned, ("shadow",)),
    ]


def test_a_cut_answer_is_compared_as_far_as_it_goes(
    shop: Any, serve: Any, asked: Any, eventually: Any, quickly: Callable[..., Any]
) -> None:
    with serve(quickly) as served:
        served.admin.set_shadow(shop.second, 1.0)
        served.client.rank_request(asked(1, top_k=5))
        eventually(lambda: served.admin.status().swaps.shadow.ranked == 1)
        shadow = served.admin.status().swaps.shadow

    assert (shadow.top_overlap, shadow.kendall_tau) == (1, 1)


@pytest.mark.parametrize(("bundle", "share"), [("", 0.5), ("first", 0.0), ("first", 1.5), ("first", -0.1)])
def test_a_share_out_of_range_is_refused(
    shop: Any, serve: Any, quickly: Callable[..., Any], bundle: str, share: float
) -> None:
    with serve(quickly) as served, pytest.raises(InvalidRequest, match="share"):
        served.admin.set_shadow(bundle and shop.first, share)


class Held:
    """A bundle that ranks when it is let."""

    bundle_id = "held"

    def __init__(self) -> None:
        self.release = threading.Event()
        self.asked: list[str] = []

    def rank(self, request: RankRequest) -> Ranking:
        self.asked.append(request.request_id)
        self.release.wait(10)
        return ANSWER


ANSWER = Ranking(request_id="", bundle_id="held", items=(), text_coverage=1.0)


def held_shadow(spare: Callable[[], bool]) -> tuple[Held, Shadow]:
    model: Any = Held()
    loaded = Loaded(model, learn=lambda _: None, closing=lambda: None, load_s=0)
    return model, Shadow(loaded, 1.0, spare)


def test_a_shadow_that_does_not_keep_up_holds_nobody_up(eventually: Any) -> None:
    model, shadow = held_shadow(lambda: True)
    request = RankRequest(user_id="u", candidates=(), ts=1)
    for number in range(20):
        shadow.offer(replace(request, request_id=f"r{number}"), ANSWER, 0.1)
    assert 15 <= shadow.dropped <= 16  # four wait, one may be at work
    model.release.set()
    eventually(lambda: shadow.ranked + shadow.dropped == 20)
    shadow.close()


def test_a_shadow_works_only_while_there_is_capacity_to_spare(eventually: Any) -> None:
    busy = [False]
    model, shadow = held_shadow(lambda: not busy[0])
    request = RankRequest(user_id="u", candidates=(), ts=1)
    shadow.offer(replace(request, request_id="first"), ANSWER, 0.1)
    eventually(lambda: model.asked)
    shadow.offer(replace(request, request_id="while it works"), ANSWER, 0.1)
    busy[0] = True
    shadow.offer(replace(request, request_id="while others wait"), ANSWER, 0.1)
    model.release.set()
    eventually(lambda: shadow.dropped == 2)  # one when it came, one when its turn had come
    shadow.close()

    assert (model.asked, shadow.ranked) == (["first"], 1)


def test_a_request_is_answered_by_the_bundle_or_the_variant_that_it_names(
    shop: Any, serve: Any, asked: Any, quickly: Callable[..., Any]
) -> None:
    with serve(quickly) as served:
        served.admin.set_variants(Variants(variants=(Variant(name="double", bundle_id=shop.second, share=0),)))
        by_id = served.client.rank_request(asked(1, bundle=shop.second))
        by_name = served.client.rank_request(asked(1, bundle="double"))
        by_nobody = served.client.rank_request(asked(1))
        with grpc.insecure_channel(served.server.address) as channel, pytest.raises(grpc.RpcError) as raised:
            pb_grpc.RankingServiceStub(channel).Rank(request_to_wire(asked(1, bundle="absent")), timeout=10)
        with pytest.raises(ServiceError) as told:
            served.client.rank_request(asked(1, bundle=shop.turned))

    assert [(each.bundle_id, each.variant) for each in (by_id, by_name, by_nobody)] == [
        (shop.second, ""),
        (shop.second, "double"),
        (shop.first, ""),
    ]
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    assert "not loaded here" in raised.value.details()
    assert told.value.code == "NOT_FOUND"


def test_users_stay_in_their_variant_and_receipts_say_which(
    shop: Any, serve: Any, asked: Any, tmp_path: Any, quickly: Callable[..., Any]
) -> None:
    told: dict[str, tuple[str, str]] = {}
    settings = {"variants": f"control=:0.5,double={shop.second}:0.5", "variants_salt": "autumn"}
    for _ in range(2):  # after a restart too
        with serve(quickly, drift=1, **settings) as served:
            for number in range(30):
                ranking = served.client.rank_request(asked(number, user=f"user-{number % 10}"))
                assert told.setdefault(f"user-{number % 10}", (ranking.variant, ranking.bundle_id)) == (
                    ranking.variant,
                    ranking.bundle_id,
                )
            assert served.figure("recsys_variant_rankings_total", variant="double") > 0
    registry = Registry(shop.registry)
    (first, *_) = find_receipts(tmp_path / "live", "r-1")
    found = audit(tmp_path / "live", registry.path)

    assert set(told.values()) == {("control", shop.first), ("double", shop.second)}
    assert (first.receipt.variant, first.receipt.bundle_id) == told["user-1"]
    assert (found.receipts, found.mismatches, found.left_out) == (60, (), {})


def test_shares_are_kept_and_another_salt_divides_anew() -> None:
    variants = (Variant(name="a", bundle_id="", share=0.2), Variant(name="b", bundle_id="x", share=0.3))
    requests = [RankRequest(user_id=f"u{number}", candidates=(), ts=1) for number in range(4_000)]

    def divided(salt: str) -> list[str]:
        of = Variants(variants=variants, salt=salt).of
        return [found.name if (found := of(request)) else "" for request in requests]

    counts = Counter(divided("one"))
    assert counts["a"] == pytest.approx(800, abs=120)
    assert counts["b"] == pytest.approx(1_200, abs=140)
    both = sum(one == other == "a" for one, other in zip(divided("one"), divided("two"), strict=True))
    assert both == pytest.approx(160, abs=60)


def test_who_changes_the_last_share_moves_nobody_between_the_others() -> None:
    def of(share: float) -> Variants:
        return Variants(
            variants=(Variant(name="a", bundle_id="", share=0.2), Variant(name="b", bundle_id="x", share=share))
        )

    requests = [RankRequest(user_id=f"u{number}", candidates=(), ts=1) for number in range(500)]
    before, after = ([each.of(request) for request in requests] for each in (of(0.1), of(0.4)))
    names = [(one and one.name, other and other.name) for one, other in zip(before, after, strict=True)]

    assert set(names) == {("a", "a"), ("b", "b"), (None, "b"), (None, None)}


def test_users_are_divided_the_same_way_for_ever() -> None:
    """Literal names: another hash would move users between the arms of running tests."""
    halves = Variants(variants=(Variant(name="a", bundle_id="", share=0.5),), salt="s")
    users = [RankRequest(user_id=name, candidates=(), ts=1) for name in ("ann", "bob", "cat", "dan", "eve", "fay")]
    anonymous = RankRequest(user_id="", request_id="ann", candidates=(), ts=1)

    assert [halves.of(user) is not None for user in users] == [True, True, True, False, True, False]
    assert halves.of(anonymous) is None


@pytest.mark.parametrize(
    ("variants", "says"),
    [
        ([("a", 0.7), ("b", 0.4)], "1.1 together"),
        ([("a", 0.1), ("a", 0.1)], "same name"),
        ([("a b", 0.1)], "letters"),
        ([("", 0.1)], "letters"),
        ([("a", -0.1)], "give 0 to 1"),
        ([(f"v{number}", 0.01) for number in range(17)], "more than 16"),
    ],
)
def test_variants_that_make_no_sense_are_refused(variants: list[tuple[str, float]], says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        Variants(variants=tuple(Variant(name=name, bundle_id="", share=share) for name, share in variants))


def test_a_bundle_that_must_not_be_used_is_no_variant_and_no_shadow(
    shop: Any, serve: Any, bad_bundle: str, asked: Any, quickly: Callable[..., Any]
) -> None:
    with serve(quickly) as served:
        served.admin.set_variants(Variants(variants=(Variant(name="all", bundle_id=shop.second, share=1),)))
        with pytest.raises(SwapRefused, match="golden request"):
            served.admin.set_variants(Variants(variants=(Variant(name="all", bundle_id=bad_bundle, share=1),)))
        with pytest.raises(SwapRefused, match="golden request"):
            served.admin.set_shadow(bad_bundle, 0.5)
        assert served.client.rank_request(asked(1)).bundle_id == shop.second
        served.admin.set_variants(Variants())
        assert [each.bundle_id for each in served.admin.status().swaps.loaded] == [shop.first]


def test_the_command_line_does_all_of_it(shop: Any, serve: Any, quickly: Callable[..., Any]) -> None:
    def run(*words: str) -> str:
        done = CliRunner().invoke(app, [*words])
        assert done.exit_code == 0, done.output
        return " ".join(done.output.split())

    with serve(quickly, swap_poll_s=3_600) as served:
        address = served.server.admin_address
        shop.promote(shop.second)
        assert f"{shop.second} serves" in run("server", "swap", "--address", address)
        assert "already" in run("server", "swap", "--address", address)
        assert f"{shop.first} serves" in run("server", "rollback", "--address", address)
        run("server", "shadow", shop.second, "--share", "0.5", "--address", address)
        run("server", "variants", f"new={shop.turned}:0.1", "control=:0.1", "--salt", "x", "--address", address)
        shown = run("status", address)
        run("server", "shadow", "--address", address)
        run("server", "variants", "--address", address)
        ended = served.admin.status().swaps

    assert "shadow" in shown
    assert "variant new" in shown
    assert "rolled back by command" in shown
    assert (ended.shadow, ended.variants) == (None, ())


def test_variants_that_do_not_all_find_room_are_not_set(
    shop: Any, serve: Any, quickly: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = Variants(
        variants=(
            Variant(name="a", bundle_id=shop.second, share=0.5),
            Variant(name="b", bundle_id=shop.turned, share=0.5),
        )
    )
    with serve(quickly, probation_s=0) as served:
        # The second finds room only once the first has been let go.
        says = iter([True, False, True])
        monkeypatch.setattr(served.server._preparation, "has_room", lambda _: next(says))
        with pytest.raises(SwapRefused, match=f"{shop.second} did not stay in memory beside the others"):
            served.admin.set_variants(both)

        assert served.server._bundles.variants == Variants()
