"""Connection strings in CData's style: what they fill, what they mean, and what is wrong with them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from suiro import catalog
from suiro.app.connections import connection
from suiro.app.opened import configure
from suiro.model.errors import ConfigError

# The strings of the founding document, word for word.
BY_PASSWORD = (
    "User=admin;Password=adminpassword;Database=test;Server=postgresql-server;Port=5432;UseSSH=true;SSHPort=22;"
    "SSHServer=ssh-server;SSHUser=root;SSHPassword=sshpasswd;"
)
BY_KEY = (
    "User=admin;Password=adminpassword;Database=test;Server=PostgreSQL-server;Port=5432;UseSSH=true;"
    r"SSHClientCertType=PEMKEY_FILE;SSHPort=22;SSHServer=ssh-server;SSHUser=root;SSHClientCert=C:\Keys\key.pem;"
)
SSH = "Server=db;SSHServer=bastion;SSHUser=ops;"
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----"
FINGERPRINT = "SHA256:" + "A" * 43


def settings(text: str) -> dict[str, Any]:
    """What the string sets, secrets in clear."""
    return _clear(connection(text).config.model_dump(exclude_defaults=True))


def _clear(found: dict[str, Any]) -> dict[str, Any]:
    def clear(value: Any) -> Any:
        if isinstance(value, dict):
            return _clear(value)
        return value.get_secret_value() if isinstance(value, SecretStr) else value

    return {name: clear(value) for name, value in found.items()}


def test_001_07_the_string_of_a_login_by_password_means_what_it_says() -> None:
    assert settings(BY_PASSWORD) == {
        "host": "postgresql-server",
        "database": "test",
        "user": "admin",
        "password": "adminpassword",
        "ssh": {"host": "ssh-server", "user": "root", "password": "sshpasswd"},
    }


def test_001_08_the_string_of_a_login_by_key_means_what_it_says() -> None:
    assert settings(BY_KEY) == {
        "host": "PostgreSQL-server",
        "database": "test",
        "user": "admin",
        "password": "adminpassword",
        "ssh": {"host": "ssh-server", "user": "root", "private_key_file": r"C:\Keys\key.pem"},
    }


@pytest.mark.parametrize("text", [BY_PASSWORD, BY_KEY])
def test_001_08_usessh_and_userssh_are_one_and_case_does_not_matter(text: str) -> None:
    assert settings(text.replace("UseSSH=true", "UserSSH=true")) == settings(text)
    names = [part.partition("=") for part in text.split(";") if part]
    assert settings(";".join(f"{name.upper()} = {value} " for name, _, value in names)) == settings(text)
    assert settings(text.replace("UseSSH=true;", "")) == settings(text)
    assert "ssh" not in settings(text.replace("UseSSH=true", "UseSSH=false"))


@pytest.mark.parametrize("text", [BY_PASSWORD, BY_KEY])
def test_a_connection_is_called_by_no_secret(text: str) -> None:
    found = connection(text)
    assert found.connector.name == "postgres"
    assert found.name.lower() == "postgresql://admin@postgresql-server:5432/test"
    assert "adminpassword" not in repr(found) and "sshpasswd" not in repr(found)


@pytest.mark.parametrize(
    ("text", "connector", "name"),
    [
        ("Server=h;User=u", "postgres", "postgresql://u@h"),
        ("postgresql:Server=h;", "postgres", "postgresql://h"),
        ("mysql:Server=h;Database=d", "mysql", "mysql://h/d"),
        ("MARIADB: server=h;port=3307", "mysql", "mysql://h:3307"),
        ("Database=d", "postgres", "postgresql://localhost/d"),
        ("sqlite:path=/tmp/x.db;", "sqlite", "sqlite:///tmp/x.db"),
    ],
)
def test_a_prefix_names_the_connector(text: str, connector: str, name: str) -> None:
    found = connection(text)
    assert (found.connector.name, found.name) == (connector, name)


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ('Password="a;b"', "password", "a;b"),
        ("Password='a;\"b'' c';", "password", "a;\"b' c"),
        ('Password="a""b"', "password", 'a"b'),
        ("Password=a=b", "password", "a=b"),
        ("Password=a'b", "password", "a'b"),
        ("Password= a b ;", "password", "a b"),
        (";; Password=a;;", "password", "a"),
        ("UseSSL=true", "sslmode", "require"),
        ("usessl=FALSE", "sslmode", "disable"),
        ("UseSSL=true;SSLServerCert=/etc/ca.pem", "sslrootcert", "/etc/ca.pem"),
        ("sslmode=verify-full", "sslmode", "verify-full"),
        ("Schema=sales;numeric=text", "schema_", "sales"),
        (f"{SSH}SSHPassword=p;SSHAuthMode=Password", "ssh.auth", "password"),
        (f"{SSH}SSHClientCert=k;SSHAuthMode=Public_Key", "ssh.auth", "public_key"),
        (f"{SSH}SSHPassword=p;SSHPort=2222", "ssh.port", 2222),
        (f"{SSH}SSHClientCert=k;SSHClientCertPassword=w", "ssh.passphrase", "w"),
        (f"{SSH}SSHPassword=p;SSHServerFingerprint={FINGERPRINT}", "ssh.host_key", FINGERPRINT),
        (f"{SSH}SSHClientCertType=PEMKEY_BLOB;SSHClientCert=LS0tLS1C", "ssh.private_key", "LS0tLS1C"),
        (f"{SSH}SSHClientCert='{KEY}'", "ssh.private_key", KEY),
        (f"{SSH}SSHClientCert=id_rsa", "ssh.private_key_file", "id_rsa"),
        (f"{SSH}ssh_private_key_file=id_rsa", "ssh.private_key_file", "id_rsa"),
        (f"{SSH}SSHPassword=p;SSHClientCert=", "ssh.password", "p"),
    ],
)
def test_a_property_fills_its_setting(text: str, path: str, value: object) -> None:
    found: Any = settings(text)
    for name in path.split("."):
        found = found[name]
    assert found == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Server=h;Passwort=s3cret", ["'Passwort'", "Password"]),
        ("Server=h;SSHHost=s3cret", ["'SSHHost'", "nearest"]),
        ("mysql:Server=h;schema=x", ["MySQL", "'schema'"]),
        ("nosuch:Server=h", ["nosuch://", "mysql://"]),
        ("Server=h;s3cret", ["part 2", "Name=value"]),
        ("Server=h;=s3cret", ["part 2"]),
        ("Password='s3cret;Server=h", ["Password", "quote"]),
        ("Password='s3'cret;Server=h", ["Password", "quote"]),
        ("Password=s3cret;password=other", ["password", "twice"]),
        ("UseSSL=true;sslmode=verify-full", ["UseSSL", "sslmode"]),
        ("UseSSL=s3cret", ["UseSSL", "true or false"]),
        ("Port=s3cret", ["port"]),
        ("UseSSH=maybe;Server=h", ["UseSSH", "true or false"]),
        ("UseSSH=true;UserSSH=false", ["opposite"]),
        ("UseSSH=true;Server=h", ["ssh.host"]),
        (f"{SSH}", ["ssh", "password, private_key_file or private_key is needed"]),
        (f"{SSH}SSHAuthMode=Password;SSHClientCert=k", ["needs the SSH password"]),
        (f"{SSH}SSHAuthMode=Public_Key;SSHPassword=s3cret", ["needs private_key_file"]),
        (f"{SSH}SSHAuthMode=Kerberos;SSHPassword=s3cret", ["SSHAuthMode", "public_key"]),
        (f"{SSH}SSHClientCertType=PPKFILE;SSHClientCert=k", ["SSHClientCertType", "PEMKEY_FILE"]),
        (f"{SSH}SSHPassword=s3cret;SSHServerFingerprint=aa:bb", ["ssh.host_key", "SHA256"]),
        (f"{SSH}ssh_private_key_file='{KEY}'", ["ssh.private_key_file", "private_key"]),
        ("postgresql:u:s3cret@h/d", ["neither a URI"]),
    ],
)
def test_what_is_wrong_is_named_without_a_secret(text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as wrong:
        connection(text)
    said = f"{wrong.value.message} {wrong.value.hint}"
    for word in words:
        assert word in said
    assert "s3cret" not in said and "MIIE" not in said and "\n" not in said


def test_a_tunnel_is_set_in_uris_and_in_nested_settings_alike() -> None:
    query = "ssh_host=bastion&ssh_port=2222&ssh_user=ops&ssh_private_key_file=id&ssh_host_key=" + FINGERPRINT
    nested = {"host": "bastion", "port": 2222, "user": "ops", "private_key_file": "id", "host_key": FINGERPRINT}
    for scheme, name in (("postgresql", "postgres"), ("mysql", "mysql")):
        asked = connection(f"{scheme}://u@h/d?{query}").config
        assert asked == configure(catalog.find(name), {"host": "h", "user": "u", "database": "d", "ssh": nested})


def test_a_plus_in_a_fingerprint_survives_a_uri() -> None:
    fingerprint = "SHA256:" + "+/" * 21 + "A"
    found: Any = connection(f"postgresql://h?ssh_host=b&ssh_user=u&ssh_password=p&ssh_host_key={fingerprint}=").config
    assert found.ssh.host_key == fingerprint


def test_the_same_address_behind_two_ssh_servers_is_two_systems() -> None:
    def identity(host: str, bastion: str) -> str:
        return connection(f"Server={host};SSHServer={bastion};SSHUser=u;SSHPassword=p").config.identity()

    assert identity("localhost", "a") != identity("localhost", "b")
    assert identity("127.0.0.1", "a") != connection("Server=127.0.0.1").config.identity()
    assert (
        identity("db.example", "a") == identity("db.example", "b") == connection("Server=db.example").config.identity()
    )


def test_a_path_of_a_socket_in_a_uri_is_a_path() -> None:
    found: Any = connection("postgresql://u@%2FTmp%2Fpg:5433/d").config
    assert (found.host, found.port) == ("/Tmp/pg", 5433)
