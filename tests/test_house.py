"""The house rules that no linter knows: sizes, layers, reasons, versions, the lock, and what documents promise."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
import tomllib
import zipfile
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
CODE = ("recsys", "training", "serving", "benchmarks", "examples")
MODULES = sorted(path for folder in CODE for path in (ROOT / folder).rglob("*.py") if "pb" not in path.parts)
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")])

LINES_PER_MODULE, LINES_PER_FUNCTION = 300, 60


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so nothing says which files are the project's")
    command = ["git", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_no_module_is_longer_than_300_lines() -> None:
    long = {_name(path): _lines(path) for path in MODULES if _lines(path) > LINES_PER_MODULE}
    median = statistics.median(map(_lines, MODULES))

    assert long == {}, f"split them; a module is one noun or one verb, the median is to stay <= 100 and is {median:g}"


def test_no_function_is_longer_than_60_lines() -> None:
    long = {
        f"{_name(path)}: {node.name}": node.end_lineno - node.lineno + 1
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= LINES_PER_FUNCTION
    }

    assert long == {}


def test_no_tracked_file_names_a_place_on_somebodys_machine() -> None:
    place = re.compile(r"(?<![\w.$}>)-])/(?:home|root|Users|work|mnt)/\w+")
    found = []
    for path in _tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # an image, or a test's bytes
        found += [f"{_name(path)}: {match.group()}" for match in place.finditer(text)]

    assert found == []


def test_every_lint_rule_that_is_ignored_has_its_reason() -> None:
    lint = PYPROJECT["tool"]["ruff"]["lint"]
    ignored = [*lint["ignore"], *chain.from_iterable(lint["per-file-ignores"].values())]
    reasons = re.findall(r'^ +"([A-Z]+\d+)",? +# \w', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)

    assert sorted(ignored) == sorted(reasons)


def test_the_changelog_begins_with_the_version_in_pyproject() -> None:
    versions = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert versions[0] == PYPROJECT["project"]["version"]


def _domain_modules() -> set[str]:
    inside = (path for path in (ROOT / "recsys").iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file())
    return {f"recsys.{path.stem}" for path in inside} - {"recsys.__init__"}


def test_every_module_of_the_domain_has_its_layer() -> None:
    contracts = PYPROJECT["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    placed = {name for layer in layers for name in re.split(r" [|:] ", layer)}

    assert _domain_modules() - placed == set()


def test_every_module_of_the_domain_is_kept_from_torch_and_from_the_wire() -> None:
    contracts = PYPROJECT["tool"]["importlinter"]["contracts"]
    kept = [set(contract["source_modules"]) for contract in contracts if contract["type"] == "forbidden"]

    assert [_domain_modules() - {"recsys.cli"} - modules for modules in kept] == [set(), set()]


def test_tests_are_no_packages() -> None:
    assert [_name(path) for path in (ROOT / "tests").rglob("__init__.py")] == []


def _locked() -> dict[str, list[Requirement]]:
    locked: dict[str, list[Requirement]] = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if line and not line.startswith("#"):
            pin = Requirement(line)
            locked.setdefault(canonicalize_name(pin.name), []).append(pin)
    return locked


def test_the_lock_pins_one_version_of_each_package() -> None:
    loose = [
        str(pin) for pins in _locked().values() for pin in pins if not re.fullmatch(r"==[\w.]+", str(pin.specifier))
    ]

    assert loose == []
    assert [name for name, pins in _locked().items() if len(pins) > 1] == []
    assert str(_locked()["torch"][0]) == "torch==2.13.0"


def test_the_lock_fits_every_dependency_in_pyproject() -> None:
    extras = PYPROJECT["project"]["optional-dependencies"]
    declared = [*PYPROJECT["project"]["dependencies"], *extras["train"], *extras["dev"]]
    locked = _locked()
    amiss = [
        text
        for text in declared
        if (wanted := Requirement(text)).name != "recsys"
        and not all(
            wanted.specifier.contains(str(pin.specifier).removeprefix("=="), prereleases=True)
            for pin in locked.get(canonicalize_name(wanted.name), [Requirement("absent==0")])
        )
    ]

    assert amiss == [], "run `make lock`"


def test_files_that_documents_name_exist() -> None:
    named = re.compile(
        r"(?:`|\]\()((?:\.\./)*(?:recsys|training|serving|proto|tests|benchmarks|docs|examples)/[\w./-]+)[`)#]"
    )
    missing = [
        f"{_name(document)}: {path}"
        for document in DOCUMENTS
        for path in named.findall(document.read_text(encoding="utf-8"))
        if not (ROOT / path).exists() and not (document.parent / path).exists()
    ]

    assert missing == []


def test_decision_records_are_short_and_of_one_form() -> None:
    records = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    headings = {
        path.name: re.findall(r"^## (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        for path in records
        if _lines(path) <= 40
    }

    assert headings == {path.name: ["Context", "Decision", "Consequence"] for path in records}
    assert [path.name[:4] for path in records] == [f"{number:04d}" for number in range(1, len(records) + 1)]


def test_the_wheel_holds_what_is_no_python_but_needed(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    packages = ("recsys", "training", "serving")
    needed = (path for package in packages for path in (ROOT / package).rglob("*") if path.is_file())
    expected = {_name(path) for path in needed if "__pycache__" not in path.parts}

    assert expected - held == set()
    assert {name.partition("/")[0] for name in held if not name.startswith("recsys-")} == set(packages)
