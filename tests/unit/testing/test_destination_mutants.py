"""Destinations that are broken on purpose: each fails the test of the suite that it names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from unit.testing.memory_suite import MemorySuite
from unit.testing.mutants import QUICK, mutants, survives

if TYPE_CHECKING:
    from pathlib import Path

    from hypothesis import settings


from unit.testing import broken_claims, broken_history, broken_readback, broken_writes
from unit.testing.broken_claims import Broken


class MutantSuite(MemorySuite):
    def settings(self) -> settings:
        return QUICK


MODULES = (broken_claims, broken_history, broken_readback, broken_writes)
MUTANTS = [mutant for module in MODULES for mutant in mutants(vars(module))]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_broken_destination_is_caught(mutant: type[Broken], tmp_path: Path) -> None:
    suite = MutantSuite()
    suite.kind = mutant
    assert not survives(suite, mutant.caught_by, tmp_path)


@pytest.mark.parametrize("test", sorted({mutant.caught_by for mutant in MUTANTS}))
def test_the_tests_that_catch_them_let_the_sound_one_pass(test: str, tmp_path: Path) -> None:
    assert survives(MutantSuite(), test, tmp_path)
