"""Write-back to Salesforce's sandbox in bulk jobs: gone on with by a journal, broken off, refused, and lost."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest

from salesforce_org import Org
from salesforce_writes import BY_JOBS, FIELDS, Notes, Writer, outcomes, prefix
from suiro.connectors.salesforce import application, ingest, journaled
from suiro.connectors.salesforce.ids import long_id
from suiro.model.errors import Cancelled, TransientError
from suiro.model.schema import Json
from suiro.model.writeback import Action, Order, Outcome, RowResult

DONE, REFUSED, UNPROCESSED, UNKNOWN = Outcome.DONE, Outcome.REFUSED, Outcome.UNPROCESSED, Outcome.UNKNOWN
ROOT = "/services/data/v{version}"
JOBS, JOB = f"{ROOT}/jobs/ingest", f"{ROOT}/jobs/ingest/{{id}}"
COUNT = 40
INSERT = Order(object="Bulk__c", action=Action.INSERT)
#: Every request of an insert but those that describe the object.
REQUESTS = [
    ("POST", JOBS), ("PUT", f"{JOB}/batches"), ("PATCH", JOB), ("GET", JOB), ("GET", f"{JOB}/successfulResults"),
    ("GET", f"{JOB}/failedResults"),
]  # fmt: skip


@pytest.fixture
def name(org: Org) -> str:
    return org.make("Bulk__c", FIELDS)


@pytest.fixture
def writer(org: Org, name: str, tmp_path: Path) -> Iterator[Writer]:
    writer = Writer(org, tmp_path)
    yield writer
    writer.close()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that cost no time."""
    monkeypatch.setattr("suiro.testing.context.LocalContext.wait", lambda self, seconds: self.check_cancelled())


def insert(writer: Writer, journal: Notes | None = None, count: int = COUNT) -> list[RowResult]:
    """Rows of which every tenth is refused, and the first two are equal."""
    names = [f"{'x' * 80 if at % 10 == 9 else ''}n{max(at, 1)}" for at in range(count)]
    return writer.apply(Action.INSERT, "Bulk__c", writer.rows("Bulk__c", Name=names), journal)


def check(org: Org, answers: Sequence[RowResult], count: int = COUNT) -> None:
    """Each good row is a record of its own, and its answer names it."""
    assert outcomes(answers) == [REFUSED if at % 10 == 9 else DONE for at in range(count)]
    records = {record["Id"]: record["Name"] for record in org.records("Bulk__c")}
    told = {answer.record: f"n{max(answer.row, 1)}" for answer in answers if answer.outcome is DONE}
    assert told == records
    assert len(records) == count - count // 10


# -- a sending that is broken off --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["lost", "drop", "500"])
@pytest.mark.parametrize(("method", "route"), REQUESTS, ids=lambda given: given.rpartition("/")[2])
def test_pitfall_11_an_insert_whose_answer_is_lost_at_any_step_is_not_doubled(
    org: Org, writer: Writer, soon: None, method: str, route: str, fault: str
) -> None:
    plan = {"rate": 1.0, "kinds": [fault], "at_most": 1, "methods": [method], "routes": [route]}
    org.control("PUT", "faults", plan)
    journal = writer.journal()
    try:
        answers = insert(writer, journal)
    except TransientError:
        answers = insert(writer, journal)
    check(org, answers)
    check(org, insert(writer, journal))  # once more, after all was done


def test_a_job_that_was_never_filled_is_aborted_and_another_one_made(org: Org, writer: Writer) -> None:
    journal = writer.journal()
    insert(writer, journal)
    first, *_ = journal.notes()
    open_ = ingest.made(writer.application._org, INSERT)
    assert isinstance(open_, ingest.IngestJob)
    other = writer.journal()
    other.note({**first, "job": open_.id})
    org.make("Bulk__c", FIELDS)
    check(org, insert(writer, other))
    assert open_.said()["state"] == "Aborted"
    assert [note.get("aborted") for note in other.notes()][1] == open_.id


def test_a_job_that_was_filled_and_not_closed_is_closed(org: Org, writer: Writer, name: str) -> None:
    rows = writer.rows(name, Name=["one", "two"])
    journal = Stopping(writer.journal().path, after="uploaded")
    with pytest.raises(KeyboardInterrupt):
        writer.apply(Action.INSERT, name, rows, journal)
    assert org.records(name) == []
    org.forget_requests()
    assert outcomes(writer.apply(Action.INSERT, name, rows, Notes(journal.path))) == [DONE, DONE]
    assert len(org.records(name)) == 2
    assert f"POST {JOBS}" not in org.requests()


def test_a_job_under_way_is_waited_for(org: Org, writer: Writer) -> None:
    org.settings(job_seconds=0.3)
    journal = writer.journal()
    cancelling = threading.Timer(0.35, writer.context.cancel)
    cancelling.start()
    with pytest.raises(Cancelled):
        insert(writer, journal)
    cancelling.join()
    assert "uploaded" in journal.notes()[-1]
    again = Writer(org, journal.path.parent)
    check(org, insert(again, journal))
    again.close()
    assert len([note for note in journal.notes() if "job" in note]) == 1


def test_a_cancel_while_a_job_is_filled_aborts_the_job(org: Org, writer: Writer, name: str) -> None:
    org.control("PUT", "faults", {"rate": 1.0, "kinds": ["slow"], "slow_seconds": 0.5, "methods": ["PUT"]})
    journal = writer.journal()
    cancelling = threading.Timer(0.3, writer.context.cancel)
    cancelling.start()
    with pytest.raises(Cancelled):
        insert(writer, journal)
    cancelling.join()
    again = Writer(org, journal.path.parent)
    job = ingest.IngestJob(again.application._org, str(journal.notes()[0]["job"]), "67.0")
    assert job.said()["state"] == "Aborted"
    check(org, insert(again, journal))
    again.close()


def test_a_job_that_salesforce_forgot_leaves_rows_of_unknown_fate_which_are_not_sent_again(
    org: Org, writer: Writer
) -> None:
    journal = writer.journal()
    check(org, insert(writer, journal))
    org.settings(forgotten_jobs=[journal.notes()[0]["job"]])
    org.forget_requests()
    answers = insert(writer, journal)
    assert outcomes(answers) == [UNKNOWN] * COUNT
    assert "can't be learned" in str(answers[0].message)
    assert f"POST {JOBS}" not in org.requests()


@pytest.mark.parametrize("in_time", [True, False])
def test_of_two_processes_that_fill_a_job_for_the_same_rows_only_the_first_lets_it_run(
    org: Org, writer: Writer, name: str, in_time: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`in_time`: the later one's word that the other job is to be aborted comes before that job is closed."""
    rows = writer.rows(name, Name=["one", "two"])
    shared = Stopping(writer.journal().path, before="uploaded")
    with pytest.raises(KeyboardInterrupt):  # taken for dead, it is only slow
        writer.apply(Action.INSERT, name, rows, shared)
    slow = ingest.IngestJob(writer.application._org, str(shared.notes()[0]["job"]), "67.0")

    class Overtaken(Notes):
        """A journal in which the slow one goes on right before this one's note."""

        def note(self, said: dict[str, Json]) -> None:
            if "uploaded" in said:
                super().note({"uploaded": slow.id})
            super().note(said)

    if not in_time:
        monkeypatch.setattr(ingest.IngestJob, "abort", lambda self: None)
    other = Writer(org, shared.path.parent)
    with pytest.raises(TransientError, match="another process"):
        other.apply(Action.INSERT, name, rows, Overtaken(shared.path))
    slow.close()
    answers = other.apply(Action.INSERT, name, rows, Notes(shared.path))
    other.close()
    assert outcomes(answers) == [UNPROCESSED if in_time else DONE] * 2
    assert len(org.records(name)) == (0 if in_time else 2)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_five_faults_in_a_hundred_requests_change_nothing_of_the_result(
    org: Org, writer: Writer, name: str, soon: None, seed: int
) -> None:
    count = 1_000
    texts = [f"n{at}" for at in range(count)]
    rows = writer.rows(name, Name=texts, Ext__c=texts)
    org.control("DELETE", "requests")
    org.control("PUT", "faults", {"seed": seed, "rate": 0.05, "slow_seconds": 0.01})
    made = patiently(lambda journal: writer.apply(Action.INSERT, name, rows, journal), writer)
    assert outcomes(made) == [DONE] * count
    keys = [str(one.record) for one in made]
    scores = [Decimal(at) for at in range(count)]
    rows = writer.rows(name, Id=keys, Score__c=scores)
    for way in ({}, BY_JOBS, {}):
        changed = patiently(lambda j, way=way: writer.apply(Action.UPDATE, name, rows, j, options=way), writer)  # type: ignore[misc]
        assert outcomes(changed) == [DONE] * count
    found = writer.present(name, "Ext__c", texts, "Score__c")
    assert {row["Id"]: row["Score__c"] for row in found} == dict(zip(keys, scores, strict=True))
    rows = writer.rows(name, Ext__c=[*texts[:600], *(f"m{at}" for at in range(100))], Name=["up"] * 700)
    upserted = patiently(lambda journal: writer.apply(Action.UPSERT, name, rows, journal, by="Ext__c"), writer)
    assert outcomes(upserted) == [DONE] * 700
    rows = writer.rows(name, Id=keys[800:])
    assert outcomes(patiently(lambda j: writer.apply(Action.DELETE, name, rows, j), writer)) == [DONE] * 200
    assert sum(org.control("GET", "requests")["faults"].values()) > 0
    org.control("PUT", "faults", {})
    records = {record["Ext__c"]: (record["Name"], record["Score__c"]) for record in org.records(name)}
    assert records == {
        **{f"n{at}": ("up" if at < 600 else f"n{at}", at) for at in range(800)},
        **{f"m{at}": ("up", None) for at in range(100)},
    }


# -- what a job answers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["Failed", "Aborted"])
def test_rows_that_a_job_did_not_come_to_are_unprocessed(org: Org, writer: Writer, name: str, end: str) -> None:
    org.settings(job_end=end, job_fails_after_rows=15)
    names = [f"n{at}" for at in range(COUNT)]
    answers = writer.apply(Action.INSERT, name, writer.rows(name, Name=names))
    records = {record["Id"]: record["Name"] for record in org.records(name)}
    assert {one.record: names[one.row] for one in answers if one.outcome is DONE} == records
    left = [one for one in answers if one.outcome is not DONE]
    assert (len(records), {one.outcome for one in left}) == (15, {UNPROCESSED})
    assert all(end in str(one.message) for one in left)


def test_rows_beyond_the_days_batches_are_told_apart_from_those_done(org: Org, writer: Writer, name: str) -> None:
    org.settings(batch_rows=10)
    batches = writer.application._org.get("limits")["DailyBulkApiBatches"]
    org.settings(daily_batches=batches["Max"] - batches["Remaining"] + 2)
    names = [f"n{at}" for at in range(COUNT)]
    answers = writer.apply(Action.INSERT, name, writer.rows(name, Name=names))
    records = {record["Id"]: record["Name"] for record in org.records(name)}
    assert {one.record: names[one.row] for one in answers if one.outcome is DONE} == records
    left = {one.outcome for one in answers if one.outcome is not DONE}
    assert len(records) == 20 and left and left <= {UNPROCESSED, UNKNOWN}


def test_locked_rows_of_an_insert_go_into_another_job_and_no_other_row_does(
    org: Org, writer: Writer, soon: None
) -> None:
    org.settings(lock_next=5)
    journal = writer.journal()
    check(org, insert(writer, journal))
    assert next(note["rows"] for note in journal.notes() if "job" in note) == [[0, COUNT - 1]]
    assert len([note for note in journal.notes() if "job" in note]) == 2
    org.forget_requests()
    check(org, insert(writer, journal))  # from the journal alone
    assert f"POST {JOBS}" not in org.requests()


def test_an_insert_of_more_than_a_job_takes_goes_in_several(
    org: Org, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journaled, "MOST_BYTES", 65_536 + 400)
    journal = writer.journal()
    check(org, insert(writer, journal))
    jobs = [note["rows"] for note in journal.notes() if "job" in note]
    assert len(jobs) > 1
    assert [row for ranges in jobs for row in journaled._rows(ranges)] == list(range(COUNT))
    check(org, insert(writer, journal))


def test_an_object_without_bulk_jobs_takes_changes_in_collections_and_no_inserts(
    org: Org, writer: Writer, name: str
) -> None:
    made = [one.record for one in writer.apply(Action.INSERT, name, writer.rows(name, Name=["a", "b"]))]
    name = org.make("Slow__c", FIELDS, bulk=False)
    org.put(name, [{"Id": made[0], "Name": "a"}])
    rows = writer.rows(name, Id=made[:1], Name=["changed"])
    assert outcomes(writer.apply(Action.UPDATE, name, rows, options=BY_JOBS)) == [DONE]
    assert [record["Name"] for record in org.records(name)] == ["changed"]
    answers = writer.apply(Action.INSERT, name, writer.rows(name, Name=["new"]))
    assert outcomes(answers) == [UNPROCESSED]
    assert "bulk jobs only" in str(answers[0].message)


def test_more_records_than_a_batch_takes_are_updated_in_several_jobs(
    org: Org, writer: Writer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(application, "MOST", 2_500)
    begins, count = prefix(org, name), 6_000
    keys = [long_id(f"{begins}{at:012d}") for at in range(count)]
    org.put(name, ({"Id": key, "Name": f"n{at}"} for at, key in enumerate(keys)))
    rows = writer.rows(name, Id=keys, Score__c=[Decimal(at) for at in range(count)])
    most = writer.application.most_rows(INSERT)
    org.forget_requests()
    for start in range(0, count, most):
        answers = writer.apply(Action.UPDATE, name, rows.slice(start, most), options=BY_JOBS)
        assert set(outcomes(answers)) == {DONE}
    assert org.requests()[f"PUT {JOB}/batches"] == 3
    assert {one["Id"]: one["Score__c"] for one in org.records(name)} == dict(zip(keys, range(count), strict=True))


@pytest.mark.parametrize(("counted", "left"), [(True, UNKNOWN), (False, UNPROCESSED)])
def test_rows_in_none_of_the_results_are_unknown_unless_the_jobs_counts_prove_that_they_were_not_touched(
    org: Org, writer: Writer, name: str, counted: bool, left: Outcome
) -> None:
    org.settings(unrecorded_rows=4, unrecorded_counted=counted)
    answers = writer.apply(Action.INSERT, name, writer.rows(name, Name=[f"n{at}" for at in range(COUNT)]))
    fates = Counter(outcomes(answers))
    assert fates == {DONE: COUNT - 4, left: 4}
    if left is UNPROCESSED:
        assert len(org.records(name)) == COUNT - 4


class Stopping(Notes):
    """A journal whose process ends right before or after a kind of note."""

    def __init__(self, path: Path, *, before: str = "", after: str = "") -> None:
        super().__init__(path)
        self._before, self._after = before, after

    def note(self, said: dict[str, Json]) -> None:
        if self._before in said:
            raise KeyboardInterrupt
        super().note(said)
        if self._after in said:
            raise KeyboardInterrupt


def patiently(act: Callable[[Notes], list[RowResult]], writer: Writer) -> list[RowResult]:
    """As the engine does: after a TransientError once more, with the same journal."""
    journal = writer.journal()
    for _ in range(10):
        with suppress(TransientError):
            return act(journal)
    raise AssertionError("it never went through")
