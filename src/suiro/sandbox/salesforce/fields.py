"""Objects and their fields, as the org defines them, and as describe tells them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from suiro.model.schema import Json

TEXTS = frozenset(
    {
        "string",
        "picklist",
        "multipicklist",
        "combobox",
        "phone",
        "url",
        "email",
        "textarea",
        "encryptedstring",
        "anyType",
    }
)
REFERENCES = frozenset({"id", "reference"})
DECIMALS = frozenset({"double", "currency", "percent"})
INTEGERS = frozenset({"int", "long"})
COMPOUNDS = frozenset({"address", "location"})
#: Types of describe and the XML types that they come with [REC].
SOAP_TYPES = {
    "id": "tns:ID",
    "reference": "tns:ID",
    "boolean": "xsd:boolean",
    "int": "xsd:int",
    "long": "xsd:long",
    "double": "xsd:double",
    "currency": "xsd:double",
    "percent": "xsd:double",
    "date": "xsd:date",
    "datetime": "xsd:dateTime",
    "time": "xsd:time",
    "base64": "xsd:base64Binary",
    "address": "urn:address",
    "location": "urn:location",
    "anyType": "xsd:anyType",
}
#: IsDeleted in SQL: every record's mark, also of objects that don't tell it.
DELETED = "{t}._deleted"
#: Parts of a compound field's name in JSON, by how the component's own name ends (unverified).
COMPONENTS = {
    "City": "city",
    "Country": "country",
    "GeocodeAccuracy": "geocodeAccuracy",
    "Latitude": "latitude",
    "Longitude": "longitude",
    "PostalCode": "postalCode",
    "State": "state",
    "Street": "street",
    "__Latitude__s": "latitude",
    "__Longitude__s": "longitude",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field. `sql` computes its value from the record `{t}`; without it the value is kept."""

    name: str
    type: str
    label: str
    length: int = 0
    precision: int = 0
    scale: int = 0
    digits: int = 0
    nillable: bool = True
    createable: bool = True
    updateable: bool = True
    filterable: bool = True
    sortable: bool = True
    groupable: bool = True
    defaulted: bool = False
    default: Json = None
    external_id: bool = False
    id_lookup: bool = False
    unique: bool = False
    case_sensitive: bool = False
    restricted: bool = False
    name_field: bool = False
    compound: str | None = None
    extra: str | None = None
    reference_to: tuple[str, ...] = ()
    relationship: str | None = None
    values: tuple[str, ...] = ()
    inactive: frozenset[str] = frozenset()  #: of the values, those that were once
    formula: str | None = None
    sql: str | None = None

    @property
    def custom(self) -> bool:
        return self.name.endswith("__c")

    @property
    def calculated(self) -> bool:
        return self.formula is not None

    @property
    def kept(self) -> bool:
        """Whether its value lies in a column of its own."""
        return self.sql is None and self.type not in COMPOUNDS

    @property
    def required(self) -> bool:
        """Whether a new record must give it a value."""
        return self.createable and not self.nillable and not self.defaulted and self.type != "boolean"

    @property
    def searched(self) -> bool:
        """Whether it links records of a user's own."""
        plain = len(self.reference_to) == 1 and self.reference_to != ("User",)
        return plain and self.name != "MasterRecordId"

    @property
    def collation(self) -> str:
        """How texts are compared: regardless of case, unless the field says otherwise (in filters: unverified)."""
        return " COLLATE NOCASE" if self.type in TEXTS and not self.case_sensitive else ""

    def described(self) -> dict[str, Json]:
        """The field as describe tells it: the keys of a recorded answer [REC]."""
        return {
            "aggregatable": self.filterable and self.type not in COMPOUNDS | {"boolean"},
            "autoNumber": False,
            "byteLength": self.length if self.type in REFERENCES else self.length * 3,
            "calculated": self.calculated,
            "calculatedFormula": self.formula,
            "cascadeDelete": False,
            "caseSensitive": self.case_sensitive,
            "compoundFieldName": self.compound,
            "controllerName": None,
            "createable": self.createable,
            "custom": self.custom,
            "defaultValue": self.default,
            "defaultValueFormula": None,
            "defaultedOnCreate": self.defaulted,
            "dependentPicklist": False,
            "deprecatedAndHidden": False,
            "digits": self.digits,
            "displayLocationInDecimal": False,
            "encrypted": self.type == "encryptedstring",
            "externalId": self.external_id,
            "extraTypeInfo": self.extra,
            "filterable": self.filterable,
            "filteredLookupInfo": None,
            "groupable": self.groupable,
            "highScaleNumber": False,
            "htmlFormatted": False,
            "idLookup": self.id_lookup,
            "inlineHelpText": None,
            "label": self.label,
            "length": self.length,
            "mask": None,
            "maskType": None,
            "name": self.name,
            "nameField": self.name_field,
            "namePointing": len(self.reference_to) > 1,
            "nillable": self.nillable,
            "permissionable": self.nillable and not self.name_field,
            "picklistValues": [
                {
                    "active": value not in self.inactive,
                    "defaultValue": value == self.default,
                    "label": value,
                    "validFor": None,
                    "value": value,
                }
                for value in self.values
            ],
            "polymorphicForeignKey": len(self.reference_to) > 1,
            "precision": self.precision,
            "queryByDistance": self.type in COMPOUNDS,
            "referenceTargetField": None,
            "referenceTo": list(self.reference_to),
            "relationshipName": self.relationship,
            "relationshipOrder": None,
            "restrictedDelete": False,
            "restrictedPicklist": self.restricted,
            "scale": self.scale,
            "searchPrefilterable": self.searched,
            "soapType": SOAP_TYPES.get(self.type, "xsd:string"),
            "sortable": self.sortable,
            "type": self.type,
            "unique": self.unique,
            "updateable": self.updateable,
            "writeRequiresMasterRead": False,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Sobject:
    """One object of the org."""

    name: str
    label: str
    plural: str
    prefix: str  #: of its record ids: three characters
    fields: Mapping[str, Field]  #: by name, in order
    queryable: bool = True
    replicateable: bool = True
    writable: bool = True
    deletable: bool = True
    bulk: bool = True  #: whether Bulk API jobs take it
    made: bool = False  #: by a test, through the control routes
    _folded: dict[str, Field] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._folded.update({name.lower(): found for name, found in self.fields.items()})

    def find(self, name: str) -> Field | None:
        """A field by its name, in any case."""
        return self._folded.get(name.lower())

    def kept(self) -> list[Field]:
        """The fields with a column of their own, in order."""
        return [one for one in self.fields.values() if one.kept]

    def components(self, compound: Field) -> list[tuple[str, Field]]:
        """The parts of an address or location: key in JSON, field."""
        return [
            (next((key for end, key in COMPONENTS.items() if part.name.endswith(end)), part.name), part)
            for part in self.fields.values()
            if part.compound == compound.name
        ]

    def described(self, version: str) -> dict[str, Json]:
        """What the global describe tells of the object."""
        root = f"/services/data/v{version}/sobjects/{self.name}"
        return {
            "activateable": False,
            "createable": self.writable,
            "custom": self.name.endswith("__c"),
            "customSetting": False,
            "deletable": self.writable and self.deletable,
            "deprecatedAndHidden": False,
            "feedEnabled": False,
            "hasSubtypes": False,
            "isSubtype": False,
            "keyPrefix": self.prefix,
            "label": self.label,
            "labelPlural": self.plural,
            "layoutable": self.writable,
            "mergeable": False,
            "mruEnabled": self.writable,
            "name": self.name,
            "queryable": self.queryable,
            "replicateable": self.replicateable,
            "retrieveable": self.queryable,
            "searchable": self.queryable,
            "triggerable": self.writable,
            "undeletable": self.writable and self.deletable,
            "updateable": self.writable,
            "urls": {"sobject": root, "describe": f"{root}/describe", "rowTemplate": f"{root}/{{ID}}"},
        }


#: Keys of describe, and what they are called here.
TOLD_AS: Mapping[str, str] = {
    "length": "length",
    "precision": "precision",
    "scale": "scale",
    "digits": "digits",
    "nillable": "nillable",
    "createable": "createable",
    "updateable": "updateable",
    "filterable": "filterable",
    "sortable": "sortable",
    "groupable": "groupable",
    "defaultedOnCreate": "defaulted",
    "defaultValue": "default",
    "externalId": "external_id",
    "idLookup": "id_lookup",
    "unique": "unique",
    "caseSensitive": "case_sensitive",
    "restrictedPicklist": "restricted",
    "nameField": "name_field",
    "compoundFieldName": "compound",
    "extraTypeInfo": "extra",
    "relationshipName": "relationship",
    "calculatedFormula": "formula",
}


def field_of(told: Mapping[str, Json]) -> Field:
    """A field from keys of describe. ValueError: a key that is missing or means nothing here."""
    if not isinstance(told.get("name"), str) or not isinstance(told.get("type"), str):
        raise ValueError("a field needs a name and a type")
    kind = str(told["type"])
    if kind not in SOAP_TYPES and kind not in TEXTS:
        raise ValueError(f"there is no type '{kind}'")
    given = {TOLD_AS[key]: value for key, value in told.items() if key in TOLD_AS}
    if told.get("calculated"):
        given.setdefault("formula", "0")
    values = told.get("picklistValues")
    listed = values if isinstance(values, list) else []
    targets = told.get("referenceTo")
    if told["name"] == "IsDeleted":
        given["sql"] = DELETED
    if kind in DECIMALS:
        given = {"precision": 18, "scale": 0, **given}
    return Field(
        name=str(told["name"]),
        type=kind,
        label=str(told.get("label") or label_of(str(told["name"]))),
        values=tuple(str(one["value"]) if isinstance(one, dict) else str(one) for one in listed),
        inactive=frozenset(str(one["value"]) for one in listed if isinstance(one, dict) and one.get("active") is False),
        reference_to=tuple(map(str, targets)) if isinstance(targets, list) else (),
        **given,  # type: ignore[arg-type]
    )


def label_of(name: str) -> str:
    """A label for people, from a name: `Mailing Postal Code` from `MailingPostalCode`."""
    plain = re.sub(r"__[cs]$", "", name).replace("_", " ")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", plain)
