"""Your own columns."""

import pandas as pd


def derive(table: pd.DataFrame) -> pd.DataFrame:
    """Add columns to a table of typed rows: the one place for them, in training, monitoring and serving alike.

    The table has the features of `schema.yaml`, the columns of the role `source` and those that are made of events
    (docs/features.md), but not the target. Compute each new value from its own row: the rows come in batches, and
    later one by one. For example:

        return table.assign(charges_per_month=table["total_charges"] / table["tenure"].clip(lower=1))

    Then `python -m mlops schema infer --update` adds the line of `charges_per_month` to `schema.yaml`.
    """
    return table
