"""Brings the current bundle of a registry into memory, after everything that could be wrong with it was looked at."""

from __future__ import annotations

from pathlib import Path

from recsys.crew import usable_cores
from recsys.errors import BundleError
from recsys.registry import resolve
from recsys.verification import Verification, compare, verify
from serving.model import Model

# What takes seconds takes half a minute of a core where the loops of features have not been compiled yet; and a child
# that leaves the cores to others may take longer still.
_AT_THE_START_S, _PATIENCE_S = 150.0, 600.0


def load_current(registry: Path) -> Model:
    """Verify the current bundle in a child process, then load it into this one.

    Raises:
        RegistryError: the registry has no current bundle.
        BundleError: the bundle must not be served; says why.
    """
    return _load(resolve(registry), verify(resolve(registry), timeout_s=_AT_THE_START_S))


def load_beside(bundle: Path) -> Model:
    """Verify and load a bundle while another one serves, for a gentle thread; raises as ``load_current``."""
    return _load(bundle, verify(bundle, timeout_s=_PATIENCE_S, gently=True))


def _load(bundle: Path, verdict: Verification) -> Model:
    if not verdict.ok:
        refused = verdict.checks[-1]
        raise BundleError(f"bundle {bundle.name} is refused: {refused.name}: {refused.detail}")
    # Only now: the server listens, and refuses a bundle, without having loaded the model libraries.
    from recsys.pipeline import RankingPipeline  # noqa: PLC0415

    return RankingPipeline.load(bundle, crew=usable_cores())


def warm_up(model: Model) -> None:
    """Ask the golden requests, so that the first caller does not pay for what is made on first use.

    Raises:
        BundleError: this process answers otherwise than training did.
    """
    exact = "CUDAExecutionProvider" not in model.providers
    for number, golden in enumerate(model.manifest.golden, start=1):
        if fault := compare(golden, model.rank(golden.request), exact=exact):
            raise BundleError(
                f"golden request {number} of bundle {model.bundle_id} is answered otherwise in this process: "
                f"{fault}; do not serve it here, see `recsys doctor`"
            )
