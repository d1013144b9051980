"""What users write in YAML: connections and jobs, every key known and every mistake at its line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from suiro.model.added import Unit
from suiro.model.errors import ConfigError
from suiro.model.job import Drift
from suiro.model.naming import NamePolicy
from suiro.model.receipt import Level
from suiro.model.schedule import CatchUp, Overlap
from suiro.model.schema import ReadMode
from suiro.model.selection import Deletes, Replace, WriteMode
from suiro.model.writeback import Conflicts, Nulls, WriteBackMode

_NAME: Final = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"


def _text(value: object) -> object:
    """A number where a text is meant: `window: 100000`."""
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


Text = Annotated[str, BeforeValidator(_text)]
Name = Annotated[str, Field(pattern=rf"^{_NAME}$")]
Names = tuple[str, ...]
Share = Annotated[float, Field(ge=0, le=1)]


class Document(BaseModel):
    """One mapping of a file; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class TimeDocument(Document):
    """A column of time that is added: another column's time, the one written here, or that of the run."""

    column: str | None = None
    unit: Unit = Unit.SECOND
    format: str | None = None
    timezone: str = "UTC"
    value: Text | None = None
    until: Text | None = None
    to: Literal["timestamp"] | Unit = "timestamp"

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.column is not None and (self.value is not None or self.until is not None):
            raise ValueError("a time is taken from a column or is a value, not both")
        if self.until is not None and self.value is None:
            raise ValueError("until has its place beside value")
        return self


class TaskSettings(Document):
    """What may be said of every task, as the options of `suiro copy` say it."""

    table: str | None = None
    read: ReadMode = ReadMode.FULL
    write: WriteMode | WriteBackMode | None = None
    key: Names | None = None
    cursor: str | None = None
    look_back: Text | None = None
    start: Text | None = None
    window: Text | None = None
    columns: Mapping[str, str] | Names | None = None
    drop: Names = ()
    rename: Mapping[str, str] = Field(default_factory=dict)
    add_time: Mapping[str, TimeDocument] = Field(default_factory=dict)
    computed: Mapping[str, Text] = Field(default_factory=dict, alias="set")
    types: Mapping[str, str] = Field(default_factory=dict)
    mask: Mapping[str, str | None] = Field(default_factory=dict)
    mask_key: str | None = None
    names: NamePolicy = NamePolicy.AS_IS
    prefix: str = ""
    schema_name: str | None = Field(default=None, alias="schema")
    existing: bool = False
    where: str | None = None
    limit: int | None = Field(default=None, ge=1)
    deletes: Deletes = Deletes.SKIP
    most_deleted: Annotated[Share | Text, Field(union_mode="left_to_right")] = 0.5  #: rows, for write-backs alone
    replace: Replace = Replace.AUTO
    only_new_data: bool = False
    most_rejected: Text = "0"
    drift: Drift = Drift.EVOLVE
    verify: Level = Level.SUMS
    nulls: Nulls = Nulls.SEND
    conflicts: Conflicts = Conflicts.SKIP
    most_changed: Text | None = None
    options: Mapping[str, Any] = Field(default_factory=dict)


class TaskDocument(TaskSettings):
    """One stream or query to one table."""

    name: Name | None = None  #: what commands call it; the table's name, or the stream's, if there is none
    stream: str | None = None
    sql: str | None = None

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.stream is None) == (self.sql is None):
            raise ValueError("a task has either a stream or sql")
        return self


class ScheduleDocument(Document):
    """When a job runs by itself."""

    cron: str
    timezone: str = "UTC"
    delay: Text = "0s"
    catch_up: CatchUp = CatchUp.LAST
    overlap: Overlap = Overlap.SKIP


class TreasureDocument(Document):
    """What `suiro connector create` was given for a job: its load.yml, without secrets, and where rows go."""

    load_yml: str
    database: str
    table: str
    time_column: str | None = None
    auto_create_table: bool = False


class JobDocument(Document):
    """Tasks between two connections. `type: all` takes every stream, those that come later too."""

    source: str
    destination: str
    type: Literal["standard", "all"] = "standard"
    exclude: Names = ()
    defaults: TaskSettings = Field(default_factory=TaskSettings)
    tasks: tuple[TaskDocument, ...] = ()
    parallel: int = Field(default=1, ge=1, le=64)
    memory: Text | None = None
    schedule: ScheduleDocument | None = None
    treasure: TreasureDocument | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.type == "standard" and not self.tasks:
            raise ValueError("a job needs tasks, or type: all")
        if self.type == "standard" and self.exclude:
            raise ValueError("exclude has its place beside type: all")
        if self.type == "all" and any(task.sql is not None for task in self.tasks):
            raise ValueError("the tasks of a job of type: all are streams that differ from its defaults")
        return self


class ConnectionDocument(BaseModel):
    """A connection: the connector's name, and settings that the connector knows."""

    model_config = ConfigDict(extra="allow", frozen=True)
    type: str


class Documents(Document):
    """All that was written, in one file or several."""

    connections: Mapping[Name, ConnectionDocument] = Field(default_factory=dict)
    jobs: Mapping[Name, JobDocument] = Field(default_factory=dict)


def read_documents(paths: Sequence[Path]) -> Documents:
    """The files' documents together. ConfigError names the file, the line and the key that is wrong."""
    connections: dict[str, ConnectionDocument] = {}
    jobs: dict[str, JobDocument] = {}
    for path in paths:
        try:
            text = path.read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it isn't UTF-8"
            raise ConfigError(f"{path} can't be read: {reason}", hint="Name a YAML file.") from error
        found = document_of(text, str(path))
        for kind, new, known in (("connection", found.connections, connections), ("job", found.jobs, jobs)):
            twice = sorted(set(new) & set(known))
            if twice:
                raise ConfigError(f"{path}: the {kind} {twice[0]} is in another file too", hint="Keep one of the two.")
        connections.update(found.connections)
        jobs.update(found.jobs)
    return Documents(connections=connections, jobs=jobs)


def document_of(text: str, label: str) -> Documents:
    """One file's documents; `label` is what errors call it."""
    return _validated(Documents, load_yaml(text, label) or {}, label)


def load_yaml(text: str, label: str) -> Any:
    """A YAML document as plain data that knows its lines. ConfigError where it is none, or a key comes twice."""
    from ruamel.yaml import YAML  # on use: it takes long to import
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return YAML(typ="rt").load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None) if isinstance(error, MarkedYAMLError) else None
        said = getattr(error, "problem", None) or "it isn't YAML"
        place = "" if mark is None else f", line {mark.line + 1}"
        raise ConfigError(f"{label}{place}: {said}", hint="Check the indentation, colons and quotes there.") from error


def _validated(model: type[Documents], data: Any, label: str) -> Documents:
    if not isinstance(data, Mapping):
        raise ConfigError(f"{label} holds no mapping", hint="Begin with connections: or jobs:.")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        line = line_of(data, first["loc"])
        where = ".".join(str(part) for part in first["loc"] if not _is_branch(part))
        if first["type"] == "extra_forbidden":
            key, known = str(first["loc"][-1]), _known(model, first["loc"][:-1])
            raise ConfigError(
                f"{label}, line {line}: {where}: there is no key {key!r}", hint=near(key, known)
            ) from None
        said = first["msg"].removeprefix("Value error, ")
        said = said[0].lower() + said[1:]
        raise ConfigError(
            f"{label}, line {line}: {where or 'the file'}: {said}", hint="The guide on jobs lists every key."
        ) from None


def near(key: str, known: Iterable[str]) -> str:
    """A hint that names the key that was probably meant, or all there are."""
    names = sorted(known)
    close = difflib.get_close_matches(key, names, n=1)
    return f"Did you mean {close[0]}?" if close else f"Known are: {', '.join(names)}."


def line_of(data: Any, at: Sequence[int | str]) -> int:
    """The line, from 1, of what stands at this path; of the nearest thing around it if that has none."""
    line = 1
    for part in at:
        places = getattr(data, "lc", None)
        try:
            line = (places.item(part) if isinstance(part, int) else places.key(part))[0] + 1  # type: ignore[union-attr]
            data = data[part]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
    return int(line)


def _is_branch(part: object) -> bool:
    """Pydantic names the alternatives of a union in an error's place, too."""
    return isinstance(part, str) and ("[" in part or part in ("function-before", "constrained-str"))


def _known(model: type[BaseModel], at: Sequence[int | str]) -> list[str]:
    """The keys that a document takes at a path."""
    kinds: dict[str, type[BaseModel]] = {"jobs": JobDocument, "tasks": TaskDocument}
    kinds |= {"defaults": TaskSettings, "schedule": ScheduleDocument, "add_time": TimeDocument}
    kinds |= {"treasure": TreasureDocument}
    found = model
    for part in at:
        found = kinds.get(str(part), found)
    return [field.alias or name for name, field in found.model_fields.items()]


def as_document(document: Document) -> dict[str, Any]:
    """The document as plain data that `document_of` reads back: only what differs from the defaults."""
    return document.model_dump(mode="json", by_alias=True, exclude_defaults=True)


_SIZES: Final = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def bytes_of(text: str) -> int:
    """`512MB`, `1GiB` or a number of bytes. ConfigError otherwise."""
    number = text.strip().rstrip("BKMGIbkmgi").strip()
    unit = text.strip()[len(number) :].strip().upper() or "B"
    if not number.replace(".", "", 1).isdigit() or unit not in _SIZES:
        raise ConfigError(f"{text!r} is no size", hint="Write 512MB or 1GiB.")
    return int(float(number) * _SIZES[unit])
