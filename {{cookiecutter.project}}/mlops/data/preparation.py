"""The work of the stage `prepare`: which rows of the deliveries are kept, and which of them train and which test."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.base.params import Prepare
from mlops.data import cleaning, splitting
from mlops.data.schema import Schema


class Table(Protocol):
    """A typed table of n rows, whole or in a file."""

    @property
    def hashes(self) -> NDArray[np.uint64]:
        """A hash of each row, shape (n,)."""

    def columns(self, names: list[str], /) -> pd.DataFrame:
        """Some of the columns, all rows."""


@dataclass(frozen=True)
class Split:
    """Masks (n,) of the rows that train and of those that test, disjoint; and facts about the rows for the report."""

    train: NDArray[np.bool_]
    test: NDArray[np.bool_]
    facts: dict[str, Any]

    def sentence(self, target: str) -> str:
        """How many rows there are, and how many were left out, for a person."""
        rejected, by = self.facts["rejected"], self.facts["split"]
        reasons = {
            f"without {target}": rejected["target_missing"],
            "with a value that is not of its column's type": rejected["unparseable"],
            "that stand there twice": self.facts["duplicates_dropped"],
        }
        gone = ", ".join(f"{rows} {why}" for why, rows in reasons.items() if rows)
        told = f"{self.facts['rows']} rows: {by['train']} to train, {by['test']} to test"
        return f"{told} (left out: {gone})" if gone else told


def split(table: Table, rejected: int, schema: Schema, settings: Prepare) -> Split:
    """Leave out the rows without a label and the duplicates, and split the others.

    `rejected` rows were left out before, when values were typed.

    Raises:
        DataError: no row has a label, all have the same, or too few rows are left to split.
    """
    ids = schema.with_role("id") if settings.duplicates == "drop_ids" else []  # the largest column of many rows
    groups = schema.with_role("group") if settings.split == "group" else []
    rows = table.columns([*ids, *schema.with_role("time"), *groups, schema.target])
    labelled = cleaning.labelled(rows[schema.target])
    hashes = table.hashes if labelled.all() else table.hashes[labelled]
    rows = _only(rows, labelled)
    distinct = cleaning.distinct(rows, hashes, schema, settings.duplicates)
    rows = _only(rows, distinct)
    kept = labelled.copy()
    kept[labelled] = distinct
    test = kept.copy()
    test[kept] = splitting.split(rows, schema, settings.split, settings.test_size, settings.seed)
    train = kept & ~test
    facts = {
        "rows": int(kept.sum()),
        "rejected": {"unparseable": rejected, "target_missing": int((~labelled).sum())},
        "duplicates_dropped": int((~distinct).sum()),
        "period": cleaning.period(rows, schema),
        "target": cleaning.balance(rows[schema.target]),
        "split": {"by": settings.split, "train": int(train.sum()), "test": int(test.sum())},
    }
    return Split(train, test, facts)


def _only(rows: pd.DataFrame, mask: NDArray[np.bool_]) -> pd.DataFrame:
    """The rows that a mask names; the same table if it names all, since a copy would double its memory."""
    return rows if mask.all() else rows[mask]
