"""One request on its way: where it goes, what it carries, and whether it may be sent again."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypedDict

import httpx2

from suiro.model.errors import ConfigError, DataError
from suiro.toolkit.http.patience import Patience

Content = bytes | Iterator[bytes] | Callable[[], Iterator[bytes]]
Params = Mapping[str, str | int | None]

_REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
MOST_REDIRECTS: Final = 5


class How(TypedDict, total=False):
    """The ways in which a request can differ from a plain one."""

    params: Params  #: of the URL; those that are None are left out
    json: Any  #: the body, as JSON
    form: Mapping[str, str]  #: the body, as forms of web pages send it
    content: Content  #: the body as bytes, or what gives it piece by piece; a callable can give it again
    headers: Mapping[str, str]
    repeatable: bool  #: may be sent again though it may have arrived; by default GET, HEAD, PUT and DELETE
    allow: Collection[int]  #: statuses of 300 and more that are no refusal: their answer is returned
    label: str  #: how errors and logs call the path, where it holds a row's values
    patience: Patience


class Body:
    """What a request carries. A plain iterator gives it once."""

    def __init__(self, content: Content | None) -> None:
        self._content, self.begun = content, False

    def pieces(self) -> bytes | Iterator[bytes] | None:
        """The body, from its beginning."""
        if self._content is None or isinstance(self._content, bytes):
            return self._content
        return self._counted(self._content() if callable(self._content) else self._content)

    @property
    def again(self) -> bool:
        """Whether it can be given from its beginning once more."""
        return self._content is None or isinstance(self._content, bytes) or callable(self._content) or not self.begun

    def _counted(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        self.begun = True
        yield from pieces


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """One request, before it is signed."""

    method: str
    url: httpx2.URL
    headers: Mapping[str, str]
    body: Body
    sent: Any  #: the body as it was given, for `hidden`
    repeatable: bool
    allow: frozenset[int]
    label: str
    patience: Patience | None
    signed: bool = True  #: False: on its way to another host
    redirects: int = 0

    @property
    def what(self) -> str:
        """The request in words, without values."""
        return f"{self.method} {self.label} at {self.url.netloc.decode()}"

    def request(self, standing: Mapping[str, str], timeout: httpx2.Timeout) -> httpx2.Request:
        """The request as the library sends it, not signed yet."""
        return httpx2.Request(
            self.method,
            self.url,
            headers={**(standing if self.signed else {}), **self.headers},
            content=self.body.pieces(),
            extensions={"timeout": timeout.as_dict()},
        )

    def hidden(self, shown: frozenset[str]) -> list[str]:
        """Values that were sent, longest first; those of the keys `shown` aren't among them."""
        return sorted(set(_texts(self.sent, shown)), key=len, reverse=True)

    def redirected(self, status: int, location: str | None) -> Sending | None:
        """Where the answer sends it on; None where it doesn't.

        Credentials go along only to the same host, and never from https to http.
        """
        if status not in _REDIRECTS or not location or self.method not in ("GET", "HEAD"):
            return None
        if self.redirects >= MOST_REDIRECTS:
            raise ConfigError(f"{self.what} was sent on {MOST_REDIRECTS} times", hint="Check the address.")
        url = self.url.join(location)
        if self.url.scheme == "https" and url.scheme != "https":
            raise ConfigError(f"{self.what} was sent on to an address without TLS", hint="Check the address.")
        upgraded = (self.url.scheme, url.scheme) == ("http", "https") and self.url.host == url.host
        same = origin(url) == origin(self.url) or (upgraded and self.url.port is None and url.port is None)
        headers = self.headers if same else {}
        return replace(self, url=url, signed=self.signed and same, headers=headers, redirects=self.redirects + 1)


def sending(method: str, base_url: str, path_or_url: str, how: How) -> Sending:
    """A request to a path under the base URL, or to a URL of the same host."""
    url = _url(base_url, path_or_url)
    label = how.get("label") or httpx2.URL(path_or_url).path
    params = {name: str(value) for name, value in how.get("params", {}).items() if value is not None}
    headers = dict(how.get("headers", {}))
    content: Content | None = how.get("content")
    if "json" in how:
        content = json.dumps(how["json"], ensure_ascii=False, separators=(",", ":")).encode()
        headers.setdefault("Content-Type", "application/json")
    elif "form" in how:
        content = str(httpx2.QueryParams(dict(how["form"]))).encode()
        headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
    return Sending(
        method=method,
        url=url.copy_merge_params(params) if params else url,
        headers=headers,
        body=Body(content),
        sent=how["json"] if "json" in how else how.get("form"),
        repeatable=how.get("repeatable", method in _REPEATABLE),
        allow=frozenset(how.get("allow", ())),
        label=label,
        patience=how.get("patience"),
    )


def origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    """Scheme, host and port; a usual port is None."""
    return url.scheme, url.host, url.port


def _url(base_url: str, path_or_url: str) -> httpx2.URL:
    try:
        base, url = httpx2.URL(base_url), httpx2.URL(path_or_url)
    except httpx2.InvalidURL as error:
        raise ConfigError(f"the address {base_url!r} can't be read: {error}", hint="Write https://host.") from error
    if base.scheme not in ("http", "https") or not base.host:
        raise ConfigError(f"the address {base_url!r} is no web address", hint="Write https://host.")
    if not url.scheme:
        return httpx2.URL(f"{base_url.rstrip('/')}/{path_or_url.lstrip('/')}")
    if origin(url) != origin(base):
        raise DataError(
            f"{base.host} gave a link to another host, {url.host}, which gets no credentials",
            hint="Check the address of the connection.",
        )
    return url


def _texts(sent: Any, shown: frozenset[str]) -> Iterator[str]:
    if isinstance(sent, Mapping):
        for key, value in sent.items():
            if key not in shown:
                yield from _texts(value, shown)
    elif isinstance(sent, list | tuple):
        for value in sent:
            yield from _texts(value, shown)
    elif isinstance(sent, str) and len(sent) > 2:
        yield sent
