"""Record ids in their two forms: fifteen characters in which case matters, and eighteen that say it in the last three.

Source: "ID Field Type" in Salesforce's Object Reference; the last three letters are checked against recorded ids.
"""

from __future__ import annotations

import string
from typing import Final

SHORT: Final = 15
_LETTERS: Final = string.ascii_uppercase + "012345"  #: one for each pattern of capitals among five characters


def long_id(id_: str) -> str:
    """The id in eighteen characters; what isn't one of fifteen as it stands."""
    if len(id_) != SHORT or not id_.isascii():
        return id_
    fives = (id_[at : at + 5] for at in range(0, SHORT, 5))
    return id_ + "".join(_LETTERS[sum(letter.isupper() << at for at, letter in enumerate(five))] for five in fives)


def id_key(id_: str) -> str:
    """What is the same for all ways to write one record's id."""
    return long_id(id_).lower()
