"""Databases behind an SSH server, and TLS with them: logins, host keys, copies, and everything that goes wrong."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import asyncssh
import psycopg
import pymysql
import pytest

import mariadb as mariadb_module
from certificates import Authority
from copying import copied, copy
from mariadb import MariaDBServer, database_of
from server_process import Account
from servers import PostgresServer
from ssh import (
    CLIENT_KEYS,
    HOST_KEYS,
    PASSPHRASE,
    Agent,
    DialogueServer,
    Dropping,
    Silent,
    SshServer,
    installed_sshd,
    wait_until,
)
from suiro.app.connections import check, connection
from suiro.app.runs import Copy, Copying
from suiro.app.workbench import sql
from suiro.connectors.postgres.config import PostgresConfig
from suiro.connectors.postgres.raw import copy_out
from suiro.model.errors import AuthError, ConfigError, ConnectionLost, SuiroError
from suiro.model.job import Task
from suiro.model.run import Status
from suiro.testing.context import LocalContext
from suiro.toolkit.sql import tunnel
from suiro.toolkit.sql.tunnel import reach

SSHD = installed_sshd()
pytestmark = pytest.mark.skipif(SSHD is None, reason="no SSH server: install the system's `openssh-server` package")

ROWS = 200_000
FEW = 20_000
MAKE_POSTGRES = (
    "CREATE TABLE big AS SELECT g AS id, (g * 7.25)::numeric(12,2) AS amount, to_timestamp(g) AS at, "
    "md5(g::text) AS name FROM generate_series(1, {rows}) g; ALTER TABLE big ADD PRIMARY KEY (id)"
)
SUMS_POSTGRES = (
    "SELECT count(*), count(DISTINCT id), sum(id), sum(amount), md5(string_agg(name, '' ORDER BY id)) FROM {}"
)


@pytest.fixture(scope="module")
def sshd() -> Iterator[SshServer]:
    assert SSHD is not None
    with SshServer(SSHD) as server:
        yield server


@pytest.fixture(autouse=True)
def _no_tunnel_stays() -> Iterator[None]:
    yield
    assert tunnel._tunnels == {}
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("suiro-ssh")] == []


def through(url: str, server: SshServer, **settings: Any) -> str:
    """The address with a tunnel through that server."""
    return f"{url}{'&' if '?' in url else '?'}{server.query(**settings)}"


def property_string(url: str, server: SshServer, more: str) -> str:
    """The same as a connection string, with the properties of a login."""
    at = urlsplit(url)
    return (
        f"User={at.username};Password={at.password};Database={at.path[1:]};Server={at.hostname};Port={at.port};"
        f"UseSSH=true;SSHPort={server.port};SSHServer=127.0.0.1;SSHUser={server.user};{more}"
    )


def refused(conn: str, kind: type[SuiroError], *words: str) -> None:
    """Checking that connection ends in one sentence of that kind with these words, and what to do."""
    with pytest.raises(kind) as error:
        check(conn)
    assert type(error.value) is kind
    for word in words:
        assert word in error.value.message, error.value.message
    assert error.value.hint and "\n" not in error.value.message


# -- logging in ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLIENT_KEYS)
def test_each_kind_of_key_opens_the_tunnel(sshd: SshServer, postgres_url: str, name: str) -> None:
    passphrase = PASSPHRASE if CLIENT_KEYS[name][2] else None
    check(through(postgres_url, sshd, private_key_file=sshd.key(name), passphrase=passphrase))


def test_a_key_may_be_pasted(sshd: SshServer, postgres_url: str) -> None:
    text = sshd.key("rsa.pem").read_text()
    for pasted in (text, text.replace("\n", "\\n"), base64.b64encode(text.encode()).decode()):
        check(through(postgres_url, sshd, private_key_file=None, private_key=pasted))
    blob = base64.b64encode(text.encode()).decode()
    for more in (f"SSHClientCertType=PEMKEY_BLOB;SSHClientCert={blob}", f'SSHClientCert="{text}"'):
        check(property_string(postgres_url, sshd, more))


def test_a_password_opens_the_tunnel(sshd: SshServer, postgres_url: str) -> None:
    if sshd.password is None:
        pytest.skip("this machine lets no server have users of its own")
    check(through(postgres_url, sshd, private_key_file=None, password=sshd.password))
    check(property_string(postgres_url, sshd, f"SSHPassword={sshd.password};"))
    check(property_string(postgres_url, sshd, f"SSHAuthMode=Password;SSHPassword={sshd.password};"))
    stranger = {"private_key_file": sshd.key("stranger"), "password": sshd.password}
    check(through(postgres_url, sshd, **stranger))  # both are given: the key is tried first
    refused(through(postgres_url, sshd, **stranger, auth="public_key"), AuthError, "refused user")
    refused(
        through(postgres_url, sshd, private_key_file=None, password="s3cret!"), AuthError, sshd.user, "this password"
    )


def test_a_password_asked_for_in_a_dialogue_opens_the_tunnel(postgres_url: str) -> None:
    """Servers with PAM often take passwords by keyboard-interactive only; asyncssh's own server does so here."""
    with DialogueServer("a secret; of tests") as server:
        given = f"ssh_host=127.0.0.1&ssh_port={server.port}&ssh_user=u&ssh_password={quote(server.password)}"
        check(f"{postgres_url}?{given}")
        refused(f"{postgres_url}?{given}x", AuthError, "this password")


def test_a_key_that_the_server_does_not_know_is_named(sshd: SshServer, postgres_url: str) -> None:
    fingerprint = asyncssh.read_private_key(sshd.key("stranger")).get_fingerprint()
    refused(through(postgres_url, sshd, private_key_file=sshd.key("stranger")), AuthError, sshd.user, fingerprint)


def test_a_key_is_looked_for_where_it_is_written_and_then_by_its_name(
    sshd: SshServer, postgres_url: str, suiro_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    conn = property_string(postgres_url, sshd, r"SSHClientCertType=PEMKEY_FILE;SSHClientCert=C:\Keys\key.pem;")
    refused(conn, ConfigError, r"C:\Keys\key.pem")
    for folder in (suiro_home / "keys", here):
        folder.mkdir(exist_ok=True)
        shutil.copy(sshd.key("rsa.pem"), folder / "key.pem")
        check(conn)
        (folder / "key.pem").unlink()
    refused(conn, ConfigError, r"C:\Keys\key.pem")


def test_keys_that_cannot_be_opened_are_told_apart(sshd: SshServer, postgres_url: str, tmp_path: Path) -> None:
    for name in [name for name, (_, _, encrypted) in CLIENT_KEYS.items() if encrypted]:
        key = sshd.key(name)
        refused(through(postgres_url, sshd, private_key_file=key), ConfigError, str(key), "no passphrase is given")
        refused(through(postgres_url, sshd, private_key_file=key, passphrase="w0rd"), ConfigError, "passphrase doesn't")
    for text in ("", "ssh-ed25519 AAAA", "PuTTY-User-Key-File-3: ssh-rsa\n", "-----BEGIN CERTIFICATE-----\n"):
        (tmp_path / "odd").write_text(text)
        refused(through(postgres_url, sshd, private_key_file=tmp_path / "odd"), ConfigError, "no private key in PEM")
    refused(through(postgres_url, sshd, private_key_file=None), ConfigError, "private_key_file")


def test_the_users_own_ssh_settings_are_not_consulted(
    sshd: SshServer, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "user"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "config").write_text("Host *\n  User somebody\n  Port 1\n  HostName no-such-host.invalid\n")
    (home / ".ssh" / "known_hosts").write_text(
        f"[127.0.0.1]:{sshd.port} {asyncssh.generate_private_key('ssh-ed25519').export_public_key().decode()}"
    )
    shutil.copy(sshd.key("ed25519"), home / ".ssh" / "id_ed25519")
    monkeypatch.setenv("HOME", str(home))
    agent = Agent(tmp_path / "agent")
    monkeypatch.setenv("SSH_AUTH_SOCK", str(agent.path))
    with agent:
        check(through(postgres_url, sshd))
        refused(through(postgres_url, sshd, private_key_file=sshd.key("stranger")), AuthError, "refused user")
        refused(through(postgres_url, sshd, private_key_file=None, password="x"), AuthError, "refused user")
    assert agent.visits == 0


# -- host keys -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", HOST_KEYS)
def test_a_pinned_host_key_is_proved(sshd: SshServer, postgres_url: str, suiro_home: Path, kind: str) -> None:
    found = check(through(postgres_url, sshd, host_key=sshd.fingerprint(kind)))
    assert found.notes == ()
    assert not (suiro_home / "known_hosts").exists()


def test_another_host_key_than_the_pinned_is_refused(sshd: SshServer, postgres_url: str) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").get_fingerprint()
    refused(through(postgres_url, sshd, host_key=other), ConfigError, sshd.fingerprint(), other)
    refused(through(postgres_url, sshd, host_key="SHA256:x"), ConfigError, "ssh.host_key", "fingerprint")


def test_without_a_pin_the_first_key_is_remembered_and_another_refused(postgres_url: str, suiro_home: Path) -> None:
    assert SSHD is not None
    with SshServer(SSHD) as server:
        (note,) = check(through(postgres_url, server)).notes
        assert f"ssh_host_key={server.fingerprint()}" in note
        check(through(postgres_url, server))
        (line,) = (suiro_home / "known_hosts").read_text().splitlines()
        assert line.startswith(f"[127.0.0.1]:{server.port} ssh-ed25519 ")
        before, port = server.fingerprint(), server.port
        server.stop(keep=True)
        key = asyncssh.generate_private_key("ssh-ed25519")
        for name, write in (("host_ed25519", key.write_private_key), ("host_ed25519.pub", key.write_public_key)):
            write(server.folder / name)
        server.start(port)
        refused(through(postgres_url, server), ConfigError, before, server.fingerprint())
        (suiro_home / "known_hosts").unlink()
        check(through(postgres_url, server))


def test_the_command_line_tells_how_to_pin_and_keeps_secrets(sshd: SshServer, postgres_url: str) -> None:
    def suiro(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "suiro.cli.main", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    by_key = property_string(postgres_url, sshd, f"SSHClientCert={sshd.key('ed25519')}")
    said = suiro("check", by_key)
    assert said.returncode == 0, said.stderr
    assert f"ssh_host_key={sshd.fingerprint()}" in said.stderr.replace("\n", "")
    answer = json.loads(suiro("check", by_key, "--json").stdout)
    assert answer["ok"] is True and sshd.fingerprint() in answer["notes"][0]
    said = suiro("copy", property_string(postgres_url, sshd, "SSHPassword=s3cret-w0rd"), "warehouse", "--all", "--json")
    assert said.returncode == 1
    assert "refused user" in said.stdout + said.stderr
    for secret in ("s3cret-w0rd", str(urlsplit(postgres_url).password)):
        assert secret not in said.stdout + said.stderr + json.dumps(answer)


def test_a_server_that_lost_the_known_kind_of_key_is_refused(
    sshd: SshServer, postgres_url: str, suiro_home: Path
) -> None:
    suiro_home.mkdir()
    known = asyncssh.generate_private_key("ecdsa-sha2-nistp521")
    (suiro_home / "known_hosts").write_text(
        f"[127.0.0.1]:{sshd.port} {known.export_public_key().decode()}", encoding="utf-8"
    )
    refused(through(postgres_url, sshd), ConfigError, known.get_fingerprint(), "before")
    (suiro_home / "known_hosts").write_text(f"[127.0.0.1]:{sshd.port} ssh-ed25519 x\n")
    refused(through(postgres_url, sshd), ConfigError, "known_hosts, line 1")


# -- on the way ------------------------------------------------------------------------------------------------------


def test_an_ssh_server_that_cannot_be_reached_is_told_from_the_database(sshd: SshServer, postgres_url: str) -> None:
    refused(
        through(postgres_url, sshd, host="no-such-host.invalid"), ConnectionLost, "no-such-host.invalid", "SSH server"
    )
    refused(through(postgres_url, sshd, port=1), ConnectionLost, "nothing answers at 127.0.0.1:1", "SSH server")
    port = urlsplit(postgres_url).port
    refused(through(f"{postgres_url}?connect_timeout=2", sshd, port=port), ConnectionLost, f"127.0.0.1:{port}")
    with Silent() as silent:
        before = time.monotonic()
        refused(
            through(f"{postgres_url}?connect_timeout=1", sshd, port=silent.port), ConnectionLost, "no answer", "SSH"
        )
        assert time.monotonic() - before < 5


def test_a_database_that_the_ssh_server_cannot_reach_is_named(sshd: SshServer, postgres_url: str) -> None:
    for scheme in ("postgresql", "mysql"):
        refused(through(f"{scheme}://u:p@127.0.0.1:1/d", sshd), ConnectionLost, "can't reach 127.0.0.1:1", "refused")
        refused(through(f"{scheme}://u:p@no-such.invalid/d", sshd), ConnectionLost, "can't reach no-such.invalid:")


def test_an_ssh_server_that_forbids_forwarding_is_told_so(postgres_url: str) -> None:
    assert SSHD is not None
    with SshServer(SSHD, "AllowTcpForwarding no") as server:
        refused(through(postgres_url, server), AuthError, "forbids forwarding to 127.0.0.1")
        refused(through("mysql://u:p@127.0.0.1:1/d", server), AuthError, "forbids forwarding to 127.0.0.1:1")


def test_no_socket_is_reached_through_ssh(sshd: SshServer, postgres: PostgresServer) -> None:
    refused(through(postgres.socket_url(), sshd), ConfigError, "Unix socket")


def test_no_thread_is_started_while_others_wait_to_let_go_of_tunnels(
    sshd: SshServer, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A way that the collector finds in a thread that starts is let go of there: it would wait for who waits for it."""
    config: Any = connection(through(postgres_url, sshd)).config
    really, free = threading.Thread.start, []

    def look() -> None:
        free.append(tunnel._lock.acquire(timeout=5))
        if free[-1]:
            tunnel._lock.release()

    def start(self: threading.Thread) -> None:
        if self.name.startswith("suiro-ssh"):
            tried = threading.Thread(target=look)
            really(tried)
            tried.join()
        really(self)

    monkeypatch.setattr(threading.Thread, "start", start)
    reach(config.ssh, config.host, config.port, Uncancelled(), 10).close()
    assert free == [True]


def test_sessions_of_one_source_share_a_tunnel_that_ends_with_the_last(sshd: SshServer, postgres_url: str) -> None:
    config: Any = connection(through(postgres_url, sshd)).config
    context = Uncancelled()
    before = set(sshd.sessions())
    ways = [reach(config.ssh, config.host, config.port, context, 10) for _ in range(3)]
    assert len({way.at for way in ways}) == 1
    assert len(set(sshd.sessions()) - before) == 1
    for way in ways[:2]:
        way.close()
        way.close()
    at = ways[2].at
    assert at is not None
    with psycopg.connect(postgres_url, hostaddr=at[0], port=at[1]) as session:
        assert session.execute("SELECT 1").fetchone() == (1,)
    ways[2].close()
    until = time.monotonic() + 10
    while set(sshd.sessions()) - before and time.monotonic() < until:
        time.sleep(0.05)
    assert not set(sshd.sessions()) - before


# -- rows ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extra", [{}, {"cursor": "at"}])
def test_rows_cross_the_tunnel_both_ways(
    sshd: SshServer, postgres: PostgresServer, postgres_url: str, extra: dict[str, str]
) -> None:
    """As binary COPY from PostgreSQL to PostgreSQL; with a cursor, through Arrow."""
    there = postgres.create_database()
    try:
        with psycopg.connect(postgres_url) as session:
            session.execute(MAKE_POSTGRES.format(rows=ROWS).encode())
        done = copied(through(postgres_url, sshd), through(there, sshd), "big", **extra)
        assert (done.rows_read, done.rows_written) == (ROWS, ROWS)
        assert _sums(there) == _sums(postgres_url)
    finally:
        postgres.drop_database(there)


def test_rows_cross_the_tunnel_to_mariadb_and_back(
    sshd: SshServer, postgres_url: str, mariadb: MariaDBServer, mariadb_url: str
) -> None:
    with psycopg.connect(postgres_url) as session:
        session.execute(MAKE_POSTGRES.format(rows=ROWS).encode())
    there = through(mariadb_url, sshd)
    copied(through(postgres_url, sshd), there, "big", key=("id",))
    assert mariadb.execute("SELECT count(*), sum(id) FROM big", database_of(mariadb_url)) == [
        (ROWS, ROWS * (ROWS + 1) // 2)
    ]
    copied(there, through(postgres_url, sshd), "big", table="again")
    assert _sums(postgres_url, "again") == _sums(postgres_url)


@pytest.mark.parametrize("extra", [{}, {"cursor": "at"}])
def test_a_tunnel_that_drops_while_rows_are_read_loses_and_doubles_none(
    sshd: SshServer, postgres: PostgresServer, postgres_url: str, extra: dict[str, str]
) -> None:
    there = postgres.create_database()
    try:
        _make_slow(postgres_url)
        with Dropping(sshd, lambda: _busy(postgres_url)) as dropping:
            done = copied(through(postgres_url, sshd), there, "slow", table="big", **extra)
        assert dropping.dropped == 1
        assert done.attempts == 2
        assert _sums(there, "big") == _sums(postgres_url, "big")
    finally:
        postgres.drop_database(there)


def test_a_tunnel_that_drops_while_rows_are_written_loses_and_doubles_none(
    sshd: SshServer, postgres_url: str, mariadb: MariaDBServer, mariadb_url: str
) -> None:
    _make_slow(postgres_url)
    database = database_of(mariadb_url)
    with Dropping(sshd, lambda: bool(mariadb.sessions(database)) and _busy(postgres_url)) as dropping:
        done = copied(postgres_url, through(mariadb_url, sshd), "slow", table="big", key=("id",), cursor="at")
    assert dropping.dropped == 1
    assert done.attempts == 2
    assert mariadb.execute("SELECT count(*), count(DISTINCT id), sum(id) FROM big", database) == [
        (FEW, FEW, FEW * (FEW + 1) // 2)
    ]


@pytest.mark.parametrize("extra", [{}, {"cursor": "at"}], ids=["passing", "arrow"])
def test_a_copy_through_a_tunnel_is_cancelled_at_once(
    sshd: SshServer, postgres_url: str, extra: dict[str, str]
) -> None:
    _make_slow(postgres_url, seconds=60)
    there, task = f"{postgres_url}?schema=there", Task(stream="", **extra)
    asked = Copy(source=through(postgres_url, sshd), destination=through(there, sshd), streams=("slow",), task=task)
    copying, done = Copying(asked), []
    thread = threading.Thread(target=lambda: done.append(copying.run().status))
    thread.start()
    wait_until(lambda: _busy(postgres_url))
    copying.cancel()
    thread.join(20)
    assert done == [Status.CANCELLED]
    wait_until(lambda: not _busy(postgres_url))


def test_a_tunnel_that_falls_silent_is_noticed(
    sshd: SshServer, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes at most KEEPALIVE * (UNANSWERED + 1) seconds: less than a minute."""
    assert tunnel.KEEPALIVE * (tunnel.UNANSWERED + 1) < 60
    monkeypatch.setattr(tunnel, "KEEPALIVE", 0.3)
    _make_slow(postgres_url, seconds=60)
    frozen = threading.Thread(target=lambda: (wait_until(lambda: _busy(postgres_url)), sshd.freeze()))
    frozen.start()
    try:
        before = time.monotonic()
        with pytest.raises(ConnectionLost), sql(through(postgres_url, sshd), "SELECT * FROM slow") as rows:
            list(rows)
        assert time.monotonic() - before < 20
    finally:
        frozen.join()
        sshd.freeze(again=True)
        sshd.end_sessions()


# -- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "right")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "stranger")


@pytest.fixture(scope="module")
def tls_url(postgres: PostgresServer, authority: Authority) -> Iterator[str]:
    """A database on a server of its own with a certificate for localhost (and not for 127.0.0.1)."""
    with PostgresServer(postgres.bindir) as server:
        data, account = server.folder / "data", Account.ordinary()
        pairs = zip(("server.crt", "server.key"), authority.sign("localhost"), strict=True)
        for name, made in (*pairs, ("ca.crt", authority.certificate)):
            shutil.copy(made, data / name)
            (data / name).chmod(0o600)
            os.chown(data / name, account.uid, account.gid)
        lines = (data / "pg_hba.conf").read_text()
        (data / "pg_hba.conf").write_text(f"hostssl all by_certificate 127.0.0.1/32 cert\n{lines}")
        with server.connect() as session:
            session.execute("ALTER SYSTEM SET ssl_ca_file = 'ca.crt'")
            session.execute("ALTER SYSTEM SET ssl = on")
            session.execute("CREATE ROLE by_certificate LOGIN")
            session.execute("SELECT pg_reload_conf()")
        url = server.create_database().replace("127.0.0.1", "localhost")
        wait_until(lambda: _encrypts(url))
        yield url


@pytest.mark.parametrize("tunnelled", [False, True], ids=["straight", "tunnelled"])
def test_postgresql_is_who_its_certificate_says(
    sshd: SshServer, tls_url: str, authority: Authority, stranger: Authority, tunnelled: bool
) -> None:
    """Through a tunnel too the name is the server's, though 127.0.0.1 is what is connected to."""

    def conn(url: str, mode: str, root: Authority) -> str:
        told = f"{url}?sslmode={mode}&sslrootcert={root.certificate}"
        return through(told, sshd) if tunnelled else told

    by_address = tls_url.replace("localhost", "127.0.0.1")
    check(conn(tls_url, "verify-full", authority))
    check(conn(by_address, "verify-ca", authority))
    refused(conn(by_address, "verify-full", authority), ConfigError, "TLS with 127.0.0.1 failed", "localhost")
    refused(conn(tls_url, "verify-ca", stranger), ConfigError, "TLS with localhost failed", "certificate verify failed")
    refused(conn(tls_url, "require", stranger), ConfigError, "TLS with localhost failed")


def test_rows_go_through_arrow_with_tls_through_the_tunnel(
    sshd: SshServer, tls_url: str, authority: Authority, postgres_url: str
) -> None:
    with psycopg.connect(tls_url) as session:
        session.execute(f"DROP TABLE IF EXISTS big; {MAKE_POSTGRES.format(rows=FEW)}".encode())
    conn = through(f"{tls_url}?sslmode=verify-full&sslrootcert={authority.certificate}", sshd)
    copied(conn, postgres_url, "big", cursor="at")
    assert _sums(postgres_url) == _sums(tls_url)
    copied(postgres_url, conn, "big", table="back", key=("id",), cursor="at")
    assert _sums(tls_url, "back") == _sums(postgres_url)


@pytest.mark.parametrize("tunnelled", [False, True], ids=["straight", "tunnelled"])
def test_rows_pass_as_they_are_with_tls_and_a_client_certificate(
    sshd: SshServer, tls_url: str, authority: Authority, postgres_url: str, tunnelled: bool
) -> None:
    """Binary COPY takes the same way as all sessions, and checks the same name."""
    with psycopg.connect(tls_url) as session:
        session.execute(f"DROP TABLE IF EXISTS big; {MAKE_POSTGRES.format(rows=FEW)}".encode())
        session.execute("GRANT SELECT ON big TO by_certificate")
    certificate, key = authority.sign("by_certificate")
    at = urlsplit(tls_url)
    conn = f"postgresql://by_certificate@localhost:{at.port}{at.path}?sslmode=verify-full"
    conn += f"&sslrootcert={authority.certificate}&sslcert={certificate}&sslkey={key}"
    done = copied(through(conn, sshd) if tunnelled else conn, postgres_url, "big")
    assert done.path == "postgresql binary COPY"
    assert _sums(postgres_url) == _sums(tls_url)


def test_rows_do_not_pass_from_a_server_with_another_name(tls_url: str, authority: Authority, tmp_path: Path) -> None:
    by_address = urlsplit(tls_url.replace("localhost", "127.0.0.1"))
    config = PostgresConfig.model_validate(
        {
            "host": by_address.hostname,
            "port": by_address.port,
            "database": by_address.path[1:],
            "user": by_address.username,
            "password": by_address.password,
            "sslmode": "verify-full",
            "sslrootcert": str(authority.certificate),
        }
    )
    context = LocalContext(run="tls", workdir=tmp_path)
    never = copy_out(config, context, lambda session, output: session.execute(""), snapshot=None, version=150000)
    with pytest.raises(ConfigError, match=r"TLS with 127\.0\.0\.1 failed.*certificate is not valid for '127\.0\.0\.1'"):
        next(never)


def test_postgresql_takes_a_client_certificate(sshd: SshServer, tls_url: str, authority: Authority) -> None:
    certificate, key = authority.sign("by_certificate")
    at = urlsplit(tls_url)
    base = f"postgresql://by_certificate@localhost:{at.port}{at.path}?sslmode=verify-full"
    base += f"&sslrootcert={authority.certificate}"
    check(through(f"{base}&sslcert={certificate}&sslkey={key}", sshd))
    refused(through(base, sshd), ConfigError, "certificate")


def test_a_server_without_tls_is_refused_where_tls_is_required(
    sshd: SshServer, postgres_url: str, plain_mariadb: MariaDBServer
) -> None:
    for url in (postgres_url, plain_mariadb.url()):
        check(through(url, sshd))
        for mode in ("require", "verify-full"):
            refused(through(f"{url}?sslmode={mode}", sshd), ConfigError, "TLS with 127.0.0.1 failed")


@pytest.fixture(scope="module")
def plain_mariadb() -> Iterator[MariaDBServer]:
    """A MariaDB server without certificates."""
    program = mariadb_module.installed_mariadb()
    if program is None:
        pytest.skip("no MariaDB server: install the system's `mariadb-server-core` package")
    server = MariaDBServer(program)
    with pytest.MonkeyPatch.context() as patch:
        lines = [line for line in mariadb_module.SETTINGS.splitlines() if not line.startswith("ssl-")]
        patch.setattr(mariadb_module, "SETTINGS", "\n".join(lines) + "\n")
        server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("tunnelled", [False, True], ids=["straight", "tunnelled"])
def test_mariadb_is_who_its_certificate_says(
    sshd: SshServer, mariadb: MariaDBServer, mariadb_url: str, stranger: Authority, tunnelled: bool
) -> None:
    """Its certificate is for 127.0.0.1 and not for localhost; `localhost` is refused though 127.0.0.1 answers."""

    def conn(url: str, mode: str, root: Path) -> str:
        told = f"{url}?sslmode={mode}&sslrootcert={root}"
        return through(told, sshd) if tunnelled else told

    by_name = mariadb_url.replace("127.0.0.1", "localhost")
    check(conn(mariadb_url, "verify-full", mariadb.certificate))
    check(conn(by_name, "verify-ca", mariadb.certificate))
    refused(conn(by_name, "verify-full", mariadb.certificate), ConfigError, "TLS with localhost failed")
    refused(conn(mariadb_url, "verify-ca", stranger.certificate), ConfigError, "TLS with 127.0.0.1 failed")
    refused(conn(mariadb_url, "require", stranger.certificate), ConfigError, "TLS with 127.0.0.1 failed")


def test_mariadb_is_loaded_with_tls_through_the_tunnel(
    sshd: SshServer, mariadb: MariaDBServer, mariadb_url: str, postgres_url: str
) -> None:
    with psycopg.connect(postgres_url) as session:
        session.execute(MAKE_POSTGRES.format(rows=FEW).encode())
    conn = through(f"{mariadb_url}?sslmode=verify-full&sslrootcert={mariadb.certificate}", sshd)
    copied(postgres_url, conn, "big")
    copied(conn, postgres_url, "big", table="again")
    assert _sums(postgres_url, "again") == _sums(postgres_url)
    broken = copy(postgres_url, conn.replace("127.0.0.1", "localhost", 1), "big", table="other")
    assert broken.error is not None and broken.error.code == "config_error"
    with pytest.raises(pymysql.MySQLError):
        mariadb.execute("SELECT 1 FROM other", database_of(mariadb_url))


# -- what the tests need ---------------------------------------------------------------------------------------------


class Uncancelled:
    """As much of a context as a tunnel asks for."""

    def check_cancelled(self) -> None: ...


def _sums(url: str, table: str = "big") -> tuple[Any, ...]:
    with psycopg.connect(url) as session:
        found = session.execute(SUMS_POSTGRES.format(table).encode()).fetchone()
    assert found is not None
    return found


def _make_slow(url: str, *, seconds: float = 3) -> None:
    """A table of FEW rows, and a view of it that takes so long to read."""
    with psycopg.connect(url) as session:
        session.execute(MAKE_POSTGRES.format(rows=FEW).encode())
        pause = f"CASE WHEN id % 200 = 0 THEN pg_sleep({seconds / (FEW / 200)})::text ELSE '' END"
        session.execute(f"CREATE VIEW slow AS SELECT id, amount, at, name || {pause} AS name FROM big".encode())


_READING = "SELECT count(*) FROM pg_stat_activity WHERE query ~ 'slow' AND state = 'active' AND wait_event = 'PgSleep' "


def _busy(url: str) -> bool:
    """Whether the slow view is being read."""
    with psycopg.connect(url) as session:
        found = session.execute((_READING + "AND datname = current_database()").encode()).fetchone()
    return bool(found and found[0])


def _encrypts(url: str) -> bool:
    try:
        psycopg.connect(url, sslmode="require").close()
    except psycopg.OperationalError:
        return False
    return True
