"""Rank a few items for a user, and say what moved each of them.

Usage: python examples/rank.py ADDRESS USER ITEM...
   as: python examples/rank.py 127.0.0.1:50051 user-1 item-7 item-9 item-12
"""

from __future__ import annotations

import sys

from recsys.errors import RecsysError
from serving.client import RankingClient


def main(address: str, user_id: str, *item_ids: str) -> int:
    """Print the items best first, with the three strongest reasons for each place."""
    try:
        with RankingClient(address, deadline_s=1.0) as client:
            answer = client.explain(user_id, item_ids, reasons=3, surface="example")
    except RecsysError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"bundle {answer.ranking.bundle_id}, {answer.ranking.text_coverage:.0%} of the items have a text")
    for place, item in enumerate(answer.ranking.items, start=1):
        reasons = ", ".join(f"{reason.feature} {reason.effect:+.3f}" for reason in answer.reasons[item.item_id])
        print(f"{place:3}. {item.item_id}  score {item.score:+.3f}  click {item.click_probability:.1%}  {reasons}")
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
