"""Bulk API 2.0 queries of the Salesforce sandbox."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from salesforce_calls import Calls, error, read_csv


def test_a_new_job_is_told_as_upload_complete(org: Calls) -> None:
    """[DOC query_walkthrough: apiVersion is a number]"""
    made = org.call("POST", "jobs/query", json={"operation": "query", "query": "SELECT Id FROM Account"})
    told = made.json()
    assert made.status_code == 200
    assert re.fullmatch(r"\w{18}", told.pop("id"))
    assert re.fullmatch(r".*\.000\+0000", told.pop("createdDate"))
    assert told.pop("systemModstamp")
    assert told.pop("createdById").startswith("005")
    assert told == {
        "operation": "query",
        "object": "Account",
        "state": "UploadComplete",
        "concurrencyMode": "Parallel",
        "contentType": "CSV",
        "apiVersion": 64.0,
        "lineEnding": "LF",
        "columnDelimiter": "COMMA",
    }


def test_a_job_goes_through_its_states_in_the_time_that_is_set(org: Calls) -> None:
    """[1.4: UploadComplete, InProgress, JobComplete]"""
    org.set(job_seconds=0.15)
    identity, seen = org.query_job("SELECT Id FROM Lead"), []
    begun = time.monotonic()
    while not seen or seen[-1] != "JobComplete":
        state = org.get(f"jobs/query/{identity}").json()["state"]
        if not seen or seen[-1] != state:
            seen.append(state)
    assert seen == ["UploadComplete", "InProgress", "JobComplete"]
    assert time.monotonic() - begun >= 0.25
    told = org.get(f"jobs/query/{identity}").json()
    assert told["numberRecordsProcessed"] == len(org.kept("Lead"))
    assert {"retries", "totalProcessingTime", "isPkChunkingSupported"} <= set(told)


def test_results_are_csv_with_all_values_quoted_and_null_as_empty(org: Calls) -> None:
    """[1.4]"""
    quoted, multi = 'say "hi", twice', "two\nlines"
    identity = org.new(Title=quoted, Street=multi, City=None, AnnualRevenue=9_999_999)
    job = org.query_job(f"SELECT Id, Title, Street, City, Owner.Name, IsConverted FROM Lead WHERE Id = '{identity}'")
    org.finished("query", job)
    answer = org.get(f"jobs/query/{job}/results")
    assert answer.headers["Content-Type"].startswith("text/csv")
    owner = org.rows(f"SELECT Owner.Name FROM Lead WHERE Id = '{identity}'")[0]["Owner"]["Name"]
    assert answer.content.decode() == (
        '"Id","Title","Street","City","Owner.Name","IsConverted"\n'
        f'"{identity}","say ""hi"", twice","two\nlines","","{owner}","false"\n'
    )


def test_a_result_without_rows_is_its_header(org: Calls) -> None:
    """[1.4: the first line is the header, also for 0 rows]"""
    job = org.query_job("SELECT Id, Name FROM Lead WHERE LastName = 'nobody at all'")
    org.finished("query", job)
    answer = org.get(f"jobs/query/{job}/results")
    assert answer.text == '"Id","Name"\n'
    assert (answer.headers["Sforce-NumberOfRecords"], answer.headers["Sforce-Locator"]) == ("0", "null")


@pytest.mark.parametrize("most", [1, 7, 100, 499, 500, 100_000])
def test_pages_of_any_size_hold_every_row_once(org: Calls, most: int) -> None:
    """[DOC query-get-job-results: the locator is the text null on the last page; 1.9 pitfall 3]"""
    soql = "SELECT Id, Name, Description FROM Lead" + (" LIMIT 12" if most == 1 else "")
    rows = org.bulk_rows(soql, most=most)
    kept = org.kept("Lead")[: 12 if most == 1 else None]
    assert rows == [{key: row[key] or "" for key in ("Id", "Name", "Description")} for row in kept]
    assert any("\n" in row["Description"] for row in rows)


def test_numbers_and_times_are_written_as_bulk_writes_them(org: Calls) -> None:
    """[WEB docs.celigo.com 27438241234459: 23.0, Z; forcedotcom/dataloader#1204: exponents from 10 million on]"""
    big, small = org.new(AnnualRevenue=99_213_206), org.new(AnnualRevenue=23, NumberOfEmployees=5)
    fields = "Id, AnnualRevenue, NumberOfEmployees, CreatedDate"
    soql = f"SELECT {fields} FROM Lead WHERE Id IN ('{big}', '{small}') ORDER BY Id"
    first, second = org.bulk_rows(soql)
    assert (first["AnnualRevenue"], second["AnnualRevenue"], second["NumberOfEmployees"]) == (
        "9.9213206E7",
        "23.0",
        "5",
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z", first["CreatedDate"])
    org.set(csv_numbers="digits", csv_utc="+0000")
    first, second = org.bulk_rows(soql)
    assert (first["AnnualRevenue"], second["AnnualRevenue"]) == ("99213206", "23")
    assert first["CreatedDate"].endswith("+0000")


def test_results_stay_as_they_were_when_the_job_ran(org: Calls) -> None:
    """[1.4: the locator can be used again while the job lives]"""
    identity = org.new(City="Before")
    job = org.query_job(f"SELECT City FROM Lead WHERE Id = '{identity}'")
    org.finished("query", job)
    org.call("PATCH", f"sobjects/Lead/{identity}", json={"City": "After"})
    for _ in range(2):
        assert org.get(f"jobs/query/{job}/results").text == '"City"\n"Before"\n'


def test_query_all_holds_deleted_rows(org: Calls) -> None:
    identity = org.new()
    org.call("DELETE", f"sobjects/Lead/{identity}")
    soql = f"SELECT Id, IsDeleted FROM Lead WHERE Id = '{identity}'"
    assert org.bulk_rows(soql) == []
    assert org.bulk_rows(soql, "queryAll") == [{"Id": identity, "IsDeleted": "true"}]


def test_delimiters_and_line_ends_are_those_that_were_asked_for(org: Calls) -> None:
    job = org.query_job("SELECT Id, Name FROM User ORDER BY Id", columnDelimiter="TAB", lineEnding="CRLF")
    org.finished("query", job)
    page = org.get(f"jobs/query/{job}/results?maxRecords=2")
    lines = page.content.decode().split("\r\n")
    assert (lines[0], len(lines), lines[-1]) == ('"Id"\t"Name"', 4, "")
    rest = org.get(f"jobs/query/{job}/results?maxRecords=2&locator={page.headers['Sforce-Locator']}")
    assert rest.content.decode().split("\r\n")[1].startswith('"005')


def test_result_pages_are_uris_for_parallel_downloads(org: Calls) -> None:
    """[DOC query_get_parallel_job_results: up to five]"""
    org.set(results_rows=60)
    job = org.query_job("SELECT Id FROM Lead")
    org.finished("query", job)
    told = org.get(f"jobs/query/{job}/resultPages").json()
    assert (len(told["resultPages"]), told["done"]) == (5, False)
    urls = [one["resultUrl"] for one in told["resultPages"]]
    while not told["done"]:
        told = org.get(told["nextRecordUrl"]).json()
        urls += [one["resultUrl"] for one in told["resultPages"]]
    ids = [row["Id"] for url in urls for row in read_csv(org.get(url).content)]
    assert ids == [row["Id"] for row in org.kept("Lead")]


def test_another_api_version_is_a_conflict(org: Calls) -> None:
    """[DOC: 409]"""
    job = org.query_job("SELECT Id FROM User")
    org.finished("query", job)
    assert org.get(f"jobs/query/{job}/results", version="63.0").status_code == 409
    assert org.get(f"jobs/query/{job}/resultPages", version="63.0").status_code == 409


@pytest.mark.parametrize(
    "soql",
    [
        "SELECT Status, COUNT(Id) FROM Lead GROUP BY Status",
        "SELECT COUNT() FROM Lead",
        "SELECT Id FROM Lead OFFSET 5",
        "SELECT Id, (SELECT Id FROM Contacts) FROM Account",
        "SELECT FIELDS(ALL) FROM Lead LIMIT 5",
    ],
)
def test_what_bulk_queries_cannot_do_is_refused(org: Calls, soql: str) -> None:
    """[1.4: GROUP BY, OFFSET, nested queries, aggregates; the code unverified]"""
    answer = org.call("POST", "jobs/query", json={"operation": "query", "query": soql})
    assert error(answer) == (400, "API_ERROR")
    assert "not supported in Bulk Query" in answer.json()[0]["message"]


def test_compound_fields_are_refused_and_a_name_is_not(org: Calls) -> None:
    """[1.2: Selecting compound data not supported in Bulk Query; a compound Name is selectable]"""
    answer = org.call("POST", "jobs/query", json={"operation": "query", "query": "SELECT Address FROM Lead"})
    assert answer.json()[0]["message"] == "Selecting compound data not supported in Bulk Query"
    assert org.bulk_rows("SELECT Name, City FROM Lead LIMIT 1")


def test_objects_that_bulk_does_not_take_are_refused(org: Calls) -> None:
    """[CLIENT airbyte rate_limiting.py: INVALIDENTITY, API_ERROR does not support query]"""
    answer = org.call("POST", "jobs/query", json={"operation": "query", "query": "SELECT Id FROM TaskStatus"})
    assert error(answer) == (400, "INVALIDENTITY")
    assert "is not supported by the Bulk API" in answer.json()[0]["message"]
    answer = org.call("POST", "jobs/query", json={"operation": "query", "query": "SELECT Id FROM LeadChangeEvent"})
    assert error(answer) == (400, "API_ERROR")
    assert answer.json()[0]["message"].endswith("does not support query")


def test_a_wrong_query_is_refused_when_the_job_is_made(org: Calls) -> None:
    for soql, code in (("SELECT Nope FROM Lead", "INVALID_FIELD"), ("nonsense", "MALFORMED_QUERY")):
        answer = org.call("POST", "jobs/query", json={"operation": "query", "query": soql})
        assert error(answer) == (400, code)
    assert error(org.call("POST", "jobs/query", json={"operation": "insert"})) == (400, "INVALIDJOB")


def test_no_more_jobs_than_the_day_allows(org: Calls) -> None:
    """[CLIENT airbyte: LIMIT_EXCEEDED; DOC bulk_api_2_limits: 10,000 query jobs]"""
    org.set(daily_query_jobs=0)
    answer = org.call("POST", "jobs/query", json={"operation": "query", "query": "SELECT Id FROM User"})
    assert error(answer) == (400, "LIMIT_EXCEEDED")


def test_a_job_can_be_aborted_and_deleted(org: Calls) -> None:
    """[1.4]"""
    org.set(job_seconds=30)
    job = org.query_job("SELECT Id FROM Lead")
    assert error(org.get(f"jobs/query/{job}/results")) == (400, "INVALIDJOBSTATE")
    assert error(org.call("DELETE", f"jobs/query/{job}")) == (400, "INVALIDJOBSTATE")
    assert org.call("PATCH", f"jobs/query/{job}", json={"state": "Aborted"}).json()["state"] == "Aborted"
    assert org.get(f"jobs/query/{job}").json()["state"] == "Aborted"
    assert org.call("DELETE", f"jobs/query/{job}").status_code == 204
    assert error(org.get(f"jobs/query/{job}")) == (404, "NOT_FOUND")


def test_a_job_can_fail_and_says_why(org: Calls) -> None:
    """[1.4: Failed(errorMessage)]"""
    org.set(job_end="Failed")
    job = org.query_job("SELECT Id FROM Lead")
    told = org.finished("query", job)
    assert (told["state"], bool(told["errorMessage"])) == ("Failed", True)


def test_a_job_is_forgotten_after_seven_days(org: Calls) -> None:
    """[1.4: jobs expire after 7 d]"""
    job = org.query_job("SELECT Id FROM User")
    org.finished("query", job)
    org.set(forgotten_jobs=[job])
    assert error(org.get(f"jobs/query/{job}")) == (404, "NOT_FOUND")
    org.set(forgotten_jobs=[])
    assert job in [one["id"] for one in org.get("jobs/query").json()["records"]]
    org.clock.forward(days=7, seconds=1)
    org.sign_in()
    assert error(org.get(f"jobs/query/{job}")) == (404, "NOT_FOUND")


def test_a_locator_that_never_was_is_refused(org: Calls) -> None:
    job = org.query_job("SELECT Id FROM User")
    org.finished("query", job)
    for wrong in ("!!", "OTk5OTk5", "YWJj"):
        assert org.get(f"jobs/query/{job}/results", params={"locator": wrong}).status_code == 400
    assert org.get(f"jobs/query/{job}/results?maxRecords=none").status_code == 400


def test_every_type_is_written(org: Calls) -> None:
    """[1.2 type map]"""
    fields = [one for one in org.get("sobjects/Wide__c/describe").json()["fields"] if one["type"] != "location"]
    rows = org.bulk_rows(f"SELECT {', '.join(one['name'] for one in fields)} FROM Wide__c")
    kept = org.kept("Wide__c")
    assert len(rows) == len(kept)
    for row, there in zip(rows, kept, strict=True):
        for one in fields:
            assert told_as(one["type"], row[one["name"]]) == there[one["name"]], one["name"]


def told_as(kind: str, text: str) -> Any:
    """A cell as JSON has it."""
    if text == "":
        return None
    if kind in ("double", "currency", "percent"):
        return float(text)
    if kind == "int":
        return int(text)
    if kind == "boolean":
        return text == "true"
    return text.replace("Z", "+0000") if kind == "datetime" else text
