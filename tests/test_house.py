"""Tests of the house rules: sizes, names, docstrings, walls, and what must not be written down."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "suiro"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

FILE_LINES = 600
FUNCTION_LINES = 80
VAGUE_NAMES = {"utils", "helpers", "common", "misc", "manager", "base"}

# What the narrowest rooms may import; everything else in the house is behind a wall in pyproject.toml.
MAY_KNOW = {"connectors": {"toolkit", "spi", "model"}, "cli": {"app", "model"}, "api": {"app", "model"}}

# Written so that no expression matches its own text.
MACHINE_PATHS = re.compile(r"(?<![\w.~}])/(?:work|root|home)/[\w.]")
REGISTRIES = re.compile(
    r"pypi\.[o]rg|python[h]osted|npmjs\.[o]rg|npmjs\.[c]om|yarnpkg\.[c]om|deb\.debian\.[o]rg|archive\.ubuntu\.[c]om"
    r"|proxy\.golang\.[o]rg|static\.crates\.[i]o|://\S+/simpl[e]\b"
)
INDEX_OPTIONS = re.compile(r"--(?:extra[-])?index[-]url|--find[-]links|--trusted[-]host")


def modules(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def long_files(folder: Path) -> list[str]:
    return [path.name for path in modules(folder) if len(path.read_text("utf-8").splitlines()) > FILE_LINES]


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def long_functions(folder: Path) -> list[str]:
    return [
        f"{path.name}: {function.name}"
        for path in modules(folder)
        for function in functions(path)
        if (function.end_lineno or 0) - function.lineno + 1 > FUNCTION_LINES
    ]


def vague_names(folder: Path) -> list[str]:
    parts = {part for path in modules(folder) for part in path.relative_to(folder).with_suffix("").parts}
    return sorted(parts & VAGUE_NAMES)


def without_docstring(folder: Path) -> list[str]:
    """Modules that don't start with a docstring of at least one line."""
    return [
        str(path.relative_to(folder))
        for path in modules(folder)
        if not (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").strip()
    ]


def imported(folder: Path) -> set[str]:
    """The top-level names that modules of a folder import, at their head or on use."""
    names: set[str] = set()
    for node in (node for path in modules(folder) for node in ast.walk(ast.parse(path.read_text("utf-8")))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


def lines_matching(expression: re.Pattern[str], paths: list[Path]) -> list[str]:
    """`name:number` of every line that matches, in those of the files that are text."""
    found = []
    for path in paths:
        try:
            lines = path.read_text("utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        found += [f"{path.name}:{number}" for number, line in enumerate(lines, 1) if expression.search(line)]
    return found


def written_files() -> list[Path]:
    """Every file that is in Git or would be added; an unpacked archive has no such list."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("no Git checkout")
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    paths = [ROOT / name for name in listed.split("\0") if name]
    return [path for path in paths if path.is_file()]


def pinned_lines(name: str) -> list[str]:
    """The lines of a requirements file, continuations joined, comments left out."""
    text = (ROOT / "requirements" / name).read_text("utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]


def pins(name: str) -> dict[str, str]:
    """The pinned versions of a requirements file, by package."""
    return {line.partition("==")[0].partition("[")[0]: re.split("==| ", line)[1] for line in pinned_lines(name)}


def test_no_file_is_longer_than_600_lines() -> None:
    assert long_files(SOURCE) == []


def test_no_function_is_longer_than_80_lines() -> None:
    assert long_functions(SOURCE) == []


def test_no_module_or_folder_has_a_name_that_says_nothing() -> None:
    assert vague_names(SOURCE) == []


def test_every_module_says_first_what_lives_in_it() -> None:
    assert without_docstring(SOURCE) == []


def test_the_size_and_name_rules_catch_what_breaks_them(tmp_path: Path) -> None:
    (tmp_path / "utils").mkdir()
    (tmp_path / "utils" / "long.py").write_text('"""A."""\n' + "x = 1\n" * FILE_LINES)
    (tmp_path / "function.py").write_text("class A:\n    async def f(self):\n" + "        x = 1\n" * FUNCTION_LINES)
    (tmp_path / "right.py").write_text('"""A."""\ndef f():\n' + "    x = 1\n" * (FUNCTION_LINES - 1))
    assert long_files(tmp_path) == ["long.py"]
    assert long_functions(tmp_path) == ["function.py: f"]
    assert vague_names(tmp_path) == ["utils"]
    assert without_docstring(tmp_path) == ["function.py"]


def test_nothing_written_down_holds_only_on_one_machine() -> None:
    assert lines_matching(MACHINE_PATHS, written_files()) == []


def test_nothing_written_down_names_a_package_index() -> None:
    files = written_files()
    assert lines_matching(REGISTRIES, files) == []
    assert lines_matching(INDEX_OPTIONS, files) == []


@pytest.mark.parametrize(
    "line", ["cd /{}/main".format("work"), "'/{}/someone/x'".format("home"), "=/{}/.ssh".format("root")]
)
def test_a_path_of_one_machine_is_seen(tmp_path: Path, line: str) -> None:
    (tmp_path / "notes.md").write_text(f"fine: ~/work/x, a/home/b\n{line}\n")
    assert lines_matching(MACHINE_PATHS, [tmp_path / "notes.md"]) == ["notes.md:2"]


def test_an_index_address_or_option_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "setup.cfg"
    page.write_text("https://host/{}/\n--index{}url x\n".format("simple", "-"))
    assert lines_matching(REGISTRIES, [page]) == ["setup.cfg:1"]
    assert lines_matching(INDEX_OPTIONS, [page]) == ["setup.cfg:2"]


@pytest.mark.parametrize("name", ["runtime.txt", "dev.txt"])
def test_every_pinned_package_has_its_hash_and_no_address(name: str) -> None:
    lines = pinned_lines(name)
    assert lines
    assert [line for line in lines if not re.match(r"[\w.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line)] == []
    text = (ROOT / "requirements" / name).read_text("utf-8")
    assert re.findall(r"\w+://|\bfile:|^--?\w.*|\s/\w.*", text, re.MULTILINE) == []


def test_every_import_is_of_something_that_the_project_asks_for() -> None:
    lists = [PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"].values()]
    asked = {canonicalize_name(Requirement(wish).name) for wishes in lists for wish in wishes}
    homes = importlib.metadata.packages_distributions()
    given = {name for name, packages in homes.items() if asked & set(map(canonicalize_name, packages))}
    known = sys.stdlib_module_names | {"suiro"} | given
    assert sorted(imported(SOURCE) - known) == []


def test_an_import_of_something_else_is_seen(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(
        "import pandas.core as pd\ndef f():\n    from polars import x\n    from . import y\n"
    )
    assert imported(tmp_path) == {"pandas", "polars"}


def test_what_is_pinned_is_what_the_project_asks_for() -> None:
    asked = {
        canonicalize_name(wish.name): wish.specifier for wish in map(Requirement, PROJECT["project"]["dependencies"])
    }
    for name in ("runtime.txt", "dev.txt"):
        pinned = pins(name)
        missing = [wish for wish, versions in asked.items() if wish not in pinned or pinned[wish] not in versions]
        assert missing == []


def test_development_pins_agree_with_the_pins_to_run() -> None:
    runtime, dev = pins("runtime.txt"), pins("dev.txt")
    assert {name: pinned for name, pinned in runtime.items() if dev.get(name) != pinned} == {}


@pytest.mark.parametrize("face", [face for face in MAY_KNOW if (SOURCE / face).exists()])
def test_the_walls_are_as_wide_as_the_house(face: str) -> None:
    """A new folder is forbidden by name to those who may not know it; import-linter has no word for `all but`."""
    there = {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    hidden = {f"suiro.{name}" for name in there - MAY_KNOW[face] - {"__init__", "__main__", face}}
    walls = [
        wall for wall in PROJECT["tool"]["importlinter"]["contracts"] if wall.get("source_modules") == [f"suiro.{face}"]
    ]
    assert hidden - {name for wall in walls for name in wall["forbidden_modules"]} == set()
