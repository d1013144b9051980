"""Tables of what the chaos suite found, for people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from chaos.trials import Grade

_HEAD = "trials | struck | runs until one succeeded, most | lost | doubled | anything else wrong"


def table(head: str, lines: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    columns = head.count("|") + 1
    rows = [f"| {' | '.join(str(cell) for cell in line)} |" for line in lines]
    return "\n".join([f"| {head} |", f"|{'---|' * columns}", *rows])


def by(grades: Sequence[Grade], what: str, key: Callable[[Grade], str]) -> str:
    """Grades added up by something."""
    found: dict[str, list[Grade]] = defaultdict(list)
    for grade in grades:
        found[key(grade)].append(grade)
    lines = [(name, *_sums(some)) for name, some in sorted(found.items())]
    return table(f"{what} | {_HEAD}", [*lines, ("all", *_sums(grades))])


def _sums(grades: Sequence[Grade]) -> tuple[object, ...]:
    return (
        len(grades),
        sum(grade.hit for grade in grades),
        max((grade.runs for grade in grades), default=0),
        sum(grade.lost for grade in grades),
        sum(grade.doubled for grade in grades),
        sum(len(grade.wrong) for grade in grades),
    )


def matrix(grades: Sequence[Grade]) -> str:
    """How many faults struck, by destination and write mode."""
    kinds = sorted({grade.trial.kind for grade in grades})
    modes = sorted({grade.trial.mode for grade in grades})

    def struck(kind: str, mode: str) -> int:
        return sum(g.hit for g in grades if (g.trial.kind, g.trial.mode) == (kind, mode))

    return table(
        f"faults that struck | {' | '.join(modes)}", [(kind, *(struck(kind, mode) for mode in modes)) for kind in kinds]
    )


def chaos(grades: Sequence[Grade]) -> str:
    """All of it."""
    parts = [
        by(grades, "fault", lambda grade: grade.trial.fault),
        by(grades, "destination", lambda grade: grade.trial.kind),
        by(grades, "write mode", lambda grade: grade.trial.mode),
        matrix(grades),
    ]
    bad = [f"* {grade.trial}: lost {grade.lost}, doubled {grade.doubled}, {grade.wrong}" for grade in grades]
    return "\n\n".join([*parts, *(line for line, grade in zip(bad, grades, strict=True) if not grade.good)])
