"""What all sandboxes share: people, faults, counts, ports, the process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from salesforce_calls import Calls
from suiro.model.errors import ConfigError
from suiro.sandbox.people import person
from suiro.sandbox.server import Running, names, service_class

# --- people ---


def test_the_same_person_comes_for_the_same_number() -> None:
    assert [person(1, i) for i in range(500)] == [person(1, i) for i in range(500)]
    assert person(1, 3) != person(2, 3)
    assert person(7, 10**9) == person(7, 10**9)


def test_no_two_people_share_an_email_and_some_are_japanese() -> None:
    people = [person(1, i) for i in range(5000)]
    assert len({one.email.lower() for one in people}) == 5000
    assert all(one.email.endswith(("@example.com", "@example.net", "@example.org")) for one in people)
    assert all(one.email.isascii() for one in people)
    japanese = [one for one in people if one.country == "Japan"]
    assert 400 < len(japanese) < 900
    assert any("髙" in one.last_name for one in japanese)
    assert all(len(field) <= 40 for one in people for field in (one.first_name, one.last_name, one.city, one.phone))


# --- faults ---


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_refused_request_was_not_looked_at(org: Calls, status: int) -> None:
    """[1.8: 500 UNKNOWN_EXCEPTION, 503 SERVER_UNAVAILABLE; 429 at the edge without JSON]"""
    before = len(org.kept("Lead"))
    org.faults(next=[str(status)])
    answer = org.call("POST", "sobjects/Lead", json={"LastName": "A", "Company": "B"})
    assert answer.status_code == status
    if status != 429:
        assert answer.json()[0]["errorCode"] == {500: "UNKNOWN_EXCEPTION", 503: "SERVER_UNAVAILABLE"}[status]
    assert len(org.kept("Lead")) == before
    assert org.get("limits").status_code == 200


def test_a_dropped_connection_ends_in_the_middle_of_the_body(org: Calls) -> None:
    org.faults(next=["drop", None])
    with pytest.raises(requests.exceptions.RequestException):
        org.ask("SELECT Id, Name FROM Lead")
    assert org.ask("SELECT Id, Name FROM Lead").status_code == 200


def test_the_client_of_a_dropped_connection_gets_the_head_and_part_of_the_body(org: Calls) -> None:
    org.faults(next=["drop"])
    host, port = org.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        token = org.session.headers["Authorization"]
        path = "/services/data/v64.0/sobjects/Lead/describe"
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {token!s}\r\n\r\n".encode())
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.lower().splitlines() if line.startswith(b"content-length"))
    assert head.startswith(b"HTTP/1.1 200")
    assert 0 < len(body) < length


def test_a_large_result_can_be_dropped_anywhere(org: Calls) -> None:
    job = org.query_job("SELECT Id, Name, Description FROM Lead")
    org.finished("query", job)
    whole = len(org.get(f"jobs/query/{job}/results").content)
    org.faults(next=["drop"])
    answer = org.get(f"jobs/query/{job}/results", stream=True)
    received = b""
    with pytest.raises(requests.exceptions.RequestException):
        for chunk in answer.iter_content(1000):
            received += chunk
    assert len(received) < whole


def test_a_lost_answer_hides_what_was_done(org: Calls) -> None:
    org.faults(next=["lost"])
    with pytest.raises(requests.exceptions.ConnectionError):
        org.call("POST", "sobjects/Lead", json={"LastName": "Lost", "Company": "Answer"})
    assert len(org.rows("SELECT Id FROM Lead WHERE LastName = 'Lost'")) == 1


def test_a_slow_answer_comes_late(org: Calls) -> None:
    org.faults(next=["slow"], slow_seconds=0.3)
    begun = time.monotonic()
    assert org.get("limits").status_code == 200
    assert time.monotonic() - begun >= 0.3


def test_a_token_can_expire_with_a_request(org: Calls) -> None:
    org.faults(next=["expired_token"])
    assert org.get("limits").json()[0]["errorCode"] == "INVALID_SESSION_ID"
    assert org.get("limits").status_code == 401
    org.sign_in()
    assert org.get("limits").status_code == 200


def run_of_faults(org: Calls, **plan: Any) -> list[int]:
    org.faults(rate=0.4, kinds=["429", "500", "503"], **plan)
    return [org.get("limits").status_code for _ in range(40)]


def test_faults_by_chance_are_the_same_for_the_same_seed(org: Calls) -> None:
    first = run_of_faults(org, seed=3)
    assert run_of_faults(org, seed=3) == first
    assert run_of_faults(org, seed=4) != first
    assert {200, 429, 500, 503} == set(first)


def test_faults_keep_to_their_routes_methods_and_number(org: Calls) -> None:
    limits = "/services/data/v{version}/limits"
    org.faults(rate=1.0, kinds=["500"], routes=[limits], at_most=2)
    assert org.get("sobjects").status_code == 200
    assert [org.get("limits/").status_code for _ in range(3)] == [500, 500, 200]
    org.faults(rate=1.0, kinds=["500"], methods=["POST"])
    assert org.get("limits").status_code == 200
    assert org.call("POST", "sobjects/Lead", json={}).status_code == 500


def test_a_fault_that_cannot_happen_to_a_request_does_not(org: Calls) -> None:
    org.faults(rate=1.0, kinds=["duplicate_page", "expired_token"])
    requests.delete(f"{org.url}/_sandbox/requests", timeout=30)
    assert requests.get(f"{org.url}/services/data", timeout=30).status_code == 200
    assert org.counted()["faults"] == {}


def test_a_plan_that_makes_no_sense_is_refused(org: Calls) -> None:
    for plan in ({"rate": 2}, {"kinds": ["418"]}, {"nonsense": 1}):
        assert requests.put(f"{org.url}/_sandbox/faults", json=plan, timeout=30).status_code == 400
    assert requests.get(f"{org.url}/_sandbox/faults", timeout=30).json()["rate"] == 0.0


def test_requests_faults_and_answers_are_counted(org: Calls) -> None:
    requests.delete(f"{org.url}/_sandbox/requests", timeout=30)
    org.faults(next=["500"])
    org.get("limits")
    org.get("limits/")
    org.get("sobjects/Lead/00Q5g0000000001EAA")
    told = org.counted()
    assert told["requests"] == {
        "GET /services/data/v{version}/limits": 2,
        "GET /services/data/v{version}/sobjects/{object}/{id}": 1,
    }
    assert (told["faults"], told["answers"]) == ({"500": 1}, {"200": 2, "500": 1})


def test_the_date_of_an_answer_is_the_services_own(org: Calls) -> None:
    org.clock.forward(days=30)
    org.sign_in()
    assert org.clock().strftime("%d %b %Y") in org.get("limits").headers["Date"]


# --- serving ---


def test_each_service_has_a_port_and_ways_to_sign_in() -> None:
    assert "salesforce" in names()
    with Running(sizes={"Lead": 3}) as sandbox:
        told = sandbox.told()["services"]
        assert set(told) == set(names())
        assert len({one["url"] for one in told.values()}) == len(names())
        for name, one in told.items():
            assert one["connections"]
            for settings in one["connections"].values():
                assert (settings["type"], settings["base_url"].startswith(one["url"])) == (name, True)
        assert json.loads(json.dumps(told)) == told


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="no sandbox of 'nothing'"):
        service_class("nothing")
    with pytest.raises(ConfigError, match="no size of 'Nothing'"):
        Running(only=["salesforce"], sizes={"Nothing": 1})
    with pytest.raises(ConfigError, match="no port of 'nothing'"):
        Running(only=["salesforce"], ports={"nothing": 1})


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}"), Running(only=["salesforce"], ports={"salesforce": port}):
            pass


@contextmanager
def process(*options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """The sandbox as a process, and what it tells; killed at the end if it still runs."""
    command = [sys.executable, "-m", "suiro.sandbox", "--only", "salesforce", "--json", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            yield running, json.loads(running.stdout.readline())["services"]["salesforce"]
        finally:
            running.kill()


def signed_in(told: dict[str, Any]) -> requests.Session:
    way = told["connections"]["client_credentials"]
    form = {"grant_type": "client_credentials", "client_id": way["client_id"], "client_secret": way["client_secret"]}
    token = requests.post(f"{told['url']}/services/oauth2/token", data=form, timeout=30).json()["access_token"]
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {token}"
    return session


def test_the_process_tells_where_it_serves_and_ends_when_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with process("--size", "Lead=5", "--seed", "9") as (running, told):
        assert len(list(tmp_path.iterdir())) == 1
        session = signed_in(told)
        answer = session.get(
            f"{told['url']}/services/data/v64.0/query", params={"q": "SELECT COUNT() FROM Lead"}, timeout=30
        )
        assert answer.json()["totalSize"] == 5
        session.close()
        begun = time.monotonic()
        running.send_signal(signal.SIGTERM)
        assert running.wait(10) == 0
        assert time.monotonic() - begun < 5
        assert running.stderr is not None
        assert running.stderr.read() == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("end", ["signals", "eof"])
def test_the_process_ends_at_two_signals_at_once_and_with_its_input(end: str) -> None:
    command = [sys.executable, "-m", "suiro.sandbox", "--only", "salesforce", "--json", "--size", "Lead=1"]
    with subprocess.Popen([*command, "--until-eof"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdin is not None
        assert running.stdout.readline()
        if end == "eof":
            running.stdin.close()
        else:
            running.send_signal(signal.SIGINT)
            running.send_signal(signal.SIGTERM)
        assert running.wait(10) == 0


def test_the_process_refuses_what_makes_no_sense() -> None:
    for options in (["--size", "Nothing=1"], ["--size", "Lead"], ["--only", "nothing"]):
        done = subprocess.run(
            [sys.executable, "-m", "suiro.sandbox", *options], capture_output=True, text=True, check=False, timeout=30
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert "Traceback" not in done.stderr


def test_a_folder_is_gone_on_with_jobs_included(tmp_path: Path) -> None:
    """Killed in the middle of an ingest job, the next process finishes it: each row once."""
    options = ("--folder", str(tmp_path), "--size", "Lead=10")
    rows = 12_000
    with process(*options) as (running, told):
        session, root = signed_in(told), f"{told['url']}/services/data/v64.0"
        session.patch(f"{root}/sobjects/Lead/External_Id__c/L-0000001", json={"City": "Kept"}, timeout=30)
        made = session.post(f"{root}/jobs/ingest", json={"operation": "insert", "object": "Lead"}, timeout=30).json()
        data = "External_Id__c,LastName,Company\n" + "".join(f"K-{n},Name,Own\n" for n in range(rows))
        session.put(f"{told['url']}/{made['contentUrl']}", data=data, timeout=30)
        query = {"operation": "query", "query": "SELECT Id FROM Lead WHERE City = 'Kept'"}
        asked = session.post(f"{root}/jobs/query", json=query, timeout=30).json()["id"]
        while session.get(f"{root}/jobs/query/{asked}", timeout=30).json()["state"] != "JobComplete":
            time.sleep(0.01)
        session.patch(f"{root}/jobs/ingest/{made['id']}", json={"state": "UploadComplete"}, timeout=30)
        while not (
            done := session.get(f"{root}/jobs/ingest/{made['id']}", timeout=30).json()["numberRecordsProcessed"]
        ):
            time.sleep(0.005)
        os.kill(running.pid, signal.SIGKILL)
        assert done < rows // 2
        session.close()
    # As if it had been killed after a line of the results was written and before the rows were.
    with open(tmp_path / "salesforce" / "jobs" / made["id"] / "successful.csv", "ab") as file:
        file.write(b'"00Q","true","K-X","Name","Own"\n"half a')
    with process(*options) as (_, told):
        session, root = signed_in(told), f"{told['url']}/services/data/v64.0"
        while (job := session.get(f"{root}/jobs/ingest/{made['id']}", timeout=30).json())["state"] != "JobComplete":
            assert job["state"] in ("InProgress", "UploadComplete")
            time.sleep(0.01)
        assert (job["numberRecordsProcessed"], job["numberRecordsFailed"]) == (rows, 0)
        lines = session.get(f"{root}/jobs/ingest/{made['id']}/successfulResults", timeout=30).text.splitlines()
        assert len(set(lines)) == len(lines) == rows + 1
        counted = session.get(f"{root}/query", params={"q": "SELECT COUNT() FROM Lead"}, timeout=30).json()
        assert counted["totalSize"] == rows + 10
        assert session.get(f"{root}/jobs/query/{asked}/results", timeout=30).headers["Sforce-NumberOfRecords"] == "1"
        session.close()
