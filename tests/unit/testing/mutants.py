"""Runs of single tests of a suite against connectors that are broken on purpose."""

from __future__ import annotations

import inspect
import itertools
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import Phase, settings

from suiro.model.errors import SuiroError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

QUICK = settings(max_examples=200, phases=[Phase.generate], database=None, deadline=None)


def cases(test: Callable[..., None]) -> Iterator[dict[str, Any]]:
    """Every set of arguments that the test is parametrised with."""
    marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
    names = [mark.args[0] for mark in marks]
    for values in itertools.product(*(list(mark.args[1]) for mark in marks)):
        yield dict(zip(names, values, strict=True))


def survives(suite: Any, test: str, folder: Path) -> bool:
    """Whether a suite's test passes in all its cases. Errors that are neither ours nor the test's are raised."""
    for number, arguments in enumerate(cases(getattr(type(suite), test))):
        suite.prepare(folder / str(number))
        try:
            getattr(suite, test)(**arguments)
        except pytest.skip.Exception:
            continue
        except (AssertionError, SuiroError, pytest.fail.Exception):
            return False
        finally:
            suite.finish()
    return True


def mutants(module: dict[str, Any]) -> list[type]:
    """The broken classes that a test module defines: those that name the test that must catch them."""
    return [found for found in module.values() if inspect.isclass(found) and "caught_by" in vars(found)]
