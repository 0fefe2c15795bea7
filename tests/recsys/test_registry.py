"""A registry shows its readers one whole version at all times, whatever happens to those who write."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from recsys.bundle import ManifestDraft, read_bundle, write_bundle
from recsys.errors import BundleError, RegistryError
from recsys.files import write_file
from recsys.registry import Registry, resolve

Files = dict[str, bytes]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "deep" / "registry")


def test_a_published_version_is_current_and_readable(
    registry: Registry, planted_files: Files, planted_draft: ManifestDraft
) -> None:
    bundle_id = registry.publish(planted_files, planted_draft)

    assert registry.current() == bundle_id
    assert resolve(registry.directory) == registry.path(bundle_id)
    assert dict(read_bundle(registry.path(bundle_id)).files) == planted_files


def test_a_version_can_wait_to_be_promoted(
    registry: Registry, planted_files: Files, planted_draft: ManifestDraft
) -> None:
    waiting = registry.publish(planted_files, planted_draft, promote=False)
    with pytest.raises(RegistryError, match=r"no current version.*recsys train"):
        registry.current()
    registry.promote(waiting)

    assert registry.current() == waiting


def test_the_same_content_can_be_published_twice(
    registry: Registry, planted_files: Files, planted_draft: ManifestDraft
) -> None:
    ids = [registry.publish(planted_files, planted_draft) for _ in range(3)]

    assert [version.bundle_id for version in registry.versions()] == sorted(ids)
    assert len(set(ids)) == 3


def test_rollback_walks_back_through_what_was_current(
    registry: Registry, planted_files: Files, planted_draft: ManifestDraft
) -> None:
    first, second, third = (registry.publish(planted_files, planted_draft) for _ in range(3))

    assert registry.rollback() == second
    assert registry.current() == second
    assert registry.rollback() == first
    with pytest.raises(RegistryError, match="no version was current before"):
        registry.rollback()
    registry.promote(third)
    assert registry.rollback() == first


def test_versions_are_listed_with_what_they_say_and_damaged_ones_with_their_fault(
    registry: Registry, planted_files: Files, planted_draft: ManifestDraft
) -> None:
    good, bad, gone, renamed = (registry.publish(planted_files, planted_draft) for _ in range(4))
    registry.promote(good)
    (registry.path(bad) / "manifest.json").write_bytes(b"{")
    (registry.path(gone) / "manifest.json").unlink()
    wrong_name = "20200101T000000Z-00000000"
    registry.path(renamed).rename(registry.directory / "bundles" / wrong_name)
    versions = {version.bundle_id: version for version in registry.versions()}

    assert versions[good].current
    assert versions[good].size == sum(map(len, planted_files.values()))
    assert versions[good].manifest is not None
    assert "not JSON" in versions[bad].fault
    assert "no manifest.json" in versions[gone].fault
    assert f"holds bundle {renamed}" in versions[wrong_name].fault
    assert not versions[bad].current
    with pytest.raises(BundleError, match="holds bundle"):
        registry.promote(wrong_name)


def test_a_registry_that_is_not_there_has_no_versions(registry: Registry) -> None:
    assert registry.versions() == []
    with pytest.raises(RegistryError, match="no current version"):
        registry.rollback()
    with pytest.raises(RegistryError, match="neither a bundle"):
        resolve(registry.directory)


def test_a_damaged_version_is_not_promoted(
    registry: Registry, planted_files: Files, planted_draft: ManifestDraft
) -> None:
    old, new = (registry.publish(planted_files, planted_draft) for _ in range(2))
    (registry.path(old) / "ranker.txt").write_bytes(b"tree")

    with pytest.raises(BundleError, match=r"ranker\.txt"):
        registry.promote(old)
    with pytest.raises(BundleError, match=r"ranker\.txt"):
        registry.rollback()
    assert registry.current() == new


def test_what_is_no_bundle_leaves_no_trace(
    registry: Registry, planted_files: Files, planted_draft: ManifestDraft
) -> None:
    with pytest.raises(BundleError):
        registry.publish({**planted_files, "model.pkl": b""}, planted_draft)

    assert not registry.directory.exists()


@pytest.mark.parametrize(
    "pointer",
    [b"../../../outside\n", b"/etc\n", b".\n", b"..\n", b"\xff\xfe\n", b"20260101T000000Z-0123456\n", b"\n"],
)
def test_a_pointer_never_leads_outside(
    registry: Registry, planted_files: Files, planted_draft: ManifestDraft, pointer: bytes
) -> None:
    bundle_id = registry.publish(planted_files, planted_draft)
    (registry.directory / "CURRENT").write_bytes(pointer)

    with pytest.raises(RegistryError, match="damaged"):
        resolve(registry.directory)
    registry.promote(bundle_id)
    assert registry.current() == bundle_id


def test_a_version_that_is_a_link_to_somewhere_else_is_none(
    registry: Registry, tmp_path: Path, planted_files: Files, planted_draft: ManifestDraft
) -> None:
    bundle_id = registry.publish(planted_files, planted_draft)
    path = registry.path(bundle_id)
    path.rename(tmp_path / "outside")
    path.symlink_to(tmp_path / "outside")

    with pytest.raises(RegistryError, match="no version"):
        resolve(registry.directory)


@pytest.mark.parametrize("bundle_id", ["", "..", "../bundles", "20260101T000000Z-01234567", "a/b"])
def test_an_unknown_version_is_refused_by_name(
    registry: Registry, planted_files: Files, planted_draft: ManifestDraft, bundle_id: str
) -> None:
    registry.publish(planted_files, planted_draft)

    with pytest.raises(RegistryError, match="recsys bundle list"):
        registry.promote(bundle_id)


def test_a_damaged_history_does_not_hide_the_current_version(
    registry: Registry, planted_files: Files, planted_draft: ManifestDraft
) -> None:
    ids = [registry.publish(planted_files, planted_draft) for _ in range(2)]
    (registry.directory / "PREVIOUS").write_bytes(b"../../x\n")

    assert registry.current() == ids[1]
    with pytest.raises(RegistryError, match="no version was current before"):
        registry.rollback()


def test_resolve_takes_a_bundle_or_a_registry(
    registry: Registry, tmp_path: Path, planted_files: Files, planted_draft: ManifestDraft
) -> None:
    write_bundle(tmp_path / "bundle", planted_files, planted_draft)
    bundle_id = registry.publish(planted_files, planted_draft)

    assert resolve(tmp_path / "bundle") == tmp_path / "bundle"
    assert resolve(registry.directory).name == bundle_id
    with pytest.raises(RegistryError, match="neither a bundle"):
        resolve(tmp_path)


def test_only_old_leftovers_of_killed_publishers_are_swept(
    registry: Registry, planted_files: Files, planted_draft: ManifestDraft
) -> None:
    registry.publish(planted_files, planted_draft)
    bundles = registry.directory / "bundles"
    old, young, link = bundles / ".a.tmp-1", bundles / ".b.tmp-2", bundles / ".c.tmp-3"
    old.mkdir()
    (old / "half").write_bytes(b"x")
    young.mkdir()
    link.symlink_to(registry.directory)
    pointer = registry.directory / ".CURRENT.tmp-4"
    pointer.write_bytes(b"x")
    for path in (old, link, pointer):
        os.utime(path, (time.time() - 3_700,) * 2, follow_symlinks=False)
    kept = registry.publish(planted_files, planted_draft)

    assert not old.exists()
    assert young.exists()
    assert not link.is_symlink()
    assert not pointer.exists()
    assert registry.current() == kept


def test_a_full_disk_keeps_the_old_version_and_says_so(
    registry: Registry, planted_files: Files, planted_draft: ManifestDraft
) -> None:
    """Fail at each fsync in turn; the message names the version that is current afterwards."""
    old = registry.publish(planted_files, planted_draft)
    moved, attempts = 0, 0
    while True:
        left = [attempts]
        real = os.fsync

        def fail_at_last(handle: int, left: list[int] = left, real: Callable[[int], None] = real) -> None:
            left[0] -= 1
            if left[0] == -1:
                raise OSError(28, "No space left on device")
            real(handle)

        with patch("os.fsync", fail_at_last):
            try:
                registry.publish(planted_files, planted_draft)
                break
            except RegistryError as error:
                message = str(error)
        now = registry.current()
        assert f"No space left on device; current version: {now}; free space" in message
        read_bundle(registry.path(now))
        moved += now != old
        old = now
        attempts += 1

    assert attempts > 12  # each file, three directories, two pointers
    assert moved <= 1  # only the very last fsync comes after the swap
    assert not [path for path in registry.directory.rglob(".*.tmp-*") if path.name != ".lock"]


def test_everything_is_on_disk_before_a_name_points_at_it(
    registry: Registry, planted_files: Files, planted_draft: ManifestDraft
) -> None:
    """Killing a process loses no pages, so the order of fsync and rename is looked at itself."""
    events: list[str | int] = []  # the inode that was synced, or the name that something was renamed to

    def fsync(handle: int) -> None:
        events.append(os.fstat(handle).st_ino)

    def renamed(real: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
        def rename(source: Path, target: Path) -> None:
            real(source, target)
            events.append(Path(target).name)

        return rename

    with (
        patch("os.fsync", fsync),
        patch("os.rename", renamed(os.rename)),
        patch("os.replace", renamed(os.replace)),
    ):
        bundle_id = registry.publish(planted_files, planted_draft)

    def inode(path: Path) -> int:
        return path.stat().st_ino

    version, pointer = events.index(bundle_id), events.index("CURRENT")
    path = registry.path(bundle_id)
    assert {inode(path), *map(inode, path.iterdir())} <= set(events[:version])
    assert inode(path.parent) in events[version:pointer]
    assert inode(registry.directory / "CURRENT") in events[version:pointer]
    assert inode(registry.directory) in events[events.index("PREVIOUS") : pointer]
    assert inode(registry.directory) in events[pointer:]


def test_publishers_at_the_same_time_all_succeed(
    registry: Registry, planted_files: Files, planted_draft: ManifestDraft
) -> None:
    ids: list[str] = []

    def publish() -> None:
        ids.extend(registry.publish(planted_files, planted_draft) for _ in range(5))

    threads = [threading.Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(ids)) == 20
    back = [registry.current(), *(registry.rollback() for _ in range(19))]
    assert sorted(back) == sorted(ids)


def cut_short() -> Any:
    """Let one pointer be written, then die."""
    written: list[Path] = []

    def write(path: Path, data: bytes) -> None:
        if written:
            raise ZeroDivisionError
        written.append(path)
        write_file(path, data)

    return patch("recsys.registry.write_file", write)


class Operations(RuleBasedStateMachine):
    """A set of versions and a stack of promotions, beside the registry on disk."""

    files: Files
    draft: ManifestDraft

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.directory = Path(self.folder.name) / "registry"
        self.known: list[str] = []
        self.stack: list[str] = []

    def teardown(self) -> None:
        self.folder.cleanup()

    @property
    def registry(self) -> Registry:
        return Registry(self.directory)  # as another process would see it

    @rule(promote=st.booleans())
    def publish(self, promote: bool) -> None:
        bundle_id = self.registry.publish(self.files, self.draft, promote=promote)
        self.known.append(bundle_id)
        self.stack += [bundle_id] * promote

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def promote(self, data: st.DataObject) -> None:
        bundle_id = data.draw(st.sampled_from(self.known))
        self.registry.promote(bundle_id)
        if self.stack[-1:] != [bundle_id]:
            self.stack.append(bundle_id)

    @precondition(lambda self: len(self.stack) > 1)
    @rule()
    def rollback(self) -> None:
        self.stack.pop()
        assert self.registry.rollback() == self.stack[-1]

    @precondition(lambda self: len(self.stack) < 2)
    @rule()
    def rollback_with_nothing_before(self) -> None:
        with pytest.raises(RegistryError):
            self.registry.rollback()

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def promotion_cut_short_changes_nothing(self, data: st.DataObject) -> None:
        bundle_id = data.draw(st.sampled_from(self.known))
        with cut_short(), suppress(ZeroDivisionError):  # nothing to cut where it was current
            self.registry.promote(bundle_id)

    @precondition(lambda self: len(self.stack) > 1)
    @rule()
    def rollback_cut_short_is_done(self) -> None:
        self.stack.pop()
        with cut_short(), pytest.raises(ZeroDivisionError):
            self.registry.rollback()

    @invariant()
    def current_is_the_top(self) -> None:
        if self.stack:
            assert self.registry.current() == self.stack[-1]
        else:
            with pytest.raises(RegistryError):
                self.registry.current()

    @invariant()
    def every_version_is_listed(self) -> None:
        versions = self.registry.versions()
        assert [version.bundle_id for version in versions] == sorted(self.known)
        assert [version.bundle_id for version in versions if version.current] == self.stack[-1:]


def test_any_sequence_of_operations_agrees_with_a_list(planted_files: Files, planted_draft: ManifestDraft) -> None:
    Operations.files, Operations.draft = planted_files, planted_draft
    wanted = settings(max_examples=25, stateful_step_count=15, deadline=None, derandomize=True)
    with patch("os.fsync"):  # nothing here depends on it, and it takes most of the time
        run_state_machine_as_test(Operations, settings=wanted)


# Run in a process of its own, because it forks publishers and kills them.
_PRELUDE = """
import json, os, random, shutil, signal, sys, time
from pathlib import Path
from recsys.bundle import ManifestDraft, read_bundle, seal
from recsys.errors import RecsysError
from recsys.registry import Registry

seed, root = read_bundle(Path(sys.argv[1])), Path(sys.argv[2])
draft = ManifestDraft(**{name: getattr(seed.manifest, name) for name in ManifestDraft.model_fields})
registry = Registry(root)
os.fsync = lambda handle: sys.audit("os.fsync", handle)  # a killed process loses no pages, so this may be fast

def publish():
    registry.publish({**seed.files, "state.safetensors": os.urandom(5000)}, draft)

def fork(work):
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return child
"""

_RANDOM_KILLS = """
def in_place():
    files = {**seed.files, "state.safetensors": os.urandom(5000)}
    files["manifest.json"] = seal(files, draft).to_json()
    for name, data in files.items():
        (root / "naive" / name).write_bytes(data)

def for_ever(work):
    while True:
        work()

naive = sys.argv[3] == "naive"
work = in_place if naive else publish
(root / "naive").mkdir(parents=True)
start = time.monotonic()
for _ in range(5):
    work()
usual = (time.monotonic() - start) / 5
rng = random.Random(7)
torn, reads, seen, leftovers = 0, 0, set(), 0
for _ in range(int(sys.argv[4])):
    child = fork(lambda: for_ever(work))
    end, dead = time.monotonic() + rng.uniform(0.0, 3 * usual), False
    while not dead:
        if time.monotonic() >= end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            dead = True
        try:
            path = root / "naive" if naive else registry.path(registry.current())
            manifest = read_bundle(path).manifest
            torn += not naive and manifest.bundle_id != path.name
            seen.add(manifest.bundle_id)
        except RecsysError:
            torn += 1
        reads += 1
    for path in (root / "bundles").glob("*"):
        leftovers += path.name.startswith(".")
        if path.name != registry.current():
            shutil.rmtree(path)
print(json.dumps({"torn": torn, "reads": reads, "versions": len(seen), "leftovers": leftovers}))
"""

_KILL_AT_EACH_STEP = """
armed = []

def hook(event, args):
    if armed and event in ("open", "os.mkdir", "os.rename", "os.remove", "os.fsync", "os.scandir", "fcntl.flock"):
        armed[0] -= 1
        if armed[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
first = registry.publish(seed.files, draft)
outcomes, step = [], 0
while True:
    step += 1
    if len(registry.promoted()) < 2:
        publish()
    before = registry.promoted()

    def die_at_step():
        armed.append(step)
        publish() if sys.argv[3] == "publish" else registry.rollback()

    _, status = os.waitpid(fork(die_at_step), 0)
    after = registry.promoted()
    read_bundle(registry.path(registry.current()))
    outcomes.append("same" if after == before else "back" if after == before[:-1] else
                    "new" if after[:-1] == before else "wrong")
    for path in (root / "bundles").glob(".*"):
        shutil.rmtree(path)
    if not os.WIFSIGNALED(status):
        break
print(json.dumps(outcomes))
"""


def run_script(script: str, planted: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _PRELUDE + script, str(planted), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)


@pytest.fixture
def planted(tmp_path: Path, planted_files: Files, planted_draft: ManifestDraft) -> Path:
    write_bundle(tmp_path / "planted", planted_files, planted_draft)
    return tmp_path / "planted"


def test_killing_publishers_never_shows_a_torn_version(planted: Path, tmp_path: Path) -> None:
    found = json.loads(run_script(_RANDOM_KILLS, planted, str(tmp_path / "reg"), "whole", "200").stdout)

    assert found["torn"] == 0
    assert found["leftovers"] > 0  # some died in the middle of a version
    assert found["versions"] > 1  # and some got through


def test_writing_in_place_shows_torn_versions(planted: Path, tmp_path: Path) -> None:
    """The control: the same kills, with files overwritten where they lie."""
    found = json.loads(run_script(_RANDOM_KILLS, planted, str(tmp_path / "reg"), "naive", "40").stdout)

    assert found["torn"] > 0


@pytest.mark.parametrize(("operation", "result"), [("publish", "new"), ("rollback", "back")])
def test_killed_at_any_step_an_operation_is_done_or_was_never_begun(
    planted: Path, tmp_path: Path, operation: str, result: str
) -> None:
    outcomes = json.loads(run_script(_KILL_AT_EACH_STEP, planted, str(tmp_path / "reg"), operation).stdout)

    switch = outcomes.index(result)
    assert switch > 5
    assert outcomes == ["same"] * switch + [result] * (len(outcomes) - switch)
    shutil.rmtree(tmp_path / "reg")
