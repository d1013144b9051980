"""Bulk API 2.0 ingest jobs of the Salesforce sandbox."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from salesforce_calls import Calls, csv_text, error, read_csv


def test_a_new_job_is_open_and_says_where_its_data_goes(org: Calls) -> None:
    """[1.5: contentUrl has no leading slash]"""
    told = org.call("POST", "jobs/ingest", json={"operation": "insert", "object": "lead"}).json()
    assert (told["state"], told["object"], told["jobType"]) == ("Open", "Lead", "V2Ingest")
    assert told["contentUrl"] == f"services/data/v64.0/jobs/ingest/{told['id']}/batches"
    assert told["apiVersion"] == 64.0


def test_data_is_sent_once_and_nothing_runs_before_the_job_is_closed(org: Calls) -> None:
    """[CLIENT simple-salesforce: 201; one PUT per job; DOC close-job]"""
    job = org.open_job("insert")
    sent = org.upload(job, "LastName,Company\nA,B\n")
    assert (sent.status_code, sent.content) == (201, b"")
    assert error(org.upload(job, "LastName,Company\nC,D\n")) == (400, "INVALIDJOBSTATE")
    assert org.get(f"jobs/ingest/{job}").json()["state"] == "Open"
    assert error(org.get(f"jobs/ingest/{job}/successfulResults")) == (400, "INVALIDJOBSTATE")
    assert org.close_job(job).json()["state"] == "UploadComplete"
    told = org.finished("ingest", job)
    assert (told["state"], told["numberRecordsProcessed"], told["numberRecordsFailed"]) == ("JobComplete", 1, 0)
    assert {"retries", "apiActiveProcessingTime", "apexProcessingTime", "totalProcessingTime"} <= set(told)
    assert error(org.upload(job, "LastName,Company\nE,F\n")) == (400, "INVALIDJOBSTATE")


def test_data_may_come_in_chunks(org: Calls) -> None:
    """[CLIENT jsforce sends it chunked]"""

    def pieces() -> Iterator[bytes]:
        yield b"LastName,Com"
        yield b"pany\nChunky,B\n"

    job = org.open_job("insert")
    assert org.upload(job, pieces()).status_code == 201
    org.close_job(job)
    assert org.finished("ingest", job)["numberRecordsProcessed"] == 1
    assert len(org.rows("SELECT Id FROM Lead WHERE LastName = 'Chunky'")) == 1


def test_rows_are_told_apart_in_the_results(org: Calls) -> None:
    """[DOC get-job-failed-results: sf__Id, sf__Created, sf__Error, original columns; partial failure is normal]"""
    rows = [
        ("Ada", "Own", ""),
        ("", "Own", "a@example.com"),
        ("Bob", "Own", "badone"),
        ("Cleo", "Own", "c@example.com"),
    ]
    told = org.ingest("insert", csv_text("LastName,Company,Email", rows))
    assert (told["state"], told["numberRecordsProcessed"], told["numberRecordsFailed"]) == ("JobComplete", 4, 2)
    good, bad = org.results(told["id"], "successfulResults"), org.results(told["id"], "failedResults")
    assert list(good[0]) == ["sf__Id", "sf__Created", "LastName", "Company", "Email"]
    assert {(one["LastName"], one["sf__Created"]) for one in good} == {("Ada", "true"), ("Cleo", "true")}
    assert list(bad[0]) == ["sf__Id", "sf__Error", "LastName", "Company", "Email"]
    assert {one["Email"]: (one["sf__Id"], one["sf__Error"]) for one in bad} == {
        "a@example.com": ("", "REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --"),
        "badone": ("", "INVALID_EMAIL_ADDRESS:Email: invalid email address: badone:Email --"),
    }
    assert org.results(told["id"], "unprocessedrecords") == []
    ids = ", ".join(f"'{one['sf__Id']}'" for one in good)
    assert set(org.column(f"SELECT LastName FROM Lead WHERE Id IN ({ids})")) == {"Ada", "Cleo"}


def test_results_come_in_another_order_than_the_data(org: Calls) -> None:
    """[DOC: order not guaranteed]"""
    ids = [org.new() for _ in range(5)]
    told = org.ingest("update", csv_text("Id,City", [(identity, "Rome") for identity in ids]))
    found = [one["sf__Id"] for one in org.results(told["id"], "successfulResults")]
    assert (sorted(found), found == ids) == (sorted(ids), False)


def test_an_empty_cell_says_nothing_and_na_empties_the_field(org: Calls) -> None:
    """[DOC datafiles_csv_valid_record_rows; 1.9 pitfall 7]"""
    first, second = org.new(City="Rome", State="Lazio"), org.new(City="Rome", State="Lazio")
    org.ingest("update", csv_text("Id,City,State", [(first, "", "#N/A"), (second, "#N/A", "Latium")]))
    cities = {row["Id"]: (row["City"], row["State"]) for row in org.kept("Lead")}
    assert (cities[first], cities[second]) == (("Rome", None), (None, "Latium"))


def test_values_are_read_as_csv_writes_them(org: Calls) -> None:
    """[DOC datafiles_csv_valid_record_rows: not trimmed; booleans true/false/1/0; ISO 8601]"""
    header = "LastName,AccountId,Consent__c,Birthdate,Limit__c,EmailBouncedDate,MailingCity,Languages__c"
    account = org.kept("Account")[0]["Id"]
    rows = [
        (" Smith", account, "1", "1999-12-31", "12.50", "2026-01-02T03:04:05+09:00", 'say "hi"', "two\nlines"),
        ("Jones", account[:15], "false", "", "1.39E8", "2026-01-02T03:04:05.678Z", "東京", "a,b"),
    ]
    told = org.ingest("insert", csv_text(header, rows), "Contact")
    assert told["numberRecordsFailed"] == 0, org.results(told["id"], "failedResults")
    ids = {one["LastName"]: one["sf__Id"] for one in org.results(told["id"], "successfulResults")}
    kept = {row["Id"]: row for row in org.kept("Contact")}
    smith, jones = kept[ids[" Smith"]], kept[ids["Jones"]]
    assert (smith["LastName"], smith["Consent__c"], smith["Birthdate"], smith["Limit__c"]) == (
        " Smith",
        True,
        "1999-12-31",
        12.5,
    )
    assert (smith["EmailBouncedDate"], smith["MailingCity"]) == ("2026-01-01T18:04:05.000+0000", 'say "hi"')
    assert (jones["AccountId"], jones["Limit__c"], jones["MailingCity"]) == (account, 139_000_000, "東京")
    assert (jones["EmailBouncedDate"], smith["Languages__c"]) == ("2026-01-02T03:04:05.678+0000", "two\nlines")


@pytest.mark.parametrize(
    ("cells", "code"),
    [
        ('{id}, "Rome"', "INVALID_CSV"),
        ('{id},"Rome" ', "INVALID_CSV"),
        ("{id}", "INVALID_CSV"),
        ("{id},Rome,more", "INVALID_CSV"),
        ("," + "x", "MISSING_ARGUMENT"),
        ("00Q5g00000zzzzzEAA,Rome", "INVALID_CROSS_REFERENCE_KEY"),
        ("nonsense,Rome", "MALFORMED_ID"),
        ("{id}," + "x" * 41, "STRING_TOO_LONG"),
        ("{id}," + "x" * 32_001, "STRING_TOO_LONG"),
    ],
)
def test_a_row_that_is_wrong_leaves_the_others(org: Calls, cells: str, code: str) -> None:
    """[DOC: a space beside a quote is an error; the code of unreadable rows unverified]"""
    wrong, right = org.new(), org.new()
    told = org.ingest("update", f"Id,City\n{cells.format(id=wrong)}\n{right},Rome\n")
    assert (told["numberRecordsProcessed"], told["numberRecordsFailed"]) == (2, 1)
    (failed,) = org.results(told["id"], "failedResults")
    assert failed["sf__Error"].startswith(f"{code}:")
    assert [one["sf__Id"] for one in org.results(told["id"], "successfulResults")] == [right]


def test_rows_meet_the_same_reasons_as_single_records(org: Calls) -> None:
    """[1.5: ENTITY_IS_DELETED, DUPLICATE_VALUE, INVALID_CROSS_REFERENCE_KEY, UNABLE_TO_LOCK_ROW; 1.6]"""
    deleted, locked, doubled, orphan, scored = (org.new() for _ in range(5))
    converted = org.column("SELECT Id FROM Lead WHERE IsConverted = TRUE LIMIT 1")[0]
    org.call("DELETE", f"sobjects/Lead/{deleted}")
    org.set(locked_ids=[locked])
    rows = [
        (deleted, "", "", ""),
        (locked, "", "", ""),
        (converted, "", "", "1"),
        (doubled, "L-0000001", "", ""),
        (orphan, "", "0055g00000zzzzzEAA", ""),
        (scored, "", "", "1000"),
    ]
    told = org.ingest("update", csv_text("Id,External_Id__c,OwnerId,LeadScore__c", rows))
    found = {one["sf__Id"]: one["sf__Error"].partition(":")[0] for one in org.results(told["id"], "failedResults")}
    assert found == {
        deleted: "ENTITY_IS_DELETED",
        locked: "UNABLE_TO_LOCK_ROW",
        converted: "CANNOT_UPDATE_CONVERTED_LEAD",
        doubled: "DUPLICATE_VALUE",
        orphan: "INVALID_CROSS_REFERENCE_KEY",
        scored: "NUMBER_OUTSIDE_VALID_RANGE",
    }


def test_upserts_make_and_change_by_an_external_id(org: Calls) -> None:
    """[1.5; WEB SFDX-Data-Move-Utility#932: blank keys fail]"""
    rows = [
        ("B-1", "New", "Own"),
        ("l-0000005", "Changed", "Own"),
        ("", "Blank", "Own"),
        ("B-2", "A", "B"),
        ("b-2", "A", "B"),
    ]
    told = org.ingest("upsert", csv_text("External_Id__c,LastName,Company", rows), externalIdFieldName="external_id__c")
    assert told["externalIdFieldName"] == "External_Id__c"
    good = {one["External_Id__c"]: one["sf__Created"] for one in org.results(told["id"], "successfulResults")}
    assert good == {"B-1": "true", "l-0000005": "false"}
    bad = [one["sf__Error"].partition(":")[0] for one in org.results(told["id"], "failedResults")]
    assert sorted(bad) == ["DUPLICATE_VALUE", "DUPLICATE_VALUE", "MISSING_ARGUMENT"]
    assert org.column("SELECT LastName FROM Lead WHERE External_Id__c = 'L-0000005'") == ["Changed"]


def test_relations_are_written_by_external_ids(org: Calls) -> None:
    """[DOC: Owner.Email, Account.Ext__c, polymorphic ObjectType:Rel.Field]"""
    user = org.kept("User")[2]
    rows = [("R1", "A-000003"), ("R2", "A-NOBODY")]
    told = org.ingest("insert", csv_text("LastName,Account.External_Id__c", rows), "Contact")
    (good,) = org.results(told["id"], "successfulResults")
    assert org.rows(f"SELECT Account.External_Id__c FROM Contact WHERE Id = '{good['sf__Id']}'")[0]["Account"][
        "External_Id__c"
    ] == ("A-000003")
    (bad,) = org.results(told["id"], "failedResults")
    assert bad["sf__Error"].startswith(
        "INVALID_FIELD:Foreign key external ID: A-NOBODY not found for field External_Id__c"
    )
    for header in ("Owner.Email", "User:Owner.Email"):
        identity = org.new()
        told = org.ingest("update", csv_text(f"Id,{header}", [(identity, user["Email"])]))
        assert told["numberRecordsFailed"] == 0
        assert org.get(f"sobjects/Lead/{identity}").json()["OwnerId"] == user["Id"]


def test_deletes_take_ids_only(org: Calls) -> None:
    """[1.5: delete accepts only Id]"""
    soft, hard = org.new(), org.new()
    told = org.ingest("delete", f"Id\n{soft}\n")
    assert (told["numberRecordsProcessed"], told["numberRecordsFailed"]) == (1, 0)
    org.ingest("hardDelete", f"Id\n{hard}\n")
    ids = f"'{soft}', '{hard}'"
    assert org.rows(f"SELECT Id FROM Lead WHERE Id IN ({ids})", resource="queryAll") == [{"Id": soft}]
    failed = org.ingest("delete", f"Id,City\n{soft},Rome\n")
    assert (failed["state"], failed["numberRecordsProcessed"]) == ("Failed", 0)
    assert failed["errorMessage"].startswith("InvalidBatch")
    assert org.results(failed["id"], "unprocessedrecords") == [{"Id": soft, "City": "Rome"}]


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"Id,Nope\n1,2\n", "Nope"),
        (b"City\nRome\n", "Id"),
        (b"Id,City,city\n1,2,3\n", "different"),
        (b"Id,City\r\n1,Rome\r\n", "LineEnding"),
        (b"Id,City\n1,R\xf6m\n", "UTF-8"),
    ],
)
def test_data_that_cannot_be_read_fails_the_job(org: Calls, data: bytes, word: str) -> None:
    """[DOC datafiles_prepare_csv: API names, UTF-8, the job's line ends; the messages unverified]"""
    told = org.ingest("update", data)
    assert told["state"] == "Failed"
    assert word in told["errorMessage"]


def test_delimiters_and_line_ends_are_those_of_the_job(org: Calls) -> None:
    identity = org.new()
    job = org.open_job("update", columnDelimiter="SEMICOLON", lineEnding="CRLF")
    org.upload(job, f"Id;City\r\n{identity};Rome, Italy\r\n")
    org.close_job(job)
    org.finished("ingest", job)
    assert org.get(f"sobjects/Lead/{identity}").json()["City"] == "Rome, Italy"
    lines = org.get(f"jobs/ingest/{job}/successfulResults").content.decode()
    assert lines == f'"sf__Id";"sf__Created";"Id";"City"\r\n"{identity}";"false";"{identity}";"Rome, Italy"\r\n'


def test_a_small_payload_may_come_with_the_job(org: Calls) -> None:
    """[1.5: multipart/form-data with parts job and content, ends in UploadComplete]"""
    files = {
        "job": (None, '{"operation": "insert", "object": "Lead", "contentType": "CSV"}', "application/json"),
        "content": ("content.csv", "LastName,Company\nMulti,Part\n", "text/csv"),
    }
    told = org.call("POST", "jobs/ingest", files=files).json()
    assert told["state"] in ("UploadComplete", "InProgress", "JobComplete")
    assert org.finished("ingest", told["id"])["numberRecordsProcessed"] == 1
    large = {**files, "content": ("content.csv", "LastName,Company\n" + "A,B\n" * 30_000, "text/csv")}
    assert error(org.call("POST", "jobs/ingest", files=large)) == (400, "INVALIDJOB")


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"operation": "merge", "object": "Lead"}, "INVALIDJOB"),
        ({"operation": "insert", "object": "Nope"}, "INVALIDENTITY"),
        ({"operation": "insert", "object": "Attachment"}, "INVALIDENTITY"),
        ({"operation": "upsert", "object": "Lead"}, "INVALIDJOB"),
        ({"operation": "insert", "object": "Lead", "externalIdFieldName": "External_Id__c"}, "INVALIDJOB"),
        ({"operation": "upsert", "object": "Lead", "externalIdFieldName": "City"}, "INVALIDJOB"),
        ({"operation": "insert", "object": "Lead", "contentType": "JSON"}, "INVALIDJOB"),
    ],
)
def test_a_job_that_makes_no_sense_is_refused(org: Calls, asked: dict[str, str], code: str) -> None:
    """[1.5: externalIdFieldName is for upsert only; codes unverified]"""
    assert error(org.call("POST", "jobs/ingest", json=asked)) == (400, code)


def test_an_aborted_job_leaves_its_rows_unprocessed(org: Calls) -> None:
    """[1.5: unprocessed records of jobs Failed or Aborted]"""
    identity = org.new()
    job = org.open_job("update")
    org.upload(job, f"Id,City\n{identity},Rome\n")
    assert org.call("PATCH", f"jobs/ingest/{job}", json={"state": "Aborted"}).json()["state"] == "Aborted"
    assert error(org.close_job(job)) == (400, "INVALIDJOBSTATE")
    for name in ("unprocessedrecords", "unprocessedRecords"):  # [CLIENT: jsforce, simple-salesforce]
        assert org.results(job, name) == [{"Id": identity, "City": "Rome"}]
    assert org.get(f"jobs/ingest/{job}/successfulResults").text.strip() == '"sf__Id","sf__Created","Id","City"'
    assert org.get(f"sobjects/Lead/{identity}").json()["City"] is None
    assert org.call("DELETE", f"jobs/ingest/{job}").status_code == 204
    assert error(org.get(f"jobs/ingest/{job}")) == (404, "NOT_FOUND")


@pytest.mark.parametrize("end", ["Failed", "Aborted"])
def test_a_job_that_ends_in_the_middle_tells_what_it_did(org: Calls, end: str) -> None:
    """[1.5]"""
    org.set(job_end=end, job_fails_after_rows=250)
    rows = [(f"Half{end}", "Own", str(n)) for n in range(600)]
    told = org.ingest("insert", csv_text("LastName,Company,City", rows))
    assert (told["state"], told["numberRecordsProcessed"]) == (end, 250)
    done = {one["City"] for one in org.results(told["id"], "successfulResults")}
    left = {one["City"] for one in org.results(told["id"], "unprocessedrecords")}
    assert (len(done), len(left), done | left) == (250, 350, {str(n) for n in range(600)})
    assert len(org.rows(f"SELECT Id FROM Lead WHERE LastName = 'Half{end}'")) == 250


def test_batches_beyond_the_days_allocation_are_not_recorded(org: Calls) -> None:
    """[DOC bulk_api_2_limits: results are not recorded; success+failed+unprocessed can be < uploaded]"""
    used = 15_000 - org.get("limits").json()["DailyBulkApiBatches"]["Remaining"]
    org.set(batch_rows=100, daily_batches=used + 2)
    told = org.ingest("insert", csv_text("LastName,Company", [("Much", "Own")] * 250))
    assert (told["state"], told["numberRecordsProcessed"]) == ("JobComplete", 200)
    kinds = ("successfulResults", "failedResults", "unprocessedrecords")
    assert sum(len(org.results(told["id"], kind)) for kind in kinds) == 200


@pytest.mark.parametrize("counted", [True, False])
def test_rows_can_be_left_out_of_all_results(org: Calls, counted: bool) -> None:
    """[DOC bulk_api_2_limits; whether they are counted is unverified]"""
    org.set(unrecorded_rows=3, unrecorded_counted=counted)
    told = org.ingest("insert", csv_text("LastName,Company", [("Left", "Out")] * 10))
    assert (told["state"], told["numberRecordsProcessed"]) == ("JobComplete", 10 if counted else 7)
    kinds = ("successfulResults", "failedResults", "unprocessedrecords")
    assert [len(org.results(told["id"], kind)) for kind in kinds] == [7, 0, 0]
    jobs = {one["id"]: one for one in requests.get(f"{org.url}/_sandbox/jobs", timeout=30).json()}
    assert (jobs[told["id"]]["rows"], jobs[told["id"]]["operation"]) == (10, "insert")


def test_too_much_data_is_refused(org: Calls) -> None:
    """[DOC datafiles-prepare-csv: 150 MB after base64; the answer's shape unverified]"""
    org.set(most_upload_bytes=1000)
    job = org.open_job("insert")
    assert org.upload(job, "LastName,Company\n" + "A,B\n" * 500).status_code == 400
    assert org.upload(job, "LastName,Company\nA,B\n").status_code == 201


def test_an_upload_that_breaks_off_can_be_sent_again(org: Calls) -> None:
    def broken() -> Iterator[bytes]:
        yield b"LastName,Company\n"
        raise OSError("the sender stumbles")

    job = org.open_job("insert")
    with pytest.raises((OSError, requests.RequestException)):
        org.upload(job, broken())
    assert org.upload(job, "LastName,Company\nWhole,Own\n").status_code == 201
    org.close_job(job)
    assert org.finished("ingest", job)["numberRecordsProcessed"] == 1


def test_a_write_moves_the_stamp_and_a_formula_follows(org: Calls) -> None:
    """[1.9 pitfall 2]"""
    identity = org.new()
    before = org.get(f"sobjects/Lead/{identity}").json()
    org.clock.forward(seconds=5)
    org.ingest("update", f"Id,LeadScore__c\n{identity},91\n")
    after = org.get(f"sobjects/Lead/{identity}").json()
    assert (before["Score_Band__c"], after["Score_Band__c"]) == (None, "Hot")
    assert after["SystemModstamp"] > before["SystemModstamp"]


def test_many_rows_are_written_in_order_and_told_completely(org: Calls) -> None:
    rows = [(f"M-{n}", f"Name {n}", "Own", str(n % 100)) for n in range(2345)]
    header = "External_Id__c,LastName,Company,LeadScore__c"
    told = org.ingest("insert", csv_text(header, rows))
    assert (told["numberRecordsProcessed"], told["numberRecordsFailed"]) == (2345, 0)
    good = org.results(told["id"], "successfulResults")
    assert {one["External_Id__c"] for one in good} == {row[0] for row in rows}
    assert len({one["sf__Id"] for one in good}) == 2345
    doomed = csv_text("Id", [(one["sf__Id"],) for one in good])
    assert org.ingest("hardDelete", doomed)["numberRecordsFailed"] == 0
    assert read_csv(org.get(f"jobs/ingest/{told['id']}/failedResults").content) == []
