"""The retraining job under torchrun: every process fine-tunes, one publishes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from recsys.registry import Registry


def test_two_processes_publish_one_bundle(
    tiny_dataset: Path, tiny_settings: list[str], tiny_backbone: Path, tmp_path: Path
) -> None:
    settings = [*tiny_settings, f"text.backbone={tiny_backbone}", "warm_epochs=1"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = ["-m", "recsys.cli", "train", str(tiny_dataset), "--registry", str(tmp_path / "registry")]
    done = subprocess.run(
        [*torchrun, *command, *(word for setting in settings for word in ("--set", setting))],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-4_000:]
    assert done.stdout.count("next: recsys evaluate") == 1
    assert len(Registry(tmp_path / "registry").versions()) == 1
