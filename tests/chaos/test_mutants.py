"""Mutants of the engine: each is caught by the exam, and the engine as it is passes."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from chaos.exam import failed
from chaos.mutants import MUTANTS


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("seed", range(3))
def test_the_engine_as_it_is_passes(seed: int) -> None:
    assert failed(seed) == []


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS[name](monkeypatch)
    assert failed(0, until_one=True) != []
