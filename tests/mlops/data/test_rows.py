"""Raw rows of a client become what `prepare` would have made of them."""

import json
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlops.base.errors import DataError
from mlops.data import rows
from mlops.data.schema import Schema

SCHEMA = Schema.model_validate(
    {
        "columns": {
            "key": {"type": "integer", "role": "id"},
            "age": {"type": "integer"},
            "amount": {"type": "number", "unparseable": "reject"},
            "member": {"type": "boolean"},
            "plan": {"type": "category", "allowed": ["A", "B"]},
            "since": {"type": "datetime"},
            "twice": {"type": "number", "derived": True},
            "churn": {"type": "category", "role": "target"},
        }
    }
)
# Words that pandas reads as the time of reading, and numbers that it reads as years before Christ.
UNDATED = ("now", "today", "-1", "0000")
ROW = {"age": 3, "amount": 1.5, "member": True, "plan": "A", "since": "2024-02-29"}


def derive(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(twice=table["amount"] * 2)


def typed(given: Any) -> pd.DataFrame:
    return rows.typed(given, SCHEMA, derive)


def expected(count: int = 1) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "age": pd.array([3], dtype="Int64"),
            "amount": [1.5],
            "member": pd.array([True], dtype="boolean"),
            "plan": pd.array(["A"], dtype="str"),
            "since": pd.Series(["2024-02-29"], dtype="datetime64[us]"),
            "twice": [3.0],
        }
    )
    return pd.concat([table] * count, ignore_index=True)


@pytest.mark.parametrize(
    "given",
    [
        ROW,
        [ROW, ROW],
        {name: [value] * 2 for name, value in ROW.items()},
        pd.DataFrame([ROW, ROW], index=[7, 7]),
        pd.DataFrame([ROW]).iloc[0],
        json.loads(json.dumps([ROW])),
        {"since": "2024-02-29", **ROW, "key": 9, "churn": "Yes", "unknown": [1, 2]},
    ],
    ids=["a row", "rows", "columns", "a table", "a series", "JSON", "with others"],
)
def test_rows_are_taken_in_every_form(given: Any) -> None:
    found = typed(given)

    pd.testing.assert_frame_equal(found, expected(len(found)))


@pytest.mark.parametrize("age", ["3", 3, 3.0, "3.0", " 3 "])
@pytest.mark.parametrize("member", [True, "Yes", "true", 1, "1"])
@pytest.mark.parametrize("since", ["2024-02-29", "2024-02-29T00:00:00Z", pd.Timestamp("2024-02-29"), date(2024, 2, 29)])
def test_a_value_is_taken_however_it_is_written(age: Any, member: Any, since: Any) -> None:
    found = typed({**ROW, "age": age, "member": member, "since": since})

    pd.testing.assert_frame_equal(found, expected())


def test_values_of_one_column_may_be_written_in_several_ways_and_be_missing() -> None:
    found = typed([{**ROW, "age": age, "member": age} for age in ("1", 1, 1.0, None, "NA")])

    assert found["age"].tolist() == [1, 1, 1, pd.NA, pd.NA]
    assert found["member"].tolist() == [True, True, True, pd.NA, pd.NA]


def test_what_a_value_is_read_as_does_not_depend_on_those_beside_it() -> None:
    given = {"age": 2**62 + 1, "amount": 0.5, "member": 1, "plan": 2**60, "since": 20240229}

    found = typed([given, dict.fromkeys(given)])

    assert found.iloc[0].tolist() == [2**62 + 1, 0.5, True, str(2**60), pd.Timestamp("2024-02-29"), 1.0]
    for others in ([], [None], [2]):
        with pytest.raises(DataError, match="amount is 'True' in row 1 of"):
            typed([{**ROW, "amount": value} for value in [True, *others]])


def test_a_level_that_is_new_stays_what_it_is() -> None:
    assert typed({**ROW, "plan": "C"})["plan"].tolist() == ["C"]


def test_a_row_of_nothing_but_missing_values_is_a_row() -> None:
    found = typed(dict.fromkeys(ROW))

    assert found.isna().all(axis=None)
    assert found.dtypes.tolist() == expected().dtypes.tolist()


SPELT = Schema.model_validate(
    {
        "missing": ["", "NA", "01/01/1900"],
        "columns": {
            "amount": {"type": "number", "decimal": ","},
            "day": {"type": "datetime", "format": "%d/%m/%Y"},
            "born": {"type": "datetime", "format": "%d.%m.%y", "first_year": 1930},
            "churn": {"type": "category", "role": "target"},
        },
    }
)


def spelt(name: str, values: Any) -> pd.Series:
    """One column of rows that the schema spells in its own way."""
    table = pd.DataFrame({"amount": None, "day": None, "born": None}, index=range(len(values))).assign(**{name: values})
    return rows.typed(table, SPELT, lambda given: given)[name]


@pytest.mark.parametrize(
    "values",
    [
        [1.234, "1234,5", None, 7, "NA", 1e-7],
        pd.Series([Decimal("1.234"), np.float64(1234.5), float("nan"), 7, None, "0,0000001"], dtype=object),
    ],
)
def test_a_number_is_that_number_whatever_the_decimal_sign_of_text(values: Any) -> None:
    assert spelt("amount", values).tolist() == pytest.approx([1.234, 1234.5, np.nan, 7, np.nan, 1e-7], nan_ok=True)


@pytest.mark.parametrize(
    "given",
    [
        *("03/11/2025", "2025-11-03", " 2025-11-03T00:00:00", "2025-11-03T01:00:00+01:00"),
        *(date(2025, 11, 3), datetime(2025, 11, 3, 5), np.datetime64("2025-11-03"), pd.Timestamp("2025-11-03")),
    ],
)
def test_a_date_may_also_be_spelt_as_programs_do(given: Any) -> None:
    found = spelt("day", pd.Series([given, "04/11/2025", None, "NA", "1900-01-01"], dtype=object))

    assert found.dt.strftime("%m-%d").tolist()[:2] == ["11-03", "11-04"]
    assert found.isna().tolist() == [False, False, True, True, True]


def test_a_date_that_two_digits_cannot_say_is_refused() -> None:
    assert spelt("born", ["1931-05-06"]).tolist() == [pd.Timestamp("1931-05-06")]
    with pytest.raises(DataError, match="born is '1925-05-06' in row 1 of 1, which is no datetime"):
        spelt("born", ["1925-05-06"])


def test_a_value_of_another_type_is_refused_since_nobody_who_asks_over_http_sees_a_warning() -> None:
    with pytest.raises(DataError, match=r"age is 'many' in row 2 of 3 \(one of 2 such values\), which is no integer"):
        typed([ROW, {**ROW, "age": "many"}, {**ROW, "age": "few"}])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({name: value for name, value in ROW.items() if name != "age"}, "the row lacks age, which the model needs"),
        ([ROW, {"age": 3}], "the row lacks amount, member, plan, since, which"),
        (pd.DataFrame([ROW]).drop(columns=["plan"]), "the row lacks plan, which the model needs"),
        *(({**ROW, "since": word}, f"since is '{word}' in row 1 of 1, which is no datetime") for word in UNDATED),
        ({**ROW, "age": "0x1F"}, "age is '0x1F' in row 1 of 1, which is no integer"),
        (
            {**ROW, "amount": "much"},
            "amount is 'much' in row 1 of 1, which is no number: correct the value, or",
        ),
        ([], "there is no row"),
        (pd.DataFrame([ROW]).head(0), "there is no row"),
        ("age", "the rows are no table"),
        ({"age": [3, 4], "amount": [1.5]}, "the rows are no table"),
        (pd.DataFrame([[1, 2]], columns=["age", "age"]), "the rows have age twice"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(given: Any, said: str) -> None:
    with pytest.raises(DataError, match=said) as error:
        typed(given)

    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["age", "amount", "member", "plan", "since"])
def test_a_text_that_repeats_is_read_as_it_is_alone(name: str) -> None:
    texts = ["", "NA", " 3 ", "3.0", "7", "yes", "No", "A", "2024-02-29", "29 Feb 2024", "1e3", "1,5", '="12"', "inf"]
    every = pd.Series(texts * 200, index=range(5, 5 + 200 * len(texts)), dtype="str")
    column = SCHEMA.columns[name]

    found, wrong = rows.read(every, column, SCHEMA.missing)

    alone = [rows.read(pd.Series([text], dtype="str"), column, SCHEMA.missing) for text in texts]
    pd.testing.assert_series_equal(
        found, pd.concat([one for one, _ in alone] * 200).set_axis(every.index), check_names=False
    )
    assert wrong.tolist() == [bool(bad[0]) for _, bad in alone] * 200
