"""The entities of the company, and how each is kept: which are lists of names, which the log of changes leaves out."""

from __future__ import annotations

from typing import Final

#: Deleted softly: they become inactive, and plain queries leave those out [CLIENT: this very set].
NAMES: Final = frozenset(
    {
        "Account",
        "Budget",
        "Class",
        "Customer",
        "Department",
        "Employee",
        "Item",
        "PaymentMethod",
        "TaxCode",
        "TaxRate",
        "Term",
        "Vendor",
    }
)
#: Deleted for good.
TRANSACTIONS: Final = frozenset(
    {
        "Bill",
        "BillPayment",
        "CreditMemo",
        "Deposit",
        "Estimate",
        "Invoice",
        "JournalEntry",
        "Payment",
        "Purchase",
        "PurchaseOrder",
        "RefundReceipt",
        "SalesReceipt",
        "TimeActivity",
        "Transfer",
        "VendorCredit",
        "CreditCardPayment",
        "InventoryAdjustment",
        "ReimburseCharge",
    }
)
OTHERS: Final = frozenset(
    {
        "Attachable",
        "CompanyInfo",
        "CompanyCurrency",
        "CustomerType",
        "ExchangeRate",
        "Preferences",
        "RecurringTransaction",
        "TaxAgency",
        "JournalCode",
        "TaxPayment",
    }
)
ALL: Final = NAMES | TRANSACTIONS | OTHERS
WRAPPED: Final = "RecurringTransaction"  #: its objects stand under the name of their kind; how is unverified
BY_PATH: Final = {name.lower(): name for name in ALL - {WRAPPED}}
UNLOGGED: Final = frozenset({"JournalCode", "TaxAgency", "TimeActivity", "TaxCode", "TaxRate"})  #: [DOC]
#: The member that names an object, of which no two may be the same.
NAMED: Final = {"Customer": "DisplayName", "Vendor": "DisplayName", "Employee": "DisplayName"}


def name_of(entity: str) -> str:
    """The member that holds the name of an object of a list."""
    return NAMED.get(entity, "Name")


def key_of(entity: str) -> str:
    """What an answer calls objects of an entity [CLIENT for the one that differs]."""
    return "CreditCardPaymentTxn" if entity == "CreditCardPayment" else entity
