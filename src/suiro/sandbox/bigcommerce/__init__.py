"""A stand-in of BigCommerce: one made-up store behind the v2 and v3 APIs, with their habits and traps.

Not here, and answered with 404: carts, consignments, fees and shipping quotes of orders, settings and consent of
customers, complex rules, assignments of products, listings, sites and menus of channels, metafields of the store.
Behaviour for which no evidence was found is marked "unverified" where it is made; most of it can be set.
"""

from suiro.sandbox.bigcommerce.shop import BigCommerce as service

__all__ = ["service"]
