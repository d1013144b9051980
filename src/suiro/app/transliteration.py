"""Names in ASCII: Japanese by its readings, word by word, and other scripts letter by letter."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import Any, Final

from suiro.model.errors import ConfigError
from suiro.model.naming import snake_case

_JAPANESE: Final = re.compile(r"[\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_LONG: Final = re.compile(r"(?<=o)[uo](?![aeiou])|(?<=[aiueo])-|(?<=u)u")
_FOREIGN: Final = {  # sounds of borrowed words that the library spells by their parts
    "ティ": "ti",
    "ディ": "di",
    "トゥ": "tu",
    "ドゥ": "du",
    "デュ": "dyu",
    "ウィ": "wi",
    "ウェ": "we",
    "ウォ": "wo",
    "シェ": "she",
    "ジェ": "je",
    "チェ": "che",
    "フィ": "fi",
    "フェ": "fe",
    "フォ": "fo",
    "ファ": "fa",
}


def ascii_name(name: str) -> str:
    """A name in small ASCII letters, digits and `_`; empty where nothing of it can be written so.

    Japanese is read by a dictionary: 顧客管理 gives kokyaku_kanri, with long vowels short. ConfigError names the extra
    to install where the dictionary is missing.
    """
    from anyascii import anyascii

    text = unicodedata.normalize("NFKC", name)
    if not _JAPANESE.search(text):
        return snake_case(anyascii(text))
    words = [_word(token.surface(), token.reading_form()) for token in _tokens(text)]
    return snake_case("_".join(words))


def _word(surface: str, reading: str) -> str:
    """One word in ASCII; what isn't Japanese is spelled and not read."""
    from anyascii import anyascii

    if not _JAPANESE.search(surface):
        return anyascii(surface)
    return anyascii(_romaji(reading or surface))


def _romaji(kana: str) -> str:
    """Katakana in Hepburn's letters, long vowels short: エイギョウ gives eigyo."""
    import jaconv

    for sound, letters in _FOREIGN.items():
        kana = kana.replace(sound, letters)
    letters = jaconv.kana2alphabet(jaconv.kata2hira(kana))
    return _LONG.sub("", letters)


def _tokens(text: str) -> list[Any]:
    return list(_tokenizer().tokenize(text))


@cache
def _tokenizer() -> Any:
    try:
        from sudachipy import Dictionary, SplitMode

        return Dictionary(dict="small").tokenizer(mode=SplitMode.A)
    except ImportError as error:
        raise ConfigError(
            "names in Japanese can't be read without a dictionary",
            hint="Install it with: pip install 'suiro[japanese]', or choose --names snake.",
        ) from error
