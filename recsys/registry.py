"""A directory of bundle versions with one current pointer; readers see the old version or the new one, never a mixture.

``bundles/<id>/`` are the versions, ``CURRENT`` names the one in use, and ``PREVIOUS`` lists what was promoted, one id a
line, newest last, so that a rollback knows where to go. PREVIOUS is written before CURRENT on promotion and after it on
rollback; whatever a crash leaves above the current id in PREVIOUS never came into force and is dropped on reading.
"""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from recsys.bundle import (
    BUNDLE_ID,
    MANIFEST,
    Manifest,
    ManifestDraft,
    read_bundle,
    read_manifest,
    seal,
    write_sealed,
)
from recsys.errors import BundleError, RegistryError
from recsys.files import fsync_directory, write_file

_STALE_SECONDS = 3600.0
_REMEMBERED = 100  # promotions that a rollback can step through


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionInfo:
    """One version: what it says of itself, or the fault for which it cannot be used."""

    bundle_id: str
    current: bool
    manifest: Manifest | None = None
    fault: str = ""

    @property
    def size(self) -> int:
        """Sum the sizes of its files in bytes, as its manifest states them."""
        return sum(entry.bytes for entry in self.manifest.files.values()) if self.manifest else 0


class Registry:
    """The versions under one directory, which appears with the first publish."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._bundles = directory / "bundles"
        self._current = directory / "CURRENT"
        self._previous = directory / "PREVIOUS"

    def publish(self, files: Mapping[str, bytes], draft: ManifestDraft, *, promote: bool = True) -> str:
        """Write a new version durably, then make it the current one.

        Returns:
            The new version's id.

        Raises:
            BundleError: the files are no bundle; nothing was written.
            RegistryError: the disk refused; the message says which version is current now.
        """
        manifest = seal(files, draft)
        with self._disk_faults_explained():
            self._prepare()
            write_sealed(self._bundles / manifest.bundle_id, files, manifest)
            if promote:
                with self._locked():
                    self._point_at(manifest.bundle_id)
        return manifest.bundle_id

    def versions(self) -> list[VersionInfo]:
        """Describe every version, oldest first; a damaged one is listed with its fault."""
        current = self.promoted()[-1:]
        names = sorted(path.name for path in self._bundles.glob("*"))
        return [self._describe(name, current=[name] == current) for name in names if BUNDLE_ID.fullmatch(name)]

    def current(self) -> str:
        """Name the version in use."""
        promoted = self.promoted()
        if promoted:
            return promoted[-1]
        if self._current.exists():
            raise RegistryError(f"{self._current} is damaged; choose a version with `recsys bundle list` and `promote`")
        raise RegistryError(
            f"{self.directory} has no current version; train one with `recsys train DATASET --registry "
            f"{self.directory}`, or choose one with `recsys bundle list` and `promote`"
        )

    def promoted(self) -> list[str]:
        """Name the versions that were promoted, the one in use last; empty when there is none."""
        current = _ids(self._current)
        if not current:
            return []
        promoted = _ids(self._previous)
        while promoted and promoted[-1] != current[0]:
            promoted.pop()
        return promoted or current[:1]

    def path(self, bundle_id: str) -> Path:
        """Return a version's directory."""
        path = self._bundles / bundle_id
        # The pattern and the refusal of links keep an id from naming anything outside.
        if not BUNDLE_ID.fullmatch(bundle_id) or path.is_symlink() or not path.is_dir():
            raise RegistryError(
                f"{self.directory} has no version {bundle_id!r}; see `recsys bundle list {self.directory}`"
            )
        return path

    def promote(self, bundle_id: str) -> None:
        """Make a version the current one, after reading it whole; any doubt keeps the old one.

        Raises:
            RegistryError: there is no such version.
            BundleError: it is damaged.
        """
        self._check(bundle_id)
        with self._disk_faults_explained(), self._locked():
            self._point_at(bundle_id)

    def rollback(self) -> str:
        """Return to the version that was current before this one, and name it.

        Raises:
            RegistryError: there is none to go back to.
            BundleError: it is damaged.
        """
        if not self.promoted():
            self.current()  # says what to do
        with self._disk_faults_explained(), self._locked():
            promoted = self.promoted()
            if len(promoted) < 2:
                raise RegistryError(
                    "no version was current before this one; choose one with `recsys bundle list` and `promote`"
                )
            self._check(promoted[-2])
            write_file(self._current, _lines(promoted[-2:-1]))
            write_file(self._previous, _lines(promoted[:-1]))
        return promoted[-2]

    def _point_at(self, bundle_id: str) -> None:
        promoted = self.promoted()
        if promoted[-1:] == [bundle_id]:
            return
        write_file(self._previous, _lines([*promoted, bundle_id][-_REMEMBERED:]))
        write_file(self._current, _lines([bundle_id]))

    def _check(self, bundle_id: str) -> None:
        _check_identity(bundle_id, read_bundle(self.path(bundle_id)).manifest)

    def _describe(self, name: str, *, current: bool) -> VersionInfo:
        try:
            manifest = read_manifest(self.path(name))
            _check_identity(name, manifest)
        except (BundleError, RegistryError) as error:
            return VersionInfo(bundle_id=name, current=current, fault=str(error))
        return VersionInfo(bundle_id=name, current=current, manifest=manifest)

    def _prepare(self) -> None:
        """Make the directory, and remove what a killed publisher left long ago."""
        self._bundles.mkdir(parents=True, exist_ok=True)
        fsync_directory(self.directory)
        fsync_directory(self.directory.parent)
        for folder in (self.directory, self._bundles):
            for leftover in folder.glob(".*.tmp-*"):
                _remove_if_stale(leftover)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one process at a time move the pointer; a killed one's lock is freed by the system."""
        with (self.directory / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _disk_faults_explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # A pointer swap may have happened although its fsync failed, so the file is asked, not the code.
            current = "".join(self.promoted()[-1:]) or "none"
            raise RegistryError(
                f"cannot write to {self.directory}: {error.strerror or error}; current version: {current}; "
                "free space or correct the permissions, then try again"
            ) from error


def resolve(path: Path) -> Path:
    """Return a bundle's directory: ``path`` itself, or the current version of the registry that it is.

    Raises:
        RegistryError: it is neither, or a registry with nothing current.
    """
    if (path / MANIFEST).is_file():
        return path
    registry = Registry(path)
    if not (path / "bundles").is_dir():
        raise RegistryError(
            f"{path} is neither a bundle (no {MANIFEST}) nor a registry (no bundles/); "
            "name one of them, or make a registry with `recsys train DATASET --registry DIR`"
        )
    return registry.path(registry.current())


def _check_identity(bundle_id: str, manifest: Manifest) -> None:
    if manifest.bundle_id != bundle_id:
        raise BundleError(f"version {bundle_id} holds bundle {manifest.bundle_id}; restore it or publish it again")


def _ids(pointer: Path) -> list[str]:
    """Read a pointer file; nothing of it when any of it is no id, so that no other name is ever followed."""
    try:
        lines = pointer.read_bytes().decode("ascii", "replace").split()
    except FileNotFoundError:
        return []
    return lines if all(BUNDLE_ID.fullmatch(line) for line in lines) else []


def _lines(ids: Sequence[str]) -> bytes:
    return "".join(f"{bundle_id}\n" for bundle_id in ids).encode()


def _remove_if_stale(path: Path) -> None:
    try:
        if time.time() - path.lstat().st_mtime < _STALE_SECONDS:
            return
    except FileNotFoundError:  # its publisher has just finished
        return
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
