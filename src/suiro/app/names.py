"""Proposed names of tables and columns, kept in files that users may edit: written once, never guessed again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from suiro.app.home import home
from suiro.app.transliteration import ascii_name
from suiro.model.errors import ConfigError
from suiro.model.naming import NamePolicy, proposals, snake_case, split_name

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD: Final = (
    "Names that Suiro proposed once. Edit them as you like: they are used as they stand,\n"
    "new columns are added below, and nothing that stands here is guessed again.\n"
)
_PATIENCE: Final = 30.0  #: seconds to wait for another process that writes names


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What a stream's table and columns are called, and the file that holds it. `columns` goes from source names."""

    table: str
    columns: Mapping[str, str]
    file: Path


def names_of(source: str, stream: str, columns: Sequence[str], policy: NamePolicy) -> Names:
    """The names kept for a stream of a source (its identity), after proposing those that aren't there yet.

    ConfigError names the file that can't be read, or that was made under another policy.
    """
    with _locked() as folder:
        file = folder / _file_name(source, stream)
        kept = _read(file) if file.exists() else {}
        if kept and kept["policy"] != policy.value:
            raise ConfigError(
                f"the names of {stream} were proposed by the policy {kept['policy']}, in {file}",
                hint=f"Choose --names {kept['policy']}, or delete the file to have names proposed anew.",
            )
        there: dict[str, str] = dict(kept.get("columns") or {})
        fresh = proposals({name: _wanted(name, policy, "column") for name in columns if name not in there}, there)
        if not kept:
            table = split_name(stream)[-1]
            wanted = _wanted(table, policy, "table")
            others = _tables(folder, source, wanted)
            kept = {
                "source": source,
                "stream": stream,
                "policy": policy.value,
                "table": proposals({table: wanted}, others)[table],
                "columns": {},
            }
            _write(file, kept, fresh, new=True)
        elif fresh:
            _write(file, kept, fresh, new=False)
        return Names(table=kept["table"], columns={name: (there | fresh)[name] for name in columns}, file=file)


def _wanted(name: str, policy: NamePolicy, what: str) -> str:
    match policy:
        case NamePolicy.AS_IS:
            return name
        case NamePolicy.SNAKE:
            return snake_case(name) or what
        case NamePolicy.ASCII:
            return ascii_name(name) or what


def _file_name(source: str, stream: str) -> str:
    """Readable where it can be, and one for each source and stream."""
    digest = hashlib.sha256(f"{source}\n{stream}".encode()).hexdigest()[:8]
    return f"{snake_case(stream).encode()[:80].decode('utf-8', errors='ignore')}-{digest}.yaml"


@contextmanager
def _locked() -> Iterator[Path]:
    """The folder of names, with no other process at work in it."""
    from filelock import FileLock, Timeout

    folder = home() / "names"
    folder.mkdir(exist_ok=True, mode=0o700)
    try:
        with FileLock(folder / ".lock", timeout=_PATIENCE):
            yield folder
    except Timeout as error:
        raise ConfigError(
            f"another process has been writing names in {folder} for {_PATIENCE:.0f} s", hint="Wait for it to end."
        ) from error


def _tables(folder: Path, source: str, wanted: str) -> dict[str, str]:
    """The tables of other streams of the source whose names begin like the wanted one, each by a name of no table."""
    found = {}
    for file in sorted(folder.glob("*.yaml")):
        lines = [line.lower() for line in file.read_text("utf-8-sig", errors="replace").splitlines()]
        if any(line.startswith("table:") and wanted.lower() in line for line in lines):
            kept = _read(file)
            if kept["source"] == source:
                found[f"\n{file.name}"] = kept["table"]
    return found


def _read(file: Path) -> Any:
    """What a file holds; comments and order are kept in it for `_write`."""
    from ruamel.yaml.error import YAMLError

    try:
        kept = _yaml().load(file.read_text("utf-8-sig"))
    except (YAMLError, OSError, UnicodeDecodeError) as error:
        place = getattr(error, "problem_mark", None)
        where = f" at line {place.line + 1}" if place is not None else ""
        raise ConfigError(
            f"the file of names {file} can't be read{where}", hint="Correct it, or delete it to have names proposed."
        ) from error
    words = [kept.get(k) for k in ("source", "stream", "policy", "table")] if isinstance(kept, dict) else [None]
    columns = (kept.get("columns") or {}) if isinstance(kept, dict) else {}
    pairs = [text for pair in columns.items() for text in pair] if isinstance(columns, dict) else [None]
    wrong = [text for text in (*words, *pairs) if not isinstance(text, str) or not text.strip()]
    if wrong:
        raise ConfigError(
            f"the file of names {file} holds {wrong[0]!r} where a name belongs",
            hint="Write source, stream, policy and table, and below columns a line `source name: name` for each.",
        )
    return kept


def _write(file: Path, kept: Any, fresh: Mapping[str, str], *, new: bool) -> None:
    """Put the fresh columns below those that stand, all at once: a reader sees the old file or the new."""
    if kept.get("columns") is None:
        kept["columns"] = {}
    kept["columns"].update(fresh)
    beside = file.with_suffix(f".{os.getpid()}.tmp")
    with beside.open("w", encoding="utf-8") as out:
        if new:
            out.writelines(f"# {line}\n" for line in _HEAD.splitlines())
        _yaml().dump(kept, out)
    beside.replace(file)


def _yaml() -> Any:
    from ruamel.yaml import YAML

    yaml = YAML(typ="rt", pure=True)
    yaml.allow_unicode = True
    yaml.width = 4096
    return yaml
