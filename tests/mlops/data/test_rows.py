"""Raw rows of a client become what `prepare` would have made of them."""

import json
from datetime import date
from typing import Any

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


def test_a_level_that_is_new_stays_what_it_is() -> None:
    assert typed({**ROW, "plan": "C"})["plan"].tolist() == ["C"]


def test_a_row_of_nothing_but_missing_values_is_a_row() -> None:
    found = typed(dict.fromkeys(ROW))

    assert found.isna().all(axis=None)
    assert found.dtypes.tolist() == expected().dtypes.tolist()


def test_a_value_of_another_type_is_missing_and_a_warning_says_so() -> None:
    with pytest.warns(UserWarning, match=r"age is 'many' in row 2 of 3, which is no integer.*missing \(2 here\)"):
        found = typed([ROW, {**ROW, "age": "many"}, {**ROW, "age": "few"}])

    assert found["age"].isna().tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({name: value for name, value in ROW.items() if name != "age"}, "the row lacks age, which the model needs"),
        ([ROW, {"age": 3}], "the row lacks amount, member, plan, since, which"),
        (pd.DataFrame([ROW]).drop(columns=["plan"]), "the row lacks plan, which the model needs"),
        ({**ROW, "amount": "much"}, "amount is 'much' in row 1 of 1, which is no number, and schema.yaml rejects"),
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
