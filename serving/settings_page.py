"""The list of settings as a page for people, made from the declarations: `make docs` writes it to docs/settings.md."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from serving.access.settings import AccessSettings
from serving.config import ServerConfig
from serving.ladder_settings import LadderSettings
from serving.swap_settings import SwapSettings
from serving.worker_settings import WorkerSettings

_HEAD = """# Settings of the server

Made from the declarations in `serving/`; do not edit, run `make docs`.

Each is an environment variable; those that `recsys serve --help` lists are options too, which win. A variable that
begins with `RECSYS_` and is none of these is named in the log (`unknown settings`) and does nothing. Kubernetes makes
variables such as `RECSYS_PORT` by itself for a service that is called `recsys`: set `enableServiceLinks: false` there.
"""
_PARTS = (
    ("Ladder", LadderSettings, "ladder.md"),
    ("Swaps, variants, shadow", SwapSettings, "swap.md"),
    ("Access", AccessSettings, "access.md"),
    ("Workers", WorkerSettings, "workers.md"),
)
# What a process tells those that it starts.
_INTERNAL = {"worker", "writer"}
_BOUNDS = {"ge": "from {}", "gt": "above {}", "le": "to {}", "lt": "below {}"}


def page() -> str:
    """Return the page as Markdown."""
    of_parts = {name for _, part, _ in _PARTS for name in part.model_fields}
    own = [name for name in ServerConfig.model_fields if name not in of_parts]
    sections = [_section("Server", own, "")]
    sections += [_section(title, list(part.model_fields), f"See [{at}]({at}).\n\n") for title, part, at in _PARTS]
    return "\n".join([_HEAD, *sections])


def _section(title: str, names: list[str], remark: str) -> str:
    rows = [_row(name, ServerConfig.model_fields[name]) for name in names if name not in _INTERNAL]
    return f"## {title}\n\n{remark}| variable | default | may be | |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"


def _row(name: str, field: FieldInfo) -> str:
    says = " ".join((field.description or "").split())
    return f"| `{ServerConfig.variables()[name]}` | {_default(field.default)} | {_range(field)} | {says} |"


def _default(value: Any) -> str:
    if value is PydanticUndefined or value is None or value == "":
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _range(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{each}`" for each in get_args(field.annotation))
    if bool in (field.annotation, *get_args(field.annotation)):
        return "`true`, `false`"
    bounds = [(how, getattr(each, how)) for each in field.metadata for how in _BOUNDS if hasattr(each, how)]
    return " ".join(_BOUNDS[how].format(f"{value:,}") for how, value in bounds)
