"""Processes that carry task runs, and who watches over them."""
