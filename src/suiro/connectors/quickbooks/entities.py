"""The streams of a QuickBooks company, as data: entities, their fields and reports, after the vendor's XSDs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import pyarrow as pa

from suiro.toolkit.http.pages import PageNumbers, Whole
from suiro.toolkit.http.resources import Cursor, Resource, columns

SCOPE: Final = "com.intuit.quickbooks.accounting"
SIZE: Final = 1_000  #: objects in an answer, the most there may be; of the log of changes all there are
CHANGED: Final = "MetaData_LastUpdatedTime"
RECURRING: Final = "RecurringTransaction"  #: its objects are transactions, each under the name of its kind
DELETED: Final = "Deleted"  #: no member of the service's: what its log says of an object

_SPLIT: Final[Mapping[str, tuple[str, ...]]] = {
    "ref": ("value", "name"),
    "memo": ("value",),
    "email": ("Address",),
    "phone": ("FreeFormNumber",),
    "web": ("URI",),
}  #: kinds of objects whose members are columns of their own, and those that are known


def _schema(described: str) -> pa.Schema:
    """As `columns`, with the kinds of `_SPLIT`; the members that every object has stand around."""
    words = []
    for word in f"Id SyncToken {described} MetaData_CreateTime:time {CHANGED}:time domain sparse:bool".split():
        name, _, kind = word.partition(":")
        words += [f"{name}_{part}" for part in _SPLIT[kind]] if kind in _SPLIT else [word]
    return columns(" ".join(words))


def _entity(name: str, described: str, **more: Any) -> Resource:
    """An entity that is queried, and followed by the time of its last change."""
    return Resource(
        name=name,
        path="/query",
        schema=_schema(described),
        primary_key=("Id",),
        pages=PageNumbers(size=SIZE, size_param=None),
        cursor=Cursor(field=CHANGED, param="since", order={"order": "MetaData.LastUpdatedTime"}),
        scope=SCOPE,
        **more,
    )


def _names(name: str, described: str, **more: Any) -> Resource:
    """A list of names: what is deleted becomes inactive, and is left out unless it is asked for."""
    params = {"where": "Active IN (true, false)"}
    return _entity(name, f"Active:bool {described}", params=params, **more)


def _logged(resource: Resource) -> Resource:
    """Its changes are in the log of changed data, deletes among them."""
    return replace(resource, deleted=DELETED)


def _transaction(name: str, described: str, **more: Any) -> Resource:
    """What the XSD calls a transaction."""
    common = "DocNumber TxnDate:date DepartmentRef:ref CurrencyRef:ref ExchangeRate:rate PrivateNote TxnStatus"
    return _entity(name, f"{common} {described} LinkedTxn:json Line:json TxnTaxDetail:json", **more)


def _sale(name: str, described: str = "") -> Resource:
    """A form of the sales side."""
    common = (
        "CustomerRef:ref CustomerMemo:memo BillAddr:json ShipAddr:json ShipFromAddr:json ClassRef:ref SalesTermRef:ref "
        "DueDate:date ShipDate:date ShipMethodRef:ref TrackingNum TotalAmt:number HomeTotalAmt:number Balance:number "
        "ApplyTaxAfterDiscount:bool GlobalTaxCalculation PrintStatus EmailStatus BillEmail:email DeliveryInfo:json"
    )
    return _logged(_transaction(name, f"{common} {described} CustomField:json"))


_PERSON: Final = (
    "Title GivenName MiddleName FamilyName Suffix DisplayName PrintOnCheckName PrimaryPhone:phone Mobile:phone "
    "PrimaryEmailAddr:email"
)
_COMPANY: Final = f"{_PERSON} CompanyName AlternatePhone:phone Fax:phone WebAddr:web BillAddr:json Notes"
_BOUGHT: Final = "VendorRef:ref APAccountRef:ref TotalAmt:number GlobalTaxCalculation"
_UNLOGGED: Final = ("The service's log of changes leaves it out: deletes are seen by comparing keys.",)
_RARE: Final = ("Whether the service's log of changes tells of it is not known: deletes are seen by comparing keys.",)

LISTS: Final = (
    _logged(
        _names(
            "Account",
            "Name AcctNum Description FullyQualifiedName Classification AccountType AccountSubType SubAccount:bool "
            "ParentRef:ref CurrencyRef:ref TaxCodeRef:ref CurrentBalance:number CurrentBalanceWithSubAccounts:number",
        )
    ),
    _logged(_names("Class", "Name FullyQualifiedName SubClass:bool ParentRef:ref")),
    _logged(
        _names(
            "Customer",
            f"{_COMPANY} FullyQualifiedName Job:bool IsProject:bool BillWithParent:bool Level:int ParentRef:ref "
            "CustomerTypeRef:ref ShipAddr:json Taxable:bool DefaultTaxCodeRef:ref ResaleNum SalesTermRef:ref "
            "PaymentMethodRef:ref PreferredDeliveryMethod CurrencyRef:ref Balance:number BalanceWithJobs:number",
        )
    ),
    _logged(_names("Department", "Name FullyQualifiedName SubDepartment:bool ParentRef:ref")),
    _logged(
        _names(
            "Employee",
            f"{_PERSON} EmployeeNumber Organization:bool PrimaryAddr:json BillableTime:bool BillRate:number "
            "CostRate:number BirthDate:date Gender HiredDate:date ReleasedDate:date",
        )
    ),
    _logged(
        _names(
            "Item",
            "Name Sku Description Type FullyQualifiedName SubItem:bool ParentRef:ref Level:int Taxable:bool "
            "UnitPrice:number PurchaseDesc PurchaseCost:number TrackQtyOnHand:bool QtyOnHand:number "
            "ReorderPoint:number InvStartDate:date IncomeAccountRef:ref ExpenseAccountRef:ref AssetAccountRef:ref "
            "SalesTaxCodeRef:ref PurchaseTaxCodeRef:ref PrefVendorRef:ref ClassRef:ref",
        )
    ),
    _logged(_names("PaymentMethod", "Name Type")),
    _logged(
        _names(
            "Term",
            "Name Type DueDays:int DayOfMonthDue:int DueNextMonthDays:int DiscountPercent:number DiscountDays:int "
            "DiscountDayOfMonth:int",
        )
    ),
    _logged(
        _names(
            "Vendor",
            f"{_COMPANY} AcctNum TaxIdentifier Vendor1099:bool TermRef:ref CurrencyRef:ref Balance:number",
        )
    ),
    _names(
        "TaxCode",
        "Name Description Hidden:bool Taxable:bool TaxGroup:bool SalesTaxRateList:json PurchaseTaxRateList:json",
        notes=_UNLOGGED,
    ),
    _names(
        "TaxRate",
        "Name Description RateValue:rate AgencyRef:ref DisplayType SpecialTaxType EffectiveTaxRate:json",
        notes=_UNLOGGED,
    ),
    _names("Budget", "Name StartDate:date EndDate:date BudgetType BudgetEntryType BudgetDetail:json", notes=_RARE),
)

TRANSACTIONS: Final = (
    _sale(
        "Invoice",
        "ARAccountRef:ref Deposit:number HomeBalance:number BillEmailCc:email BillEmailBcc:email InvoiceLink "
        "AllowIPNPayment:bool AllowOnlinePayment:bool AllowOnlineACHPayment:bool AllowOnlineCreditCardPayment:bool",
    ),
    _sale("Estimate", "ExpirationDate:date AcceptedBy AcceptedDate:date"),
    _sale("CreditMemo", "RemainingCredit:number"),
    _sale("SalesReceipt", "DepositToAccountRef:ref PaymentMethodRef:ref PaymentRefNum"),
    _sale("RefundReceipt", "DepositToAccountRef:ref PaymentMethodRef:ref PaymentRefNum"),
    _logged(
        _transaction(
            "Payment",
            "CustomerRef:ref ARAccountRef:ref DepositToAccountRef:ref PaymentMethodRef:ref PaymentRefNum "
            "TotalAmt:number UnappliedAmt:number ProcessPayment:bool",
        )
    ),
    _logged(_transaction("Bill", f"{_BOUGHT} SalesTermRef:ref DueDate:date Balance:number")),
    _logged(
        _transaction(
            "BillPayment",
            "VendorRef:ref APAccountRef:ref TotalAmt:number PayType CheckPayment:json CreditCardPayment:json",
        )
    ),
    _logged(_transaction("VendorCredit", f"{_BOUGHT} Balance:number")),
    _logged(
        _transaction(
            "PurchaseOrder",
            f"{_BOUGHT} SalesTermRef:ref DueDate:date ClassRef:ref POStatus EmailStatus Memo ShipTo:ref ShipAddr:json "
            "VendorAddr:json CustomField:json",
        )
    ),
    _logged(
        _transaction(
            "Purchase",
            "AccountRef:ref EntityRef:ref EntityRef_type PaymentType Credit:bool TotalAmt:number PrintStatus "
            "RemitToAddr:json PaymentMethodRef:ref GlobalTaxCalculation PurchaseEx:json",
        )
    ),
    _logged(_transaction("Deposit", "DepositToAccountRef:ref TotalAmt:number HomeTotalAmt:number CashBack:json")),
    _logged(_transaction("Transfer", "FromAccountRef:ref ToAccountRef:ref Amount:number")),
    _logged(_transaction("JournalEntry", "Adjustment:bool HomeTotalAmt:number GlobalTaxCalculation")),
    _entity(
        "TimeActivity",
        "TxnDate:date NameOf EmployeeRef:ref VendorRef:ref CustomerRef:ref ItemRef:ref ClassRef:ref DepartmentRef:ref "
        "Description BillableStatus Taxable:bool HourlyRate:number CostRate:number Hours:int Minutes:int "
        "BreakHours:int BreakMinutes:int StartTime:time EndTime:time",
        notes=_UNLOGGED,
    ),
    _transaction("InventoryAdjustment", "AdjustAccountRef:ref CustomerRef:ref ShippingAdjustment:bool", notes=_RARE),
    _transaction(
        "CreditCardPayment",
        "CreditCardAccountRef:ref BankAccountRef:ref VendorRef:ref Amount:number CheckNum PrintStatus Memo",
        notes=_RARE,
    ),
    _transaction(
        "ReimburseCharge", "CustomerRef:ref Amount:number HomeTotalAmt:number HasBeenInvoiced:bool", notes=_RARE
    ),
)

OTHERS: Final = (
    replace(
        _entity(
            "CompanyInfo",
            "CompanyName LegalName CompanyAddr:json LegalAddr:json CustomerCommunicationAddr:json Email:email "
            "WebAddr:web PrimaryPhone:phone CompanyStartDate:date FiscalYearStartMonth Country SupportedLanguages "
            "DefaultTimeZone NameValue:json",
        ),
        cursor=None,
    ),
    replace(
        _entity(
            "Preferences",
            "AccountingInfoPrefs:json ProductAndServicesPrefs:json SalesFormsPrefs:json EmailMessagesPrefs:json "
            "VendorAndPurchasesPrefs:json TimeTrackingPrefs:json TaxPrefs:json CurrencyPrefs:json ReportPrefs:json "
            "OtherPrefs:json",
        ),
        cursor=None,
    ),
    _entity(
        "Attachable",
        "AttachableRef:json FileName FileAccessUri TempDownloadUri Size:int ContentType Category PlaceName Note "
        "ThumbnailFileAccessUri ThumbnailTempDownloadUri",
        notes=_RARE,
    ),
    _entity("CustomerType", "Name FullyQualifiedName ParentRef:ref Active:bool", notes=_RARE),
    _entity("CompanyCurrency", "Code Name Active:bool", notes=_RARE),
    _entity(
        "TaxAgency",
        "DisplayName TaxRegistrationNumber TaxTrackedOnSales:bool TaxTrackedOnPurchases:bool",
        notes=_UNLOGGED,
    ),
    _entity("JournalCode", "Name Type Description Active:bool", notes=_UNLOGGED),
    _entity(
        "TaxPayment",
        "PaymentDate:date PaymentAccountRef:ref PaymentAmount:number Description Refund:bool",
        notes=_RARE,
    ),
    replace(
        _entity(
            RECURRING,
            "Type Name RecurType Active:bool TxnDate:date TotalAmt:number RecurringInfo:json Transaction:json",
            notes=("Templates: each whole in Transaction. What answers look like is after the XSD alone.",),
        ),
        cursor=None,
    ),
    replace(
        _entity("ExchangeRate", "SourceCurrencyCode TargetCurrencyCode Rate:rate AsOfDate:date"),
        cursor=None,
        primary_key=("SourceCurrencyCode", "TargetCurrencyCode", "AsOfDate"),
        notes=("Which rates the service tells where no currency and no day is named is not known.",),
    ),
)

_CELLS: Final = columns(
    "Row:int Kind Group Section Name EntityId Position:int Column ColumnType Value Amount:number StartPeriod:date "
    "EndPeriod:date Basis Currency"
)


def _report(name: str) -> Resource:
    """A report, cell by cell."""
    return Resource(
        name=name,
        path=f"/reports/{name}",
        schema=_CELLS,
        primary_key=("Row", "Position"),
        pages=Whole(),
        scope=SCOPE,
        open_=False,
        notes=("Computed when it is read, for the dates of the connection: write it with replace.",),
    )


AGED: Final = tuple(map(_report, ("AgedReceivables", "AgedPayables")))
PERIODICAL: Final = tuple(map(_report, ("ProfitAndLoss", "BalanceSheet", "CashFlow", "TrialBalance")))
RESOURCES: Final = (*OTHERS, *LISTS, *TRANSACTIONS, *PERIODICAL, *AGED)
