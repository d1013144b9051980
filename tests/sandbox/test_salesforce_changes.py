"""getDeleted and getUpdated of the Salesforce sandbox."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import requests

from salesforce_calls import Calls, error


def span(org: Calls, kind: str, begin: timedelta, end: timedelta = timedelta(minutes=1)) -> requests.Response:
    """What changed from so long ago until so far from now."""
    now = org.clock()
    params = {"start": (now - begin).isoformat(timespec="seconds"), "end": (now + end).isoformat(timespec="seconds")}
    return org.get(f"sobjects/Lead/{kind}/", params=params)


def told(org: Calls, kind: str) -> dict[str, Any]:
    answer: dict[str, Any] = span(org, kind, timedelta(minutes=5)).json()
    return answer


def test_deleted_records_are_told_with_their_time(org: Calls) -> None:
    """[REC restforce: deletedRecords, earliestDateAvailable, latestDateCovered]"""
    identity = org.new()
    org.call("DELETE", f"sobjects/Lead/{identity}")
    answer = told(org, "deleted")
    found = {one["id"]: one["deletedDate"] for one in answer["deletedRecords"]}
    assert found[identity].endswith(".000+0000")
    assert set(answer) == {"deletedRecords", "earliestDateAvailable", "latestDateCovered"}
    assert identity not in told(org, "updated")["ids"]


def test_written_records_are_told_once(org: Calls) -> None:
    """[REC restforce: ids, latestDateCovered]"""
    identity = org.new()
    org.call("PATCH", f"sobjects/Lead/{identity}", json={"City": "Ulm"})
    answer = told(org, "updated")
    assert answer["ids"].count(identity) == 1
    assert set(answer) == {"ids", "latestDateCovered"}


def test_a_formula_that_changes_by_itself_is_no_update(org: Calls) -> None:
    """[CLIENT estuary; 1.9 pitfall 2]"""
    org.clock.forward(minutes=20)
    identity = org.new()
    org.clock.forward(minutes=20)
    row = org.rows(f"SELECT OwnerId FROM Lead WHERE Id = '{identity}'")[0]
    org.call("PATCH", f"sobjects/User/{row['OwnerId']}", json={"Department": "Moved"})
    assert identity not in told(org, "updated")["ids"]


def test_times_are_floored_to_the_minute_and_covered_up_to_now(org: Calls) -> None:
    """[DOC getdeletedresult]"""
    answer = told(org, "deleted")
    covered = datetime.strptime(answer["latestDateCovered"], "%Y-%m-%dT%H:%M:%S.%f%z")
    now = org.clock()
    assert covered.second == 0
    assert timedelta() <= now - covered <= timedelta(minutes=1, seconds=1)
    org.set(covered_behind_seconds=600)
    behind = datetime.strptime(told(org, "deleted")["latestDateCovered"], "%Y-%m-%dT%H:%M:%S.%f%z")
    assert timedelta(minutes=10) <= org.clock() - behind <= timedelta(minutes=11, seconds=1)


def test_no_more_than_fifteen_days_are_kept(org: Calls) -> None:
    """[DOC resources-getdeleted; the code unverified]"""
    assert span(org, "deleted", timedelta(days=15)).status_code == 200
    assert error(span(org, "deleted", timedelta(days=15, minutes=5))) == (400, "INVALID_REPLICATION_DATE")
    assert error(span(org, "updated", timedelta(days=16))) == (400, "INVALID_REPLICATION_DATE")


def test_a_span_is_at_least_a_minute_and_runs_forward(org: Calls) -> None:
    """[1.7: start<end by >=1 min; the code unverified]"""
    assert error(span(org, "deleted", timedelta(minutes=5), timedelta(minutes=-5))) == (400, "INVALID_REPLICATION_DATE")
    assert error(org.get("sobjects/Lead/deleted?start=x&end=y")) == (400, "INVALID_REPLICATION_DATE")


def test_a_delete_log_that_was_trimmed_says_from_when_it_tells(org: Calls) -> None:
    """[DOC getdeletedresult: if earliestDateAvailable is after your start you must resync]"""
    identity = org.new()
    org.call("DELETE", f"sobjects/Lead/{identity}")
    org.clock.forward(minutes=10)
    later = org.clock().replace(microsecond=0)
    org.set(deleted_from={"Lead": later.isoformat()})
    answer = span(org, "deleted", timedelta(hours=1)).json()
    assert answer["earliestDateAvailable"] == later.strftime("%Y-%m-%dT%H:%M:%S.000+0000")
    assert identity not in [one["id"] for one in answer["deletedRecords"]]


def test_too_many_ids_are_refused(org: Calls) -> None:
    """[DOC: 600,000 ids, else EXCEEDED_ID_LIMIT]"""
    org.new()
    org.set(most_changed_ids=0)
    assert error(span(org, "updated", timedelta(minutes=5))) == (400, "EXCEEDED_ID_LIMIT")


def test_what_is_deleted_for_good_vanishes_from_query_all_but_not_from_the_log(org: Calls) -> None:
    """[1.7: hard deletes and purges vanish from queryAll]"""
    identity = org.new()
    answer = requests.delete(f"{org.url}/_sandbox/records/Lead?ids={identity}&purge=true", timeout=30)
    assert answer.json() == {"deleted": 1}
    assert org.rows(f"SELECT Id FROM Lead WHERE Id = '{identity}'", resource="queryAll") == []
    assert identity in [one["id"] for one in told(org, "deleted")["deletedRecords"]]
    assert org.new() != identity
