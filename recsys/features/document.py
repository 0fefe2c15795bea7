"""The list of features as a page for people, made from the declarations: `make docs` writes it to docs/features.md."""

from __future__ import annotations

from collections.abc import Iterable
from inspect import getdoc
from types import ModuleType

from recsys.features import affinity, co_clicks, encounters, popularity, sizes, surprise
from recsys.features.declare import VERSION
from recsys.features.feature import Feature
from recsys.features.tables import DISLIKED, LIKED, PARTNERS
from recsys.features.windows import LIMITS, MINUTE, RINGS, SIZES, WIDTHS, WINDOW_NAMES

_HEAD = """# Features

Made from the declarations in `recsys/features/`; do not edit, run `make docs`.

A feature is declared once: a name and a sentence in a family's list, and beside it the line of the family's loop that
computes it from what the state knows. It is executed twice: offline, where `recsys.features.replay` streams a log
through a state and answers every list of the log as of its own moment; and online, where the same state hears events as
they come in and answers requests. Both go through the same compiled loops, and a property test compares both with a
plain recount of the log (`tests/recsys/features/test_parity.py`).

"z" marks the features whose z-score within the list is a feature too, `NAME@z`; "past" those that rest on what people
did, and are therefore missing where nobody has done anything or the counters are too old. Version {version}.
"""


def page() -> str:
    """Return the page as Markdown."""
    parts = [_HEAD.format(version=VERSION), _windows()]
    for title, module, features in (
        ("Items, categories, surfaces", popularity, popularity.FEATURES),
        ("Users and encounters", encounters, encounters.FEATURES),
        ("How the user chooses", surprise, surprise.FEATURES),
        ("Co-clicks", co_clicks, co_clicks.FEATURES),
        ("For every text or list attribute", affinity, affinity.declare(("ATTRIBUTE",))),
        ("For every numeric or boolean attribute", sizes, sizes.declare(("ATTRIBUTE",))),
    ):
        parts.append(_section(title, module, features))
    return "\n".join(parts)


def _windows() -> str:
    rows = [f"| {name} | {_span(int(limit))} |" for name, limit in zip(WINDOW_NAMES, LIMITS, strict=True)]
    rings = ", ".join(f"{SIZES[ring]} of {_span(int(WIDTHS[ring]))}" for ring in range(RINGS))
    return "\n".join(
        [
            "## Windows",
            "",
            f"Counts are sums of time buckets ({rings}); the current bucket counts from its beginning. A counter whose",
            "state has heard nothing for longer than its limit is missing, never stale.",
            "",
            "| window | limit |",
            "|---|---|",
            *rows,
            "",
            f"Of each user the last {LIKED} welcome actions and the last {DISLIKED} items shown in vain or hidden are",
            f"remembered; of each item the {PARTNERS} items that share most clicks with it.",
            "",
        ]
    )


def _span(microseconds: int) -> str:
    minutes = microseconds // MINUTE
    for size, unit in ((24 * 60, "day"), (60, "hour"), (1, "minute")):
        if minutes % size == 0:
            return f"{minutes // size} {unit}{'s' if minutes // size != 1 else ''}"
    raise ValueError(f"{microseconds} microseconds are no whole minutes")


def _section(title: str, module: ModuleType | None, features: Iterable[Feature]) -> str:
    says = (getdoc(module) or "").splitlines()[0] if module else ""
    rows = [
        f"| `{each.name}` | {each.description} | {'z' if each.relative else ''} | {'past' if each.counter else ''} |"
        for each in features
    ]
    return "\n".join(
        [f"## {title}", "", *([says, ""] if says else []), "| feature | says | | |", "|---|---|---|---|", *rows, ""]
    )
