"""What Salesforce says of its objects and fields, and how they become streams.

Source: "sObject Describe" in Salesforce's REST API Developer Guide; "Field Types" in its Object Reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

import pyarrow as pa

from suiro.connectors.salesforce.config import SalesforceConfig, SignIn
from suiro.connectors.salesforce.org import Org
from suiro.connectors.salesforce.soap import RETIRES
from suiro.model.errors import ConfigError, UserError
from suiro.model.schema import ReadMode, Stream
from suiro.model.types import logical_field

ID: Final = "Id"
DELETED: Final = "IsDeleted"
SYSTEM_TIMES: Final = ("SystemModstamp", "LastModifiedDate", "CreatedDate", "LoginTime")  #: cursors, best first
MOMENT: Final = pa.timestamp("us", "UTC")

_AT_ONCE: Final = 8  #: descriptions that are asked for side by side
_TEXTS: Final = frozenset(
    {
        "string", "picklist", "multipicklist", "combobox", "phone", "url", "email", "textarea", "encryptedstring",
        "anyType",
    }
)  # fmt: skip
_NUMBERS: Final = frozenset({"double", "currency", "percent"})
_COMPOUND: Final = frozenset({"address", "location"})
_WHOLE: Final = {"boolean": pa.bool_(), "int": pa.int32(), "long": pa.int64(), "date": pa.date32(), "datetime": MOMENT}


@dataclass(frozen=True, slots=True, kw_only=True)
class SObjectField:
    """One field, as described."""

    name: str
    label: str
    type: str
    length: int
    precision: int
    scale: int
    nillable: bool
    calculated: bool
    filterable: bool
    sortable: bool
    compound: str | None  #: the field that this one is a part of
    said: Mapping[str, Any]  #: all that was said of it

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> SObjectField:
        """From its part of a description."""
        return cls(
            name=said["name"],
            label=said.get("label") or said["name"],
            type=said["type"],
            length=said.get("length") or 0,
            precision=said.get("precision") or 0,
            scale=said.get("scale") or 0,
            nillable=said.get("nillable", True),
            calculated=said.get("calculated", False),
            filterable=said.get("filterable", True),
            sortable=said.get("sortable", True),
            compound=said.get("compoundFieldName"),
            said=said,
        )

    @property
    def is_compound(self) -> bool:
        """Whether it holds nothing but other fields."""
        return self.type in _COMPOUND

    @property
    def is_blob(self) -> bool:
        """Whether it holds bytes, which Salesforce gives by an address of their own."""
        return self.type == "base64"

    def arrow(self) -> pa.Field | None:
        """The column; None for types that aren't known. A number without a precision is one of any precision."""
        if self.type in ("id", "reference"):
            return logical_field(self.name, pa.string(), f"varchar({self.length or 18})")
        if self.type in _TEXTS:
            return pa.field(self.name, pa.string())
        if self.type in _NUMBERS:
            if not 0 < self.precision <= 38 or not 0 <= self.scale <= self.precision:
                return logical_field(self.name, pa.string(), "numeric")
            return pa.field(self.name, pa.decimal128(self.precision, self.scale))
        if self.type == "time":
            return logical_field(self.name, pa.time64("us"), "time")
        if self.is_compound:
            return logical_field(self.name, pa.json_(pa.string()), "json")
        if self.is_blob:
            return pa.field(self.name, pa.binary())
        known = _WHOLE.get(self.type)
        return None if known is None else pa.field(self.name, known)


@dataclass(frozen=True, slots=True, kw_only=True)
class SObject:
    """One object, as described."""

    name: str
    label: str
    queryable: bool
    replicateable: bool
    fields: tuple[SObjectField, ...]
    said: Mapping[str, Any]  #: all that was said of it but its fields

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> SObject:
        """From a description."""
        return cls(
            name=said["name"],
            label=said.get("label") or said["name"],
            queryable=said.get("queryable", True),
            replicateable=said.get("replicateable", False),
            fields=tuple(SObjectField.of(one) for one in said.get("fields", ())),
            said={key: value for key, value in said.items() if key not in ("fields", "childRelationships")},
        )

    def field(self, name: str) -> SObjectField | None:
        """The field of that name, in any case."""
        return next((one for one in self.fields if one.name.lower() == name.lower()), None)

    @property
    def has_id(self) -> bool:
        """Whether records are told apart by `Id`."""
        found = self.field(ID)
        return found is not None and found.type == "id"


class Descriptions:
    """The objects that these credentials see, as they are now; each is asked for once."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self._listed: dict[str, Mapping[str, Any]] | None = None
        self._known: dict[str, SObject] = {}

    def forget(self) -> None:
        """Ask anew from now on."""
        self._listed, self._known = None, {}

    def listed(self) -> Mapping[str, Mapping[str, Any]]:
        """What the list of all objects says, by name."""
        if self._listed is None:
            self._listed = {one["name"]: one for one in self._org.get("sobjects/")["sobjects"]}
        return self._listed

    def names(self) -> list[str]:
        """The objects that can be queried; streams of change events can't."""
        return [
            name
            for name, said in self.listed().items()
            if said.get("queryable") and not name.endswith("ChangeEvent") and not said.get("deprecatedAndHidden")
        ]

    def named(self, name: str) -> SObject:
        """The object of that name, in any case. ConfigError says why it can't be read, or names near ones."""
        alike = {one.lower(): one for one in self.listed()}
        found = name if name in self.listed() else alike.get(name.lower())
        if found is None:
            raise ConfigError(f"there is no stream {name!r} here", hint=_near(name, self.names()))
        if not self.listed()[found].get("queryable"):
            raise ConfigError(
                f"{found} is there, but can't be queried by this user",
                hint="Some objects never can; for others let the administrator give this user access.",
            )
        return self.described(found)

    def described(self, name: str) -> SObject:
        """The object of exactly that name."""
        if name not in self._known:
            self._known[name] = SObject.of(self._org.get(f"sobjects/{name}/describe"))
        return self._known[name]

    def all(self) -> Iterator[SObject]:
        """Every object that can be queried, several asked for at a time; one that can't be described is logged."""
        names = self.names()
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="suiro-describe") as pool:
            try:
                for described in pool.map(self._perhaps, names):
                    if described is not None:
                        yield described
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _perhaps(self, name: str) -> SObject | None:
        try:
            return self.described(name)
        except UserError as error:
            self._org.context.log.warning("%s is left out: %s", name, error.message)
            return None


def stream_of(described: SObject, config: SalesforceConfig, rows: int | None = None) -> Stream:
    """The object as a stream: the columns that can be read through every way that the settings allow."""
    fields = [one for one in described.fields if _is_read(one, config)]
    found = [(one, one.arrow()) for one in fields]
    schema = pa.schema([field for _, field in found if field is not None])
    cursors = _cursors(described, schema)
    modes = {ReadMode.FULL}
    if cursors:
        modes.add(ReadMode.INCREMENTAL)
    if described.replicateable and described.has_id and {SYSTEM_TIMES[0], DELETED} <= set(schema.names):
        modes.add(ReadMode.LOG)
    return Stream(
        name=described.name,
        schema=schema,
        primary_key=(ID,) if described.has_id else (),
        cursor_fields=cursors,
        read_modes=frozenset(modes),
        rows=rows,
        notes=tuple(_notes(described, config, schema)),
    )


def formulas(described: SObject, columns: tuple[str, ...]) -> list[str]:
    """Those of the columns that Salesforce computes: they change without a change of the record."""
    return [one.name for one in described.fields if one.calculated and one.name in columns]


def _is_read(field: SObjectField, config: SalesforceConfig) -> bool:
    if field.is_compound:
        return config.api == "rest"
    return not field.is_blob or config.blobs == "bytes"


def _cursors(described: SObject, schema: pa.Schema) -> tuple[str, ...]:
    """Fields fit for an incremental read: the system's times, then others, those that are never NULL first."""
    fit = []
    for one in described.fields:
        type_ = schema.field(one.name).type if one.name in schema.names else None
        ordered = type_ is not None and (
            pa.types.is_timestamp(type_)
            or pa.types.is_date32(type_)
            or pa.types.is_integer(type_)
            or pa.types.is_decimal(type_)
        )
        if ordered and one.filterable and one.sortable:
            fit.append(one)
    kinds = ("datetime", "date", "int", "long")
    rank = {name: at for at, name in enumerate(SYSTEM_TIMES)}
    return tuple(
        one.name
        for one in sorted(
            fit,
            key=lambda one: (
                rank.get(one.name, len(rank)),
                one.nillable,
                kinds.index(one.type) if one.type in kinds else len(kinds),
            ),
        )
    )


def _notes(described: SObject, config: SalesforceConfig, schema: pa.Schema) -> Iterator[str]:
    compound = [one.name for one in described.fields if one.is_compound and one.name not in schema.names]
    if compound:
        yield f"{', '.join(compound)}: left out, as bulk jobs can't read them; their parts are columns of their own."
    blobs = [one.name for one in described.fields if one.is_blob and one.name not in schema.names]
    if blobs:
        yield f"{', '.join(blobs)}: bytes, left out; blobs=bytes fetches them, one request for each record."
    unknown = [f"{one.name} ({one.type})" for one in described.fields if one.arrow() is None]
    if unknown:
        yield f"Fields of types that Suiro doesn't know are left out: {', '.join(unknown)}."
    computed = [one.name for one in described.fields if one.calculated and one.name in schema.names]
    if computed and config.formula_refresh is None:
        yield (
            f"{', '.join(computed)}: computed by Salesforce. Their changes alone are not seen by incremental reads; "
            "formula_refresh has all rows read again at times."
        )
    if described.replicateable and SYSTEM_TIMES[0] not in schema.names:
        yield f"This user can't see {SYSTEM_TIMES[0]}: other times miss what Salesforce itself changes."
    if config.way is SignIn.SOAP:
        yield RETIRES


def _near(name: str, names: list[str]) -> str:
    lower = {one.lower(): one for one in names}
    near = [lower[one] for one in get_close_matches(name.lower(), lower, n=5, cutoff=0.5)] or names[:5]
    return f"Streams are, for example: {', '.join(near)}." if near else "These credentials see no objects at all."
