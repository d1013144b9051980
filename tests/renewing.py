"""A process whose threads share one OAuth grant with other processes, and grants in a file for them all."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock

from suiro.engine.accounts import Accounts
from suiro.model.schema import Json
from suiro.spi.context import Grant
from suiro.testing.context import LocalContext
from suiro.toolkit.http.client import HttpClient
from suiro.toolkit.http.grants import RefreshToken
from suiro.toolkit.http.oauth import OAuth, TokenEndpoint


class FileGrants:
    """Grants in a file, for several processes: the protocol in its plainest form."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self, key: str) -> Grant | None:
        said = json.loads(self._path.read_text()) if self._path.exists() else {}
        return Grant(version=said[key][0], values=said[key][1]) if key in said else None

    def renew(self, key: str, seen: int, ask: Callable[[Grant | None], Mapping[str, Json]]) -> Grant:
        with FileLock(f"{self._path}.lock"):
            now = self.load(key)
            if now is not None and now.version > seen:
                return now
            newer = Grant(version=(now.version if now else 0) + 1, values=ask(now))
            written = self._path.with_suffix(".new")
            written.write_text(json.dumps({key: [newer.version, dict(newer.values)]}))
            written.replace(self._path)
            return newer


def shared(folder: Path, run: str) -> LocalContext:
    """The context of one run, with the grants of the folder."""
    return LocalContext(run=run, workdir=folder / run, accounts=Accounts(grants=FileGrants(folder / "grants.json")))


def work(folder: Path, url: str, run: str) -> None:
    """Four threads ask at once for what needs a token."""
    context = shared(folder, run)
    endpoint = TokenEndpoint(url=f"{url}/token", client_id="app", client_secret="hush")
    auth = OAuth(context, key="crm", endpoint=endpoint, way=RefreshToken("r0"))
    with HttpClient(context, base_url=url, auth=auth, account="crm") as http:
        threads = [threading.Thread(target=http.get, args=("/rows",)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert http.get("/rows").json() == [1]


if __name__ == "__main__":
    work(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
