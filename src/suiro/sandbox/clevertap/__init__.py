"""A stand-in of CleverTap: one made-up project behind its APIs for events, profiles, counts, campaigns and uploads.

Written from the vendor's documents alone: no client that others wrote was found to check it with, and no recorded
traffic of its downloads. Behaviour for which no evidence was found is marked "unverified" where it is made; most of it
can be set. Not here, and answered with 404: trends, top properties, real-time counts, uploads of device tokens.
"""

from suiro.sandbox.clevertap.project import CleverTap as service

__all__ = ["service"]
