"""Rank a few items with grpcio and the .proto file alone: nothing of this project is imported or generated beforehand.

Usage: python examples/plain_grpc.py ADDRESS USER ITEM...
   as: python examples/plain_grpc.py 127.0.0.1:50051 user-1 item-7 item-9 item-12

Needs grpcio and grpcio-tools, which read the .proto file as it starts.
"""

from __future__ import annotations

import sys
from pathlib import Path

import grpc

PROTO = Path(__file__).parents[1] / "proto" / "recsys" / "v1" / "ranking.proto"
DEADLINE_S = 1.0


def main(address: str, user_id: str, *item_ids: str) -> int:
    """Print the items best first."""
    sys.path.append(str(PROTO.parent))  # gRPC looks for .proto files where Python looks for modules
    messages, services = grpc.protos_and_services(PROTO.name)
    request = messages.RankRequest(user_id=user_id, surface="example")
    for item_id in item_ids:
        request.candidates.add(item_id=item_id)
    with grpc.insecure_channel(address) as channel:
        try:
            ranking = services.RankingServiceStub(channel).Rank(request, timeout=DEADLINE_S)
        except grpc.RpcError as error:
            print(f"{address} answered {error.code().name}: {error.details()}", file=sys.stderr)
            return 1
    print(f"bundle {ranking.bundle_id}")
    for place, item in enumerate(ranking.items, start=1):
        print(f"{place}. {item.item_id}  score {item.score:.3f}  click {item.click_probability:.1%}")
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
