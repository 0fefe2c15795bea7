"""Which rung is chosen, on a clock of the test: by the time that is left, and by the load without flapping."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from recsys.errors import ConfigError
from recsys.schema import Candidate, ItemText, RankRequest, Rung, RungReason
from serving.config import ServerConfig
from serving.ladder import FIRST, Ladder, Rules, Step
from serving.rung_costs import Load, RungCosts

RULES = Rules(margin=2.0, down=0.8, down_s=1.0, up=0.6, up_s=10.0)
ROWS = Load(rows=100, best_rows=60)
# Seconds of one pass over ROWS: features 10 ms, text 20 ms, trees 10 ms.
STAGES = {"features": 0.01, "text": 0.02, "ranker": 0.01}
LOAD = RungReason.LOAD


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Server:
    """Asks a ladder of one thread as a server would, at a steady rate of like requests."""

    def __init__(self, rules: Rules = RULES) -> None:
        self.clock = Clock()
        self.ladder = Ladder(rules, threads=1, most_waiting=10, now=self.clock)
        self.ladder.took(Rung.FULL, ROWS, STAGES)
        self.seen: list[Rung] = []
        self.refused_since: float | None = None
        self.ladder.refused_s = lambda: None if self.refused_since is None else self.clock.now - self.refused_since

    def run(self, seconds: float, *, share: float, waiting: int = 0, jitter: float = 0.0) -> list[Rung]:
        """Ask for ``share`` of what the thread can do on the first rung; returns the rungs that were chosen."""
        rng, seen = random.Random(0), []
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.now += 0.04 / (share * (1 + jitter * rng.uniform(-1, 1)))
            self.ladder.asked(ROWS)
            (step,) = self.ladder.steps([(ROWS, 60.0)], waiting=waiting)
            self.ladder.took(step.rung, ROWS, self._spent(step.rung))
            seen.append(step.rung)
        self.seen += seen
        return seen

    def changes(self) -> int:
        return sum(one != other for one, other in zip(self.seen, self.seen[1:], strict=False))

    @staticmethod
    def _spent(rung: Rung) -> dict[str, float]:
        match rung:
            case Rung.BEST_TEXT:
                return {"features": 0.01, "text": 0.012, "behaviour": 0.01, "ranker": 0.006}
            case Rung.BEHAVIOUR:
                return {"features": 0.01, "behaviour": 0.01}
            case Rung.POPULARITY:
                return {"features": 0.002}
            case _:
                return STAGES


def test_nobody_steps_down_before_anything_is_known() -> None:
    ladder = Ladder(RULES, threads=1, most_waiting=10, now=Clock())

    assert ladder.steps([(ROWS, 0.001)], waiting=0) == [FIRST]
    assert ladder.least_share() == 1.0


def test_each_request_gets_the_best_rung_for_which_there_is_time_twice() -> None:
    ladder = Server().ladder

    def step(left_s: float) -> Step:
        return ladder.steps([(ROWS, left_s)], waiting=0)[0]

    assert step(0.081) == FIRST
    assert step(0.079) == Step(Rung.BEST_TEXT, RungReason.DEADLINE)
    assert step(0.045) == Step(Rung.BEHAVIOUR, RungReason.DEADLINE)
    assert step(0.021) == Step(Rung.POPULARITY, RungReason.DEADLINE)
    assert step(-1.0) == Step(Rung.POPULARITY, RungReason.DEADLINE)


def test_those_that_are_ranked_together_count_together_and_each_has_its_own_time() -> None:
    ladder = Server().ladder

    assert ladder.steps([(ROWS, 1.0), (ROWS, 0.13), (ROWS, 0.235)], waiting=0) == [
        FIRST,
        Step(Rung.BEHAVIOUR, RungReason.DEADLINE),
        Step(Rung.BEST_TEXT, RungReason.DEADLINE),
    ]


def test_texts_to_be_read_are_what_the_cached_rung_saves() -> None:
    ladder = Server().ladder
    asked = Load(rows=100, best_rows=60, texts=50, best_texts=32)
    ladder.took(Rung.FULL, asked, {**STAGES, "reading": 0.5})

    def rung(left_s: float) -> Rung:
        return ladder.steps([(asked, left_s)], waiting=0)[0].rung

    assert [rung(left_s) for left_s in (1.1, 1.0, 0.7, 0.08, 0.045)] == [
        Rung.FULL, Rung.BEST_TEXT, Rung.CACHED_TEXT, Rung.CACHED_TEXT, Rung.BEHAVIOUR,
    ]  # fmt: skip


def test_a_request_is_counted_by_its_candidates_and_texts() -> None:
    sent = [Candidate(item_id=f"s{n}", text=ItemText(title="Lamp")) for n in range(40)]
    plain = [Candidate(item_id=f"i{n}") for n in range(60)]
    request = RankRequest(user_id="u", candidates=(*sent, *plain), ts=1, query="lamp")

    assert Load.of(request) == Load(rows=150, best_rows=82, texts=41, best_texts=33)
    assert Load.of_all([Load.of(request), Load(rows=1)]) == Load(rows=151, best_rows=82, texts=41, best_texts=33)
    assert Load.of_all([]) == Load()


def test_the_load_steps_everybody_down_after_a_second_and_up_after_ten() -> None:
    server = Server()
    assert set(server.run(20, share=0.7)) == {Rung.FULL}
    down = server.run(5, share=1.2)
    assert down[-1] is Rung.BEHAVIOUR
    assert 1.0 <= down.index(Rung.BEHAVIOUR) * 0.04 / 1.2 <= 2.5
    up = server.run(14, share=0.3)
    assert up[-1] is Rung.FULL
    assert up.index(Rung.FULL) * 0.04 / 0.3 >= 9.9
    assert server.changes() == 2


def test_a_step_for_the_load_says_so_and_a_further_one_for_the_deadline_too() -> None:
    server = Server()
    server.run(5, share=1.2)

    assert server.ladder.steps([(ROWS, 60.0), (ROWS, 0.01)], waiting=0) == [
        Step(Rung.BEHAVIOUR, LOAD),
        Step(Rung.POPULARITY, RungReason.DEADLINE),
    ]


def test_a_short_burst_steps_nobody_down() -> None:
    server = Server()
    server.run(5, share=0.5)
    server.run(0.2, share=3.0)

    assert set(server.run(5, share=0.5)) == {Rung.FULL}


def test_between_the_two_marks_nothing_changes() -> None:
    server = Server()
    server.run(5, share=1.2)

    assert set(server.run(12, share=0.7)) == {Rung.BEHAVIOUR}


def test_a_load_that_swings_about_the_mark_does_not_flap() -> None:
    """But for a try of the first rung now and then. The control: without patience, and with one mark, it does."""
    hasty = Server(Rules(margin=2.0, down=0.8, down_s=0.0, up=0.799, up_s=0.0))
    calm = Server()
    for _ in range(20):
        for server in (calm, hasty):
            server.run(1.5, share=0.95, jitter=0.3)
            server.run(1.5, share=0.72, jitter=0.3)

    assert calm.changes() <= 4
    assert hasty.changes() > 20


def test_a_queue_that_stays_full_steps_down_whatever_was_expected() -> None:
    server = Server()
    server.run(0.5, share=0.1, waiting=9)
    assert server.seen[-1] is Rung.FULL
    server.run(1.5, share=0.1, waiting=9)
    assert server.seen[-1] is Rung.BEST_TEXT
    server.run(9, share=0.1, waiting=9)
    assert server.seen[-1] is Rung.POPULARITY


def test_where_people_are_refused_for_a_second_everybody_steps_down_to_what_costs_clearly_less() -> None:
    server = Server()
    server.refused_since = 0.0
    server.run(0.7, share=0.1)
    assert set(server.seen) == {Rung.FULL}
    server.run(20, share=0.1)
    assert server.seen[-1] is Rung.BEHAVIOUR  # best_text costs a twentieth less, popularity knows nothing of the user
    assert server.changes() == 1
    server.refused_since = None
    up = server.run(14, share=0.1)
    assert up[-1] is Rung.FULL
    assert up.index(Rung.FULL) * 0.04 / 0.1 >= 9.9


def test_the_control_where_nobody_is_refused_the_same_load_is_ranked_in_full() -> None:
    assert set(Server().run(21, share=0.1)) == {Rung.FULL}


def test_where_people_are_refused_now_and_then_nobody_steps_down() -> None:
    server = Server()
    for _ in range(20):
        server.refused_since = server.clock.now
        server.run(0.8, share=0.3)
        server.refused_since = None
        server.run(0.3, share=0.3)

    assert set(server.seen) == {Rung.FULL}


def test_who_was_refused_before_a_pause_and_after_it_was_not_refused_for_long() -> None:
    server = Server()
    for moment in (0.1, 8.0):
        server.clock.now = server.refused_since = moment
        server.ladder.asked(ROWS)
        assert server.ladder.steps([(ROWS, 60.0)], waiting=0) == [FIRST]


def test_where_people_are_refused_nobody_stays_on_the_last_rung_for_that() -> None:
    server = Server()
    server.run(6, share=0.3, waiting=9)
    assert server.seen[-1] is Rung.POPULARITY
    server.refused_since = server.clock.now
    server.run(30, share=0.3)

    assert server.seen[-1] is Rung.BEHAVIOUR


def test_where_people_are_refused_and_much_is_read_reading_is_what_goes_first() -> None:
    clock = Clock()
    ladder = Ladder(RULES, threads=1, most_waiting=10, now=clock)
    ladder.refused_s = clock
    asked = Load(rows=100, best_rows=60, texts=50, best_texts=40)
    ladder.took(Rung.FULL, asked, {**STAGES, "reading": 0.05})
    seen: list[Rung] = []
    for _ in range(40):
        clock.now += 0.1
        ladder.asked(asked)
        seen.append(ladder.steps([(asked, 60.0)], waiting=0)[0].rung)

    assert list(dict.fromkeys(seen)) == [Rung.FULL, Rung.BEST_TEXT, Rung.CACHED_TEXT, Rung.BEHAVIOUR]


def test_after_a_pause_everybody_is_on_the_first_rung() -> None:
    server = Server()
    server.run(5, share=1.2)
    server.clock.now += 11

    assert server.ladder.steps([(ROWS, 60.0)], waiting=0) == [FIRST]


def test_what_was_slow_once_is_tried_again_some_time() -> None:
    clock = Clock()
    costs = RungCosts(clock)
    costs.learn(Rung.FULL, ROWS, {**STAGES, "text": 10.0})
    for _ in range(200):  # from below, nobody sees that the text model is well again
        clock.now += 1
        costs.learn(Rung.BEHAVIOUR, ROWS, {"features": 0.01, "behaviour": 0.01})

    def seconds() -> tuple[float, float]:
        full, _, _, behaviour, _ = costs.seconds(ROWS)
        return full, behaviour

    assert seconds()[1] == pytest.approx(0.02)
    assert 0.02 < seconds()[0] < 0.2
    costs.learn(Rung.FULL, ROWS, STAGES)  # and then the new figure counts at once
    assert seconds()[0] < 0.2


def test_who_has_time_for_the_last_rung_need_not_be_refused() -> None:
    server = Server()
    server.ladder.took(Rung.POPULARITY, ROWS, {"features": 0.004})

    assert server.ladder.least_share() == pytest.approx(0.1, rel=0.05)


def test_marks_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ConfigError, match="ladder_up must be below ladder_down"):
        ServerConfig.read(registry=Path("unused"), ladder_up=0.9)
    assert ServerConfig(registry=Path("unused"), ladder=False).ladder_of(2, 64) is None
    assert ServerConfig(registry=Path("unused")).ladder_of(2, 64) is not None
