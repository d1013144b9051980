"""A stand-in of Intercom: one made-up workspace behind its REST API, with the API's habits and traps.

Here are contacts, companies, conversations and their parts, tickets, tags, notes, segments, admins, teams, data
attributes, activity logs and subscription types; all else is answered with 404. Behaviour for which no evidence was
found is marked "unverified" where it is made; most of it can be set.
"""

from suiro.sandbox.intercom.workspace import Intercom as service

__all__ = ["service"]
