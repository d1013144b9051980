"""Steps 001-02 to 001-09: connections to BigCommerce, Salesforce and PostgreSQL, made and tried."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import psycopg
import pytest
from psycopg import sql

from founding import Home, Town
from servers import ADMIN, PostgresServer
from shell import Shell
from ssh import SshServer, installed_sshd
from suiro.app.connections import connection

SSHD = installed_sshd()
ssh = pytest.mark.skipif(SSHD is None, reason="no SSH server: install the system's `openssh-server` package")


@pytest.fixture(scope="module")
def sshd() -> Iterator[SshServer]:
    assert SSHD is not None
    with SshServer(SSHD) as server:
        yield server


def reached(suiro: Shell | Home, conn: str) -> None:
    """`suiro check` reaches it."""
    said = suiro("check", conn)
    assert said.code == 0 and "reached" in said.err, said.err


def refused(suiro: Shell | Home, conn: str, *words: str, code: int = 1) -> None:
    """`suiro check` ends with one sentence that has these words."""
    said = suiro("check", conn)
    assert said.code == code and said.out == ""
    for word in words:
        assert word in said.err, said.err


def text_of(**properties: object) -> str:
    """A connection string."""
    return "".join(f"{name}={value};" for name, value in properties.items())


# -- BigCommerce -----------------------------------------------------------------------------------------------------


def test_001_02_bigcommerce_by_store_id_and_token_and_what_the_token_hides_is_said(suiro: Shell, town: Town) -> None:
    def properties(way: str) -> str:
        known = town.ways["bigcommerce"][way]
        given = {"StoreId": known["store_id"], "OAuthAccessToken": known["access_token"], "InitiateOAuth": "OFF"}
        return "bigcommerce:" + text_of(**given, base_url=known["base_url"])

    reached(suiro, properties("full"))
    reached(suiro, properties("customers_only"))
    told = suiro("streams", properties("customers_only"))
    assert "customers" in told.out and "brands" not in told.out
    assert "may not read orders" in told.err and "they lack: Orders" in told.err
    refused(suiro, properties("full").replace("OAuthAccessToken=", "OAuthAccessToken=x"), "401")


def test_001_02_a_connection_to_bigcommerce_is_stored_and_tried(suiro: Shell, town: Town, tmp_path: Path) -> None:
    shop = town.ways["bigcommerce"]["full"]
    (tmp_path / "shop.yaml").write_text(json.dumps({"connections": {"shop": shop}}))
    assert suiro("apply", str(tmp_path / "shop.yaml")).code == 0
    assert suiro("check", "shop", "--json").json["ok"]
    assert shop["access_token"] not in suiro("export").out


# -- Salesforce ------------------------------------------------------------------------------------------------------


def salesforce(town: Town, **properties: object) -> str:
    """A connection string for the stand-in, as CData's driver takes it."""
    return "salesforce:" + text_of(LoginURL=town.crm.url, **properties)


def test_001_03_salesforce_by_user_password_and_security_token(suiro: Shell, town: Town) -> None:
    way = town.ways["salesforce"]["soap"]
    user = {"User": way["username"], "Password": way["password"], "SecurityToken": way["security_token"]}
    reached(suiro, salesforce(town, **user))
    refused(suiro, salesforce(town, **{**user, "SecurityToken": "Wrong"}), "INVALID_LOGIN", "security token")
    assert town.crm.url in connection(salesforce(town, **user)).config.login_address  # type: ignore[attr-defined]


def test_001_04_salesforce_by_oauth_with_what_was_granted_before(suiro: Shell, town: Town) -> None:
    way = town.ways["salesforce"]["refresh_token"]
    app = {"OAuthClientId": way["client_id"], "OAuthClientSecret": way["client_secret"]}
    granted = {"InitiateOAuth": "REFRESH", "OAuthRefreshToken": way["refresh_token"]}
    reached(suiro, salesforce(town, AuthScheme="OAuth", **app, **granted))
    reached(suiro, salesforce(town, AuthScheme="OAuthClient", **app))
    refused(
        suiro, salesforce(town, AuthScheme="OAuth", **app, **{**granted, "OAuthRefreshToken": "x"}), "invalid_grant"
    )


def test_001_04_salesforce_by_oauth_with_a_users_consent_at_a_browser(home: Home, town: Town) -> None:
    crm = {"type": "salesforce", "base_url": town.crm.url, "sign_in": "oauth"}
    crm["client_id"] = town.ways["salesforce"]["refresh_token"]["client_id"]
    home.apply(connections={"consented": crm})
    refused(home, "consented", "nobody has signed in")
    with home.start("authorize", "consented", "--no-browser", "--paste", "--json") as signing:
        assert signing.stderr is not None
        page = httpx2.URL(next(line.strip() for line in signing.stderr if line.startswith("http")))
        form = urlencode({**dict(page.params), "allow": "yes"})
        head = {"Content-Type": "application/x-www-form-urlencoded"}
        sent = httpx2.post(str(page.copy_with(query=None)), content=form, headers=head)
        out, _ = signing.communicate(sent.headers["location"] + "\n", timeout=30)
    assert json.loads(out)["authorized"]
    reached(home, "consented")


def test_001_05_salesforce_by_single_sign_on(suiro: Shell, town: Town) -> None:
    way = town.ways["salesforce"]["sso"]
    known = {"User": way["username"], "Password": way["password"], "SSOLoginUrl": way["sso_login_url"]}
    told = {**known, "TokenUrl": way["sso_token_url"], "SSOProperties": '"IdPName=PingFederate;IdPSystemScheme=None;"'}
    reached(suiro, salesforce(town, AuthScheme="PingFederate", **told))
    refused(suiro, salesforce(town, AuthScheme="PingFederate", **{**told, "Password": "wrong"}), "no SAML assertion")
    unknown = suiro("check", salesforce(town, AuthScheme="PingFederate", **{**told, "SSOProperties": "IdPNme=ADFS"}))
    assert unknown.code == 2 and "IdPNme" in unknown.err


# -- PostgreSQL ------------------------------------------------------------------------------------------------------


def login(town: Town, **more: object) -> dict[str, Any]:
    """The properties of a PostgreSQL connection."""
    known = town.login()
    return {
        "User": known["user"],
        "Password": known["password"],
        "Database": known["database"],
        "Server": known["host"],
        "Port": known["port"],
        **more,
    }


@pytest.fixture
def default_database(postgres: PostgresServer) -> Iterator[None]:
    """A database that is called as the user is."""
    with postgres.connect() as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(ADMIN)))
        yield
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(ADMIN)))


def test_001_06_postgresql_without_ssh(suiro: Shell, town: Town, default_database: None) -> None:
    reached(suiro, text_of(**login(town)))
    found: Any = connection("Server=db.example;Database=sales;User=admin;Password=x;").config
    assert (found.port, found.ssh) == (5432, None)
    alone = login(town)
    del alone["Database"]
    reached(suiro, text_of(**alone))
    (asked,) = suiro("sql", text_of(**alone), "SELECT current_database() AS name", "--json").json
    assert asked == {"name": ADMIN}
    refused(suiro, text_of(**{**alone, "Password": "wrong"}), f"refused user {ADMIN}")


Spelled = Callable[[str], str]
SPELLINGS = pytest.mark.parametrize("switch", ["UseSSH", "UserSSH"])  #: the document has both


@ssh
@SPELLINGS
def test_001_07_postgresql_through_ssh_by_password(suiro: Shell, town: Town, sshd: SshServer, switch: str) -> None:
    if sshd.password is None:
        pytest.skip("this machine lets no server have users of its own")
    way = {"SSHPort": sshd.port, "SSHServer": "127.0.0.1", "SSHUser": sshd.user, "SSHPassword": sshd.password}
    reached(suiro, text_of(**login(town), **{switch: "true"}, **way))
    reached(suiro, text_of(**login(town), **{switch: "true"}, SSHAuthMode="Password", **way))
    refused(suiro, text_of(**login(town), **{switch: "true"}, **{**way, "SSHPassword": "wrong"}), "this password")


@ssh
@SPELLINGS
def test_001_08_postgresql_through_ssh_by_public_key(
    suiro: Shell, town: Town, sshd: SshServer, suiro_home: Path, switch: str
) -> None:
    way = {
        "SSHClientCertType": "PEMKEY_FILE",
        "SSHPort": sshd.port,
        "SSHServer": "127.0.0.1",
        "SSHUser": sshd.user,
        "SSHClientCert": r"C:\Keys\key.pem",
    }
    (suiro_home / "keys").mkdir(parents=True)
    shutil.copy(sshd.key("rsa.pem"), suiro_home / "keys" / "key.pem")
    reached(suiro, text_of(**login(town), **{switch: "true"}, **way))
    reached(suiro, text_of(**login(town), **{switch: "true"}, SSHAuthMode="Public_Key", **way))
    shutil.copy(sshd.key("stranger"), suiro_home / "keys" / "key.pem")
    refused(suiro, text_of(**login(town), **{switch: "true"}, **way), "refused user")


@ssh
def test_001_09_a_postgresql_connection_is_made_and_tried(
    suiro: Shell, town: Town, sshd: SshServer, tmp_path: Path
) -> None:
    key = {"SSHPort": sshd.port, "SSHServer": "127.0.0.1", "SSHUser": sshd.user, "SSHClientCert": sshd.key("ed25519")}
    straight = {"type": "postgres", **town.login()}
    tunnelled = {"type": "postgres", "connection_string": text_of(**login(town), UseSSH="true", **key)}
    wrong = {**straight, "password": "wrong"}
    file = tmp_path / "warehouses.yaml"
    file.write_text(json.dumps({"connections": {"near": straight, "far": tunnelled, "wrong": wrong}}))
    made = suiro("apply", str(file))
    assert made.code == 0 and made.out.splitlines() == [f"+ connection {name}" for name in ("near", "far", "wrong")]
    for name in ("near", "far"):
        reached(suiro, name)
        assert suiro("sql", name, "SELECT 6 * 7 AS answer", "--json").json == [{"answer": 42}]
    refused(suiro, "wrong", f"refused user {town.login()['user']}")
    assert str(town.login()["password"]) not in suiro("export").out


def test_001_09_a_database_that_is_not_there_is_told(suiro: Shell, town: Town) -> None:
    refused(suiro, text_of(**login(town, Database="no_such")), "no_such", code=2)
    with psycopg.connect(town.url) as session:
        assert session.execute("SELECT 1").fetchone() == (1,)


def test_001_29_one_command_copies_by_the_log_and_a_preview_goes_over_all_parts(suiro: Shell, town: Town) -> None:
    way = town.ways["salesforce"]["soap"]
    user = {"User": way["username"], "Password": way["password"], "SecurityToken": way["security_token"]}
    crm = salesforce(town, **user)
    assert suiro("copy", crm, "warehouse", "--stream", "Lead", "--read", "log", "--key", "Id").code == 0
    (count,) = suiro("sql", "warehouse", 'SELECT count(*) AS n FROM "Lead"', "--json").json
    in_parts = salesforce(town, **user, part_rows=count["n"] // 3)
    seen = suiro("preview", in_parts, "Lead", "-n", str(count["n"] - 1), "--json").json
    assert len({row["Id"] for row in seen}) == count["n"] - 1
