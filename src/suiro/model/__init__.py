"""The words of the house: streams, tables, changes, receipts; no input or output."""
