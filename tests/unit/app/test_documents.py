"""YAML documents: what they may say, and what is said of their mistakes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from suiro.app.documents import as_document, bytes_of, document_of, read_documents
from suiro.app.jobs import task_of, tasks_of_job
from suiro.model.errors import ConfigError
from suiro.model.masking import How
from suiro.model.schema import ReadMode
from suiro.model.selection import Deletes, WriteMode

WHOLE = """
connections:
  crm: {type: postgres, host: localhost, user: "${env:PG_USER}"}
  lake:
    type: files
    location: /data
jobs:
  nightly:
    source: crm
    destination: lake
    parallel: 2
    memory: 512MB
    schedule: {cron: "10 0 * * *", timezone: Asia/Tokyo, delay: 5m}
    tasks:
      - {stream: public.Lead, table: lead_reverse, read: incremental, write: merge, key: [Id], cursor: SystemModstamp,
         deletes: soft, look_back: 2h, window: 100000, most_rejected: 1%}
      - sql: "REPLICATE [accounts] SELECT Id, Name AS account_name FROM [Account] WHERE IsDeleted = false"
      - stream: 顧客管理(営業支援パック)
        columns: {番号: number, 名前: name}
        mask: {name: "mask:2", mail: null}
        set: {area: 1}
  everything:
    source: crm
    destination: lake
    type: all
    exclude: [tmp_*]
    defaults: {write: merge, most_rejected: 10}
    tasks:
      - {stream: public.orders, write: append}
"""


def test_a_document_says_all_that_the_options_of_a_copy_say() -> None:
    found = document_of(WHOLE, "jobs.yaml")
    assert found.connections["crm"].type == "postgres"
    job = found.jobs["nightly"]
    lead, accounts, customers = (task_of(task) for task in job.tasks)
    assert (lead[0].stream, lead[0].table, lead[0].read, lead[0].write) == (
        "public.Lead",
        "lead_reverse",
        ReadMode.INCREMENTAL,
        WriteMode.MERGE,
    )
    assert (lead[0].key, lead[0].deletes, lead[0].look_back) == (("Id",), Deletes.SOFT, timedelta(hours=2))
    assert (lead[0].window, lead[0].most_rejected) == (100000, 0.01)
    assert accounts[0].table == "accounts" and accounts[0].query is not None
    assert customers[0].columns == {"番号": "number", "名前": "name"}
    assert {name: mask.how for name, mask in customers[0].masks.items()} == {"name": How.MASK, "mail": How.NULL}
    assert customers[1].computed == {"area": "1"}


def test_a_document_written_out_and_read_again_is_the_same() -> None:
    found = document_of(WHOLE, "jobs.yaml")
    for job in found.jobs.values():
        assert type(job).model_validate(as_document(job)) == job


def test_a_job_of_type_all_takes_every_stream_but_those_left_out() -> None:
    job = document_of(WHOLE, "jobs.yaml").jobs["everything"]
    tasks = tasks_of_job(job, lambda: ["public.orders", "public.items", "crm.items", "tmp_1"])
    assert sorted(tasks) == ["crm.items", "items", "orders"]
    assert (tasks["items"].write, tasks["items"].most_rejected) == (WriteMode.MERGE, "10")
    assert (tasks["orders"].write, tasks["orders"].most_rejected) == (WriteMode.APPEND, "10")


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        (
            "jobs:\n  a:\n    source: x\n    destination: y\n    taks: []\n",
            "line 5: jobs.a.taks: there is no key",
            "tasks",
        ),
        ("conections: {}\n", "line 1: conections: there is no key", "connections"),
        (
            "jobs:\n  a:\n    source: x\n    destination: y\n    tasks:\n      - {stream: s, wrote: merge}\n",
            "line 6: jobs.a.tasks.0.wrote: there is no key",
            "write",
        ),
        (
            "jobs:\n  a:\n    source: x\n    destination: y\n    tasks:\n      - stream: s\n        write: upside\n",
            "line 7: jobs.a.tasks.0.write: input should be 'append'",
            "",
        ),
        ("jobs:\n  a:\n    source: x\n    tasks: [{stream: s}]\n", "jobs.a.destination: field required", ""),
        ("jobs:\n  a: {source: x, destination: y}\n", "jobs.a: a job needs tasks", ""),
        ("jobs:\n  a: {source: x, destination: y, tasks: [{table: t}]}\n", "either a stream or sql", ""),
        ("jobs: [\n", "line 2", ""),
        ("jobs:\n  a: {}\n  a: {}\n", "line 3", ""),
        ("- 1\n", "holds no mapping", "connections"),
        ("transformations: {}\n", "there is no key 'transformations'", "jobs"),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, said: str, hint: str) -> None:
    with pytest.raises(ConfigError) as error:
        document_of(text, "jobs.yaml")
    assert said in error.value.message and hint in (error.value.hint or "")


def test_several_files_are_one_document_and_nothing_is_in_two(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("connections:\n  a: {type: sqlite}\n")
    second.write_text("connections:\n  b: {type: duckdb}\n")
    assert sorted(read_documents([first, second]).connections) == ["a", "b"]
    second.write_text("connections:\n  a: {type: duckdb}\n")
    with pytest.raises(ConfigError, match="the connection a is in another file too"):
        read_documents([first, second])
    with pytest.raises(ConfigError, match="can't be read"):
        read_documents([tmp_path / "none.yaml"])


@pytest.mark.parametrize(("text", "wanted"), [("512MB", 512_000_000), ("1GiB", 2**30), ("1.5 kb", 1500), ("77", 77)])
def test_sizes(text: str, wanted: int) -> None:
    assert bytes_of(text) == wanted


@pytest.mark.parametrize("text", ["", "many", "5 TB", "-1MB", "MB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ConfigError):
        bytes_of(text)
