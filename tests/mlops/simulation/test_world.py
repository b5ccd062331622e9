"""The world of a simulated year: what comes depends on the seed and the week, and a shift turns what was learnt."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from mlops.base.errors import DataError, ParameterError
from mlops.data import checks
from mlops.data.schema import Schema
from mlops.simulation import world
from mlops.simulation.world import World

ROWS = 900
COLUMNS = {
    "key": {"type": "integer", "role": "id"},
    "when": {"type": "datetime", "role": "time"},
    "size": {"type": "number", "max": 50, "unit": "kg"},
    "level": {"type": "category"},
    "noise": {"type": "number"},
    "label": {"type": "category", "role": "target"},
}
SCHEMA = Schema.model_validate({"columns": COLUMNS})
CLASSES = ["high", "low", "mid"]


def rows(seed: int = 0) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "key": pd.array(np.arange(ROWS), dtype="Int64"),
            "when": pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(ROWS) % 90, unit="D"),
            "size": draw.uniform(0, 20, ROWS),
            "level": pd.array(draw.choice(["a", "b", "c"], ROWS, p=[0.5, 0.3, 0.2]), dtype="str"),
            "noise": draw.normal(size=ROWS),
            "label": pd.array(np.array(CLASSES)[np.arange(ROWS) % 3], dtype="str"),
        }
    ).astype({"when": "datetime64[us]"})


def probabilities(table: pd.DataFrame) -> np.ndarray:
    """Large sizes are high, small ones low, those between are mid; level b is more often high, a more often low."""
    score = table["size"].to_numpy() / 4 - 2.5 + 2 * (table["level"] == "b").to_numpy() - (table["level"] == "a")
    found = np.exp(np.column_stack([score, -score, np.full(ROWS, 0.5)]))
    return found / found.sum(axis=1, keepdims=True)


def made(weeks: int = 52, delay: int = 2, seed: int = 7, size: int = 3000) -> World:
    table = rows()
    return world.make(table, table, probabilities(table), SCHEMA, world.plan(weeks, delay), seed, size)


@pytest.fixture(scope="module")
def year() -> World:
    return made()


def right(year: World, week: int) -> float:
    """The share of right answers, in a week, of somebody who knows only how it was before the year."""
    delivery = world.delivery(year, week)
    answers = np.array(CLASSES)[year.before[delivery.positions].argmax(axis=1)]
    return float((answers == delivery.labels.to_numpy()).mean())


def test_a_week_depends_on_seed_and_number_alone(year: World) -> None:
    one, again = world.delivery(year, 9), world.delivery(made(), 9)

    pd.testing.assert_frame_equal(one.table, again.table)
    pd.testing.assert_series_equal(one.labels, again.labels)
    for other in (world.delivery(year, 10), world.delivery(made(seed=8), 9)):
        assert (other.positions != one.positions).any()


def test_a_delivery_has_new_ids_times_of_its_week_and_no_label(year: World) -> None:
    deliveries = [world.delivery(year, week) for week in (1, 2)]

    keys = pd.concat([one.table["key"] for one in deliveries])
    assert keys.is_unique
    assert keys.min() > year.rows["key"].max()
    newest = year.rows["when"].max()
    for number, one in enumerate(deliveries):
        days = (one.table["when"] - newest).dt.days
        assert (days.min(), days.max()) == (7 * number + 1, 7 * number + 7)
        assert list(one.table) == ["key", "when", "size", "level", "noise"]
        assert one.table.dtypes.equals(year.rows[list(one.table)].dtypes)


def test_a_row_that_comes_twice_may_have_another_label_as_often_as_its_probability_says(year: World) -> None:
    found = world.labels(year, np.full(20_000, 3), 1)

    shares = [(found == label).mean() for label in CLASSES]
    np.testing.assert_allclose(shares, year.before[3], atol=0.015)


def test_the_shifts_are_of_the_columns_that_matter_and_turn_old_knowledge_step_by_step(year: World) -> None:
    assert (year.gradual.column, year.sudden.column) == ("size", "level")
    first, last = year.plan.gradual or (0, 0)

    shares = [world.progress(year.plan, week) for week in range(1, 53)]
    assert shares == sorted(shares)
    assert shares[first - 2] == 0 < shares[first - 1]
    assert shares[last - 2] < 1 == shares[last - 1]
    before, middle, after = right(year, 1), right(year, (first + last) // 2), right(year, last + 1)
    assert before > middle + 0.1 > after + 0.2


def test_a_year_stays_as_hard_and_its_classes_as_frequent_for_whoever_knows_everything(year: World) -> None:
    for week in (1, year.plan.sudden - 1, year.plan.sudden, 52):
        truth = world.delivery(year, week).truth
        assert truth.max(axis=1).mean() == pytest.approx(year.before.max(axis=1).mean(), abs=0.03)
        np.testing.assert_allclose(truth.mean(axis=0), year.before.mean(axis=0), atol=0.03)


def test_the_sudden_shift_is_there_within_a_week_and_a_delivery_shows_it(year: World) -> None:
    week = year.plan.sudden
    before, after = (world.delivery(year, number).table["level"] for number in (week - 1, week))

    [one, other] = [level for level in ("a", "b", "c") if abs((before == level).mean() - (after == level).mean()) > 0.1]
    assert year.sudden.words == f"level {one} and level {other}"
    np.testing.assert_allclose(world.truth(year, week - 1), year.between)
    np.testing.assert_allclose(world.truth(year, week), year.after)
    assert not np.allclose(year.between, year.after)


@pytest.mark.parametrize("limit", [50, None])
def test_the_broken_delivery_breaks_what_schema_yaml_says(limit: int | None) -> None:
    columns = {**COLUMNS, "size": {"type": "number", "max": limit}}
    year = replace(made(), schema=Schema.model_validate({"columns": columns}))

    broken, week = world.delivery(year, year.plan.broken), world.delivery(year, year.plan.broken - 1)

    assert not week.broken
    if limit is None:
        assert broken.broken == "the column when is not there"
        assert "when" not in broken.table
    else:
        assert broken.broken.startswith("size is a hundred times as large")
        failed = [one for one in checks.check_columns(broken.table, year.schema, 1.0) if not one.passed]
        assert [(one.column, one.severity) for one in failed] == [("size", "error")]


def test_wrong_labels_are_as_frequent_as_the_right_ones_and_in_the_reverse_order(year: World) -> None:
    delivered = [world.delivery(year, week) for week in (1, 2)]

    wrong = world.mislabelled(delivered)

    right = pd.concat([one.labels for one in delivered])
    assert pd.concat(wrong).value_counts().to_dict() == right.value_counts().to_dict()
    for labels, one in zip(wrong, delivered, strict=True):
        sure = one.truth[:, 0] > np.quantile(one.truth[:, 0], 0.9)
        assert (one.labels[sure] == CLASSES[0]).mean() > 0.8
        assert (labels[sure] == CLASSES[0]).mean() < 0.2


def test_a_short_year_has_no_gradual_shift_and_time_for_all_else() -> None:
    assert world.plan(8, 1) == world.Plan(8, 1, None, broken=3, sudden=2, mislabelled=6, canary=1)
    assert world.plan(52, 2) == world.Plan(52, 2, (6, 18), broken=24, sudden=28, mislabelled=44, canary=2)
    year = made(8, 1)
    assert (world.truth(year, 1) == year.before).all()
    assert right(year, 1) > right(year, 2) + 0.1


def test_too_short_a_year_is_refused_with_a_way_out() -> None:
    with pytest.raises(ParameterError, match=r"--weeks is 8, too few .* give at least 11, or .*\(--label-delay 1\)"):
        world.plan(8, 2)
    with pytest.raises(ParameterError, match=r"--weeks is 5, too few .* give at least 11$"):
        world.plan(5, 2)


def test_data_in_which_nothing_matters_has_no_year() -> None:
    table = rows()
    luck = np.tile([0.5, 0.3, 0.2], (ROWS, 1))

    with pytest.raises(DataError, match="no feature has so much to do with label"):
        world.make(table, table, luck, SCHEMA, world.plan(52, 2), 7, 100)


def test_without_numbers_the_gradual_shift_exchanges_a_growing_share_of_all_rows() -> None:
    columns = {name: COLUMNS[name] for name in ("level", "label")}
    table = rows()[list(columns)]
    year = world.make(
        table,
        table,
        probabilities(rows()),
        Schema.model_validate({"columns": columns}),
        world.plan(52, 2),
        7,
        100,
    )

    middle = (year.plan.gradual or (0, 0))[0]
    share = world.progress(year.plan, middle)
    assert year.gradual.place is None
    expected = (1 - share) * year.before + share * year.between
    np.testing.assert_allclose(world.truth(year, middle), expected)
