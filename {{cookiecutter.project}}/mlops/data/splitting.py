"""Four ways to split a table into training and test rows; each depends on the table and the seed alone."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.base.errors import DataError, SchemaError, counted
from mlops.data.levels import more_than
from mlops.data.schema import Schema

TARGET_BINS = 10


def split(table: pd.DataFrame, schema: Schema, how: str, test_size: float, seed: int) -> NDArray[np.bool_]:
    """Mark the rows of the test split: a mask of shape (n,), about `test_size` of the rows.

    `stratified` keeps the share of each class, or of each tenth of the rows in the order of a numeric target; `random`
    ignores the target; `time` takes the newest rows; `group` takes whole groups, so no group is in both splits.

    Raises:
        SchemaError: `how` is `time` or `group`, but no column has that role.
        DataError: that column has missing values, or one of the splits would be empty.
    """
    rng = np.random.default_rng(seed)
    if how == "time":
        test = _newest(_of_role(table, schema, "time"), test_size)
    elif how == "group":
        test = _whole_groups(_of_role(table, schema, "group"), test_size, rng)
    elif how == "stratified":
        test = share_of_each(_strata(table[schema.target]), test_size, rng)
    else:
        test = share_of_each(np.zeros(len(table), dtype=np.intp), test_size, rng)
    if test.all() or not test.any():
        raise DataError(
            f"{counted(len(table), 'row')}: too few to split off a test share of {test_size:g} ({how}); deliver more "
            "data, or choose another prepare.test_size or prepare.split"
        )
    return test


def _of_role(table: pd.DataFrame, schema: Schema, role: str) -> pd.Series:
    names = schema.with_role(role)  # type: ignore[arg-type]
    if not names:
        raise SchemaError(f"prepare.split is {role}, but no column has the role {role}: name one in schema.yaml")
    values = table[names[0]]
    if values.isna().any():
        raise DataError(
            f"the column {names[0]} has {counted(int(values.isna().sum()), 'missing value')}, but prepare.split is "
            f"{role}: reject such rows (`unparseable: reject`), fill them, or choose another prepare.split"
        )
    return values


def _newest(time: pd.Series, test_size: float) -> NDArray[np.bool_]:
    """Rows with the same time at the boundary all go to the training split."""
    boundary = time.sort_values(kind="stable").iloc[len(time) - 1 - round(len(time) * test_size)]
    later: NDArray[np.bool_] = (time > boundary).to_numpy(dtype=bool)
    return later


def _whole_groups(group: pd.Series, test_size: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    codes, groups = pd.factorize(group, sort=True)
    rows = np.bincount(codes)
    order = rng.permutation(len(groups))
    before = np.cumsum(rows[order]) - rows[order]
    return np.isin(codes, order[before < test_size * len(group)])


def _strata(target: pd.Series) -> NDArray[np.intp]:
    if target.dtype == "float64" or (target.dtype == "Int64" and more_than(target, 2 * TARGET_BINS)):
        ranks = target.rank(method="first").to_numpy(dtype=np.float64)
        return ((ranks - 1) * TARGET_BINS // len(target)).astype(np.intp)
    return pd.factorize(target, sort=True)[0]


def share_of_each(strata: NDArray[np.intp], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A mask (n,) with a share of the rows of each stratum (n,), rounded.

    It names one row at least, and leaves out one at least; a single row is left out.
    """
    chosen = np.zeros(len(strata), dtype=bool)
    for stratum in range(strata.max() + 1):
        rows = rng.permutation(np.flatnonzero(strata == stratum))
        chosen[rows[: min(max(round(len(rows) * share), 1), len(rows) - 1)]] = True
    return chosen
