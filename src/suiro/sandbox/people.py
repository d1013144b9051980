"""Endlessly many plain made-up people: the n-th is the same in every service of one seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

MASK = (1 << 64) - 1


def words(text: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(text.split())


def pairs(text: str) -> tuple[tuple[str, ...], ...]:
    """The lines of a text, each cut at its slashes."""
    return tuple(tuple(line.strip().split("/")) for line in text.strip().splitlines())


FIRST_NAMES = words("""
    Ada Alan Alice Anna Ben Bruno Carla Carlos Chloe Clara Dana David Elena Emil Emma Eric Eva Felix Fiona Frank Grace
    Hannah Hugo Ida Igor Ines Ivan Jack Jane Joel Julia Karl Kate Lars Laura Leo Lucy Marco Maria Mark Maya Nina Noah
    Nora Olga Oscar Paul Petra Rita Rosa Ruth Sam Sara Sofia Theo Tina Tom Vera Victor Zoe
""")
LAST_NAMES = words("""
    Adler Baker Becker Bell Berg Blake Brandt Brown Carter Clark Cole Costa Cruz Diaz Dubois Ellis Evans Fischer Flores
    Ford Garcia Grant Gray Hall Hart Hill Hughes Jensen Jones Keller Kelly Klein Lang Larsen Lee Lopez Martin Meyer
    Miller Moore Morris Nielsen Novak O'Brien Owens Park Perez Price Reed Rossi Russo Santos Schmidt Silva Smith Stone
    Taylor Weber Young Zimmer
""")
#: As written, as read.
JAPANESE_FIRST = pairs("""
    陽子/Yoko
    健一/Kenichi
    美咲/Misaki
    翔太/Shota
    恵/Megumi
    大輔/Daisuke
    さくら/Sakura
    隆/Takashi
    直美/Naomi
    誠/Makoto
    千尋/Chihiro
    亮/Ryo
""")
JAPANESE_LAST = pairs("""
    佐藤/Sato
    鈴木/Suzuki
    高橋/Takahashi
    田中/Tanaka
    渡辺/Watanabe
    伊藤/Ito
    山本/Yamamoto
    中村/Nakamura
    小林/Kobayashi
    加藤/Kato
    吉田/Yoshida
    髙木/Takagi
""")
COMPANIES = (
    "Harbor Foods",
    "Maple Tools",
    "Blue Hill Textiles",
    "Northwind Bikes",
    "Granite Works",
    "Sunny Farm",
    "River Paper",
    "Red Lantern Tea",
    "Oak & Pine",
    'Miller "and Sons"',
    "Silver Thread",
    "Cedar, Stone and Co",
    "Lighthouse Books",
    "Café Verde",
    "Green Valley",
    "Copper Kettle",
)
JAPANESE_COMPANIES = words(
    "株式会社みなと商店 青葉製作所 合同会社ことり 桜物産株式会社 北斗システム 有限会社たけのこ堂"
)
FORMS = ("Inc.", "Ltd", "LLC", "GmbH")
STREETS = (
    "Oak Street",
    "Main Street",
    "Park Avenue",
    "Mill Lane",
    "Station Road",
    "Church Street",
    "High Street",
    "Lake Drive",
)
#: City, state, first digits of the postal code, country.
PLACES = pairs("""
    Portland/OR/972/United States
    Austin/TX/787/United States
    Boston/MA/021/United States
    Denver/CO/802/United States
    Chicago/IL/606/United States
    Seattle/WA/981/United States
    Toronto/ON/416/Canada
    München/BY/803/Germany
    Lyon/ARA/690/France
    Leeds/West Yorkshire/010/United Kingdom
""")
#: City, prefecture, first digits of the postal code, street.
JAPANESE_PLACES = pairs("""
    横浜市/神奈川県/220/西区高島
    大阪市/大阪府/530/北区梅田
    札幌市/北海道/060/中央区北一条西
    福岡市/福岡県/810/中央区天神
    千代田区/東京都/100/丸の内
""")
DOMAINS = ("example.com", "example.net", "example.org")


@dataclass(frozen=True, slots=True)
class Person:
    """One made-up person. No two of a seed share an e-mail; all else may repeat."""

    first_name: str
    last_name: str
    email: str
    company: str
    phone: str
    street: str
    city: str
    state: str
    postal_code: str
    country: str


def stir(x: int, step: int) -> int:
    """A number of 64 bits that depends on two, and looks like chance."""
    x = (x + step * 0xD1B54A32D192ED03 + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


@cache
def draw_seed(seed: int) -> int:
    """What a seed alone contributes."""
    return stir(seed * 0x9E3779B97F4A7C15, 0)


def draw(seed: int, *path: int) -> int:
    """A number of 64 bits that depends on nothing but its arguments, and looks like chance."""
    x = draw_seed(seed)
    for step in path:
        x = stir(x, step)
    return x


def person(seed: int, i: int) -> Person:
    """The i-th person of a seed, from 0. One of eight is Japanese."""
    x = stir(draw_seed(seed), i)
    domain = DOMAINS[(x >> 60) % 3]
    number = x >> 8 & 0x3FFF
    if x & 7 == 0:
        return japanese(x, i, domain, number)
    first = FIRST_NAMES[(x >> 22 & 0xFF) % len(FIRST_NAMES)]
    last = LAST_NAMES[(x >> 30 & 0xFF) % len(LAST_NAMES)]
    city, state, postal, country = PLACES[(x >> 38 & 0xFF) % len(PLACES)]
    company = f"{COMPANIES[(x >> 46) & 15]} {FORMS[(x >> 50) & 3]}"
    return Person(
        first,
        last,
        f"{first}.{last.replace(chr(39), '')}.{i}@{domain}".lower(),
        company,
        f"+1-202-555-{number % 10000:04}",
        f"{number % 997 + 1} {STREETS[x >> 52 & 7]}",
        city,
        state,
        f"{postal}{number % 100:02}",
        country,
    )


def japanese(x: int, i: int, domain: str, number: int) -> Person:
    """A person with a Japanese name and address, drawn as `x`."""
    first, first_read = JAPANESE_FIRST[(x >> 22 & 0xFF) % len(JAPANESE_FIRST)]
    last, last_read = JAPANESE_LAST[(x >> 30 & 0xFF) % len(JAPANESE_LAST)]
    city, state, postal, street = JAPANESE_PLACES[(x >> 38 & 0xFF) % len(JAPANESE_PLACES)]
    return Person(
        first,
        last,
        f"{first_read}.{last_read}.{i}@{domain}".lower(),
        JAPANESE_COMPANIES[(x >> 46 & 0xFF) % len(JAPANESE_COMPANIES)],
        f"+81-3-0000-{number % 10000:04}",
        f"{street}{number % 9 + 1}-{number % 29 + 1}-{number % 13 + 1}",
        city,
        state,
        f"{postal}-{number % 10000:04}",
        "Japan",
    )
