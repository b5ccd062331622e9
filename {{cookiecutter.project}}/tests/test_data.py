"""The data keeps its contract with schema.yaml, and training and test rows stay apart."""

from pathlib import Path

import pandas as pd
import pytest

from mlops.data.schema import Schema
from mlops.intake import deliveries, tables

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("folder", ["raw", "incoming"])
def test_every_delivery_has_the_columns_of_the_schema(folder: str, schema: Schema) -> None:
    here = ROOT / "data" / folder
    needed = set(schema.delivered if folder == "raw" else schema.needed)
    for path in deliveries.listed(here) if here.is_dir() else []:
        assert needed <= set(deliveries.columns(path)) <= set(schema.columns), path


def test_the_first_rows_have_values_of_their_types(delivered: pd.DataFrame, schema: Schema) -> None:
    allowed = {name: column.max_missing for name, column in schema.columns.items()}
    missing = delivered.isna().mean()
    assert {name for name in delivered if missing[name] == 1 and allowed[name] < 1} == set()


def test_no_id_is_in_both_splits(schema: Schema) -> None:
    splits = [ROOT / "data" / "prepared" / f"{split}.parquet" for split in ("train", "test")]
    if not all(path.is_file() for path in splits):
        pytest.skip("the prepared data is not here: `dvc repro` makes it, `dvc pull` brings it")
    for name in schema.with_role("id"):
        train, test = (set(tables.Stored(path)[name]) for path in splits)
        assert train & test == set()
