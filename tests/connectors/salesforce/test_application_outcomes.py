"""What is made of Salesforce's answers for rows: errors of bulk jobs in words, and the rows that results are about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from salesforce_writes import FIELDS, Notes, outcomes, typed
from suiro.connectors.salesforce.application import SalesforceApplication
from suiro.connectors.salesforce.config import SalesforceConfig
from suiro.connectors.salesforce.outcomes import Matcher, of_text
from suiro.connectors.salesforce.wire import NOTHING, Written
from suiro.model.writeback import Action, Order, Outcome
from suiro.testing.context import LocalContext
from web import serving

INSERT = Order(object="Lead", action=Action.INSERT)
UPSERT = Order(object="Lead", action=Action.UPSERT, by="Ext__c")


@pytest.mark.parametrize(
    ("text", "code", "message", "fields"),
    [
        (
            "REQUIRED_FIELD_MISSING:Required fields are missing: [Name]:Name --",
            "REQUIRED_FIELD_MISSING", "Required fields are missing: [Name]", ("Name",),
        ),
        ("STRING_TOO_LONG:too long:Name,Ext__c --", "STRING_TOO_LONG", "too long", ("Name", "Ext__c")),
        ("UNABLE_TO_LOCK_ROW:unable to lock:--", "UNABLE_TO_LOCK_ROW", "unable to lock", ()),
        (
            "INVALID_FIELD:Foreign key external ID: X not found for field Y",
            "INVALID_FIELD", "Foreign key external ID: X not found for field Y", (),
        ),
        ("FIELD_CUSTOM_VALIDATION_EXCEPTION:Note: Wrong:--", "FIELD_CUSTOM_VALIDATION_EXCEPTION", "Note: Wrong", ()),
        ("ENTITY_IS_DELETED", "ENTITY_IS_DELETED", None, ()),
        ("no code at all: it says", None, "no code at all: it says", ()),
        (None, None, None, ()),
    ],
)  # fmt: skip
def test_an_error_of_a_bulk_job_is_told_by_code_message_and_fields(
    text: str | None, code: str | None, message: str | None, fields: tuple[str, ...]
) -> None:
    found = of_text(INSERT, 3, text, {"Name", "Ext__c"})
    assert (found.row, found.code, found.message, found.fields) == (3, code, message, fields)


def matcher(order: Order, *rows: dict[str, str | None]) -> Matcher:
    written = Written("Lead", pa.RecordBatch.from_pylist(list(rows)), {})
    return Matcher(order, written, range(len(rows)))


def test_equal_rows_stand_for_one_another_and_none_is_found_twice() -> None:
    found = matcher(INSERT, {"A": "x", "B": None}, {"A": "x", "B": None}, {"A": "y", "B": "z"})
    taken = [found.take(found.told(cells, None, None).key) for cells in (["x", NOTHING], ["y", "z"], ["x", None])]
    assert taken == [0, 2, 1]
    assert found.take(found.told(["x", None], None, None).key) is None
    assert found.left == []


def test_a_row_is_found_as_it_was_written_before_one_that_differs_in_its_lines_ends_alone() -> None:
    found = matcher(INSERT, {"A": "one\r\ntwo"}, {"A": "one\ntwo"})
    assert found.take(found.told(["one\ntwo"], None, None).key) == 1
    assert found.take(found.told(["one\ntwo"], None, None).key) == 0


def test_cells_that_stand_side_by_side_are_not_taken_for_one_another() -> None:
    found = matcher(INSERT, {"A": "x", "B": "yz"}, {"A": "xy", "B": "z"})
    assert found.take(found.told(["xy", "z"], None, None).key) == 1


def test_an_external_id_is_found_in_capitals_and_with_other_zeros_behind_its_point() -> None:
    found = matcher(UPSERT, {"Ext__c": "Ab"}, {"Ext__c": "ab"}, {"Ext__c": "5.10"})
    assert found.take(found.told(["ab"], None, None).key) == 1
    assert found.take(found.told(["AB"], None, None).key) == 0
    assert found.take(found.told(["5.1"], None, None).key) == 2


async def composite(request: Request) -> Response:
    """Refuses a request whole where one of its records says so."""
    records = (await request.json())["records"]
    names = [one["Name"] for one in records]
    if "broken" in names:
        refusal = [{"errorCode": "JSON_PARSER_ERROR", "message": "Cannot deserialize instance of date"}]
        return JSONResponse(refusal, 400)
    if "ambiguous" in names:
        return JSONResponse(["/services/data/v67.0/sobjects/Lead/1", "/services/data/v67.0/sobjects/Lead/2"], 300)
    return JSONResponse([{"id": f"id of {name}", "success": True, "errors": []} for name in names])


async def described(request: Request) -> Response:
    said: dict[str, Any] = {"name": "Lead", "queryable": True, "createable": True, "updateable": True}
    return JSONResponse({**said, "fields": FIELDS} if "describe" in request.url.path else {"sobjects": [said]})


def test_a_record_for_which_salesforce_refuses_a_whole_request_is_found_and_the_others_are_sent(tmp_path: Path) -> None:
    routes = [
        Route("/services/data/v67.0/composite/sobjects/{rest:path}", composite, methods=["PATCH"]),
        Route("/services/data/v67.0/sobjects/{rest:path}", described),
    ]
    with serving(Starlette(routes=routes)) as url:
        config = SalesforceConfig.model_validate({"base_url": url, "access_token": "session"})
        application = SalesforceApplication(config, LocalContext(run="run", workdir=tmp_path))
        names = [{17: "broken", 44: "ambiguous"}.get(at, f"n{at}") for at in range(250)]
        _, types = application.describe("Lead")
        rows = typed(types, {"Ext__c": [f"e{at}" for at in range(250)], "Name": names})
        answers = sorted(application.apply(UPSERT, rows, Notes(tmp_path / "notes")), key=lambda answer: answer.row)
        application.close()
    assert outcomes(answers) == [Outcome.REFUSED if at in (17, 44) else Outcome.DONE for at in range(250)]
    assert [answer.record for answer in answers if answer.record] == [
        f"id of {name}" for name in names if name not in ("broken", "ambiguous")
    ]
    assert (answers[17].code, answers[44].code) == ("JSON_PARSER_ERROR", "MULTIPLE_CHOICES")
    assert "several records" in str(answers[44].message)
