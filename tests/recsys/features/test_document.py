"""The page of features says what the declarations say."""

from __future__ import annotations

from pathlib import Path

from recsys.features.declare import FEATURES
from recsys.features.document import page

PAGE = Path(__file__).parents[3] / "docs" / "features.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make docs`"


def test_every_declared_feature_stands_on_it() -> None:
    assert all(f"| `{feature.name}` | {feature.description} |" in page() for feature in FEATURES)
