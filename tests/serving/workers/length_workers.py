"""A script that serves the model of obvious answers by several workers; the one that DIES names dies at once."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from recsys.errors import RecsysError
from serving.config import ServerConfig
from serving.process import run_server
from serving.workers import run_workers

MODEL = Path(__file__).parents[1] / "length_model.py"

if __name__ == "__main__":
    config = ServerConfig.read()
    if config.worker:
        if config.worker == int(os.environ.get("DIES", "0")):
            sys.exit(3)
        spec = importlib.util.spec_from_file_location(MODEL.stem, MODEL)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        run_server(config, module.load)
    else:
        try:
            run_workers(config, [sys.executable, __file__])
        except RecsysError as error:
            sys.exit(f"{type(error).__name__}: {error}")
