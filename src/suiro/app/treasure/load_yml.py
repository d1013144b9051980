"""Files like load.yml read whole: every key is known, or told with its file and line."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from suiro.app.documents import Document, line_of, load_yaml, near
from suiro.app.treasure.sections import (
    IDLE,
    REFUSED,
    AddTime,
    ColumnFilter,
    CsvParser,
    DatabaseIn,
    Exec,
    FileIn,
    Filter,
    IntercomIn,
    JsonParser,
    MysqlIn,
    Out,
    PostgresIn,
    RemoveColumns,
    Rename,
)
from suiro.model.errors import ConfigError

HIDDEN: Final = "***"  #: what a secret is shown as
_SECRETS: Final = (("in", "password"), ("in", "access_token"), ("in", "api_key"), ("out", "apikey"))
_INPUTS: Final[Mapping[str, type[DatabaseIn] | type[FileIn] | type[IntercomIn]]] = {
    "file": FileIn,
    "intercom": IntercomIn,
    "mysql": MysqlIn,
    "postgresql": PostgresIn,
}
_PARSERS: Final[Mapping[str, type[CsvParser] | type[JsonParser]]] = {
    "csv": CsvParser,
    "json": JsonParser,
    "jsonl": JsonParser,
}
_FILTERS: Final[Mapping[str, type[Filter]]] = {
    "add_time": AddTime,
    "column": ColumnFilter,
    "remove_columns": RemoveColumns,
    "rename": Rename,
}
_SECTIONS: Final = ("in", "out", "filters", "exec")
M = TypeVar("M", bound=Document)
Path_ = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadYml:
    """A file that was read. `notes` are sentences about keys that change nothing here."""

    label: str
    input: DatabaseIn | FileIn | IntercomIn
    parser: CsvParser | JsonParser | None
    filters: tuple[Filter, ...]
    out: Out
    exec: Exec
    notes: tuple[str, ...]
    data: Any  #: as it stands in the file, with its lines
    below: Path_ = ()  #: where in it the sections are

    def wrong(self, at: Path_, said: str, hint: str) -> ConfigError:
        """An error about the key at a path."""
        return _wrong(self.data, self.label, self.below, at, said, hint)


def read_load_yml(path: Path) -> LoadYml:
    """The file at a path. ConfigError names the file, the line and the key that is wrong."""
    return load_yml_of(text_of(path), str(path))


def text_of(path: Path) -> str:
    """A file's text; ConfigError if it can't be read."""
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it isn't UTF-8"
        raise ConfigError(f"{path} can't be read: {reason}", hint="Name a load.yml.") from error


def load_yml_of(text: str, label: str) -> LoadYml:
    """A file's text; `label` is what errors call it."""
    data = load_yaml(text, label)
    whole, below = _sections(data, label)
    reader = _Reader(data, label, below)
    for key in whole:
        if below != ("in",) and key not in _SECTIONS:
            raise reader.wrong((key,), f"there is no key {key!r}", near(str(key), _SECTIONS))
    section = whole if below == ("in",) else whole.get("in")
    prefix: Path_ = () if below == ("in",) else ("in",)
    input_ = reader.input(section, prefix)
    parser = reader.parser(input_.parser, (*prefix, "parser")) if isinstance(input_, FileIn) else None
    rest = {} if below == ("in",) else whole
    filters = tuple(reader.filter(one, ("filters", i)) for i, one in enumerate(rest.get("filters") or ()))
    return LoadYml(
        label=label,
        input=input_,
        parser=parser,
        filters=filters,
        out=reader.model(Out, rest.get("out") or {}, ("out",)),
        exec=reader.model(Exec, rest.get("exec") or {}, ("exec",)),
        notes=tuple(reader.notes),
        data=data,
        below=() if below == ("in",) else below,
    )


def without_secrets(text: str, label: str) -> str:
    """The text with every secret as `HIDDEN`; references stay as they are."""
    data = load_yaml(text, label)
    whole, below = _sections(data, label)
    found = False
    for section, key in _SECRETS:
        part = whole if below == ("in",) and section == "in" else whole.get(section) if below != ("in",) else None
        if isinstance(part, Mapping) and isinstance(part.get(key), (str, int)) and "${" not in str(part[key]):
            part[key], found = HIDDEN, True  # type: ignore[index]
    return dumped(data) if found else text


def dumped(data: Any) -> str:
    """Data as YAML; what was loaded keeps its comments and its order."""
    from ruamel.yaml import YAML  # on use: it takes long to import

    yaml, text = YAML(typ="rt"), io.StringIO()
    yaml.width = 120
    yaml.dump(data, text)
    return text.getvalue()


def in_line(data: Mapping[str, Any]) -> Any:
    """The mapping as it is written in one line: {name: id, type: long}."""
    from ruamel.yaml.comments import CommentedMap

    found = CommentedMap(data)
    found.fa.set_flow_style()
    return found


def _sections(data: Any, label: str) -> tuple[Mapping[str, Any], Path_]:
    """The mapping that holds the sections and where it is; ("in",) where the file is the section `in` itself."""
    if not isinstance(data, Mapping) or not data:
        raise ConfigError(f"{label} holds no mapping", hint="Begin with in: and what to read.")
    if "in" in data:
        return data, ()
    if "config" in data:
        others = [key for key in data if key != "config"]
        if others or not isinstance(data["config"], Mapping):
            raise ConfigError(
                f"{label}: config holds everything, and {others[0] if others else 'it'} can't stand beside it",
                hint="Give the other settings as arguments of the command.",
            )
        inner, below = _sections(data["config"], label)
        return inner, below or ("config",)
    if "type" in data:
        return data, ("in",)
    raise ConfigError(f"{label} has no section in", hint="Begin with in: and what to read.")


class _Reader:
    """Checks sections against what is known, and keeps notes about keys that change nothing."""

    def __init__(self, data: Any, label: str, below: Path_) -> None:
        self._data, self._label = data, label
        self._below = () if below == ("in",) else below
        self.notes: list[str] = []

    def wrong(self, at: Path_, said: str, hint: str) -> ConfigError:
        return _wrong(self._data, self._label, self._below, at, said, hint)

    def input(self, section: Any, at: Path_) -> DatabaseIn | FileIn | IntercomIn:
        kind = self._kind(section, at)
        if kind not in _INPUTS:
            hint = f"There are: {', '.join(_INPUTS)}."
            raise self.wrong((*at, "type"), f"there is no connector for {kind} here", hint)
        return self.model(_INPUTS[kind], section, at)

    def parser(self, section: Any, at: Path_) -> CsvParser | JsonParser | None:
        if section is None:
            return None
        kind = self._kind(section, at)
        if kind not in _PARSERS:
            raise self.wrong((*at, "type"), f"there is no parser {kind} here", f"There are: {', '.join(_PARSERS)}.")
        return self.model(_PARSERS[kind], section, at)

    def filter(self, section: Any, at: Path_) -> Filter:
        kind = self._kind(section, at)
        if kind not in _FILTERS:
            raise self.wrong((*at, "type"), f"there is no filter {kind} here", f"There are: {', '.join(_FILTERS)}.")
        return self.model(_FILTERS[kind], section, at)

    def model(self, model: type[M], section: Any, at: Path_) -> M:
        if not isinstance(section, Mapping):
            raise self.wrong(at, "a mapping of keys is wanted", "Write key: value, indented.")
        try:
            found = model.model_validate(section)
        except ValidationError as error:
            raise self._explained(error, model, at) from None
        self._look(found, at)
        return found

    def _kind(self, section: Any, at: Path_) -> str:
        if not isinstance(section, Mapping) or not isinstance(section.get("type"), str):
            raise self.wrong(at, "it has no type", "Write type: and its name.")
        return str(section["type"])

    def _explained(self, error: ValidationError, model: type[BaseModel], at: Path_) -> ConfigError:
        found = error.errors(include_url=False, include_input=False)
        first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])  # a misspelt key first
        where = (*at, *(part for part in first["loc"] if not _is_branch(part)))
        if first["type"] == "extra_forbidden":
            key = str(first["loc"][-1])
            return self.wrong(where, f"there is no key {key!r}", near(key, _known(model, first["loc"][:-1])))
        said = first["msg"].removeprefix("Value error, ")
        return self.wrong(where, said[:1].lower() + said[1:], "The guide on Treasure Data lists every key.")

    def _look(self, found: BaseModel, at: Path_) -> None:
        """Refuse what can't be done, and note what changes nothing, at any depth."""
        for name, field in type(found).model_fields.items():
            key, value = field.alias or name, getattr(found, name)
            extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
            if name in found.model_fields_set:
                if IDLE in extra and value is not None:
                    self.notes.append(f"{self._label}: {_dotted((*at, key))} changes nothing: {extra[IDLE]}.")
                if REFUSED in extra and _says_more(value, field.default):
                    raise self.wrong((*at, key), f"{key} can't be followed here", str(extra[REFUSED]))
            for inner, deeper in _inside(value):
                self._look(inner, (*at, key, *deeper))


def _wrong(data: Any, label: str, below: Path_, at: Path_, said: str, hint: str) -> ConfigError:
    line = line_of(data, (*below, *at))
    return ConfigError(f"{label}, line {line}: {_dotted(at)}: {said}", hint=hint)


def _inside(value: Any) -> Iterator[tuple[BaseModel, Path_]]:
    if isinstance(value, BaseModel):
        yield value, ()
    elif isinstance(value, Mapping):
        yield from ((one, (name,)) for name, one in value.items() if isinstance(one, BaseModel))
    elif isinstance(value, tuple):
        yield from ((one, (i,)) for i, one in enumerate(value) if isinstance(one, BaseModel))


def _says_more(value: Any, default: Any) -> bool:
    if value is None or value == default:
        return False
    return not (isinstance(value, (Mapping, Sequence)) and not value)


def _is_branch(part: object) -> bool:
    return isinstance(part, str) and ("[" in part or part in ("str", "int", "bool"))


def _dotted(at: Path_) -> str:
    return ".".join(str(part) for part in at) or "the file"


def _known(model: type[BaseModel], at: Sequence[int | str]) -> list[str]:
    """The keys that a model takes at a path within it."""
    for part in at:
        field = next((f for n, f in model.model_fields.items() if part in (n, f.alias)), None)
        kinds = [] if field is None else [field.annotation]
        while kinds:
            kind = kinds.pop()
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                model = kind
            kinds += get_args(kind)
    return [field.alias or name for name, field in model.model_fields.items()]
