"""The cross-encoder as one more method of an evaluation: taken from where it was saved, or trained and saved there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from recsys.catalog import Catalog
from recsys.dataset import Dataset
from training.cross_encoder import CrossEncoder, CrossEncoderConfig, train_cross_encoder
from training.text_log import TextLog

Tell = Callable[[str, float, str], None]


def score_test_lists(
    directory: Path, dataset: Dataset, catalog: Catalog, tell: Tell, config: CrossEncoderConfig | None = None
) -> npt.NDArray[np.float64]:
    """Return the click logit of every item of the test lists, in their order; shape [R].

    Args:
        directory: a saved cross-encoder. If it is not there, one learns from the training lists and is saved there; a
            stopped training goes on from its last epoch.
        dataset: the lists.
        catalog: the items' texts.
        tell: told stage, share done and a remark.
        config: how to train, if it has to be trained.
    """
    log = TextLog.of(dataset, catalog)
    if directory.is_dir():
        model = CrossEncoder.load(directory, log.texts)
    else:
        work = directory.with_name(f"{directory.name}.training")
        model = train_cross_encoder(
            log.texts,
            log.lists,
            training=log.training,
            validation=log.training[:0],
            config=config or CrossEncoderConfig(),
            output=work,
            progress=lambda share, remark: tell("cross-encoder", share, remark),
        )
        model.save(directory)
        shutil.rmtree(work, ignore_errors=True)
    return model.score(log.lists, log.test, lambda done: tell("its test lists", done / len(log.test), ""))
