"""The one ordered list of features."""

from __future__ import annotations

import hashlib

from recsys.catalog import Catalog
from recsys.features import affinity, co_clicks, encounters, popularity, sizes, surprise
from recsys.features.attributes import number_names, value_names
from recsys.features.feature import Feature

# To be raised whenever a feature of the same name gets another value.
VERSION = 3


# What every catalog has, family by family; the attributes of an item table add their own.
_FAMILIES = (popularity.FEATURES, encounters.FEATURES, surprise.FEATURES, co_clicks.FEATURES)
FEATURES: tuple[Feature, ...] = tuple(each for family in _FAMILIES for each in family)


def declare(catalog: Catalog) -> tuple[tuple[Feature, ...], ...]:
    """List the features for a catalog, by family: the fixed ones, and those that its attributes give."""
    return (*_FAMILIES, affinity.declare(value_names(catalog)), sizes.declare(number_names(catalog)))


def fingerprint(names: tuple[str, ...]) -> str:
    """Identify an ordered list of features and what they mean."""
    return hashlib.sha256("\n".join([str(VERSION), *names]).encode()).hexdigest()[:16]
