"""Tests of secrets: sealed, bound to their record, opened by the right key alone, and called by name."""

from __future__ import annotations

import base64
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text

from suiro.model.errors import ConfigError
from suiro.store import sealing
from suiro.store.connections import Connections, bound_to, new_id
from suiro.store.database import Database
from suiro.store.sealing import MasterKey
from suiro.store.secrets import MasterKeys, Secrets
from suiro.store.tables import secret

NOWHERE = Path("nowhere")
ANY_TEXT = st.text(st.characters())  # halves of surrogate pairs too

MAKE_ONE = """
import sys
from pathlib import Path
from suiro.store.secrets import MasterKeys
sys.stdin.readline()
print(MasterKeys(Path(sys.argv[1]), {}).seal("text", "here"))
"""


def key(byte: int) -> str:
    return base64.b64encode(bytes([byte]) * 32).decode()


def keys(*bytes_: int) -> MasterKeys:
    return MasterKeys(NOWHERE, {"SUIRO_MASTER_KEY": ",".join(map(key, bytes_))})


@given(ANY_TEXT, ANY_TEXT)
def test_every_text_comes_back_and_no_two_tokens_are_alike(words: str, bound: str) -> None:
    mine = keys(1)
    token = mine.seal(words, bound)
    assert mine.unseal(token, bound) == words
    assert mine.seal(words, bound) != token
    assert re.fullmatch(r"s1\.[0-9a-f]{8}(\.[\w-]+){3}", token, re.ASCII)
    assert len(words) < 4 or words not in token


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_a_token_in_another_records_place_is_not_opened(words: str, bound: str, other: str) -> None:
    if bound == other:
        return
    with pytest.raises(ConfigError, match="sealed for another record"):
        keys(1).unseal(keys(1).seal(words, bound), other)


@given(ANY_TEXT, st.data())
def test_a_damaged_token_is_not_opened(words: str, data: st.DataObject) -> None:
    token = keys(1).seal(words, "here")
    at = data.draw(st.integers(0, len(token) - 1))
    damaged = data.draw(
        st.sampled_from([token[:at], token[:at] + token[at + 1 :], token[:at] + "~" + token[at + 1 :], token + "A"])
        | st.characters().filter(lambda c: c != token[at]).map(lambda c: token[:at] + c + token[at + 1 :])
    )
    with pytest.raises(ConfigError, match="is damaged"):
        keys(1).unseal(damaged, "here")


def test_a_token_that_someone_forged_with_its_checksum_is_not_opened() -> None:
    token = sealing._parsed(keys(1).seal("mine", "here"), "here")
    other = sealing._parsed(keys(1).seal("theirs", "there"), "there")
    for forged in (
        sealing._Token(key=token.key, wrapped=token.wrapped, sealed=other.sealed),
        sealing._Token(key=token.key, wrapped=other.wrapped, sealed=token.sealed),
        sealing._Token(key=token.key, wrapped=token.wrapped, sealed=token.sealed[:-1] + b"\0\0"),
    ):
        with pytest.raises(ConfigError, match="sealed for another record"):
            keys(1).unseal(forged.text(), "here")


def test_another_key_does_not_open_it_and_the_message_tells_which_does() -> None:
    mine = MasterKey(material=bytes([1]) * 32)
    with pytest.raises(ConfigError, match=f"sealed with master key {mine.id}, which isn't among the keys here"):
        keys(2, 3).unseal(keys(1).seal("text", "here"), "here")


def test_a_key_that_pretends_to_be_another_does_not_open_it(monkeypatch: pytest.MonkeyPatch) -> None:
    token = keys(1).seal("text", "here")
    monkeypatch.setattr(MasterKey, "id", token.split(".")[1])
    with pytest.raises(ConfigError, match="sealed for another record"):
        keys(2).unseal(token, "here")


@given(ANY_TEXT, ANY_TEXT)
def test_rotation_keeps_the_text_and_needs_the_old_key_no_more(words: str, bound: str) -> None:
    old = keys(1).seal(words, bound)
    new = keys(2, 1).rewrap(old, bound)
    assert keys(2).unseal(new, bound) == words
    assert keys(2).rewrap(new, bound) == new
    assert old.split(".")[3] == new.split(".")[3]  # the text itself was not sealed anew
    with pytest.raises(ConfigError, match="was sealed with master key"):
        keys(1).unseal(new, bound)
    with pytest.raises(ConfigError, match="sealed for another record"):
        keys(2, 1).rewrap(old, bound + "!")


def test_no_record_shows_the_key() -> None:
    mine = MasterKey(material=b"k" * 32)
    assert "kkk" not in repr(mine)


def test_the_key_file_is_made_on_first_need_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    mine = MasterKeys(path, {})
    with pytest.raises(ConfigError, match="which isn't among the keys here"):
        mine.unseal(keys(1).seal("text", "here"), "here")
    assert not path.exists()  # nothing to open yet: a new key would open nothing
    umask = os.umask(0)
    try:
        token = mine.seal("text", "here")
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [found.name for found in tmp_path.iterdir()] == ["master.key"]
    assert MasterKeys(path, {}).unseal(token, "here") == "text"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "master.key"
    path.write_text(key(1))
    path.chmod(mode)
    with pytest.raises(ConfigError, match="others on this machine may read") as error:
        MasterKeys(path, {}).seal("text", "here")
    assert error.value.hint == f"Run: chmod 600 {path}"


def test_processes_that_make_the_key_file_at_once_have_one_key(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    makers = [
        subprocess.Popen(
            [sys.executable, "-c", MAKE_ONE, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for maker in makers:
        assert maker.stdin is not None
        maker.stdin.write("go\n")
        maker.stdin.flush()
    tokens = [maker.communicate(timeout=60)[0].strip() for maker in makers]
    assert [MasterKeys(path, {}).unseal(token, "here") for token in tokens] == ["text"] * 4


def test_keys_come_from_the_environment_or_a_file_it_names(tmp_path: Path) -> None:
    path = tmp_path / "given.key"
    path.write_text(f"{key(2)}\n{key(1)}\n")
    path.chmod(0o444)  # as Docker and Kubernetes mount secrets
    named = MasterKeys(NOWHERE, {"SUIRO_MASTER_KEY_FILE": str(path)})
    assert named.unseal(keys(1).seal("old", "here"), "here") == "old"
    assert keys(2).unseal(named.seal("new", "here"), "here") == "new"


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"SUIRO_MASTER_KEY": "c2hvcnQ="}, "SUIRO_MASTER_KEY holds something that isn't base64 of 32 bytes"),
        ({"SUIRO_MASTER_KEY": "not base64 at all!"}, "SUIRO_MASTER_KEY holds something that isn't base64"),
        ({"SUIRO_MASTER_KEY": " "}, "SUIRO_MASTER_KEY is empty"),
        ({"SUIRO_MASTER_KEY": key(1), "SUIRO_MASTER_KEY_FILE": "x"}, "both SUIRO_MASTER_KEY and"),
        ({"SUIRO_MASTER_KEY_FILE": "nowhere.key"}, r"can't read the master key file nowhere\.key: No such file"),
    ],
)
def test_wrong_keys_are_told_without_their_text(environ: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as error:
        MasterKeys(NOWHERE, environ).seal("text", "here")
    assert "c2hvcnQ" not in error.value.message


def test_a_key_file_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't make the master key file"):
        MasterKeys(tmp_path / "nowhere" / "master.key", {}).seal("text", "here")


def test_named_secrets_are_set_listed_got_and_deleted(database: Database) -> None:
    secrets = Secrets(database, keys(1))
    secrets.set("token", "first")
    secrets.set("password", "語\0\ud800")
    secrets.set("token", "second")
    password, token = secrets.all()
    assert (password.name, token.name) == ("password", "token")
    assert token.created_at < token.updated_at
    assert password.created_at == password.updated_at
    assert (secrets.get("token"), secrets.get("password")) == ("second", "語\0\ud800")
    with database.read() as connection:
        assert "second" not in str(connection.execute(select(secret)).all())
    secrets.delete("token")
    with pytest.raises(ConfigError, match="there is no secret 'token'"):
        secrets.get("token")
    with pytest.raises(ConfigError, match="there is no secret 'token'"):
        secrets.delete("token")


def test_an_unknown_secret_is_told_with_names_like_it(database: Database) -> None:
    secrets = Secrets(database, keys(1))
    with pytest.raises(ConfigError) as error:
        secrets.get("pasword")
    assert error.value.hint == "There are none yet."
    secrets.set("password", "x")
    with pytest.raises(ConfigError) as error:
        secrets.get("pasword")
    assert error.value.hint == "Did you mean password?"


def test_a_secret_moved_to_another_name_in_the_table_is_not_opened(database: Database) -> None:
    secrets = Secrets(database, keys(1))
    secrets.set("mine", "text")
    with database.begin() as connection:
        connection.execute(text("UPDATE secret SET name = 'theirs'"))
    with pytest.raises(ConfigError, match="sealed for another record"):
        secrets.get("theirs")


def test_all_secrets_are_brought_under_a_new_key_or_none(database: Database) -> None:
    old, both, new = (Secrets(database, some) for some in (keys(1), keys(2, 1), keys(2)))
    old.set("a", "1")
    old.set("b", "2")
    both.set("c", "3")
    connections = Connections(database)
    id = new_id()
    sealed = {"password": keys(1).seal("pw", bound_to(id, "password"))}
    connections.put(id=id, name="db", connector="postgres", settings={}, secrets=sealed)
    with pytest.raises(ConfigError, match="isn't among the keys here"):
        Secrets(database, keys(3, 2)).rewrap()
    assert (both.rewrap(), both.rewrap()) == (2, 0)
    assert (connections.rewrap(keys(2, 1)), connections.rewrap(keys(2, 1))) == (1, 0)
    assert [new.get(name) for name in "abc"] == ["1", "2", "3"]
    renamed = connections.rename("db", "warehouse")
    assert keys(2).unseal(renamed.secrets["password"], bound_to(id, "password")) == "pw"
