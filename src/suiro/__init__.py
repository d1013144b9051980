"""Suiro, which carries data between systems and proves that it arrived."""

__version__ = "0.1.0"
