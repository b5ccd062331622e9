"""All columns together: the classifier's AUC and interval are the known ones, and it finds what no column shows."""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlops.base.params import Monitor
from mlops.data.profile import profile
from mlops.data.schema import Column, Schema
from mlops.monitoring import domain, drift
from scipy import stats
from sklearn.metrics import roc_auc_score

EXAMPLES = settings(max_examples=50, deadline=None, derandomize=True)
SCORES = st.lists(st.integers(0, 9).map(float), min_size=2, max_size=30)


def schema(rows: pd.DataFrame, **types: str) -> Schema:
    """The columns of a table as features, numbers unless `types` says otherwise; `group` is the group of a row."""
    known = {name: Column(type=types.get(name, "number")) for name in rows if name != "group"}
    group = {"group": Column(type="category", role="group")} if "group" in rows else {}
    return Schema(columns={**known, **group, "target": Column(type="number", role="target")})


def compared(one: pd.DataFrame, other: pd.DataFrame, floor: float = 0.55, **types: str) -> domain.Domain | str:
    layout = schema(one, **types)
    return domain.compare(one, other, layout.features, layout, Monitor(domain_auc=floor))


def table(seed: int, rows: int, width: int = 6) -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(seed).normal(size=(rows, width))).add_prefix("x")


# DeLong's interval


@EXAMPLES
@given(SCORES, SCORES)
def test_the_interval_is_the_one_that_delong_defined_by_pairs_of_rows(
    positive: list[float], negative: list[float]
) -> None:
    wins = np.array([[(one > other) + (one == other) / 2 for other in negative] for one in positive])
    variance = np.var(wins.mean(axis=1), ddof=1) / len(positive) + np.var(wins.mean(axis=0), ddof=1) / len(negative)
    reach = stats.norm.ppf(0.975) * np.sqrt(variance)
    scores, sides = np.array(positive + negative), np.arange(len(positive) + len(negative)) < len(positive)

    auc, low, high = domain.delong(scores, sides, 0.95)

    assert auc == pytest.approx(roc_auc_score(sides, scores))
    assert low == pytest.approx(max(wins.mean() - reach, 0), abs=1e-9)
    assert high == pytest.approx(min(wins.mean() + reach, 1), abs=1e-9)


def test_rows_of_one_cluster_count_as_one() -> None:
    scores, sides = np.array([0.1, 0.4, 0.35, 0.8, 0.6, 0.2]), np.array([0, 0, 1, 1, 1, 0], dtype=bool)

    once = domain.delong(scores, sides, 0.9)
    repeated = domain.delong(scores.repeat(7), sides.repeat(7), 0.9, np.arange(6).repeat(7))

    assert repeated == pytest.approx(once)
    assert domain.delong(scores.repeat(7), sides.repeat(7), 0.9)[1] > once[1]


# What is found


def test_a_correlation_that_no_column_shows_is_found_and_both_columns_are_named() -> None:
    then, now = table(1, 2_000, 20), table(2, 2_000, 20)
    now["x7"] = 0.7 * now["x3"] + np.sqrt(0.51) * now["x7"]
    layout = schema(then)

    by_column = drift.compare(profile(then, layout), profile(now, layout), layout.features, Monitor())
    found = compared(then, now)

    assert not any(column.drifted for column in by_column)
    assert isinstance(found, domain.Domain)
    assert found.drifted
    assert 0.5 < found.low < found.auc < found.high < 1
    assert found.rows == (2_000, 2_000)
    assert {column.column for column in found.columns[:2]} == {"x3", "x7"}
    assert json.loads(json.dumps(asdict(found), allow_nan=False))["columns"][0]["importance"] > 0.02


def test_without_drift_nothing_is_found() -> None:
    found = [compared(table(seed, 1_000, 4), table(1_000 + seed, 1_200, 4)) for seed in range(6)]

    assert [one for one in found if isinstance(one, str) or one.drifted] == []
    assert 0.47 < np.mean([one.auc for one in found if isinstance(one, domain.Domain)]) < 0.53


def test_a_floor_that_the_auc_does_not_reach_is_no_drift() -> None:
    then, now = table(1, 1_000), table(2, 1_000)
    now["x0"] += 1

    found, strict = (compared(then, now, floor) for floor in (0.55, 0.9))

    assert isinstance(found, domain.Domain)
    assert isinstance(strict, domain.Domain)
    assert found.drifted
    assert [column.column for column in found.columns] == ["x0"]
    assert (strict.auc, strict.drifted, strict.columns) == (found.auc, False, [])


MISSING = [None, "a", "b", "c"]


def test_any_type_of_column_tells_also_by_what_is_missing_or_unseen() -> None:
    random = np.random.default_rng(5)
    then, now = (
        pd.DataFrame(
            {
                "date": pd.Series(np.datetime64("9000-01-01", "us") + random.integers(900, size=500).astype("m8[D]")),
                "whole": pd.array(random.integers(9, size=500), dtype="Int64"),
                "flag": pd.array(random.random(500) < 0.5, dtype="boolean"),
                "empty": pd.array([pd.NA] * 500, dtype="Float64"),
                "level": pd.Series(random.choice(["a", "b", "c"], 500), dtype="str"),
                "identity": pd.Series(random.integers(10**9, size=500), dtype="str"),
            }
        )
        for _ in range(2)
    )
    types = {"date": "datetime", "whole": "integer", "flag": "boolean", "level": "category", "identity": "category"}
    half = np.arange(500) % 2 == 0
    changes = {
        "date": now["date"] + np.timedelta64(500, "D"),
        "whole": now["whole"].mask(half),
        "flag": now["flag"] | half,
        "level": now["level"].mask(half, "unseen"),
    }

    same = compared(then, now, **types)
    found = {name: compared(then, now.assign(**{name: values}), **types) for name, values in changes.items()}

    assert isinstance(same, domain.Domain)
    assert not same.drifted
    assert {name: isinstance(one, domain.Domain) and one.columns[0].column for name, one in found.items()} == {
        name: name for name in changes
    }


# What cannot be compared, and groups


@pytest.mark.parametrize(("then", "now"), [(99, 500), (500, 99), (500, 1), (500, 0)])
def test_too_few_rows_are_not_compared_and_it_is_said(then: int, now: int) -> None:
    assert compared(table(1, then), table(2, now)) == (
        f"too few rows to compare all columns together: {min(then, now)} on one side, 100 at least"
    )


def test_nothing_watched_is_not_compared() -> None:
    rows = table(1, 200)

    assert domain.compare(rows, rows, [], schema(rows), Monitor()) == "no feature is watched"


def test_one_customer_with_many_rows_is_not_recognised_again() -> None:
    """Each customer has the same values in 50 rows: halves that share customers would tell all of them apart."""
    customers = table(3, 40)
    rows = customers.loc[customers.index.repeat(50)].reset_index(drop=True)
    grouped = rows.assign(group=pd.Series(customers.index.repeat(50)).astype("str"))
    then, now = grouped[:1_000], grouped[1_000:]

    by_row, by_group = compared(then.drop(columns="group"), now.drop(columns="group")), compared(then, now)

    assert isinstance(by_row, domain.Domain)
    assert isinstance(by_group, domain.Domain)
    assert by_row.auc > 0.95
    assert not by_group.drifted


def test_a_delivery_of_one_group_is_not_compared() -> None:
    rows = table(1, 300).assign(group="same")

    assert compared(rows.assign(group=pd.Series(np.arange(300)).astype("str")), rows) == (
        "too few groups of rows to compare all columns together"
    )


def test_the_same_rows_give_the_same_bits() -> None:
    then, now = table(1, 400), table(2, 300)
    now["x1"] *= 3

    assert compared(then, now) == compared(then.copy(), now.copy())
