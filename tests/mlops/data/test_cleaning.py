"""Which rows are left out before the split."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlops.base.errors import DataError
from mlops.data import cleaning
from mlops.data.digest import row_hashes
from mlops.data.schema import Schema

SCHEMA = Schema(
    columns={
        "key": {"type": "integer", "role": "id"},
        "x": {"type": "number"},
        "y": {"type": "category", "role": "target"},
    }
)
DATED = Schema(columns={**SCHEMA.columns, "at": {"type": "datetime", "role": "time"}})
UNNAMED = Schema(columns={"x": {"type": "number"}, "y": {"type": "category", "role": "target"}})
ROWS = pd.DataFrame(
    {
        "key": pd.array([1, 2, 1, 1, 3], dtype="Int64"),
        "x": [1.0, 2.0, 1.5, 1.0, None],
        "y": pd.Series(["a", "b", "a", "a", "b"], dtype="str"),
    }
)


def kept(table: pd.DataFrame, schema: Schema, how: str) -> list[int]:
    mask = cleaning.distinct(table, row_hashes(table), schema, how)
    return table.index[mask].tolist()


def test_duplicates_are_kept_on_request() -> None:
    assert kept(ROWS, SCHEMA, "keep") == [0, 1, 2, 3, 4]


def test_rows_that_are_equal_in_every_column_are_dropped_but_for_the_first() -> None:
    assert kept(ROWS, SCHEMA, "drop_rows") == [0, 1, 2, 4]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from([None, 0.5, 1.0]), st.sampled_from("ab")), min_size=1))
def test_what_stays_of_equal_rows_is_what_pandas_keeps(rows: list[tuple[int, float | None, str]]) -> None:
    table = pd.DataFrame(
        {
            "key": pd.array([key for key, _, _ in rows], dtype="Int64"),
            "x": pd.Series([x for _, x, _ in rows], dtype="float64"),
            "y": pd.Series([y for _, _, y in rows], dtype="str"),
        }
    )

    assert kept(table, SCHEMA, "drop_rows") == table.drop_duplicates().index.tolist()
    assert kept(table, SCHEMA, "drop_ids") == table.drop_duplicates("key", keep="last").index.tolist()


def test_the_last_row_of_an_id_stays_in_its_place() -> None:
    assert kept(ROWS, SCHEMA, "drop_ids") == [1, 3, 4]


def test_the_newest_row_of_an_id_stays_if_rows_are_dated() -> None:
    dated = ROWS.assign(at=pd.to_datetime(["2024-03-01", "2024-01-01", "2024-04-01", "2024-02-01", "2024-01-01"]))

    assert kept(dated, DATED, "drop_ids") == [1, 2, 4]


def test_dropping_by_id_needs_an_id() -> None:
    with pytest.raises(DataError, match="drop_ids, but no column has the role id"):
        kept(ROWS[["x", "y"]], UNNAMED, "drop_ids")


def test_rows_without_a_label_are_dropped() -> None:
    unlabelled = ROWS.assign(y=pd.Series(["a", None, "b", None, "b"], dtype="str"))

    assert cleaning.labelled(unlabelled["y"]).tolist() == [True, False, True, False, True]


def test_data_without_any_label_is_an_error() -> None:
    with pytest.raises(DataError, match=r"the target y is missing in every row \(5\)"):
        cleaning.labelled(pd.Series([None] * 5, dtype="str", name="y"))


def test_a_target_of_one_value_is_an_error_that_names_it() -> None:
    with pytest.raises(DataError, match="the target y is yes in every row"):
        cleaning.labelled(pd.Series(["yes", None, "yes", "yes", "yes"], dtype="str", name="y"))


def test_the_balance_of_classes_counts_rows_in_the_order_of_their_labels() -> None:
    balance = cleaning.balance(pd.Series(["b", "a", "b"], dtype="str"))

    assert list(balance.items()) == [("a", 1), ("b", 2)]
    assert cleaning.balance(pd.Series([1, 0, 1], dtype="Int64")) == {"0": 1, "1": 2}
    assert cleaning.balance(pd.Series([True, False, True], dtype="boolean")) == {"False": 1, "True": 2}


def test_the_balance_of_a_number_is_its_mean_spread_and_range() -> None:
    assert cleaning.balance(pd.Series([1.0, 2.0, 6.0])) == {
        "mean": 3.0,
        "std": pytest.approx(7**0.5),
        "min": 1.0,
        "max": 6.0,
    }


def test_the_period_is_that_of_the_column_of_the_role_time_and_none_without_one() -> None:
    stamps = ["2024-03-01", "2024-01-31 23:00:00", None, "2024-02-02", "2024-02-03"]
    days = ROWS.assign(at=pd.to_datetime(stamps, format="ISO8601"))

    assert cleaning.period(days, DATED) == {
        "column": "at",
        "first": "2024-01-31 23:00:00",
        "last": "2024-03-01 00:00:00",
    }
    assert cleaning.period(ROWS, SCHEMA) is None
    assert cleaning.period(days[2:3], DATED) is None
