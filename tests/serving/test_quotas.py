"""What one caller may have is bounded, so that another one finds a place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import ConfigError, Overloaded
from serving.access.renewed import Renewed
from serving.quotas import Quota, Quotas, read_quotas
from serving.refusals import Refusals


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Fixed(Renewed[Mapping[str, Quota]]):
    def __init__(self, **quotas: Quota) -> None:
        self._quotas = {name.replace("others", "*"): quota for name, quota in quotas.items()}

    def get(self) -> Mapping[str, Quota]:
        return self._quotas


def take(quotas: Quotas, caller: str, candidates: int) -> None:
    with quotas.taken(caller, candidates):
        pass


def test_a_second_s_worth_is_there_at_once_and_then_as_much_as_time_brings() -> None:
    clock = Clock()
    quotas = Quotas(Fixed(shop=Quota(candidates_per_s=100)), Refusals(), clock)
    take(quotas, "shop", 60)
    take(quotas, "shop", 60)
    with pytest.raises(Overloaded, match="100 candidates a second are this caller's quota") as refused:
        take(quotas, "shop", 1)
    clock.now += 0.21
    take(quotas, "shop", 1)

    assert refused.value.after_s == pytest.approx(0.2)


def test_what_a_large_request_took_too_much_the_next_ones_wait_for() -> None:
    clock = Clock()
    quotas = Quotas(Fixed(shop=Quota(candidates_per_s=100)), Refusals(), clock)
    take(quotas, "shop", 1_000)
    clock.now += 8.9
    with pytest.raises(Overloaded):
        quotas.check("shop")
    clock.now += 0.2
    quotas.check("shop")


def test_rankings_at_a_time_are_counted_until_they_end() -> None:
    quotas = Quotas(Fixed(shop=Quota(in_flight=1)), Refusals())
    with quotas.taken("shop", 5), pytest.raises(Overloaded, match="1 rankings at a time"):
        quotas.check("shop")
    quotas.check("shop")


def test_others_have_a_quota_each_and_who_has_none_may_take_all() -> None:
    quotas = Quotas(Fixed(shop=Quota(), others=Quota(candidates_per_s=1)), Refusals(), Clock())
    for _ in range(10):
        take(quotas, "shop", 1_000)
    take(quotas, "feed", 1)
    take(quotas, "mail", 1)
    with pytest.raises(Overloaded):
        take(quotas, "feed", 1)

    for _ in range(10):
        take(Quotas(Fixed(), Refusals()), "anybody", 1_000)


def test_refusals_are_counted() -> None:
    refusals = Refusals()
    quotas = Quotas(Fixed(shop=Quota(candidates_per_s=1)), refusals, Clock())
    take(quotas, "shop", 1)
    with pytest.raises(Overloaded):
        quotas.check("shop")

    assert refusals.by_reason()["quota",] == 1


@given(st.lists(st.tuples(st.floats(0, 0.5), st.integers(1, 300)), min_size=1, max_size=60))
def test_no_caller_gets_more_than_its_rate_a_burst_and_one_request(asked: list[tuple[float, int]]) -> None:
    clock = Clock()
    quotas = Quotas(Fixed(shop=Quota(candidates_per_s=100)), Refusals(), clock)
    got = 0
    for gap, candidates in asked:
        clock.now += gap
        try:
            take(quotas, "shop", candidates)
        except Overloaded:
            continue
        got += candidates

    assert got <= 100 + 100 * (clock.now - 100.0) + 300


GOOD = '[[quota]]\nname = "a"\ncandidates_per_s = 5\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it is no TOML"),
        ("[[quota]", "it is no TOML"),
        ("quota = 5", "it is no TOML"),
        ('[[quota]]\nname = "a"', "quota 1 needs name"),
        (GOOD + "colour = 1", "quota 1 needs name"),
        (GOOD + GOOD, "quota 2 is for a caller that an earlier one is for too"),
        (GOOD.replace('"a"', '""'), "name of quota 1"),
        (GOOD.replace("5", "0"), "candidates_per_s of quota 1"),
        (GOOD.replace("5", "nan"), "candidates_per_s of quota 1"),
        (GOOD.replace("5", '"5"'), "candidates_per_s of quota 1"),
        (GOOD + "in_flight = 0", "in_flight of quota 1"),
        (GOOD + "in_flight = true", "in_flight of quota 1"),
    ],
)
def test_a_file_that_is_none_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_quotas(text.encode())


def test_a_file_is_read_and_read_again_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "quotas.toml"
    file.write_text(GOOD)
    quotas = Quotas(Renewed("the quotas", (file,), read_quotas), Refusals())
    take(quotas, "a", 50)
    with pytest.raises(Overloaded):
        quotas.check("a")
    file.write_text(GOOD.replace("5", "500"))
    quotas.check("b")

    assert read_quotas(file.read_bytes()) == {"a": Quota(candidates_per_s=500)}


def test_a_missing_file_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the quotas"):
        Renewed("the quotas", (tmp_path / "absent.toml",), read_quotas)
