"""How many of the steps of a load tests die before: one in so many, others each time; all with SUIRO_EVERY_STEP=1."""

from __future__ import annotations

import os

EVERY = bool(os.environ.get("SUIRO_EVERY_STEP"))
STRIDE = 1 if EVERY else 4
SELDOM = 1 if EVERY else 8  #: where another test dies before the same steps of the same code
