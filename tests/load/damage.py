"""Bundles that are no longer what training wrote: damaged files, and damage with a manifest that was made to fit."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
Fields = dict[str, Any]


def copied(bundle: Path, registry: Path) -> Path:
    """Make a registry whose current version is a copy of a bundle; returns the copy."""
    shutil.rmtree(registry, ignore_errors=True)
    copy = registry / "bundles" / bundle.name
    shutil.copytree(bundle, copy)
    (registry / "CURRENT").write_text(bundle.name + "\n")
    return copy


def files_of(bundle: Path) -> list[Path]:
    """List what the manifest names."""
    return sorted(path for path in bundle.iterdir() if path.name != MANIFEST)


# What may happen to bytes.


def flipped(data: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 8))):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) - 1)]


def zeroed(data: bytes, rng: random.Random) -> bytes:
    at, length = rng.randrange(len(data)), rng.choice((1, 16, 512, 4_096))
    return data[:at] + bytes(len(data[at : at + length])) + data[at + length :]


def doubled(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + data[at : at + rng.choice((1, 64, 4_096))] + data[at:]


def with_another_digit(data: bytes, rng: random.Random) -> bytes:
    """Change one digit of a text, which moves nothing from its place."""
    digits = [found.start() for found in re.finditer(rb"\d", data)]
    at = rng.choice(digits)
    return data[:at] + rng.choice([each for each in b"0123456789" if each != data[at]]).to_bytes() + data[at + 1 :]


BYTES: tuple[Callable[[bytes, random.Random], bytes], ...] = (flipped, flipped, flipped, cut, zeroed, doubled)


def change_bytes(path: Path, rng: random.Random) -> str:
    """Change a file so that it says something else: not zeros to zeros, nor a space of JSON."""
    before, change = path.read_bytes(), rng.choice(BYTES)
    after = before
    while after == before or (path.name == MANIFEST and _json(after) == _json(before)):
        after = change(before, rng)
    path.write_bytes(after)
    return f"{path.name} {change.__name__}"


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


# What may happen to a directory.


def change_a_file(bundle: Path, rng: random.Random) -> str:
    return change_bytes(rng.choice([*files_of(bundle), bundle / MANIFEST]), rng)


def swap_two_files(bundle: Path, rng: random.Random) -> str:
    one, other = rng.sample([*files_of(bundle), bundle / MANIFEST], 2)
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    return f"{one.name} and {other.name} swapped"


def remove_a_file(bundle: Path, rng: random.Random) -> str:
    path = rng.choice([*files_of(bundle), bundle / MANIFEST])
    path.unlink()
    return f"{path.name} removed"


def add_a_file(bundle: Path, rng: random.Random) -> str:
    name = rng.choice(("model.pkl", ".hidden", "item_encoder.onnx.data", "item_encoder.fp16.onnx", "sub"))
    path = bundle / name
    path.mkdir() if name == "sub" else path.write_bytes(rng.randbytes(rng.choice((0, 100))))
    return f"{name} added"


def link_a_file(bundle: Path, rng: random.Random) -> str:
    """Put a link in a file's place: to the right content, to another file's, to nothing, to a device."""
    path = rng.choice([*files_of(bundle), bundle / MANIFEST])
    elsewhere = bundle.parent.parent / f"elsewhere-{path.name}"
    target = rng.choice((elsewhere, rng.choice(files_of(bundle)), Path("/dev/zero"), Path("nowhere"), path))
    shutil.move(path, elsewhere)
    path.symlink_to(target)
    return f"{path.name} a link to {target.name}"


def put_no_file(bundle: Path, rng: random.Random) -> str:
    path = rng.choice([*files_of(bundle), bundle / MANIFEST])
    path.unlink()
    pipe = rng.random() < 0.5
    os.mkfifo(path) if pipe else path.mkdir()
    return f"{path.name} a {'pipe' if pipe else 'folder'}"


def edit_the_manifest(bundle: Path, rng: random.Random) -> str:
    """Change, drop, add or retype something in the manifest, and leave its id as it was."""
    fields = json.loads((bundle / MANIFEST).read_bytes())
    what = edit(fields, rng)
    (bundle / MANIFEST).write_text(json.dumps(fields))
    return f"{MANIFEST}: {what}"


def keep_weights_elsewhere(bundle: Path, rng: random.Random) -> str:
    path = rng.choice([path for path in files_of(bundle) if path.suffix == ".onnx"])
    path.write_bytes(with_external_weights(path.read_bytes(), rng))
    return f"{path.name} with weights elsewhere"


DAMAGE: tuple[Callable[[Path, random.Random], str], ...] = (
    *(change_a_file, change_a_file, change_a_file, change_a_file),
    *(swap_two_files, remove_a_file, add_a_file, link_a_file, put_no_file, edit_the_manifest, keep_weights_elsewhere),
)


def damage(bundle: Path, rng: random.Random) -> str:
    """Do one thing to a bundle; says which."""
    return rng.choice(DAMAGE)(bundle, rng)


# Damage with a manifest that fits it.


def reseal(bundle: Path, fields: Fields) -> Path:
    """Write the manifest of what is there now, with the hashes, sizes and id that fit; returns where the bundle is.

    As somebody does who knows how; the product would not seal most of it.
    """
    for path in files_of(bundle):
        data = path.read_bytes()
        fields["files"][path.name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    fields.pop("bundle_id", None)
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    moment = str(fields.get("created"))[:19].replace("-", "").replace(":", "")
    fields["bundle_id"] = f"{moment}Z-{digest[:8]}"
    (bundle / MANIFEST).write_text(json.dumps(fields))
    renamed = bundle.with_name(fields["bundle_id"])
    bundle.rename(renamed)
    (renamed.parent.parent / "CURRENT").write_text(renamed.name + "\n")
    return renamed


def damage_and_reseal(bundle: Path, rng: random.Random) -> str:
    """Do one thing to files or settings that only a look at what they mean can tell; says which."""
    fields = json.loads((bundle / MANIFEST).read_bytes())
    path = rng.choice(files_of(bundle))
    texts = [each for each in files_of(bundle) if each.suffix in (".txt", ".json")]
    match rng.randrange(10):
        case 0 | 1 | 2 | 3:
            what = change_bytes(path, rng)
        case 4 | 5:
            path = rng.choice(texts)
            path.write_bytes(with_another_digit(path.read_bytes(), rng))
            what = f"{path.name} with another digit"
        case 6:
            path = rng.choice([each for each in files_of(bundle) if each.suffix in (".safetensors", ".onnx")])
            path.write_bytes(with_other_numbers(path.read_bytes(), rng))
            what = f"{path.name} with other numbers"
        case 7:
            what = keep_weights_elsewhere(bundle, rng)
        case 8:
            kind = rng.choice((".txt", ".onnx", ".safetensors", ".json"))
            one, other = rng.sample([each for each in files_of(bundle) if each.suffix == kind], 2)
            data = one.read_bytes()
            one.write_bytes(other.read_bytes())
            other.write_bytes(data)
            what = f"{one.name} and {other.name} swapped"
        case _:
            what = f"{MANIFEST}: {edit(fields, rng)}"
    reseal(bundle, fields)
    return what


def edit(fields: Fields, rng: random.Random) -> str:
    """Change something in a manifest's fields; says what."""
    holder, key = rng.choice(list(_places(fields)))
    before = holder[key]
    match rng.randrange(4):
        case 0 if isinstance(holder, dict):
            del holder[key]
            return f"{key!r} dropped"
        case 1 if isinstance(holder, dict):
            holder[f"{key}_more"] = before
            return f"{key!r} twice"
        case 2:
            others: tuple[Any, ...] = (None, -1, 10**9, "", [], {}, "1", True, 0.5)
            holder[key] = rng.choice([other for other in others if other != before])
        case _:
            holder[key] = _moved(before, rng)
    return f"{key!r} from {str(before)[:20]!r} to {str(holder[key])[:20]!r}"


def _moved(value: Any, rng: random.Random) -> Any:
    """Return something else of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + rng.choice((-1, 1, 100))
    if isinstance(value, str):
        return f"{value}x"
    return value[::-1] if isinstance(value, list) and value[::-1] != value else {"x": 1}


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yield where values stand; of what is long only a part, so that not nearly all is in the golden requests."""
    keys = list(node) if isinstance(node, dict) else list(range(len(node)))
    for key in keys[:12]:
        yield node, key
        if isinstance(node[key], dict | list):
            yield from _places(node[key])


def with_other_numbers(data: bytes, rng: random.Random) -> bytes:
    """Change floats where a file has nothing else: behind the first tenth, a multiple of four from its end."""
    damaged = bytearray(data)
    at = len(data) - 4 * rng.randrange(1, len(data) * 9 // 40)
    count = rng.choice((1, 4, 64))
    for place in range(at, min(at + 4 * count, len(data) - 3), 4):
        damaged[place + 2] ^= rng.randrange(1, 256)
    return bytes(damaged)


def with_external_weights(data: bytes, rng: random.Random) -> bytes:
    """Let a weight of an ONNX graph stand in a file outside."""
    import onnx

    model = onnx.load_from_string(data)
    tensor = rng.choice(model.graph.initializer)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    location = rng.choice(("ranker.txt", "../../CURRENT", "/etc/passwd", "state.safetensors"))
    tensor.external_data.add(key="location", value=location)
    return bytes(model.SerializeToString())
