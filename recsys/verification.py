"""Decides whether a bundle may be used: bytes and structure here, then loading and golden requests in a child process.

The child is there because a model parser can kill the process, or never return, on a file whose hash is right.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from recsys.agreement import kendall_tau
from recsys.bundle import GoldenRequest, read_bundle, read_manifest
from recsys.errors import BundleError
from recsys.schema import Ranking

TOLERANCE = 1e-6
# Of two devices' orders; one pair of neighbours changed about in a list of ten makes 0.956.
SAME_ORDER = 0.95

# What the child reports, in this order, one JSON line each as soon as it is done.
_STAGES = ("load", "golden requests")
_CHILD = (sys.executable, "-P", "-m", "recsys.verification")
# The child's word for working at a low priority, and how nice that is: a seventieth of what others get who want a core.
_GENTLY, _NICE = "--gently", 19
# A gentle child takes one core, not all.
_ONE_THREAD = {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
_GIB = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at, and what was found."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The verdict on a bundle; the last check is the one that refused it."""

    ok: bool
    checks: tuple[Check, ...]


def verify(directory: Path, *, timeout_s: float = 60.0, gently: bool = False) -> Verification:
    """Check a bundle as a server must before it swaps it in.

    Args:
        directory: the bundle.
        timeout_s: how long the child process may take to load it and answer its golden requests.
        gently: let the child work only while others leave it the cores, such as a server that answers meanwhile, and
            let it alone look at the files, too.
    """
    if gently:
        return _verdict(_ask_child(directory, timeout_s, gently=True))
    try:
        bundle = read_bundle(directory)
    except BundleError as error:
        return _verdict([Check(name="files", passed=False, detail=str(error))])
    size = sum(map(len, bundle.files.values()))
    detail = f"{len(bundle.files)} files, {size:,} bytes: names, SHA-256 and model structure are right"
    del bundle  # the child reads it again; a server's memory should not hold it twice
    return _verdict([Check(name="files", passed=True, detail=detail), *_ask_child(directory, timeout_s, gently=False)])


def compare(golden: GoldenRequest, ranking: Ranking, *, exact: bool = True) -> str:
    """Say how an answer differs from the expected one; empty when it does not.

    Without ``exact``, for a device whose last bits differ from a CPU's, the order may differ in a few near-ties.
    """
    order = tuple(item.item_id for item in ranking.items)
    scores = {item.item_id: item.score for item in ranking.items}
    if len(ranking.items) != len(golden.order):
        return f"ranked {len(ranking.items)} items, not the {len(golden.order)} that were expected"
    if scores.keys() != golden.scores.keys():
        return "ranked other items than were expected"
    if not exact:
        tau = kendall_tau(golden.order, order)
        return "" if tau >= SAME_ORDER else f"the order agrees by Kendall's tau of {tau:.3f}, not {SAME_ORDER:g}"
    for item_id, score in scores.items():
        if not abs(score - golden.scores[item_id]) <= TOLERANCE:
            return f"{item_id!r} scores {score!r}, expected {golden.scores[item_id]!r}"
    for item in ranking.items:
        expected = golden.probabilities.get(item.item_id, item.click_probability)
        if not abs(item.click_probability - expected) <= TOLERANCE:
            return f"{item.item_id!r} has click probability {item.click_probability!r}, expected {expected!r}"
    return "" if order == golden.order else "the scores are right, the order is not"


def _verdict(checks: list[Check]) -> Verification:
    return Verification(ok=all(check.passed for check in checks), checks=tuple(checks))


def _ask_child(directory: Path, timeout_s: float, *, gently: bool) -> list[Check]:
    """Run the child, and add what it could not say itself: that it died, hung, or said nothing."""
    with subprocess.Popen(
        [*_CHILD, str(directory), *([_GENTLY] if gently else [])],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # A group of its own, to be killed whole, but no session: where Linux groups tasks by session, each session gets
        # as much as any other, however nice its tasks are.
        process_group=0,
        env={**os.environ, **_ONE_THREAD} if gently else None,
    ) as child:
        try:
            output, _ = child.communicate(timeout=timeout_s)
            end = _ending(child.returncode) if child.returncode else ""
            remedy = "do not use this bundle, train a new one"
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            output, _ = child.communicate()
            end = f"gave no answer within {timeout_s:g} s"
            remedy = "try again, with more cores: it may be busy, or compile for the first time; else train a new one"
    checks = list(_reported(output))
    if all(check.passed for check in checks) and (end or len(checks) < len(_STAGES)):
        detail = f"the child process {end or 'ended without a report'}; {remedy}"
        checks.append(Check(name=(*_STAGES, "exit")[len(checks)], passed=False, detail=detail))
    return checks


def _ending(returncode: int) -> str:
    if returncode < 0:
        return f"was killed by {signal.Signals(-returncode).name}"
    return f"ended with status {returncode} before it was done"


def _reported(output: bytes) -> Iterator[Check]:
    """Yield what the child reported, up to the first line that is not the report expected there."""
    for name, line in zip(_STAGES, output.splitlines(), strict=False):
        try:
            fields = json.loads(line)
            check = Check(name=fields["name"], passed=fields["passed"] is True, detail=str(fields["detail"]))
        except (ValueError, TypeError, KeyError):
            return
        if check.name != name:
            return
        yield check


def _checks(directory: Path) -> Iterator[Check]:
    """Load the bundle and replay its golden requests; this is the child's part."""
    # Only the child may parse models, so only the child imports what does.
    from recsys.pipeline import RankingPipeline  # noqa: PLC0415

    # On the CPU, as the answers were recorded: it is the bundle that is tried here, and a GPU may be full or shared.
    pipeline = RankingPipeline.load(directory, cuda=False)
    yield Check(name=_STAGES[0], passed=True, detail=f"bundle {pipeline.bundle_id} loads")
    golden = read_manifest(directory).golden
    faults = {}
    for number, case in enumerate(golden, start=1):
        if fault := compare(case, pipeline.rank(case.request)):
            faults[number] = fault
    yield Check(name=_STAGES[1], passed=bool(golden) and not faults, detail=_summary(len(golden), faults))


def _summary(count: int, faults: Mapping[int, str]) -> str:
    if not count:
        return "the bundle has none, so nothing shows that it answers as it should; publish it with golden requests"
    if not faults:
        return f"all {count} answered as expected, scores to {TOLERANCE:g}"
    number, fault = next(iter(faults.items()))
    return f"{len(faults)} of {count} answered otherwise; number {number}: {fault}; do not use this bundle here"


def _limit_resources(directory: Path) -> None:
    """Let a bundle that asks for absurd memory fail alone, and leave no core file behind when it crashes.

    The limit is on writable memory, not on address space, of which a GPU driver reserves more than there is memory.
    """
    size = sum(path.stat().st_size for path in directory.iterdir())
    limit = 8 * _GIB + 8 * size
    for what, wanted in ((resource.RLIMIT_DATA, limit), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(what)
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(what, (soft, hard))


def main(directory: Path) -> int:
    """Run the child: report each check as one line of JSON on standard output; return 0 when all passed."""
    # Libraries write to standard output as they please; the report gets it to itself.
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    done = 0
    gc.disable()  # it ends soon, and to search what it imports and loads for cycles would be a fifth of its work
    try:
        _limit_resources(directory)
        for check in _checks(directory):
            print(json.dumps(asdict(check)), file=report, flush=True)
            done += 1
            if not check.passed:
                return 1
    except Exception as error:  # noqa: BLE001 whatever it is, it refuses the bundle, by name
        check = Check(name=_STAGES[done], passed=False, detail=f"{type(error).__name__}: {error}")
        print(json.dumps(asdict(check)), file=report, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    if _GENTLY in sys.argv[2:]:
        os.nice(_NICE)
    sys.exit(main(Path(sys.argv[1])))
