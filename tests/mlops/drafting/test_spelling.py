"""The spelling of values shows their type: dates in every common format, numbers with both decimal signs."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlops.data import parsing
from mlops.drafting import spelling

TIMES = pd.date_range("2023-01-03 04:05:06", periods=40, freq="9D7h3min11s")
DAYS = TIMES.normalize()


@pytest.mark.parametrize(
    "form",
    [
        "%d.%m.%Y",
        "%d.%m.%y",
        "%m/%d/%Y",
        "%d/%m/%Y",
        "%d-%m-%Y",
        "%d %b %Y",
        "%d-%b-%Y",
        "%b %d, %Y",
        "%B %d, %Y",
        "%d %B %Y",
    ],
)
@pytest.mark.parametrize("clock", ["", " %H:%M", " %H:%M:%S", " %I:%M:%S %p"])
def test_a_date_of_a_common_format_comes_back_as_it_was(form: str, clock: str) -> None:
    values = pd.Series(TIMES.strftime(form + clock), dtype="str")

    found = spelling.read(values, commas=False)

    window = "years of two digits are 1969 to 2068" if "%y" in form else ""
    assert (found.type, found.format, found.reason.partition("; ")[0]) == ("datetime", form + clock, window)
    assert ("would fit, too" in found.reason) == ("%y" in form)  # the years may be days as well
    read = parsing.typed(values, found)
    assert read.tolist() == pd.to_datetime(values, format=form + clock).tolist()


def test_an_iso_date_needs_no_format() -> None:
    for values in (TIMES.strftime("%Y-%m-%d %H:%M:%S"), DAYS.strftime("%Y-%m-%d"), TIMES.strftime("%Y-%m-%dT%H:%MZ")):
        assert spelling.read(pd.Series(values, dtype="str"), commas=False) == spelling.Reading("datetime")


@pytest.mark.parametrize(("commas", "form"), [(False, "%m/%d/%Y"), (True, "%d/%m/%Y")])
def test_where_day_and_month_cannot_be_told_apart_the_draft_says_so(commas: bool, form: str) -> None:
    values = pd.Series(["01/02/2023", "03/04/2023", "12/11/2023"], dtype="str")

    found = spelling.read(values, commas=commas)

    assert found.format == form
    told = {"%m/%d/%Y": "2023-01-02 (%m/%d/%Y); %d/%m/%Y", "%d/%m/%Y": "2023-02-01 (%d/%m/%Y); %m/%d/%Y"}[form]
    assert found.reason == f"'01/02/2023' is read as {told} would fit, too"


@pytest.mark.parametrize(
    ("values", "form", "others"),
    [
        (["01-02-03", "04-05-06"], "%d-%m-%y", ["%m-%d-%y", "%y-%m-%d"]),
        (["01-02-03", "99-12-31"], "%y-%m-%d", []),
        (["01/02/03", "12/31/99"], "%m/%d/%y", []),
        (["01.02.03", "31.12.99"], "%d.%m.%y", []),
        (["24-05-06", "23-12-01"], "%d-%m-%y", ["%y-%m-%d"]),
    ],
)
def test_years_of_two_digits_stand_where_all_values_let_them(values: list[str], form: str, others: list[str]) -> None:
    found = spelling.read(pd.Series(values * 20, dtype="str"), commas=False)

    assert found.format == form
    assert ("would fit, too" in found.reason) == bool(others)
    assert all(other in found.reason for other in others)


@pytest.mark.parametrize("values", [["1-2-3 Main Street", "5:30 at the pub", "2.0.1"], ["v1.2", "v1.3", "v2.0"]])
def test_text_with_digits_is_no_date(values: list[str]) -> None:
    assert spelling.read(pd.Series(values, dtype="str"), commas=False).type == "category"


@given(st.lists(st.floats(-1e9, 1e9).map(lambda value: round(value, 2)), min_size=1, max_size=30))
def test_a_number_means_the_same_however_it_is_written(numbers: list[float]) -> None:
    english = [f"{number:,.2f}" for number in numbers]
    german = [text.translate(str.maketrans(",.", ".,")) for text in english]
    spaced = [text.replace(",", " ") for text in english]

    for spelt, decimal in ((english, "."), (german, ","), (spaced, "."), ([f"€ {text}" for text in english], ".")):
        assert parsing.typed(pd.Series(spelt, dtype="str"), parsing.Spelling("number", decimal)).tolist() == numbers


@pytest.mark.parametrize(
    ("columns", "separators", "found"),
    [
        ({"a": ["1,5", "2"]}, [";"], True),
        ({"a": ["1.5", "2"]}, [";"], False),
        ({"a": ["1", "2"]}, [";"], True),
        ({"a": ["1", "2"]}, [","], False),
        ({"a": ["x,5", "2"]}, [","], False),
        ({"a": ["1,234", "5,678"], "b": ["0,5", "1"]}, ["\t"], True),
    ],
)
def test_decimal_commas_are_seen_in_the_columns_that_leave_no_doubt(
    columns: dict[str, list[str]], separators: list[str], found: bool
) -> None:
    assert spelling.commas(pd.DataFrame(columns, dtype="str"), separators) is found


BEFORE = ("", "-", "+", "0", "A", "K", "e", "inf", "room ", "kg ", "May ", "Sept-", "pm_", "a/", "m² ", "$")
DIGITS = ("", "0", "1", "7", "07", "12", "123", "2024", "20240131", "123456789012345678", "9223372036854775808")
BEHIND = ("", ".0", ".5", "1.0", ".250", ".99999999999999999", ",5", "-", "M", " kg", "kg", "e5", "-03-04", " 2023")
PARTS = st.tuples(*(st.lists(st.sampled_from(part), min_size=1, max_size=2) for part in (BEFORE, DIGITS, BEHIND)))


@given(parts=PARTS, rows=st.integers(1, 60), commas=st.booleans(), data=st.data())
def test_the_first_look_at_a_column_decides_as_all_looks_do(
    parts: tuple[list[str], ...], rows: int, commas: bool, data: st.DataObject
) -> None:
    random = data.draw(st.randoms(use_true_random=False))
    words = [("".join(random.choice(part) for part in parts)).strip() or "x" for _ in range(rows)]
    values = pd.Series(words, dtype="str")

    found = spelling.read(values, commas=commas)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spelling, "_at_first_look", lambda values, **_: None)
        assert found == spelling.read(values, commas=commas)
