"""The project's own columns: computed from single rows, in one place, and every fault of theirs in one sentence."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from mlops.data import parsing
from mlops.data.deriving import derived
from mlops.data.own import OwnCodeError
from mlops.data.schema import Schema
from mlops.intake import collecting

SCHEMA = Schema.model_validate(
    {
        "columns": {
            "key": {"type": "integer", "role": "id"},
            "born": {"type": "datetime", "role": "source"},
            "charges": {"type": "number"},
            "months": {"type": "integer"},
            "per_month": {"type": "number", "derived": True},
            "decade": {"type": "category", "derived": True, "sensitive": True},
            "churn": {"type": "category", "role": "target"},
        }
    }
)
TABLE = pd.DataFrame(
    {
        "key": pd.array([1, 2, 3], dtype="Int64"),
        "born": pd.to_datetime(["1961-03-01", "1975-01-01", None]).astype("datetime64[us]"),
        "charges": [10.0, 30.0, None],
        "months": pd.array([2, 0, 5], dtype="Int64"),
        "churn": pd.array(["No", "Yes", "No"], dtype="str"),
    },
    index=[4, 5, 6],
)


def derive(table: pd.DataFrame) -> pd.DataFrame:
    assert list(table) == ["born", "charges", "months"], "neither the target nor an id"
    decade = (table["born"].dt.year // 10 * 10).astype("Int64").astype("str")
    return table.assign(per_month=table["charges"] / table["months"].clip(lower=1), decade=decade)


def test_derived_columns_stand_where_the_schema_has_them_and_sources_are_gone() -> None:
    found = derived(TABLE, SCHEMA, derive)

    assert list(found) == ["key", "charges", "months", "per_month", "decade", "churn"] == SCHEMA.kept
    assert found["per_month"].tolist()[:2] == [5.0, 30.0]
    assert found["per_month"].dtype == "float64"
    assert found["decade"].tolist()[:2] == ["1960", "1970"]
    assert found[["per_month", "decade"]].iloc[2].isna().all()
    assert found.index.tolist() == [4, 5, 6]


@pytest.mark.parametrize("name", ["self", "data", "index", "kwargs", "__class__"])
def test_a_column_may_have_any_name(name: str) -> None:
    names = {"per_month": name}
    columns = {names.get(column, column): fields for column, fields in SCHEMA.columns.items()}

    found = derived(
        TABLE.rename(columns=names),
        Schema(columns=columns),
        lambda table: derive(table).rename(columns=names),
    )

    assert list(found) == [names.get(column, column) for column in SCHEMA.kept]
    assert found[names["per_month"]].tolist()[:2] == [5.0, 30.0]


def test_a_delivery_without_labels_is_derived_alike() -> None:
    whole = derived(TABLE, SCHEMA, derive)

    pd.testing.assert_frame_equal(derived(TABLE[SCHEMA.needed], SCHEMA, derive), whole[SCHEMA.features])


def changed(**columns: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda table: derive(table).assign(**columns)


def fails(table: pd.DataFrame) -> pd.DataFrame:
    missing = table["age"]
    return table.assign(per_month=missing)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (
            fails,
            r"test_deriving\.py: fails \(line \d+\) fails at line \d+ \(missing = .*\) with KeyError",
        ),
        (lambda table: derive(table).iloc[:2], "returns 2 rows for 3"),
        (lambda table: derive(table).iloc[::-1], "in another order"),
        (lambda table: derive(table)["charges"], "returns a Series"),
        (lambda table: derive(table).drop(columns="decade"), "schema.yaml calls decade derived, but neither features"),
        (changed(extra=1), "adds extra, which schema.yaml does not call derived: .*schema infer --update"),
        (changed(charges=0.0), "changes charges"),
        (changed(per_month="a lot"), "gives per_month the value 'a lot' .*no number"),
        (lambda table: pd.concat([derive(table), derive(table)], axis=1), "several columns called "),
        (changed(churn="No"), "adds churn, which schema.yaml has as a delivered column: choose another name"),
        (changed(per_month=pd.to_timedelta([1, 2, 3], "D")), "adds 'per_month' of the type timedelta64"),
        (lambda table: derive(table).assign(**{"x": 1}).rename(columns={"x": 5}), "adds 5 of the type int64"),
    ],
    ids=[
        "fails",
        "drops",
        "turns",
        "series",
        "lacks",
        "adds",
        "changes",
        "another type",
        "twice",
        "the target",
        "durations",
        "no name",
    ],
)
def test_what_a_function_does_wrong_is_said_in_one_sentence(
    function: Callable[[pd.DataFrame], pd.DataFrame], sentence: str
) -> None:
    with pytest.raises(OwnCodeError, match=sentence) as error:
        derived(TABLE, SCHEMA, function)
    assert "\n" not in str(error.value)


def test_a_function_that_works_in_place_does_not_change_what_was_delivered() -> None:
    def in_place(table: pd.DataFrame) -> pd.DataFrame:
        table["per_month"], table["decade"] = 1.0, "x"
        return table

    before = TABLE.copy(deep=True)
    assert derived(TABLE, SCHEMA, in_place)["per_month"].tolist() == [1.0] * 3
    pd.testing.assert_frame_equal(TABLE, before)


def test_a_delivery_that_has_a_derived_column_is_refused() -> None:
    with pytest.raises(Exception, match=r"has the column decade, which project/features\.py derives"):
        parsing.parse(TABLE.assign(decade="x"), SCHEMA, "march.csv", [])


@pytest.mark.parametrize("role", ["target", "id", "time", "source"])
def test_a_column_that_must_be_delivered_cannot_be_derived(role: str) -> None:
    columns = {name: column.model_dump() for name, column in SCHEMA.columns.items()}
    columns["decade"] |= {"role": role}

    with pytest.raises(ValueError, match=f"a derived column cannot be the {role}"):
        Schema.model_validate({"columns": columns})


def test_deliveries_are_derived_a_batch_at_a_time(tmp_path: Path) -> None:
    TABLE[:2].to_csv(tmp_path / "a.csv", index=False)
    TABLE[2:].to_csv(tmp_path / "b.csv", index=False)
    sizes = []

    def counting(table: pd.DataFrame) -> pd.DataFrame:
        sizes.append(len(table))
        return derive(table)

    with collecting.collected(tmp_path, SCHEMA, SCHEMA.delivered, counting, tmp_path / ".aside.parquet") as delivered:
        found = pd.concat(delivered.table.batches())

    assert sizes == [2, 1]
    pd.testing.assert_frame_equal(found, derived(TABLE.reset_index(drop=True), SCHEMA, derive))
