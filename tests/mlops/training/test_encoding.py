"""The encoder copes with levels and values that it has not seen, and learns from training rows only."""

import pickle
from collections.abc import Sequence
from datetime import date

import numpy as np
import pandas as pd
import pytest
from mlops.data import profile, rows
from mlops.data.schema import Schema
from mlops.training import encoding
from mlops.training.task import Task
from sklearn.compose import ColumnTransformer

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


def encoder(
    schema: Schema, many: Sequence[str] = (), rare_level: int = 1, task: Task = "classification"
) -> ColumnTransformer:
    return encoding.encoder(schema, list(many), rare_level, task, seed=5)


def levels(*values: str | None) -> pd.DataFrame:
    return encoding.inputs(pd.DataFrame({"level": pd.Series(values, dtype="str")}), OF_LEVEL)


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

    inputs = encoding.inputs(table, SCHEMA)

    expected = ["level", "amount", "at day", "at month", "at weekday", "at hour", "flag", "count"]
    assert inputs.columns.tolist() == expected == list(encoding.column_types(SCHEMA))
    assert inputs.iloc[0].tolist() == ["a", 1.5, 1.5, 1.0, 4.0, 12.0, 1.0, 3.0]
    assert inputs.iloc[1].isna().all()
    kinds = {"string": "object", "double": "float64"}
    assert {name: str(dtype) for name, dtype in inputs.dtypes.items()} == {
        name: kinds[kind] for name, kind in encoding.column_types(SCHEMA).items()
    }


def test_a_missing_number_becomes_the_median_of_the_training_rows() -> None:
    train = pd.DataFrame({"amount": [1.0, 2.0, 9.0, np.nan]})
    fitted = encoder(OF_AMOUNT, rare_level=1).fit(train)

    numbers = fitted.named_transformers_["numbers"]

    assert numbers["impute"].statistics_.tolist() == [2.0]
    assert numbers["scale"].mean_.tolist() == [3.5]
    unseen = pd.DataFrame({"amount": [np.nan, 2.0, 1e6]})
    encoded = fitted.transform(unseen)
    assert encoded[0] == encoded[1]
    assert np.isfinite(encoded).all()


def test_a_number_that_was_never_seen_in_training_still_has_its_column() -> None:
    train = pd.DataFrame({"amount": [np.nan, np.nan]})

    fitted = encoder(OF_AMOUNT, rare_level=1).fit(train)

    assert fitted.transform(pd.DataFrame({"amount": [5.0, np.nan]})).shape == (2, 1)


def test_a_missing_level_becomes_the_most_frequent_of_the_training_rows() -> None:
    fitted = encoder(OF_LEVEL, rare_level=1).fit(levels("a", "b", "b", None))

    encoded = fitted.transform(levels(None, "b", "a"))

    assert np.array_equal(encoded[0], encoded[1])
    assert not np.array_equal(encoded[0], encoded[2])


def test_a_category_without_any_value_in_training_can_be_encoded() -> None:
    fitted = encoder(OF_LEVEL, rare_level=1).fit(levels(None, None))

    assert np.isfinite(fitted.transform(levels("a", None))).all()


def test_rare_levels_and_those_first_seen_later_share_one_column() -> None:
    train = levels(*["a"] * 5, *["b"] * 5, "rare", "rarer")
    fitted = encoder(OF_LEVEL, rare_level=2).fit(train)

    encoded = fitted.transform(levels("a", "b", "rare", "rarer", "unseen"))

    assert encoded.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1], [0, 0, 1]]


def test_a_level_first_seen_later_is_all_zeros_where_no_level_was_rare() -> None:
    fitted = encoder(OF_LEVEL, rare_level=2).fit(levels(*["a"] * 5, *["b"] * 5))

    assert fitted.transform(levels("unseen")).tolist() == [[0, 0]]


def test_the_date_that_orders_the_rows_gives_its_calendar_and_no_day() -> None:
    schema = Schema(columns={**OF_LEVEL.columns, "at": {"type": "datetime", "role": "time"}})
    table = pd.DataFrame(
        {"level": pd.Series(["a"], dtype="str"), "at": pd.Series(["2024-02-29 13:45"], dtype="datetime64[us]")}
    )

    inputs = encoding.inputs(table, schema)

    assert (
        inputs.columns.tolist() == ["level", "at month", "at weekday", "at hour"] == list(encoding.column_types(schema))
    )
    assert inputs.iloc[0].tolist() == ["a", 2.0, 3.0, 13.0]
    assert encoding.encoder_columns("at", schema) == ["at month", "at weekday", "at hour"]


def test_the_typical_row_has_dates_as_the_schema_spells_them_and_is_read_without_a_word() -> None:
    slashes = {"type": "datetime", "format": "%d/%m/%Y"}
    added = {"since": {"type": "datetime"}, "day": slashes, "at": {**slashes, "role": "time"}}
    schema = Schema(columns={**OF_LEVEL.columns, **added})
    dates = pd.Series(["2024-02-29", "2024-02-29", "9999-12-31"], dtype="datetime64[us]")
    known = {"level": pd.Series(["a", "b", "b"], dtype="str"), "since": dates[::-1], "day": dates}
    found = profile.profile(pd.DataFrame({**known, "y": known["level"]}), schema)

    row = encoding.typical(found, schema, "2025-11-03 00:00:00")

    assert row == {"level": "b", "since": "2024-02-29T00:00:00", "day": "29/02/2024", "at": "03/11/2025"}
    assert rows.typed(row, schema, lambda table: table).notna().all(axis=None)


def test_an_order_that_is_no_date_is_no_input() -> None:
    schema = Schema(columns={**OF_LEVEL.columns, "round": {"type": "integer", "role": "time"}})
    table = pd.DataFrame({"level": pd.Series(["a"], dtype="str"), "round": pd.array([7], dtype="Int64")})

    assert encoding.inputs(table, schema).columns.tolist() == ["level"]
    assert schema.features == ["level"]


@pytest.mark.parametrize("day", ["0001-01-01", "1600-02-29", "9999-12-31"])
def test_a_date_outside_of_what_nanoseconds_reach_is_an_input_too(day: str) -> None:
    schema = Schema(columns={**OF_LEVEL.columns, "at": {"type": "datetime"}})
    table = pd.DataFrame({"level": pd.Series(["a"], dtype="str"), "at": pd.Series([day], dtype="datetime64[us]")})

    row = encoding.inputs(table, schema).iloc[0]

    since = (date.fromisoformat(day) - date(1970, 1, 1)).days
    assert row["at day":"at hour"].tolist() == [since, int(day[5:7]), date.fromisoformat(day).weekday(), 0]


OF_THREE = Schema(
    columns={
        "few": {"type": "category"},
        "some": {"type": "category"},
        "most": {"type": "category"},
        "amount": {"type": "number"},
        "y": {"type": "category", "role": "target"},
    }
)


def of_three(rows: int = 400) -> pd.DataFrame:
    """Categories of 2, 50 and 200 levels."""
    row = np.arange(rows)
    counts = {"few": 2, "some": 50, "most": 200}
    table = {name: np.char.add("level ", (row % count).astype(str)).astype(object) for name, count in counts.items()}
    return pd.DataFrame({**table, "amount": row.astype(float)})


@pytest.mark.parametrize(
    ("max_levels", "megabytes", "many"),
    [
        (200, 500, []),
        (199, 500, ["most"]),
        (50, 500, ["most"]),
        (49, 500, ["some", "most"]),
        (1, 500, ["few", "some", "most"]),
    ],
)
def test_a_category_of_more_levels_than_max_levels_has_many(max_levels: int, megabytes: int, many: list[str]) -> None:
    assert encoding.many_levels(of_three(), OF_THREE, max_levels, megabytes) == many


def test_the_categories_of_most_levels_have_many_until_the_others_fit_into_memory() -> None:
    table = of_three(1000)  # a megabyte is 125 columns

    assert encoding.many_levels(table, OF_THREE, 1000, 1) == ["most"]
    assert encoding.many_levels(pd.concat([table] * 3), OF_THREE, 1000, 1) == ["some", "most"]  # 41 columns
    assert encoding.many_levels(pd.concat([table] * 3), OF_THREE, 1000, 2) == ["most"]  # 83 columns
    assert encoding.many_levels(pd.concat([table] * 100), OF_THREE, 1000, 1) == ["few", "some", "most"]


@pytest.mark.parametrize(
    ("task", "target", "columns"),
    [
        ("classification", np.array(["no", "yes"], object)[np.arange(400) % 2], 1),
        ("classification", np.array(["a", "b", "c"], object)[np.arange(400) % 3], 3),
        ("classification", np.arange(400) % 2 == 0, 1),
        ("classification", np.arange(400) % 3, 3),
        ("regression", np.arange(400, dtype=float), 1),
    ],
)
def test_a_category_of_many_levels_becomes_the_mean_of_the_target_over_each(
    task: Task, target: np.ndarray, columns: int
) -> None:
    table = of_three()

    fitted = encoder(OF_THREE, ["most"], rare_level=5, task=task).fit(table, target)

    few_and_some = 2 + 50
    encoded = fitted.transform(table)
    assert encoded.shape == (400, 1 + few_and_some + columns)
    assert np.isfinite(encoded).all()
    means = encoded[:, -columns:]
    assert np.array_equal(means[:200], means[200:])  # the same level, the same mean
    if task == "regression":
        assert np.corrcoef(means[:200, 0], np.arange(200))[0, 1] > 0.999
    else:
        assert means.min() >= 0
        assert means.max() <= 1


def test_a_level_first_seen_later_is_worth_the_mean_of_all_and_a_missing_one_is_a_level() -> None:
    train = levels(*["a"] * 40, *["b"] * 40, *[None] * 40)
    target = np.array([10.0] * 40 + [20.0] * 40 + [90.0] * 40)
    fitted = encoder(OF_LEVEL, ["level"], task="regression").fit(train, target)

    a, b, missing, unseen = fitted.transform(levels("a", "b", None, "unseen"))[:, 0]

    assert unseen == target.mean() == 40
    assert 10 <= a < b < unseen < missing <= 90


def test_a_level_of_few_rows_is_shrunk_towards_the_mean_of_all() -> None:
    rng = np.random.default_rng(1)
    train = levels(*["common"] * 200, *["rare"] * 2, *["other"] * 200)
    target = np.concatenate([rng.normal(10, 3, 202), rng.normal(0, 3, 200)])
    fitted = encoder(OF_LEVEL, ["level"], task="regression").fit(train, target)

    common, rare = fitted.transform(levels("common", "rare"))[:, 0]

    own, whole = target[200:202].mean(), target.mean()
    assert common == pytest.approx(target[:200].mean(), rel=0.02)
    assert abs(rare - whole) < abs(own - whole)


def test_the_mean_of_a_level_is_learnt_on_other_rows_than_it_is_used_on() -> None:
    """Levels of one row each tell nothing: if they told of their own rows, a model would believe them."""
    rows = 500
    table = levels(*[f"level {row}" for row in range(rows)])
    target = np.random.default_rng(1).normal(size=rows)

    encoded = encoder(OF_LEVEL, ["level"], task="regression").fit_transform(table, target)[:, 0]

    assert abs(np.corrcoef(encoded, target)[0, 1]) < 0.5
    assert len(np.unique(encoded.round(9))) <= encoding.TARGET_FOLDS


def test_the_seed_alone_decides_on_which_rows_a_mean_is_learnt() -> None:
    table, target = of_three(), np.arange(400, dtype=float)

    once, again, other = (
        encoding.encoder(OF_THREE, ["most"], 5, "regression", seed).fit_transform(table, target) for seed in (1, 1, 2)
    )

    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)


def test_every_category_may_have_many_levels_or_none() -> None:
    table, target = of_three(), np.arange(400) % 2

    for many in (["few", "some", "most"], []):
        encoded = encoder(OF_THREE, many).fit(table, target).transform(table)
        assert encoded.shape == (400, 4 if many else 1 + 2 + 50 + 200)


@pytest.mark.parametrize("many", [[], ["level"]])
@pytest.mark.parametrize("names", [["level", "amount", "at"], ["amount", "at"], ["level"]])
def test_rows_that_are_encoded_in_parts_are_to_the_byte_those_of_the_encoder(
    names: list[str], many: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "ROWS", 70)
    rng = np.random.default_rng(1)
    table = pd.DataFrame(
        {
            "level": pd.Series(rng.choice(["a", "b", "c", None], size=500), dtype="str"),
            "amount": np.where(rng.random(500) < 0.1, np.nan, rng.normal(size=500)),
            "at": np.datetime64("2020-01-01", "us") + rng.integers(0, 9999, 500) * np.timedelta64(1, "h"),
        }
    )
    schema = Schema(columns={name: SCHEMA.columns[name] for name in [*names, "y"]})
    inputs, kept = encoding.inputs(table, schema), np.flatnonzero(rng.random(500) < 0.8)
    target = rng.choice(np.array(["no", "yes"], dtype=object), size=len(kept))
    whole, found = (encoder(schema, [name for name in many if name in names]) for _ in range(2))
    expected = whole.fit_transform(inputs.iloc[kept], target)
    parts = [np.arange(150, len(kept)), np.arange(150)]

    matrices = encoding.fit_transform(found, inputs, target, kept, parts)

    for matrix, part in zip(matrices, parts, strict=True):
        assert np.array_equal(matrix, expected[part])
        assert matrix.flags.f_contiguous == expected.flags.f_contiguous
    assert pickle.dumps(found) == pickle.dumps(whole)
