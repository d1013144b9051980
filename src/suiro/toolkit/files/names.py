"""Names of files: what they tell about their content, and which file a table's name stands for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from suiro.model.naming import shorten, split_name

FORMATS = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".tab": "csv",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".parquet": "parquet", ".pq": "parquet",
    ".xlsx": "excel", ".xlsm": "excel", ".xlsb": "excel", ".xls": "excel", ".ods": "excel",
}  # fmt: skip
COMPRESSIONS = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd", ".zip": "zip"}

_LONGEST = 150  #: bytes of a file's stem; file systems hold 255 for the whole name
_KEPT = re.compile(r"[^\x00-\x1f\x7f\"*/:<>?\\|%.]")
_DEVICES = frozenset({"con", "prn", "aux", "nul"} | {f"{p}{n}" for p in ("com", "lpt") for n in "0123456789¹²³"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A file's name taken apart. None: the name doesn't say."""

    stem: str
    format: str | None
    compression: str | None


def take_apart(name: str) -> Named:
    """`orders.csv.gz` is `orders`, csv, gzip; case doesn't matter."""
    stem, compression = _strip(name, COMPRESSIONS)
    stem, format_ = _strip(stem, FORMATS)
    return Named(stem=stem, format=format_, compression=compression)


def stream_stem(name: str) -> str:
    """The stem of a file's name, with what `file_stem` encoded made plain again."""
    stem = take_apart(name).stem
    plain = unquote(stem, errors="strict") if "%" in stem and _is_utf8(stem) else stem
    return plain if _encoded(plain) == stem else stem


def file_stem(table: str) -> str:
    """The file that holds the table `table`, without its extension.

    Letters, digits and most signs stand for themselves; what a file system or a shell may stumble over is written as
    %XX. Names of parts are joined by a dot. Long ones end in a hash of the whole. The same name always gives the
    same file, and another name another.
    """
    encoded = ".".join(_encoded(part) for part in split_name(table))
    if len(encoded.encode()) <= _LONGEST:
        return encoded
    return re.sub(r"%.?(?=_[0-9a-f]{8}$)", "", shorten(encoded, _LONGEST))


def pattern_stem(pattern: str) -> str:
    """The part of a wildcard's name before the first wildcard, without signs that join: `orders-*.csv` is `orders`."""
    plain = re.split(r"[*?\[]", take_apart(pattern).stem, maxsplit=1)[0]
    return plain.rstrip("-_. ")


def name_pattern(text: str) -> re.Pattern[str]:
    """How file names are made, as `{}-{}-{stream}-{date}-{}-{}.csv.gz`. ValueError says what can't be read in it.

    The groups of a match are `stream`, and `date` where the text has it. All parts but the stream's hold none of the
    signs that stand between parts (`-_. `), so that a name is read from both ends.
    """
    parts = re.split(r"(\{[^{}]*\})", text)
    if parts.count("{stream}") != 1 or parts.count("{date}") > 1:
        raise ValueError("it must hold {stream} once, and {date} once at most")
    known = {"{stream}": "(?P<stream>.+)", "{date}": r"(?P<date>\d{8})", "{}": "[^-_. ]+"}
    for part in parts[1::2]:
        if part not in known:
            raise ValueError(f"{part} is none of {', '.join(known)}")
    return re.compile("".join(known[part] if at % 2 else re.escape(part) for at, part in enumerate(parts)))


def _strip(name: str, known: dict[str, str]) -> tuple[str, str | None]:
    dot = name.rfind(".")
    kind = known.get(name[dot:].lower()) if dot > 0 else None
    return (name[:dot], kind) if kind else (name, None)


def _encoded(part: str) -> str:
    out = "".join(c if _KEPT.match(c) else "".join(f"%{b:02X}" for b in c.encode()) for c in part)
    if part.split(".", maxsplit=1)[0].rstrip(" ").lower() in _DEVICES:
        out = f"%{ord(part[0]):02X}{out[1:]}"
    if out.endswith(" "):
        out = out[:-1] + "%20"
    return out or "%"


def _is_utf8(stem: str) -> bool:
    try:
        unquote(stem, errors="strict")
    except UnicodeDecodeError:
        return False
    return True
