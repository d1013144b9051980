"""Metafields: named values that apps keep beside records of several kinds."""

from __future__ import annotations

from typing import Final

from suiro.sandbox.bigcommerce.answers import Endpoint
from suiro.sandbox.bigcommerce.reading import collection, listed
from suiro.sandbox.bigcommerce.views import WHEN, View, blanks, spelled

FILTERS: Final = spelled(
    "key key:in namespace namespace:in date_created:min date_created:max date_modified:min date_modified:max"
)


def metafields(above: View) -> View:
    """The metafields of one kind of record."""
    return View(
        kind=f"{above.kind}_metafield",
        fields={
            "id": 0,
            **blanks("key value namespace"),
            "permission_set": "app_only",
            "resource_type": above.kind,
            "resource_id": 0,
            "description": "",
            "owner_client_id": "",
            "date_created": WHEN,
            "date_modified": WHEN,
        },
        parent="resource_id",
        filters=FILTERS,
        sorts=frozenset({"id"}),
        choosable=True,
        cursor=True,
    )


def metafield_endpoints(path: str, above: View, area: str) -> list[Endpoint]:
    """Those of one record, and those of all records at `path`."""
    view = metafields(above)
    return [
        Endpoint(method="GET", path=f"{path}/metafields", area=area, handle=listed(view), paged=True),
        *collection(f"{path}/{{record:int}}/metafields", view, area, under="record", above=above),
    ]
