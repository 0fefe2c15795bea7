"""The one ordered list of features."""

from __future__ import annotations

import hashlib

from recsys.catalog import Catalog
from recsys.features import affinity, co_clicks, encounters, popularity, sizes
from recsys.features.attributes import Floats, number_names, value_names
from recsys.features.context import Context
from recsys.features.feature import Feature
from recsys.features.surprise import choices

# To be raised whenever a feature of the same name gets another value.
VERSION = 2


def _keenness(context: Context) -> Floats:
    return context.per_row(context.get(choices).keenness)


def _usual_rate(context: Context) -> Floats:
    return context.per_row(context.get(choices).usual_rate)


TASTE = (
    Feature(name="user_keenness", description="The user's clicks over the expected ones", compute=_keenness),
    Feature(name="user_usual_rate", description="Click rate of what the user clicks", compute=_usual_rate),
)

# What every catalog has; the attributes of an item table add their own.
FEATURES = (*popularity.FEATURES, *encounters.FEATURES, *TASTE, *co_clicks.FEATURES)


def declare(catalog: Catalog) -> tuple[Feature, ...]:
    """List the features for a catalog: the fixed ones, and those that its attributes give."""
    return (*FEATURES, *affinity.declare(value_names(catalog)), *sizes.declare(number_names(catalog)))


def fingerprint(names: tuple[str, ...]) -> str:
    """Identify an ordered list of features and what they mean."""
    return hashlib.sha256("\n".join([str(VERSION), *names]).encode()).hexdigest()[:16]
