"""What can be set while the service runs: limits, times, and things that go wrong on purpose."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Settings under `/_sandbox/settings`; what isn't given keeps its value."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    # Signing in
    session_seconds: float = Field(default=7200, ge=0)  #: life of a session from when it is issued
    rotate_refresh_tokens: bool = False  #: each refresh gives a new token; using an old one again ends the grant
    soap_login: bool = True
    password_flow: bool = True
    external_client_app: bool = False  #: generic login hosts are refused as audience of a JWT
    run_as_user: bool = True  #: client credentials have a user to run as
    # Limits
    daily_requests: int = Field(default=1_000_000, ge=0)  #: in 24 hours that roll on
    daily_query_jobs: int = Field(default=10_000, ge=0)
    daily_batches: int = Field(default=15_000, ge=0)  #: of ingest jobs
    most_uri_bytes: int = Field(default=16_384, ge=100)
    # Queries
    page_rows: int = Field(default=2_000, ge=1)  #: no page of a query has more
    cursor_seconds: float = Field(default=900, ge=0)
    cursor_pages: int | None = None  #: a cursor is gone after so many pages
    visible_after_ms: int = Field(default=0, ge=0)  #: how long a new record stays unseen by queries
    hidden_fields: list[str] = Field(default_factory=list)  #: `Lead.Phone`: field-level security hides it
    # Changes
    deleted_from: dict[str, datetime] = Field(default_factory=dict)  #: by object: where its delete log begins
    covered_behind_seconds: int = Field(default=0, ge=0)  #: how far latestDateCovered stays behind
    most_changed_ids: int = Field(default=600_000, ge=0)
    # Rows
    locked_ids: list[str] = Field(default_factory=list)  #: writing to these meets UNABLE_TO_LOCK_ROW
    locks: dict[str, dict[str, int]] = Field(default_factory=dict)  #: by object and id: so many times
    lock_inserts: dict[str, int] = Field(default_factory=dict)  #: by object: so many of the next new records
    lock_each: int = Field(default=0, ge=0)  #: of so many rows that are written, one meets it
    lock_next: int = Field(default=0, ge=0)  #: so many rows that are written next meet it
    # Jobs
    job_seconds: float = Field(default=0.0, ge=0)  #: time spent in UploadComplete, and again in InProgress
    job_end: Literal["JobComplete", "Failed", "Aborted"] = "JobComplete"  #: how jobs end that begin from now on
    job_fails_after_rows: int = Field(default=0, ge=0)  #: with `Failed` or `Aborted`: ingest rows that are done before
    forgotten_jobs: list[str] = Field(default_factory=list)  #: 404, as after seven days
    results_rows: int = Field(default=100_000, ge=1)  #: no page of a query job's results has more
    unrecorded_rows: int = Field(default=0, ge=0)  #: the last rows of a job, written nowhere and told in no result
    unrecorded_counted: bool = False  #: whether numberRecordsProcessed counts those
    batch_rows: int = Field(default=10_000, ge=1)  #: rows of an ingest job that count as one batch (unverified)
    most_upload_bytes: int = Field(default=112_500_000, ge=1)  #: 150 MB once it is base64
    csv_utc: Literal["Z", "+0000"] = "Z"  #: how Bulk results write UTC [WEB docs.celigo.com 27438241234459]
    #: Numbers in Bulk results: `double`, as `23.0` and `1.39E8` [WEB docs.celigo.com 27438241234459,
    #: forcedotcom/dataloader#1204, forcedotcom/cli#3367], with all digits of the store; `digits`: 23 and 139000000.
    csv_numbers: Literal["double", "digits"] = "double"
