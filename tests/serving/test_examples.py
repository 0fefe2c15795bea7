"""The examples run, and what they send is what the service takes."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from serving.convert import request_from_wire
from serving.pb import ranking_pb2 as pb
from serving.pb import ranking_pb2_grpc as pb_grpc

EXAMPLES = Path(__file__).parents[2] / "examples"
README = (EXAMPLES / "README.md").read_text()
NODE = EXAMPLES / "node"
RANKED = ["bundle 20260102T030405Z-0123abcd", "1. ccc  score 3.000  click 25.0%", "2. a  score 1.000  click 50.0%"]


@pytest.fixture
def node() -> str:
    """Node.js with the example's packages, which continuous integration has (`.ci/run`)."""
    command = shutil.which("node")
    if command is None:
        pytest.skip("THE NODE EXAMPLE IS NOT TESTED: there is no node; install Node.js 18 or newer, and npm")
    if not (NODE / "node_modules").is_dir():
        pytest.skip("THE NODE EXAMPLE IS NOT TESTED: run `npm ci --ignore-scripts` in examples/node")
    return command


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


def test_the_plain_example_prints_the_ranking(running: Any) -> None:
    command = [sys.executable, EXAMPLES / "plain_grpc.py", running.address, "u", "a", "ccc"]

    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines() == RANKED


def test_the_plain_example_imports_nothing_of_ours() -> None:
    nodes = list(ast.walk(ast.parse((EXAMPLES / "plain_grpc.py").read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    parts = {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}

    assert plain | parts == {"__future__", "sys", "pathlib", "grpc"}


def test_the_plain_example_says_what_is_wrong() -> None:
    command = [sys.executable, EXAMPLES / "plain_grpc.py", "127.0.0.1:1", "u", "a"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert "127.0.0.1:1 answered UNAVAILABLE" in ended.stderr


def test_the_node_example_prints_the_ranking(running: Any, node: str) -> None:
    command = [node, NODE / "rank.mjs", running.address, "u", "a", "ccc"]

    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines() == RANKED


def test_the_node_example_says_what_is_wrong(node: str) -> None:
    command = [node, NODE / "rank.mjs", "127.0.0.1:1", "u", "a"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert "127.0.0.1:1 answered UNAVAILABLE" in ended.stderr


def test_the_node_example_pins_its_packages_by_hash_and_names_no_registry() -> None:
    wanted = json.loads((NODE / "package.json").read_text())["dependencies"]
    locked = json.loads((NODE / "package-lock.json").read_text())["packages"]
    packages = {name: package for name, package in locked.items() if name}

    assert {name: packages[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert [name for name, package in packages.items() if "integrity" not in package or "resolved" in package] == []


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
