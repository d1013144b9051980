"""A stand-in of QuickBooks Online: one company with its lists, transactions, reports and log of changes.

Evidence in brackets: DOC, the vendor's pages; SPEC, its XSDs; REC, recorded exchanges; CLIENT, what released clients
rely on; WEB, others' pages. What has none is unverified, and settings stand for it where it matters.
"""

from __future__ import annotations

from suiro.sandbox.quickbooks.company import QuickBooks

service = QuickBooks
