"""Derived columns are a function of single rows: a server that gets one row computes what training computed."""

import pandas as pd

from mlops.data.deriving import derived
from mlops.data.schema import Schema
from mlops.intake.event_files import Files
from project import features


def test_rows_one_by_one_have_the_columns_that_they_have_together(
    delivered: pd.DataFrame, schema: Schema, events: Files
) -> None:
    together = derived(delivered, schema, features.derive, events)
    one_by_one = [derived(delivered.iloc[[row]], schema, features.derive, events) for row in range(len(delivered))]

    pd.testing.assert_frame_equal(pd.concat(one_by_one), together, check_exact=True)


def test_the_order_of_the_rows_does_not_matter(delivered: pd.DataFrame, schema: Schema, events: Files) -> None:
    together = derived(delivered, schema, features.derive, events)

    pd.testing.assert_frame_equal(
        derived(delivered[::-1], schema, features.derive, events)[::-1], together, check_exact=True
    )


def test_a_row_that_came_before_has_the_same_columns(delivered: pd.DataFrame, schema: Schema, events: Files) -> None:
    together = derived(delivered, schema, features.derive, events)
    twice = derived(pd.concat([delivered, delivered]), schema, features.derive, events)

    pd.testing.assert_frame_equal(twice, pd.concat([together, together]), check_exact=True)


def test_a_row_without_its_label_has_the_same_columns(delivered: pd.DataFrame, schema: Schema, events: Files) -> None:
    together = derived(delivered, schema, features.derive, events)
    unlabelled = derived(delivered[schema.needed], schema, features.derive, events)

    pd.testing.assert_frame_equal(unlabelled, together[list(unlabelled)])
