"""What the project's tests look at. Data and models are DVC's: what is not here is fetched with `dvc pull`."""

from itertools import islice
from pathlib import Path

import pandas as pd
import pytest

from mlops.base import files, model_files, params
from mlops.data import parsing
from mlops.data.schema import Schema
from mlops.intake import deliveries, tables
from mlops.intake.event_files import Files
from mlops.training.model import FittedModel

ROOT = Path(__file__).parent.parent
ROWS = 200  # that are looked at


@pytest.fixture(scope="session")
def schema() -> Schema:
    """What a valid row is."""
    return tables.read_schema(ROOT / "schema.yaml").with_history(params.load(params.Features, ROOT / "params.yaml"))


@pytest.fixture(scope="session")
def events(schema: Schema) -> Files:
    """The events that columns of history are made of."""
    names = [Path(table.file).name for table in schema.history.tables.values()]
    if not all((ROOT / "data" / "events" / name).is_file() for name in names):
        pytest.skip("data/events has no data here: `dvc pull` brings it")
    return Files(schema, ROOT / "data" / "events")


@pytest.fixture(scope="session")
def delivered(schema: Schema) -> pd.DataFrame:
    """The first rows of the first labelled delivery, typed, before any column is derived."""
    folder = ROOT / "data" / "raw"
    paths = deliveries.listed(folder) if folder.is_dir() else []
    if not paths:
        pytest.skip("data/raw has no data here: `dvc pull` brings it")
    cells = ROWS * len(deliveries.columns(paths[0]))
    raw = next(islice(deliveries.batches(paths[0], cells=cells), 1)).head(ROWS)
    return parsing.parse(raw, schema, str(paths[0]), schema.delivered).table


@pytest.fixture(scope="session")
def model() -> FittedModel:
    """The model that the pipeline has trained."""
    path = ROOT / "models" / "model.joblib"
    if not path.is_file() or not model_files.is_trusted(files.sha256(path)):
        pytest.skip("models/model.joblib was not made here: `dvc repro` makes it")
    fitted: FittedModel = model_files.read(path)
    return fitted


@pytest.fixture(scope="session")
def rows() -> pd.DataFrame:
    """The first rows of the test split."""
    path = ROOT / "data" / "prepared" / "test.parquet"
    if not path.is_file():
        pytest.skip("data/prepared/test.parquet is not here: `dvc repro` makes it, `dvc pull` brings it")
    return tables.read(path).head(ROWS)
