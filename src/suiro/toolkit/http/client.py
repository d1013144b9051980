"""The HTTP client of all connectors to web services: waits its turn, signs, tries again, counts, translates errors."""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from http import HTTPStatus
from typing import Any, Final, Unpack, assert_never

import httpx2

from suiro import __version__
from suiro.model.errors import Cancelled, ConfigError, ConnectionLost, DataError, SuiroError, TransientError
from suiro.spi.context import Context, Rate
from suiro.toolkit.http.answers import Answer, Answers, Meaning, Reaction
from suiro.toolkit.http.auth import Auth
from suiro.toolkit.http.patience import Patience, Trouble
from suiro.toolkit.http.recording import Recorder, without_secrets
from suiro.toolkit.http.sending import How, Sending, sending

ANY: Final = Rate(requests=2**31 - 1, seconds=60.0)  #: no limit but those that the service tells
_ENDING: Final = 5.0  #: seconds for requests under way to end when the client is closed
LONG: Final = 20.0  #: seconds of waiting that are worth a line in the log
TIMEOUT: Final = httpx2.Timeout(connect=15.0, read=120.0, write=120.0, pool=None)

_STANDING: Final = {
    "User-Agent": f"suiro/{__version__}",
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate",
}
_NOT_SENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
_NO_TLS: Final = frozenset(
    {
        "WRONG_VERSION_NUMBER",
        "HTTP_REQUEST",
        "UNSUPPORTED_PROTOCOL",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "RECORD_LAYER_FAILURE",
    }
)
_NOT_OURS: Final = (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError)

for _name in ("httpx2", "httpcore2"):  # below that they write whole URLs into the log
    logging.getLogger(_name).setLevel(logging.WARNING)


class Streamed:
    """An answer whose body is taken piece by piece."""

    def __init__(self, client: HttpClient, sending: Sending, response: httpx2.Response, head: Answer) -> None:
        self._client, self._sending, self._response = client, sending, response
        self.head = head  #: status and headers; its content is empty

    def chunks(self, size: int = 1 << 18) -> Iterator[bytes]:
        """The body, unpacked, in pieces of at most about `size` bytes. ConnectionLost where it breaks off."""
        try:
            for chunk in self._response.iter_bytes(size):
                self._client.context.check_cancelled()
                yield chunk
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            self._client.context.check_cancelled()
            raise ConnectionLost(f"{self._sending.what}: the answer broke off ({_seen(error)})") from error


class HttpClient:
    """Requests to one service with one account's credentials; safe to use from several threads.

    A status of 300 or more raises: AuthError (401 once renewing didn't help, 403), RateLimited (429, when the waits
    that were told are too long), TransientError (5xx), ConfigError (404, 410, a host or certificate that isn't
    right), UserError (other 4xx), or what the service's `answers` say; ConnectionLost where no answer came. Passing
    faults are tried again before they are raised. What may have arrived is sent again only if it is repeatable.
    """

    def __init__(
        self,
        context: Context,
        *,
        base_url: str | Callable[[], str],
        auth: Auth,
        account: str,
        rate: Rate | None = None,
        answers: Answers = Answers(),  # noqa: B008  (frozen)
        patience: Patience = Patience(),  # noqa: B008  (frozen)
        headers: Mapping[str, str] | None = None,
        timeout: httpx2.Timeout = TIMEOUT,
        connections: int = 16,
        most_bytes: int = 512 * 2**20,
    ) -> None:
        """`account` is the key of what is shared with other processes; `headers` go with every request.

        `base_url` may be a callable, for services that tell it when they are signed in to. `most_bytes`: longer bodies
        are a DataError, but for `stream`.
        """
        self.context, self.auth, self.account, self.answers = context, auth, account, answers
        self._base_url, self._rate, self._patience, self._timeout = base_url, rate or ANY, patience, timeout
        self._standing = {**_STANDING, **(headers or {})}
        self._most_bytes = most_bytes
        limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
        trust = _trust(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
        self._http = httpx2.Client(timeout=timeout, limits=limits, follow_redirects=False, verify=trust)
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._take_back = context.on_cancel(self._break_off)
        self._recorder = Recorder.of_environment(context.run)
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._idle, self._under_way = threading.Condition(), 0
        self.requests = 0  #: that were sent, those that were sent again among them
        self.bytes_sent = 0
        self.bytes_received = 0  #: of bodies, as they came over the wire

    def get(self, path_or_url: str, **how: Unpack[How]) -> Answer:
        """The answer to a GET; see `How` for what may be given to any of these methods."""
        return self.request("GET", path_or_url, **how)

    def post(self, path_or_url: str, **how: Unpack[How]) -> Answer:
        """The answer to a POST."""
        return self.request("POST", path_or_url, **how)

    def put(self, path_or_url: str, **how: Unpack[How]) -> Answer:
        """The answer to a PUT."""
        return self.request("PUT", path_or_url, **how)

    def patch(self, path_or_url: str, **how: Unpack[How]) -> Answer:
        """The answer to a PATCH."""
        return self.request("PATCH", path_or_url, **how)

    def delete(self, path_or_url: str, **how: Unpack[How]) -> Answer:
        """The answer to a DELETE."""
        return self.request("DELETE", path_or_url, **how)

    def request(self, method: str, path_or_url: str, **how: Unpack[How]) -> Answer:
        """The answer to a request, its body whole."""
        _, response, answer = self._answered(sending(method, self.base_url, path_or_url, how), whole=True)
        response.close()
        return answer

    def stream(self, method: str, path_or_url: str, **how: Unpack[How]) -> AbstractContextManager[Streamed]:
        """The answer to a request, its body still to come."""
        return self._streaming(sending(method, self.base_url, path_or_url, how))

    @contextmanager
    def _streaming(self, wanted: Sending) -> Iterator[Streamed]:
        sent, response, answer = self._answered(wanted, whole=False)
        try:
            yield Streamed(self, sent, response, answer)
        finally:
            with self._lock:
                self.bytes_received += response.num_bytes_downloaded
            response.close()

    @property
    def base_url(self) -> str:
        """What paths begin with."""
        return self._base_url if isinstance(self._base_url, str) else self._base_url()

    def refusal(self, sent: str, answer: Answer, hidden: tuple[str, ...] = ()) -> SuiroError:
        """An answer as the error that it means; `sent` are words for the request, `hidden` what isn't repeated."""
        meaning, said = self.answers.meaning(answer), self.answers.said(answer)
        message = without_secrets(said.message or "", [*self.auth.secrets(), *hidden])
        known = {status.value: status.phrase for status in HTTPStatus}
        parts = [f"{answer.status} {known.get(answer.status, '')}".strip(), said.code, message]
        told = f"{sent}: {': '.join(part for part in parts if part)}"
        trace = self.answers.trace
        if trace and answer.headers.get(trace):
            told += f" ({trace} {answer.headers[trace][:100]})"
        if issubclass(meaning.error, TransientError):
            return meaning.error(told, hint=meaning.hint, retry_after=self.answers.wait(answer) or meaning.seconds)
        return meaning.error(told, hint=meaning.hint)

    def close(self) -> None:
        """Let go of connections. Requests under way in other threads end in Cancelled."""
        self._closed.set()
        self._take_back()
        self._break_off()
        with self._idle:
            self._idle.wait_for(lambda: not self._under_way, timeout=_ENDING)
        self._http.close()
        self._recorder.close()

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- one request, until it is answered ---

    def _answered(self, wanted: Sending, *, whole: bool) -> tuple[Sending, httpx2.Response, Answer]:
        with self._idle:
            self._under_way += 1
        try:
            return self._until_answered(wanted, whole=whole)
        finally:
            with self._idle:
                self._under_way -= 1
                self._idle.notify_all()

    def _until_answered(self, wanted: Sending, *, whole: bool) -> tuple[Sending, httpx2.Response, Answer]:
        trouble, renewed = Trouble(wanted.patience or self._patience), False
        while True:
            self._take_turn(wanted)
            began = time.monotonic()
            request = wanted.request(self._standing, self._timeout)
            if wanted.signed:
                self.auth.sign(request)
            try:
                response, answer = self._once(request, whole=whole, allow=wanted.allow)
            except (httpx2.TransportError, httpx2.DecodingError) as error:
                trouble.took(time.monotonic() - began)
                self._after_fault(wanted, error, trouble)
                continue
            trouble.took(time.monotonic() - began)
            self._learn(answer)
            if answer.status in wanted.allow or (answer.status < 300 and not self.answers.refuses(answer)):
                return wanted, response, answer
            further = wanted.redirected(answer.status, answer.headers.get("location"))
            if further is not None:
                wanted = further
                continue
            meaning = self.answers.meaning(answer)
            if meaning.reaction is Reaction.RENEW and not renewed and wanted.signed and wanted.body.again:
                renewed = True
                if self.auth.renewed(request):
                    continue
            self._after_refusal(wanted, answer, meaning, trouble)

    def _once(self, request: httpx2.Request, *, whole: bool, allow: frozenset[int]) -> tuple[httpx2.Response, Answer]:
        """Send it once. The body is read where it is wanted whole, or tells of a refusal."""
        request.extensions["trace"] = self._keep_socket
        with self._lock:
            self.requests += 1
            self.bytes_sent += int(request.headers.get("content-length", 0))
        try:
            response = self._http.send(request, stream=True)
            answer = self._read(
                response, whole=whole or (response.status_code >= 300 and response.status_code not in allow)
            )
        except Exception as error:
            self._recorder.failed(request, type(error).__name__, self.auth.secrets())
            raise
        self._recorder.answered(request, answer, self.auth.secrets())
        return response, answer

    def _read(self, response: httpx2.Response, *, whole: bool) -> Answer:
        content = bytearray()
        if whole:
            try:
                for chunk in response.iter_bytes(1 << 20):
                    content += chunk
                    self.context.check_cancelled()
                    if len(content) > self._most_bytes:
                        raise DataError(
                            f"{response.request.url.host} answered with more than {self._most_bytes:,} bytes at once",
                            hint="Ask for smaller pages.",
                        )
            finally:
                response.close()
            with self._lock:
                self.bytes_received += response.num_bytes_downloaded
        return Answer(
            status=response.status_code,
            headers=response.headers,
            content=bytes(content),
            url=str(response.request.url),
        )

    def _take_turn(self, wanted: Sending) -> None:
        """Wait until the account may ask again."""
        told = False
        while (seconds := self.context.quotas.take(self.account, self._rate)) > 0:
            if seconds >= LONG and not told:
                self.context.log.info("%s has to wait %.0f s for the service's quota", wanted.what, seconds)
                told = True
            self._wait(seconds)
        self._check()

    def _learn(self, answer: Answer) -> None:
        known = self.answers.left(answer.headers)
        if known is not None:
            self.context.quotas.learn(self.account, left=known[0], seconds=known[1])

    def _after_fault(self, wanted: Sending, error: Exception, trouble: Trouble) -> None:
        """Wait before it is sent again, or raise what became of it."""
        self._check()
        _raise_hopeless(wanted, error)
        again = wanted.body.again and (wanted.repeatable or isinstance(error, _NOT_SENT))
        delay = trouble.delay() if again else None
        if delay is None:
            hint = None if again else "It may have arrived, and is not sent twice."
            raise ConnectionLost(f"{wanted.what}: {_seen(error)}", hint=hint) from error
        self.context.log.debug("%s: %s; again in %.1f s", wanted.what, _seen(error), delay)
        self._wait(delay)

    def _after_refusal(self, wanted: Sending, answer: Answer, meaning: Meaning, trouble: Trouble) -> None:
        """Wait before it is sent again, or raise what the answer means."""
        error = self.refusal(wanted.what, answer, tuple(wanted.hidden(self.answers.shown)))
        told = self.answers.wait(answer)
        delay: float | None
        match meaning.reaction:
            case Reaction.STOP | Reaction.RENEW:
                raise error
            case Reaction.PAUSE:
                delay = trouble.pause(told or meaning.seconds) if wanted.body.again else None
            case Reaction.AGAIN:
                delay = trouble.pause(told) if wanted.body.again and wanted.repeatable else None
            case _ as never:
                assert_never(never)
        if delay is None:
            raise error
        if meaning.reaction is Reaction.PAUSE or told:
            self.context.quotas.pause(self.account, delay)
        else:
            self._wait(delay)

    def _wait(self, seconds: float) -> None:
        """Sleep; Cancelled if the user stops the run meanwhile, or the client is closed."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.context.wait(min(left, 1.0))
            self._check()

    def _check(self) -> None:
        """Raise Cancelled if the user stopped the run, or the client is closed."""
        self.context.check_cancelled()
        if self._closed.is_set():
            raise Cancelled("the client was closed while a request was under way")

    # --- cancel ---

    def _keep_socket(self, event: str, info: Mapping[str, Any]) -> None:
        """Remember the sockets that are opened, so that a cancel can break them off."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._sockets.add(info["return_value"].get_extra_info("socket"))

    def _break_off(self) -> None:
        for one in list(self._sockets):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(one, socket.SHUT_RDWR)


@functools.cache
def _trust(file: str | None, folder: str | None) -> ssl.SSLContext:
    """The certificate authorities to trust: those of this machine, or of the environment. Slow to load."""
    return httpx2.create_ssl_context()


def _seen(error: BaseException) -> str:
    """A fault in words. The library's own text may repeat what was sent."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, OSError) and cause.errno is not None and not isinstance(cause, ssl.SSLError):
            return cause.strerror or errno.errorcode.get(cause.errno, str(cause.errno))
    if isinstance(error, httpx2.TimeoutException):
        return "no connection in time" if isinstance(error, httpx2.ConnectTimeout) else "no answer in time"
    if isinstance(error, httpx2.DecodingError):
        return "the answer can't be unpacked"
    if isinstance(error, httpx2.RemoteProtocolError):
        return "the connection was closed before the answer was whole"
    return type(error).__name__


def _raise_hopeless(wanted: Sending, error: Exception) -> None:
    """ConfigError where trying again can't help."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise ConfigError(
                f"{wanted.what}: the server's certificate is not trusted: {cause.verify_message}",
                hint="Check the address; a certificate authority of your own goes into SSL_CERT_FILE.",
            ) from error
        if isinstance(cause, ssl.SSLError) and cause.reason in _NO_TLS:
            raise ConfigError(
                f"{wanted.what}: there is no TLS that both sides know ({cause.reason})", hint="Check address and port."
            ) from error
        if isinstance(cause, socket.gaierror) and cause.errno in (socket.EAI_NONAME, socket.EAI_NODATA):
            raise ConfigError(f"there is no host {wanted.url.host!r}", hint="Check the address.") from error
    if isinstance(error, _NOT_OURS):
        raise ConfigError(
            f"{wanted.what} can't be sent: the address or a header holds what HTTP doesn't allow",
            hint="Check the address and the token for line breaks and other letters that don't belong there.",
        ) from None


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
