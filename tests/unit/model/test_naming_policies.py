"""Name policies: words in small letters, short, and never two alike; what comes later changes nothing before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suiro.app.transliteration import ascii_name
from suiro.model.naming import PROPOSED_BYTES, proposals, snake_case

NAMES = st.lists(st.text(st.sampled_from("顧客管理aAbB_ (")) | st.text(), unique=True, max_size=12)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("LeadScore__c", "lead_score_c"),
        ("HTTPServer", "http_server"),
        ("first name", "first_name"),
        ("2024 sales", "_2024_sales"),
        ("顧客管理(営業支援パック)", "顧客管理_営業支援パック"),
        ("ＡＢＣ１", "abc1"),
        ("a.b-c", "a_b_c"),
        ("()", ""),
        ("Größe", "größe"),
    ],
)
def test_snake_case_keeps_the_letters_and_divides_the_words(name: str, found: str) -> None:
    assert snake_case(name) == found


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("顧客管理(営業支援パック)", "kokyaku_kanri_eigyo_shien_pakku"),
        ("会社名", "kaisha_mei"),
        ("電話番号", "denwa_bango"),
        ("受注明細", "juchu_meisai"),
        ("ステータス", "sutetasu"),
        ("ﾒｰﾙ", "meru"),
        ("ユーザーID", "yuza_id"),
        ("Überseeländer", "uberseelander"),
        ("LeadScore__c", "lead_score_c"),
        ("東京", "tokyo"),
    ],
)
def test_japanese_is_read_and_other_scripts_are_spelled(name: str, found: str) -> None:
    assert ascii_name(name) == found


@given(st.text(max_size=30))
def test_a_name_in_ascii_is_small_letters_digits_and_underscores(name: str) -> None:
    found = ascii_name(name)
    assert found.isascii() and set(found) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")
    assert not found[:1].isdigit()


@given(NAMES, NAMES)
def test_proposals_fit_differ_and_leave_earlier_ones_alone(names: list[str], more: list[str]) -> None:
    first = proposals({name: snake_case(name) for name in names}, {})
    assert set(first) == set(names)
    later = proposals({name: snake_case(name) for name in [*more, *names]}, first)
    assert set(later) == set(more) - set(names)
    every = [*first.values(), *later.values()]
    assert len({name.lower() for name in every}) == len(every)
    assert all(name and len(name.encode()) <= PROPOSED_BYTES for name in every)


def test_of_two_that_collide_the_second_is_told_apart_by_its_own_name() -> None:
    found = proposals({"Id": "id", "ID": "id", "id!": "id"}, {})
    assert found["Id"] == "id"
    assert found["ID"].startswith("id_") and found["id!"].startswith("id_") and found["ID"] != found["id!"]
    assert proposals({"ID": "id"}, {"Id": "id"})["ID"] == found["ID"]


def test_long_names_are_cut_between_characters_and_stay_apart() -> None:
    found = proposals({f"{'水' * 40}{end}": f"{'水' * 40}{end}" for end in "ab"}, {})
    assert len(set(found.values())) == 2 and all(len(name.encode()) <= 63 for name in found.values())
