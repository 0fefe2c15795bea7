"""Turns a part of an item table into vectors and item-only click probabilities, by one bundle's text model."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys.bundle import BundleFiles, Manifest
from recsys.calibration import Calibration
from recsys.catalog import ITEM_COLUMNS, Catalog
from recsys.errors import BundleError
from recsys.schema import ItemText
from recsys.text.encoder import ItemEncoder
from recsys.text.tokens import ItemTokenizer, TextSettings
from recsys.text.vectors import Vectors
from training.score_job import Tell


class ItemScorer:
    """Scores items; a text that the bundle's catalog holds under the same id keeps its vector, the one that ranks.

    All other texts are encoded once each, in length-bucketed batches.
    """

    def __init__(self, bundle: BundleFiles, precision: str) -> None:
        files, manifest = bundle.files, bundle.manifest
        self._catalog = Catalog(pl.read_parquet(BytesIO(files["items.parquet"])))
        self._vectors = Vectors.from_bytes(files["vectors.safetensors"])
        settings = TextSettings.model_validate(manifest.text.tokenizer)
        self._tokenizer = ItemTokenizer.from_json(files["tokenizer.json"], settings)
        self._encoder = ItemEncoder(files[encoder_file(manifest, precision)])
        self._calibration = Calibration.from_json(files["item_calibration.json"], "item_calibration.json")
        self._precision = precision

    def __call__(self, items: pl.DataFrame, tell: Tell) -> pl.DataFrame:
        """Return item_id, vector, item_logit and click_probability of each item, in the same order."""
        rows, new = self._places(Catalog(items))
        tell(len(rows) - len(new))
        encoded, logits = self._encoder.encode(self._tokenizer.encode(new), progress=tell)
        vectors, logits = self._vectors.at(rows, Vectors(vectors=encoded, item_logits=logits))
        if not (np.isfinite(vectors).all() and np.isfinite(logits).all()):
            raise BundleError(f"the {self._precision} encoder gave numbers that are not finite; score with another")
        return pl.DataFrame(
            {
                "item_id": items["item_id"],
                "vector": pl.Series(vectors, dtype=pl.Array(pl.Float32, vectors.shape[1])),
                "item_logit": logits,
                "click_probability": self._calibration.probability(logits).astype(np.float32),
            }
        )

    def _places(self, given: Catalog) -> tuple[npt.NDArray[np.int64], list[ItemText]]:
        """Find each item's vector: a row of the catalog's, or behind them the place of its text among the new ones."""
        rows = self._catalog.rows(given.ids).astype(np.int64)
        known = np.flatnonzero(rows >= 0)
        stored = dict(zip(known.tolist(), self._catalog.texts(rows[known].tolist()), strict=True))
        new: dict[ItemText, int] = {}
        for place, text in enumerate(given.texts()):
            if stored.get(place) != text:
                rows[place] = len(self._vectors) + new.setdefault(text, len(new))
        return rows, list(new)


def encoder_file(manifest: Manifest, precision: str) -> str:
    """Name the file of the encoder in some precision.

    Raises:
        BundleError: the bundle has none, for example because it differed too much from the trained model.
    """
    variant = manifest.text.variants.get(precision)
    if variant is None or not variant.shipped:
        shipped = [name for name, other in manifest.text.variants.items() if other.shipped]
        raise BundleError(
            f"bundle {manifest.bundle_id} has no {precision} encoder, which may have failed the parity gate in "
            f"training; use {' or '.join(shipped)}"
        )
    return variant.file


def words_read(bundle: BundleFiles) -> dict[str, pl.DataType]:
    """Name the attributes that a catalog reads as text: texts and lists of texts, with their dtypes."""
    schema = pl.read_parquet_schema(BytesIO(bundle.files["items.parquet"]))
    words = (pl.String(), pl.List(pl.String()))
    return {name: dtype for name, dtype in schema.items() if name not in ITEM_COLUMNS and dtype in words}
