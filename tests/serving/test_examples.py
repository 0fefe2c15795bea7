"""The examples run, and what they send is what the service takes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from serving.convert import request_from_wire
from serving.pb import ranking_pb2 as pb
from serving.pb import ranking_pb2_grpc as pb_grpc

EXAMPLES = Path(__file__).parents[2] / "examples"
README = (EXAMPLES / "README.md").read_text()


def test_the_example_prints_the_ranking(running: Any) -> None:
    command = [sys.executable, EXAMPLES / "rank.py", running.address, "u", "a", "ccc"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    assert lines[1:] == [
        "  1. ccc  score +3.000  click 25.0%  length +3.000, text_logit -0.500",
        "  2. a  score +1.000  click 50.0%  length +1.000, text_logit -0.500",
    ]


def test_the_example_says_what_is_wrong() -> None:
    ended = subprocess.run(
        [sys.executable, EXAMPLES / "rank.py", "127.0.0.1:1", "u", "a"], capture_output=True, text=True, check=False
    )

    assert ended.returncode == 1
    assert "127.0.0.1:1 does not serve" in ended.stderr


def test_the_python_snippet_runs(running: Any) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    seen: dict[str, Any] = {}
    exec(snippet.replace("127.0.0.1:50051", running.address).replace("deadline_s=0.3", "deadline_s=10"), seen)  # noqa: S102

    assert [item.item_id for item in seen["ranking"].items] == ["item-new"]


def test_the_grpcurl_calls_use_real_fields(stub: pb_grpc.RankingServiceStub) -> None:
    calls = re.findall(r"-d '([^']*)'[\s\\]+127\.0\.0\.1:50051 recsys\.v1\.RankingService/Rank", README)
    requests = [json_format.Parse(call, pb.RankRequest()) for call in calls]

    assert len(requests) == 2
    assert all(request_from_wire(request, now_us=1_780_000_000_000_001) for request in requests)
    assert len(stub.Rank(requests[1]).items[0].reasons) == 2
