"""What is told of a model."""

from __future__ import annotations

from typing import Any

from recsys.bundle import ManifestDraft
from serving.model import describe


def test_a_model_that_was_never_sealed_has_no_date(length_model: Any) -> None:
    model = length_model.LengthModel()
    model.manifest = ManifestDraft.model_validate(model.manifest.model_dump(include=set(ManifestDraft.model_fields)))

    assert describe(model).created_us == 0
