"""The encoder copes with levels and values that it has not seen, and learns from training rows only."""

import numpy as np
import pandas as pd

from ml import features
from ml.schema import Schema

SCHEMA = Schema(
    columns={
        "level": {"type": "category"},
        "amount": {"type": "number"},
        "at": {"type": "datetime"},
        "flag": {"type": "boolean"},
        "count": {"type": "integer"},
        "key": {"type": "integer", "role": "id"},
        "y": {"type": "category", "role": "target"},
    }
)
OF_LEVEL = Schema(columns={"level": {"type": "category"}, "y": {"type": "category", "role": "target"}})
OF_AMOUNT = Schema(columns={"amount": {"type": "number"}, "y": {"type": "category", "role": "target"}})


def levels(*values: str | None) -> pd.DataFrame:
    return features.inputs(pd.DataFrame({"level": pd.Series(values, dtype="str")}), OF_LEVEL)


def test_inputs_are_the_features_alone_in_schema_order_and_in_the_types_of_the_signature() -> None:
    table = pd.DataFrame(
        {
            "key": pd.array([1, 2], dtype="Int64"),
            "count": pd.array([3, None], dtype="Int64"),
            "flag": pd.array([True, None], dtype="boolean"),
            "at": pd.Series(["1970-01-02 12:00", None], dtype="datetime64[us]"),
            "amount": [1.5, None],
            "level": pd.Series(["a", None], dtype="str"),
        }
    )

    inputs = features.inputs(table, SCHEMA)

    expected = ["level", "amount", "at day", "at month", "at weekday", "at hour", "flag", "count"]
    assert inputs.columns.tolist() == expected == list(features.column_types(SCHEMA))
    assert inputs.iloc[0].tolist() == ["a", 1.5, 1.5, 1.0, 4.0, 12.0, 1.0, 3.0]
    assert inputs.iloc[1].isna().all()
    kinds = {"string": "object", "double": "float64"}
    assert {name: str(dtype) for name, dtype in inputs.dtypes.items()} == {
        name: kinds[kind] for name, kind in features.column_types(SCHEMA).items()
    }


def test_a_missing_number_becomes_the_median_of_the_training_rows() -> None:
    train = pd.DataFrame({"amount": [1.0, 2.0, 9.0, np.nan]})
    encoder = features.encoder(OF_AMOUNT, rare_level=1, max_levels=10).fit(train)

    numbers = encoder.named_transformers_["numbers"]

    assert numbers["impute"].statistics_.tolist() == [2.0]
    assert numbers["scale"].mean_.tolist() == [3.5]
    unseen = pd.DataFrame({"amount": [np.nan, 2.0, 1e6]})
    encoded = encoder.transform(unseen)
    assert encoded[0] == encoded[1]
    assert np.isfinite(encoded).all()


def test_a_number_that_was_never_seen_in_training_still_has_its_column() -> None:
    train = pd.DataFrame({"amount": [np.nan, np.nan]})

    encoder = features.encoder(OF_AMOUNT, rare_level=1, max_levels=10).fit(train)

    assert encoder.transform(pd.DataFrame({"amount": [5.0, np.nan]})).shape == (2, 1)


def test_a_missing_level_becomes_the_most_frequent_of_the_training_rows() -> None:
    encoder = features.encoder(OF_LEVEL, rare_level=1, max_levels=10).fit(levels("a", "b", "b", None))

    encoded = encoder.transform(levels(None, "b", "a"))

    assert np.array_equal(encoded[0], encoded[1])
    assert not np.array_equal(encoded[0], encoded[2])


def test_a_category_without_any_value_in_training_can_be_encoded() -> None:
    encoder = features.encoder(OF_LEVEL, rare_level=1, max_levels=10).fit(levels(None, None))

    assert np.isfinite(encoder.transform(levels("a", None))).all()


def test_rare_levels_and_those_first_seen_later_share_one_column() -> None:
    train = levels(*["a"] * 5, *["b"] * 5, "rare", "rarer")
    encoder = features.encoder(OF_LEVEL, rare_level=2, max_levels=10).fit(train)

    encoded = encoder.transform(levels("a", "b", "rare", "rarer", "unseen"))

    assert encoded.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1], [0, 0, 1]]


def test_a_level_first_seen_later_is_all_zeros_where_no_level_was_rare() -> None:
    encoder = features.encoder(OF_LEVEL, rare_level=2, max_levels=10).fit(levels(*["a"] * 5, *["b"] * 5))

    assert encoder.transform(levels("unseen")).tolist() == [[0, 0]]


def test_a_category_becomes_at_most_max_levels_columns() -> None:
    train = levels(*[f"level {number}" for number in range(50) for _ in range(number + 10)])

    encoder = features.encoder(OF_LEVEL, rare_level=2, max_levels=7).fit(train)

    assert encoder.transform(train).shape == (len(train), 7)
