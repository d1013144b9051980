"""The records that a query speaks of: its object, and the parents that its paths lead to."""

from __future__ import annotations

from dataclasses import dataclass, field

from suiro.sandbox.salesforce.fields import Field, Sobject
from suiro.sandbox.salesforce.org import Org
from suiro.sandbox.salesforce.soql.tree import Path, Query
from suiro.sandbox.salesforce.soql.words import refuse

#: Relationships that a path may follow.
MOST_STEPS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One record of the query: an object under a name in SQL."""

    object: Sobject
    alias: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A field at its place."""

    place: Place
    field: Field

    @property
    def sql(self) -> str:
        """Its kept value."""
        return value_sql(self.field, self.place.alias)


def value_sql(one: Field, alias: str) -> str:
    """SQL for what the store keeps of a field, or computes."""
    return f'{alias}."{one.name}"' if one.sql is None else f"({one.sql.format(t=alias)})"


@dataclass(slots=True, kw_only=True)
class Scope:
    """What can be named in one query. Resolving a path adds the parents that it needs."""

    org: Org
    query: Query
    root: Place
    _parents: dict[tuple[str, ...], Place] = field(default_factory=dict)
    _joins: list[str] = field(default_factory=list)

    @property
    def source(self) -> str:
        """FROM, with the parents."""
        return " ".join([f'FROM "{self.root.object.name}" {self.root.alias}', *self._joins])

    def column(self, path: Path) -> Column:
        """The field that a path names. Refusal INVALID_FIELD: there is none that one may see."""
        steps = self.steps(path)
        place = self.root if len(steps) == 1 else self.parent(path, steps[:-1])
        found = self.org.seen(place.object, steps[-1])
        if found is None:
            raise refuse(
                self.query.text,
                path.at,
                "INVALID_FIELD",
                f"No such column '{steps[-1]}' on entity '{place.object.name}'. A custom field's name ends in __c;"
                " names are those of the describe call.",
            )
        return Column(place=place, field=found)

    def steps(self, path: Path) -> tuple[str, ...]:
        """A path without the query's own object in front."""
        own = {self.root.object.name.lower(), (self.query.alias or "").lower()}
        steps = path.names
        if len(steps) > 1 and steps[0].lower() in own:
            return steps[1:]
        return steps

    def parent(self, path: Path, steps: tuple[str, ...]) -> Place:
        """The record that relationships lead to."""
        key = tuple(step.lower() for step in steps)
        if key in self._parents:
            return self._parents[key]
        child = self.root if len(steps) == 1 else self.parent(path, steps[:-1])
        link = next(
            (
                one
                for one in child.object.fields.values()
                if (one.relationship or "").lower() == key[-1] and not self.org.hidden(child.object, one)
            ),
            None,
        )
        targets = [there for name in (link.reference_to if link else ()) if (there := self.org.find(name))]
        if link is None or not targets or len(steps) > MOST_STEPS:
            raise refuse(
                self.query.text,
                path.at,
                "INVALID_FIELD",
                f"Didn't understand relationship '{steps[-1]}' in field path.",
            )
        # Of several objects that the field may point to, the last that there is: owners are users (unverified).
        place = Place(object=targets[-1], alias=f"{self.root.alias}{len(self._parents) + 1}")
        self._joins.append(
            f'LEFT JOIN "{place.object.name}" {place.alias} ON {place.alias}."Id" = {value_sql(link, child.alias)}'
        )
        self._parents[key] = place
        return place
