"""A bundle appears whole, says what it is, and is refused on any doubt."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import numpy as np
import pytest
from pydantic import ValidationError

from recsys.bundle import (
    BUNDLE_ID,
    GoldenRequest,
    Manifest,
    ManifestDraft,
    TextVariant,
    check_fingerprint,
    check_onnx,
    read_bundle,
    read_manifest,
    seal,
    write_bundle,
)
from recsys.errors import BundleError
from recsys.gentle import gentle
from recsys.schema import Candidate, RankRequest

Files = dict[str, bytes]


@pytest.fixture
def bundle(tmp_path: Path, planted_files: Files, planted_draft: ManifestDraft) -> Path:
    directory = tmp_path / "bundle"
    write_bundle(directory, planted_files, planted_draft)
    return directory


def reseal(directory: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Edit a manifest and give it the id that fits, as somebody who knows how would."""
    path = directory / "manifest.json"
    fields = json.loads(path.read_bytes())
    change(fields)
    del fields["bundle_id"]
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    moment = fields["created"][:19].replace("-", "").replace(":", "")
    fields["bundle_id"] = f"{moment}Z-{digest[:8]}"
    path.write_text(json.dumps(fields))


def replace_file(directory: Path, name: str, data: bytes) -> None:
    """Put other content in place and recompute the manifest around it."""
    (directory / name).write_bytes(data)
    entry = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    reseal(directory, lambda fields: fields["files"].__setitem__(name, entry))


def test_what_was_written_is_read_back(bundle: Path, planted_files: Files, planted_draft: ManifestDraft) -> None:
    found = read_bundle(bundle)

    assert dict(found.files) == planted_files
    draft_fields = {name: getattr(found.manifest, name) for name in ManifestDraft.model_fields}
    assert draft_fields == {name: getattr(planted_draft, name) for name in ManifestDraft.model_fields}
    assert found.manifest == read_manifest(bundle)


def test_the_id_is_the_moment_and_a_hash_of_the_content(bundle: Path) -> None:
    manifest = read_manifest(bundle)

    assert BUNDLE_ID.fullmatch(manifest.bundle_id)
    assert manifest.bundle_id.startswith(f"{manifest.created:%Y%m%dT%H%M%SZ}-")


def test_the_manifest_names_the_libraries_and_the_code_that_made_it(bundle: Path) -> None:
    manifest = read_manifest(bundle)

    assert {"lightgbm", "numpy"} <= manifest.libraries.keys()
    assert manifest.code_version


def test_a_bundle_never_overwrites(bundle: Path, planted_files: Files, planted_draft: ManifestDraft) -> None:
    with pytest.raises(FileExistsError):
        write_bundle(bundle, planted_files, planted_draft)


def test_a_failed_write_leaves_nothing(
    tmp_path: Path, planted_files: Files, planted_draft: ManifestDraft, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, _data: bytes) -> int:
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        write_bundle(tmp_path / "bundle", planted_files, planted_draft)

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.pkl", "pickles never are"),
        ("../escape.txt", "no file of a bundle"),
        ("sub/ranker.txt", "no file of a bundle"),
        ("notes.txt", "no file of a bundle"),
    ],
)
def test_foreign_files_are_not_written(
    tmp_path: Path, planted_files: Files, planted_draft: ManifestDraft, name: str, message: str
) -> None:
    with pytest.raises(BundleError, match=message):
        write_bundle(tmp_path / "bundle", {**planted_files, name: b"x"}, planted_draft)

    assert not list(tmp_path.iterdir())


def test_a_missing_file_is_not_sealed(planted_files: Files, planted_draft: ManifestDraft) -> None:
    files = {name: data for name, data in planted_files.items() if name != "ranker.txt"}

    with pytest.raises(BundleError, match=r"no ranker\.txt"):
        seal(files, planted_draft)


def test_a_text_model_said_to_be_shipped_must_be_there(planted_files: Files, planted_draft: ManifestDraft) -> None:
    variants = {**planted_draft.text.variants, "fp16": TextVariant(file="item_encoder.fp16.onnx", shipped=True)}
    draft = planted_draft.model_copy(update={"text": planted_draft.text.model_copy(update={"variants": variants})})

    with pytest.raises(BundleError, match="fp16 text model is said to be shipped"):
        seal(planted_files, draft)


def test_a_golden_request_must_order_exactly_what_it_scores() -> None:
    request = RankRequest(user_id="ann", candidates=(Candidate(item_id="tea"),), ts=1)

    with pytest.raises(ValidationError, match="name different items"):
        GoldenRequest(request=request, scores={"tea": 1.0}, order=("tea", "tea"))
    with pytest.raises(ValidationError, match="probabilities and scores name different items"):
        GoldenRequest(request=request, scores={"tea": 1.0}, order=("tea",), probabilities={"pot": 0.5})
    with pytest.raises(ValidationError, match="finite"):
        GoldenRequest(request=request, scores={"tea": float("nan")}, order=("tea",))


@pytest.mark.parametrize("left", ["manifest.json", "ranker.txt", "state.safetensors", "item_encoder.int8.onnx"])
def test_a_missing_file_is_named(bundle: Path, left: str) -> None:
    (bundle / left).unlink()

    with pytest.raises(BundleError, match=left):
        read_bundle(bundle)


@pytest.mark.parametrize("name", ["extra.pkl", ".hidden", "ranker.txt~"])
def test_a_file_that_the_manifest_does_not_list_is_refused(bundle: Path, name: str) -> None:
    (bundle / name).write_bytes(b"")

    with pytest.raises(BundleError, match="does not belong"):
        read_bundle(bundle)


def test_a_symbolic_link_is_refused_even_to_the_right_content(bundle: Path, tmp_path: Path) -> None:
    (bundle / "ranker.txt").rename(tmp_path / "elsewhere.txt")
    (bundle / "ranker.txt").symlink_to(tmp_path / "elsewhere.txt")

    with pytest.raises(BundleError, match=r"ranker\.txt is a symbolic link"):
        read_bundle(bundle)


def test_a_symbolic_link_in_place_of_the_manifest_is_refused(bundle: Path, tmp_path: Path) -> None:
    (bundle / "manifest.json").rename(tmp_path / "elsewhere.json")
    (bundle / "manifest.json").symlink_to(tmp_path / "elsewhere.json")

    with pytest.raises(BundleError, match="symbolic link"):
        read_bundle(bundle)


def test_a_hard_link_is_judged_by_its_content(bundle: Path, tmp_path: Path) -> None:
    path, secret = bundle / "state.safetensors", tmp_path / "secret"
    secret.write_bytes(path.read_bytes())
    path.unlink()
    path.hardlink_to(secret)
    read_bundle(bundle)
    secret.write_bytes(secret.read_bytes()[::-1])

    with gentle(), pytest.raises(BundleError, match=r"state\.safetensors is damaged"):
        read_bundle(bundle)


def test_a_named_pipe_or_a_folder_is_refused_without_waiting(bundle: Path) -> None:
    (bundle / "ranker.txt").unlink()
    os.mkfifo(bundle / "ranker.txt")
    with pytest.raises(BundleError, match="not a regular file"):
        read_bundle(bundle)
    (bundle / "ranker.txt").unlink()
    (bundle / "ranker.txt").mkdir()
    with pytest.raises(BundleError, match="not a regular file"):
        read_bundle(bundle)


def test_a_huge_manifest_is_not_read(bundle: Path) -> None:
    with (bundle / "manifest.json").open("ab") as file:
        file.truncate(65 * 1024 * 1024)  # sparse

    with pytest.raises(BundleError, match="too long"):
        read_bundle(bundle)


def test_a_file_of_another_size_is_not_read(bundle: Path) -> None:
    with (bundle / "state.safetensors").open("ab") as file:
        file.truncate(1024**4)  # sparse, and more than any memory

    with pytest.raises(BundleError, match="should be 256"):
        read_bundle(bundle)


def mutants(original: bytes, other: bytes, count: int, seed: str) -> list[bytes]:
    """Make damaged copies: flipped bits, truncations, another file's content, nothing at all, and one byte more."""
    rng = random.Random(seed)
    found = [b"", other, original + b"\0", original[: len(original) // 2]]
    while len(found) < count:
        if rng.random() < 0.3:
            found.append(original[: rng.randrange(len(original) - 1)])
            continue
        damaged = bytearray(original)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        found.append(bytes(damaged))
    return found


def damage_accepted(directory: Path) -> list[str]:
    """Damage each file in 40 ways, and name those that were read all the same."""
    names = sorted(path.name for path in directory.iterdir())
    accepted = []
    for name, after in zip(names, names[1:] + names[:1], strict=True):
        path = directory / name
        original = path.read_bytes()
        for number, damaged in enumerate(mutants(original, (directory / after).read_bytes(), 40, name)):
            if damaged == original:  # two files that say the same
                continue
            path.write_bytes(damaged)
            try:
                read_bundle(directory)
            except BundleError:
                continue
            accepted.append(f"{name} {number}")
        path.write_bytes(original)
    return accepted


def test_every_damaged_file_is_refused(bundle: Path) -> None:
    assert damage_accepted(bundle) == []
    read_bundle(bundle)


def test_without_the_hash_damage_gets_through(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: were the hash not compared, a good part of the same damage would go unseen."""
    monkeypatch.setattr("recsys.bundle.contents._sha256", lambda _data: ANY)

    assert len(damage_accepted(bundle)) > 40


def test_a_gentle_thread_reads_the_same_and_finds_damage_too(bundle: Path) -> None:
    with gentle():
        found = read_bundle(bundle)
    assert {name: bytes(data) for name, data in found.files.items()} == {
        name: (bundle / name).read_bytes() for name in found.manifest.files
    }
    path = bundle / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")

    with pytest.raises(BundleError, match=r"state\.safetensors is damaged"):
        read_bundle(bundle)


def test_files_of_two_bundles_do_not_mix(
    bundle: Path, tmp_path: Path, planted_files: Files, planted_draft: ManifestDraft
) -> None:
    other = tmp_path / "other"
    write_bundle(other, {**planted_files, "state.safetensors": b"\0" * 256}, planted_draft)
    shutil.copy(other / "state.safetensors", bundle / "state.safetensors")

    with pytest.raises(BundleError, match=r"state\.safetensors is damaged"):
        read_bundle(bundle)


@pytest.mark.parametrize(("number", "advice"), [(2, "format 2"), (0, "format 0"), ("1", "format '1'"), (None, "None")])
def test_another_format_is_refused_with_advice(bundle: Path, number: object, advice: str) -> None:
    reseal(bundle, lambda fields: fields.__setitem__("format", number))

    with pytest.raises(BundleError, match=f"{advice}.*use the version of recsys that wrote"):
        read_bundle(bundle)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000, '{"format": 1}', "1" * 5_000])
def test_a_manifest_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BundleError):
        Manifest.from_json(text.encode())


def test_an_edited_manifest_no_longer_fits_its_id(bundle: Path) -> None:
    path = bundle / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b"0.78", b"0.88"))

    with pytest.raises(BundleError, match="damaged or edited"):
        read_bundle(bundle)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda fields: fields.__setitem__("surprise", 1), "surprise"),
        (lambda fields: fields.pop("feature_fingerprint"), "feature_fingerprint"),
        (lambda fields: fields["files"].__setitem__("../x", {"sha256": "0" * 64, "bytes": 1}), "no file of a bundle"),
        (lambda fields: fields["files"].pop("ranker.txt"), r"no ranker\.txt"),
        (lambda fields: fields["golden"][0]["request"].__setitem__("ts", -1), "1970"),
        (lambda fields: fields["files"]["ranker.txt"].__setitem__("sha256", "short"), "sha256"),
        (lambda fields: fields["files"]["ranker.txt"].__setitem__("bytes", -1), "bytes"),
        (lambda fields: fields["text"].__setitem__("dimensions", 0), "dimensions"),
    ],
)
def test_a_resealed_manifest_must_still_make_sense(
    bundle: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    reseal(bundle, change)

    with pytest.raises(BundleError, match=message):
        read_bundle(bundle)


def test_a_broken_ranker_is_refused_though_its_hash_is_right(bundle: Path) -> None:
    whole = (bundle / "ranker.txt").read_bytes()
    replace_file(bundle, "ranker.txt", whole[: whole.index(b"end of trees") - 100])

    with pytest.raises(BundleError):
        read_bundle(bundle)


def test_a_broken_behaviour_ranker_is_refused_though_its_hash_is_right(bundle: Path) -> None:
    replace_file(bundle, "ranker_behaviour.txt", b"tree\nversion=v4\n")

    with pytest.raises(BundleError):
        read_bundle(bundle)


def with_external_weights(data: bytes, location: str) -> bytes:
    import onnx

    model = onnx.load_from_string(data)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("name", ["item_encoder.onnx", "item_encoder.int8.onnx", "click_head.onnx"])
def test_weights_outside_the_graph_are_refused_though_the_hash_is_right(
    bundle: Path, planted_onnx: bytes, name: str
) -> None:
    replace_file(bundle, name, with_external_weights(planted_onnx, "ranker.txt"))

    with pytest.raises(BundleError, match=f"{name} keeps weights in a file outside itself"):
        read_bundle(bundle)


def test_loading_from_bytes_alone_does_not_keep_onnx_runtime_from_reading_a_file(
    tmp_path: Path, planted_onnx: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: without the guard, a graph given as bytes reads a file of the working directory."""
    import onnxruntime as ort

    (tmp_path / "secret.bin").write_bytes(np.array([5, 6], np.float32).tobytes())
    monkeypatch.chdir(tmp_path)
    graph = with_external_weights(planted_onnx, "secret.bin")
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    assert session.run(None, {"x": np.zeros(2, np.float32)})[0].tolist() == [5, 6]
    with pytest.raises(BundleError, match="outside itself"):
        check_onnx("graph", graph)


def places_of_a_tensor() -> dict[str, Any]:
    """Build one model per place in which ONNX can keep a tensor, each pointing at a file."""
    from onnx import (
        AttributeProto,
        FunctionProto,
        GraphProto,
        ModelProto,
        NodeProto,
        SparseTensorProto,
        TensorProto,
        TrainingInfoProto,
    )

    tensor = TensorProto(data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="x")
    only_entries = TensorProto()
    only_entries.external_data.add(key="location", value="x")
    sparse = SparseTensorProto(values=tensor)
    held = {
        "t": AttributeProto(t=tensor),
        "tensors": AttributeProto(tensors=[tensor]),
        "sparse_tensor": AttributeProto(sparse_tensor=SparseTensorProto(indices=tensor)),
        "sparse_tensors": AttributeProto(sparse_tensors=[sparse]),
        "g": AttributeProto(g=GraphProto(initializer=[tensor])),
        "graphs": AttributeProto(graphs=[GraphProto(sparse_initializer=[sparse])]),
    }
    graphs = {name: GraphProto(node=[NodeProto(attribute=[attribute])]) for name, attribute in held.items()}
    graphs["initializer"] = GraphProto(initializer=[tensor])
    graphs["location alone"] = GraphProto(initializer=[TensorProto(data_location=TensorProto.EXTERNAL)])
    graphs["entries alone"] = GraphProto(initializer=[only_entries])
    models = {name: ModelProto(graph=graph) for name, graph in graphs.items()}
    node = NodeProto(attribute=[held["t"]])
    models["function"] = ModelProto(graph=GraphProto(), functions=[FunctionProto(node=[node])])
    models["function attribute"] = ModelProto(
        graph=GraphProto(), functions=[FunctionProto(attribute_proto=[held["t"]])]
    )
    info = TrainingInfoProto(algorithm=GraphProto(initializer=[tensor]))
    models["training"] = ModelProto(graph=GraphProto(), training_info=[info])
    return models


def test_external_data_is_found_wherever_a_graph_can_keep_a_tensor() -> None:
    for place, model in places_of_a_tensor().items():
        with pytest.raises(BundleError, match="outside itself"):
            check_onnx(place, model.SerializeToString())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no graph"),
        (b"hello", "not an ONNX model"),
        (b"\x3a\x05\x00", "not an ONNX model"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "not an ONNX model"),
        (b"\x00\x00", "not an ONNX model"),
        # A key of 33 bits that a 32-bit reader takes for the graph's field.
        (b"\xba\x80\x80\x80\x10\x00", "not an ONNX model"),
        (b"\x12\x06xxORTM", "own format"),
    ],
)
def test_what_is_no_graph_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        check_onnx("graph", data)


def test_a_real_graph_passes(planted_onnx: bytes) -> None:
    check_onnx("graph", planted_onnx)


def field(key: bytes, content: bytes) -> bytes:
    """Encode a protobuf field that holds bytes."""
    length, head = len(content), key
    while length >= 0x80:
        head += bytes([length & 0x7F | 0x80])
        length >>= 7
    return head + bytes([length]) + content


def test_a_deeply_nested_graph_is_walked_to_the_end() -> None:
    graph = field(b"\x2a", b"\x70\x01")  # an initializer whose data_location is EXTERNAL
    for _ in range(2_000):
        graph = field(b"\x0a", field(b"\x2a", field(b"\x32", graph)))  # a node's attribute's graph

    with pytest.raises(BundleError, match="outside itself"):
        check_onnx("graph", field(b"\x3a", graph))


def test_a_part_of_another_build_is_refused_with_both_names() -> None:
    check_fingerprint("abc", "abc", "features")

    with pytest.raises(BundleError, match="features abc, this build has xyz"):
        check_fingerprint("abc", "xyz", "features")
