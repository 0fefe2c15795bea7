"""Writes a bundle's directory whole or not at all, and reads it once, checking every byte before anything parses it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from typing import cast

import numpy as np

from recsys.bundle.manifest import FORMAT, MANIFEST, Manifest, ManifestDraft
from recsys.bundle.onnx_guard import check_onnx
from recsys.errors import BundleError
from recsys.files import whole_directory
from recsys.gentle import rest
from recsys.ranker import check_model_text

_MAX_MANIFEST_BYTES = 64 * 1024 * 1024
# What is read or hashed at a stretch.
_PIECE = 1 << 18
# Files of this kind are nearly all of a bundle, and are read where they are.
_TENSORS = ".safetensors"
_RESTORE = "restore the bundle or publish it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFiles:
    """A bundle whose bytes have been checked: parse these, never the files again. Tensors are read-only views."""

    manifest: Manifest
    files: Mapping[str, bytes]


def seal(files: Mapping[str, bytes], draft: ManifestDraft) -> Manifest:
    """Describe files as a bundle made now; nothing is written.

    Raises:
        BundleError: a file is missing, foreign, or would be refused on reading.
    """
    entries = {name: _entry(data) for name, data in sorted(files.items())}
    manifest = Manifest.sealed(
        {
            "format": FORMAT,
            "created": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "files": entries,
            **draft.model_dump(mode="json"),
        }
    )
    _guard(files)
    return manifest


def write_bundle(directory: Path, files: Mapping[str, bytes], draft: ManifestDraft) -> Manifest:
    """Write a bundle that appears at ``directory`` whole, and durably, or not at all.

    Raises:
        BundleError: the files are no bundle.
        FileExistsError: ``directory`` exists already.
    """
    manifest = seal(files, draft)
    write_sealed(directory, files, manifest)
    return manifest


def write_sealed(directory: Path, files: Mapping[str, bytes], manifest: Manifest) -> None:
    """Write what ``seal`` described, as ``write_bundle`` does."""
    with whole_directory(directory) as temporary:
        for name in manifest.files:
            (temporary / name).write_bytes(files[name])
        (temporary / MANIFEST).write_bytes(manifest.to_json())


def read_manifest(directory: Path) -> Manifest:
    """Read what a bundle says of itself, without looking at its other files."""
    return Manifest.from_json(_read(directory / MANIFEST, None))


def read_bundle(directory: Path) -> BundleFiles:
    """Read each file once, and refuse the bundle on any doubt: names, sizes, SHA-256, then the models' structure.

    Raises:
        BundleError: which file is wrong, in what way, and what to do.
    """
    manifest = read_manifest(directory)
    expected, found = {MANIFEST, *manifest.files}, {path.name for path in directory.iterdir()}
    if expected != found:
        missing, extra = sorted(expected - found), sorted(found - expected)
        faults = [f"{name} is missing" for name in missing] + [f"{name!r} does not belong to it" for name in extra]
        raise BundleError(f"bundle {manifest.bundle_id}: {', '.join(faults)}; {_RESTORE}")
    files = {}
    for name, entry in manifest.files.items():
        data = _read(directory / name, entry.bytes)
        if _sha256(data) != entry.sha256:
            raise BundleError(f"{name} is damaged: its SHA-256 is not the one in {MANIFEST}; {_RESTORE}")
        files[name] = data
    _guard(files)
    return BundleFiles(manifest=manifest, files=files)


def _pieces(file: BufferedReader, size: int) -> bytes:
    """Read a large file as a gentle thread must, into memory that nobody has written to before."""
    found = memoryview(np.empty(size, np.uint8).data)
    at = 0
    while at < size and (length := file.readinto(found[at : at + _PIECE])):
        at += length
        rest()
    # What reads tensors takes a view for bytes; to make it bytes would be to copy all of it at once.
    return cast("bytes", found[:at].toreadonly())


def _sha256(data: bytes) -> str:
    digest, view = hashlib.sha256(), memoryview(data)
    for begin in range(0, len(data), _PIECE):
        digest.update(view[begin : begin + _PIECE])
        rest()
    return digest.hexdigest()


def _entry(data: bytes) -> dict[str, str | int]:
    return {"sha256": _sha256(data), "bytes": len(data)}


def _guard(files: Mapping[str, bytes]) -> None:
    """Look at the structure of the models whose parsers trust what they are given."""
    for name, data in files.items():
        if name.endswith(".onnx"):
            check_onnx(name, data)
        elif name in ("ranker.txt", "ranker_behaviour.txt"):
            check_model_text(data)


def _read(path: Path, size: int | None) -> bytes:
    """Read a regular file of the given size (None: any reasonable size) that is no symbolic link."""
    try:
        # Not blocking, so that a named pipe cannot hold us up.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise BundleError(f"{path.parent.name} has no {path.name}; name a bundle directory, or {_RESTORE}") from error
    except OSError as error:
        reason = "is a symbolic link" if path.is_symlink() else f"cannot be read ({error.strerror})"
        raise BundleError(f"{path.name} {reason}; {_RESTORE}") from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise BundleError(f"{path.name} is not a regular file; {_RESTORE}")
        if size is None and status.st_size > _MAX_MANIFEST_BYTES:
            raise BundleError(f"{path.name} is {status.st_size} bytes long, too long for what it is; {_RESTORE}")
        if size is not None and status.st_size != size:
            raise BundleError(f"{path.name} is {status.st_size} bytes long and should be {size}; {_RESTORE}")
        with os.fdopen(handle, "rb", closefd=False) as file:
            return _pieces(file, status.st_size) if path.suffix == _TENSORS else file.read(status.st_size)
    finally:
        os.close(handle)
