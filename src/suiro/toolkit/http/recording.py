"""Requests and answers written down for support, without secrets: where SUIRO_HTTP_RECORD names a folder."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final, TextIO
from urllib.parse import parse_qsl, quote, quote_plus, urlencode, urlsplit, urlunsplit

import httpx2

from suiro.model.errors import ConfigError
from suiro.toolkit.http.answers import Answer

FOLDER: Final = "SUIRO_HTTP_RECORD"
MOST_KEPT: Final = 1 << 20  #: bytes of a body

_INSTEAD: Final = "[removed]"
_SECRET: Final = re.compile(
    r"token|secret|passw|passphrase|authorization|assertion|cookie|api[-_]?key|session|signature|credential|verifier"
    r"|x-auth|^sid$",
    re.IGNORECASE,
)
_ELEMENT: Final = re.compile(r"(<(?:\w+:)?(\w+)[^<>]*>)([^<]+)(</)")
_PAIR: Final = re.compile(r'("([^"\\]{1,100})"\s*:\s*)"((?:[^"\\]|\\.)*)("|\Z)')


class Recorder:
    """Writes one JSON object a line, into one file for each run and process; nothing where no folder is given."""

    def __init__(self, folder: Path | None, run: str) -> None:
        self._folder, self._run = folder, re.sub(r"[^\w.-]", "_", run)
        self._lock = threading.Lock()
        self._file: TextIO | None = None

    @classmethod
    def of_environment(cls, run: str) -> Recorder:
        """As SUIRO_HTTP_RECORD says."""
        folder = os.environ.get(FOLDER)
        return cls(Path(folder) if folder else None, run)

    def answered(self, request: httpx2.Request, answer: Answer, secrets: Collection[str]) -> None:
        """Write down a request and its answer; of an answer that is taken piece by piece the head alone."""
        if self._folder is None:
            return
        said = {"status": answer.status, "headers": _headers(answer.headers), "body": _text(answer.content)}
        self._write(_asked(request) | {"answer": said}, secrets)

    def failed(self, request: httpx2.Request, what: str, secrets: Collection[str]) -> None:
        """Write down a request that got no answer."""
        if self._folder is not None:
            self._write(_asked(request) | {"failed": what}, secrets)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _write(self, said: Mapping[str, Any], secrets: Collection[str]) -> None:
        line = json.dumps(said, ensure_ascii=False)
        line = without_secrets(line, secrets)
        with self._lock:
            if self._file is None:
                self._file = self._opened()
            self._file.write(line + "\n")
            self._file.flush()

    def _opened(self) -> TextIO:
        assert self._folder is not None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"{self._run}-{os.getpid()}.jsonl"
            return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w", encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"requests can't be recorded in {self._folder}: {error.strerror}",
                hint=f"{FOLDER} must name a folder that may be written to, or be unset.",
            ) from error


def without_secrets(text: str, secrets: Collection[str]) -> str:
    """The text without these values, however they are written: plain, in a URL, in JSON."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        forms = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), json.dumps(secret)[1:-1]}
        forms |= {json.dumps(one, ensure_ascii=False)[1:-1] for one in tuple(forms)}
        for form in sorted(forms, key=len, reverse=True):
            text = text.replace(form, _INSTEAD)
    return text


def _asked(request: httpx2.Request) -> dict[str, Any]:
    try:
        body = _body(request.content, request.headers.get("content-type", ""))
    except httpx2.RequestNotRead:
        body = "[sent piece by piece]"
    return {
        "at": time.time(),
        "method": request.method,
        "url": _url(str(request.url)),
        "headers": _headers(request.headers),
        "body": body,
    }


def _headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: _INSTEAD if _SECRET.search(name) else _url(value) for name, value in headers.items()}


def _url(url: str) -> str:
    """A URL without what its query holds of secrets; other text as it is."""
    parts = urlsplit(url) if "://" in url or url.startswith(("/", "?")) else None
    if parts is None or not (parts.query or parts.fragment or "@" in parts.netloc):
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, _form(parts.query), _form(parts.fragment)))


def _form(text: str) -> str:
    pairs = parse_qsl(text, keep_blank_values=True)
    return urlencode([(name, _INSTEAD if _hides(name) else value) for name, value in pairs], safe="[]:")


def _hides(name: str) -> bool:
    """Whether a parameter holds a secret; a `code` is one only here: in a body it is an error's."""
    return name == "code" or _SECRET.search(name) is not None


def _body(content: bytes, kind: str) -> str:
    return _form(content.decode("utf-8", "replace")) if "form-urlencoded" in kind else _text(content)


def _text(content: bytes) -> str:
    """A body without the values of JSON keys and XML elements that sound like secrets."""
    text = content[: MOST_KEPT + 8192].decode("utf-8", "replace")  # what is cut off may be half of a secret
    text = _PAIR.sub(lambda m: f'{m[1]}"{_INSTEAD if _SECRET.search(m[2]) else m[3]}{m[4]}', text)
    text = _ELEMENT.sub(lambda m: f"{m[1]}{_INSTEAD if _SECRET.search(m[2]) else m[3]}{m[4]}", text)
    return text if len(content) <= MOST_KEPT else f"{text[:MOST_KEPT]}[cut off: {len(content):,} bytes in all]"
