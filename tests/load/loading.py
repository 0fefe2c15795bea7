"""A server process as far as bundles go: takes registries on standard input, and says what it makes of each.

One JSON line each: why it is refused; or else how it answers the good bundle's golden requests otherwise, and what it
answers to further ones.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from recsys.bundle import read_manifest
from recsys.errors import RecsysError, TextFault
from recsys.schema import Candidate, ItemText, Ranking, RankRequest
from recsys.verification import compare
from serving.ladder import WITHOUT_TEXT
from serving.load import load_current, warm_up
from serving.model import Model

# After the simulated shop's last list.
LATER_US = 1_738_000_000_000_000


def requests(items: list[str], users: list[str]) -> list[RankRequest]:
    """Ask for all items, for each user, and with a text and a query too."""
    known = tuple(Candidate(item_id=item_id) for item_id in items)
    sent = Candidate(
        item_id="sent", text=ItemText(title="Warm wool socks", description="for cold days", category="Bath")
    )
    asked = [RankRequest(user_id=user, candidates=known, ts=LATER_US) for user in users]
    return [*asked, RankRequest(user_id=users[0], candidates=(*known, sent), ts=LATER_US, query="something to read")]


def answered(model: Model, request: RankRequest) -> Ranking:
    """Rank as a server does: without the text where the text model says what is no number."""
    try:
        return model.rank(request)
    except TextFault:
        return model.rank_many([request], *WITHOUT_TEXT)[0].ranking()


def judged(registry: Path, good: Path, items: list[str], users: list[str]) -> dict[str, Any]:
    """Load a registry's current bundle as a server does, and compare it with a good one's golden requests."""
    try:
        model = load_current(registry)
        warm_up(model)
    except RecsysError as error:
        return {"refused": str(error)}
    faults = [compare(golden, answered(model, golden.request)) for golden in read_manifest(good).golden]
    answers = [answered(model, request).items for request in requests(items, users)]
    model.close()
    return {
        "golden": "; ".join(filter(None, faults)),
        "answers": [{item.item_id: [item.score, item.click_probability] for item in answer} for answer in answers],
    }


if __name__ == "__main__":
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries write there as they please
    for line in sys.stdin:
        told = json.loads(line)
        verdict = judged(Path(told["registry"]), Path(told["good"]), told["items"], told["users"])
        print(json.dumps(verdict), file=report, flush=True)
