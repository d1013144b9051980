"""The file behind the application in memory: objects, records, jobs and locks, in SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from suiro.model.cells import cell_array, cell_text
from suiro.model.writeback import Action, FieldFacts, ObjectFacts, Order

LOCKED: Final = "UNABLE_TO_LOCK_ROW"
Values = Mapping[str, str | None]  #: of a record, as texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A row that the application doesn't take."""

    code: str
    message: str
    fields: tuple[str, ...] = ()


class MemoryOrg:
    """An application's file. Values are texts, as model/cells writes them; `rows` and `put` speak of plain values."""

    def __init__(self, path: Path) -> None:
        self._known: dict[str, tuple[ObjectFacts, pa.Schema]] = {}
        self._habit: dict[str, tuple[list[str], dict[str, list[str]]]] = {}
        self._db = sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False)
        self._db.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
            "CREATE TABLE IF NOT EXISTS object (name TEXT PRIMARY KEY, facts TEXT, fields BLOB, habits TEXT);"
            "CREATE TABLE IF NOT EXISTS record (number INTEGER PRIMARY KEY AUTOINCREMENT, object TEXT, id TEXT UNIQUE,"
            " held TEXT, locked INTEGER DEFAULT 0);"
            "CREATE TABLE IF NOT EXISTS job (id INTEGER PRIMARY KEY AUTOINCREMENT, object TEXT, filled TEXT,"
            " answers TEXT);"
            "CREATE TABLE IF NOT EXISTS act (number INTEGER PRIMARY KEY AUTOINCREMENT, action TEXT, object TEXT,"
            " id TEXT)"
        )

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    # -- as the owner ------------------------------------------------------------------------------------------------

    def make(
        self,
        name: str,
        types: pa.Schema,
        fields: Sequence[FieldFacts],
        *,
        actions: Sequence[Action] = tuple(Action),
        trims: Sequence[str] = (),
        refuses: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Make an object, its first field the record's id. `trims`: texts lose spaces at their ends; `refuses`: values
        that no record may have, by field.
        """
        facts = {
            "label": name,
            "record_id": fields[0].name,
            "fields": [asdict(field) for field in fields],
            "actions": [action.value for action in actions],
        }
        habits = {"trims": list(trims), "refuses": {name: list(texts) for name, texts in (refuses or {}).items()}}
        whole = (name, json.dumps(facts), bytes(types.serialize()), json.dumps(habits))
        self._known.clear()
        self._habit.clear()
        self._db.execute("INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?)", whole)
        for field in fields[1:]:
            if field.external_id or field.unique:
                at = f"json_extract(held, '$.{field.name}')"
                key = at if field.case_sensitive else f"lower({at})"
                self._db.execute(f'CREATE INDEX IF NOT EXISTS "by {name} {field.name}" ON record ({key})')

    def put(self, object_: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """Make records behind everybody's back; their ids."""
        _, types = self._described(object_)
        ids = []
        with self._transaction():
            for row in rows:
                held = {name: _text(value, types.field(name).type) for name, value in row.items()}
                ids.append(self._new(object_, held))
        return ids

    def set(self, object_: str, id_: str, **values: Any) -> None:
        """Change a record behind everybody's back."""
        _, types = self._described(object_)
        with self._transaction():
            held, _ = self._there(object_, id_)
            assert held is not None
            held.update({name: _text(value, types.field(name).type) for name, value in values.items()})
            self._write(id_, held)

    def remove(self, object_: str, id_: str) -> None:
        """Delete a record behind everybody's back."""
        self._db.execute("DELETE FROM record WHERE object = ? AND id = ?", (object_, id_))

    def lock(self, object_: str, id_: str, times: int) -> None:
        """Have a record be locked for so many tries to change it."""
        self._db.execute("UPDATE record SET locked = ? WHERE object = ? AND id = ?", (times, object_, id_))

    def rows(self, object_: str) -> list[dict[str, Any]]:
        """All records as plain values, in the order in which they were made."""
        facts, types = self._described(object_)
        found = self._db.execute("SELECT id, held FROM record WHERE object = ? ORDER BY number", (object_,)).fetchall()
        held = [{**json.loads(text), facts.record_id: id_} for id_, text in found]
        columns = {f.name: cell_array([row.get(f.name) for row in held], f.type).to_pylist() for f in types}
        return [{name: column[at] for name, column in columns.items()} for at in range(len(held))]

    def acts(self) -> list[tuple[str, str, str]]:
        """All that was done by orders: action, object, record."""
        return self._db.execute("SELECT action, object, id FROM act ORDER BY number").fetchall()

    # -- as the application ------------------------------------------------------------------------------------------

    def objects(self) -> list[str]:
        """The objects' names."""
        return [name for (name,) in self._db.execute("SELECT name FROM object ORDER BY name")]

    def described(self, object_: str) -> tuple[ObjectFacts, pa.Schema] | None:
        """An object's facts and types; None if there is none."""
        found = self._db.execute("SELECT facts, fields FROM object WHERE name = ?", (object_,)).fetchone()
        if found is None:
            return None
        said = json.loads(found[0])
        fields = [FieldFacts(**_tuples(field)) for field in said["fields"]]
        facts = ObjectFacts(
            name=object_,
            label=said["label"],
            record_id=said["record_id"],
            fields={field.name: field for field in fields},
            actions=frozenset(Action(action) for action in said["actions"]),
        )
        return facts, pa.ipc.read_schema(pa.py_buffer(found[1]))

    def find(self, object_: str, by: str, keys: Sequence[str]) -> list[dict[str, str | None]]:
        """Records as texts, by the texts of a field."""
        facts, _ = self._described(object_)
        if by == facts.record_id:
            where, wanted = "id", list(keys)
        else:
            at = f"json_extract(held, '$.{by}')"
            folds = not facts.fields[by].case_sensitive
            where = f"lower({at})" if folds else at
            wanted = [key.lower() if folds else key for key in keys]
        asked = f"SELECT id, held FROM record WHERE +object = ? AND {where} IN (SELECT value FROM json_each(?))"
        found = self._db.execute(asked, (object_, json.dumps(wanted))).fetchall()
        return [{**json.loads(text), facts.record_id: id_} for id_, text in found]

    def act(self, order: Order, rows: Sequence[Values]) -> list[Refused | tuple[str, bool]]:
        """Do an order with some rows in one act; of each row its record and whether it is new, or why not."""
        with self._transaction():
            return self._each(order, rows)

    def open_job(self) -> str:
        """A new job without rows."""
        return str(self._db.execute("INSERT INTO job (object) VALUES (NULL)").lastrowid)

    def fill_job(self, job: str, object_: str, rows: Sequence[Values]) -> None:
        """Give a job its rows; one that has them keeps those."""
        filled = (object_, json.dumps([dict(row) for row in rows]), job)
        self._db.execute("UPDATE job SET object = ?, filled = ? WHERE id = ? AND filled IS NULL", filled)

    def finish_job(self, job: str) -> list[dict[str, Any]]:
        """Make the job's records, once; the answers."""
        with self._transaction():
            asked = "SELECT object, filled, answers FROM job WHERE id = ?"
            object_, filled, answers = self._db.execute(asked, (job,)).fetchone()
            if answers is None:
                order = Order(object=object_, action=Action.INSERT)
                told = self._each(order, json.loads(filled))
                answers = json.dumps([_told(row, answer) for row, answer in enumerate(told)])
                self._db.execute("UPDATE job SET answers = ? WHERE id = ?", (answers, job))
        found: list[dict[str, Any]] = json.loads(answers)
        return found

    # -- one row -----------------------------------------------------------------------------------------------------

    def _each(self, order: Order, rows: Sequence[Values]) -> list[Refused | tuple[str, bool]]:
        acts: list[tuple[str, str, str]] = []
        answers = [self._one(order, dict(row), acts) for row in rows]
        self._db.executemany("INSERT INTO act (action, object, id) VALUES (?, ?, ?)", acts)
        return answers

    def _one(
        self, order: Order, row: dict[str, str | None], acts: list[tuple[str, str, str]]
    ) -> Refused | tuple[str, bool]:
        facts, _ = self._described(order.object)
        id_ = row.pop(facts.record_id, None)
        if order.action is Action.UPSERT:
            assert order.by is not None
            there = self.find(order.object, order.by, [row[order.by] or ""])
            if len(there) > 1:
                return Refused(code="DUPLICATE_EXTERNAL_ID", message="more than one record", fields=(order.by,))
            id_ = there[0][facts.record_id] if there else None
        held, locked = (None, 0) if id_ is None else self._there(order.object, id_)
        if order.action is Action.DELETE:
            gone = self._db.execute("DELETE FROM record WHERE object = ? AND id = ?", (order.object, id_))
            acts += [("delete", order.object, str(id_))] if gone.rowcount else []
            return str(id_), False
        creates = order.action is Action.INSERT or (order.action is Action.UPSERT and held is None)
        if held is None and not creates:
            return Refused(code="ENTITY_IS_DELETED", message="there is no such record")
        if not creates and locked:
            self._db.execute("UPDATE record SET locked = locked - 1 WHERE id = ?", (id_,))
            return Refused(code=LOCKED, message="unable to obtain exclusive access to this record")
        trims, refuses = self._habits(order.object)
        row = {name: text.strip() if name in trims and text else text for name, text in row.items()}
        wrong = self._wrong(facts, row, refuses, id_, creates=creates)
        if wrong is not None:
            return wrong
        if creates:
            id_ = self._new(order.object, row)
        else:
            self._write(str(id_), {**(held or {}), **row})
        acts.append(("create" if creates else order.action.value, order.object, str(id_)))
        return str(id_), creates

    def _wrong(
        self, facts: ObjectFacts, row: Values, refuses: Mapping[str, Any], id_: str | None, *, creates: bool
    ) -> Refused | None:
        for field in facts.fields.values():
            text = row.get(field.name)
            if field.required and text is None and (creates or field.name in row):
                return Refused(code="REQUIRED_FIELD_MISSING", message=f"{field.name} is missing", fields=(field.name,))
            if text is None:
                continue
            if field.most_characters is not None and len(text) > field.most_characters:
                return Refused(code="STRING_TOO_LONG", message=f"{field.name} is too long", fields=(field.name,))
            if field.choices is not None and text not in field.choices:
                return Refused(
                    code="INVALID_PICKLIST", message=f"{field.name} takes no such value", fields=(field.name,)
                )
            if text in refuses.get(field.name, ()):
                return Refused(code="VALIDATION", message=f"{field.name} isn't valid", fields=(field.name,))
            if field.unique or field.external_id:
                others = [one[facts.record_id] for one in self.find(facts.name, field.name, [text])]
                if any(other != id_ for other in others):
                    return Refused(code="DUPLICATE_VALUE", message=f"{field.name} is taken", fields=(field.name,))
        return None

    def _habits(self, object_: str) -> tuple[list[str], dict[str, list[str]]]:
        if object_ not in self._habit:
            (text,) = self._db.execute("SELECT habits FROM object WHERE name = ?", (object_,)).fetchone()
            habits = json.loads(text)
            self._habit[object_] = (habits["trims"], habits["refuses"])
        return self._habit[object_]

    def _new(self, object_: str, held: Values) -> str:
        made = self._db.execute("INSERT INTO record (object, held) VALUES (?, ?)", (object_, json.dumps(dict(held))))
        id_ = f"{object_[:3].upper()}{made.lastrowid:09d}"
        self._db.execute("UPDATE record SET id = ? WHERE number = ?", (id_, made.lastrowid))
        return id_

    def _there(self, object_: str, id_: str) -> tuple[dict[str, str | None] | None, int]:
        """What a record holds, and for how many tries it is locked."""
        asked = "SELECT held, locked FROM record WHERE object = ? AND id = ?"
        found = self._db.execute(asked, (object_, id_)).fetchone()
        return (None, 0) if found is None else (json.loads(found[0]), found[1])

    def _write(self, id_: str, held: Values) -> None:
        self._db.execute("UPDATE record SET held = ? WHERE id = ?", (json.dumps(dict(held)), id_))

    def _described(self, object_: str) -> tuple[ObjectFacts, pa.Schema]:
        if object_ not in self._known:
            found = self.described(object_)
            assert found is not None, object_
            self._known[object_] = found
        return self._known[object_]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _told(row: int, answer: Refused | tuple[str, bool]) -> dict[str, Any]:
    if isinstance(answer, Refused):
        return {"row": row, "outcome": "refused", **asdict(answer)}
    return {"row": row, "outcome": "done", "record": answer[0], "created": answer[1]}


def _text(value: Any, type_: pa.DataType) -> str | None:
    return cell_text(pa.array([value], type_))


def _tuples(field: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a field as they were before JSON made lists of tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in field.items()}
