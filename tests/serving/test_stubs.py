"""The committed stubs are the proto's, and the proto explains itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

ROOT = Path(__file__).parents[2]
PROTOC = (sys.executable, "-m", "grpc_tools.protoc", "-I", "serving/pb=proto/recsys/v1")
PROTO = "proto/recsys/v1/ranking.proto"


@pytest.mark.parametrize("name", ["ranking_pb2.py", "ranking_pb2.pyi", "ranking_pb2_grpc.py"])
def test_the_committed_stubs_are_what_the_proto_generates(name: str, tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools")
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    subprocess.run([*PROTOC, *outputs, PROTO], cwd=ROOT, check=True)

    assert (ROOT / "serving/pb" / name).read_text() == (tmp_path / "serving/pb" / name).read_text()


def test_everything_in_the_proto_is_commented(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools")
    written = tmp_path / "descriptors"
    subprocess.run([*PROTOC, f"--descriptor_set_out={written}", "--include_source_info", PROTO], cwd=ROOT, check=True)
    (file,) = descriptor_pb2.FileDescriptorSet.FromString(written.read_bytes()).file
    commented = {tuple(place.path) for place in file.source_code_info.location if place.leading_comments.strip()}

    expected = {
        f"{message.name}.{field.name}": (4, m, 2, f)
        for m, message in enumerate(file.message_type)
        for f, field in enumerate(message.field)
    }
    expected |= {message.name: (4, m) for m, message in enumerate(file.message_type)}
    expected |= {
        value.name: (5, e, 2, v) for e, enum in enumerate(file.enum_type) for v, value in enumerate(enum.value)
    }
    expected |= {
        method.name: (6, s, 2, r) for s, service in enumerate(file.service) for r, method in enumerate(service.method)
    }
    assert [name for name, path in expected.items() if path not in commented] == []
    assert len(expected) > 40


def test_the_proto_folder_is_no_python_package() -> None:
    assert list((ROOT / "proto").rglob("*.py")) == []
