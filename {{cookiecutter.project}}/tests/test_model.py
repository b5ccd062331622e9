"""How the model behaves: what behaviour.yaml asks of it, and on single rows, whatever it has learnt."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlops.base import files, params
from mlops.base.errors import ProjectError
from mlops.data import profile
from mlops.data.deriving import derived
from mlops.data.schema import Schema
from mlops.evaluation import behaviour, results
from mlops.evaluation.declaration import Declaration
from mlops.intake import declarations, tables
from mlops.intake.event_files import Files
from mlops.registry.scoring import RawModel
from mlops.serving import engine
from mlops.training import task
from mlops.training.metrics import Predictions
from mlops.training.model import FittedModel
from project import features

ROOT = Path(__file__).parent.parent
DECLARED = ROOT / "behaviour.yaml"
MODEL = ROOT / "models" / "model.joblib"
PREPARED = ROOT / "data" / "prepared"
try:
    TESTS, MISTAKE = declarations.read(DECLARED if DECLARED.is_file() else None) or {}, ""
except ProjectError as error:
    TESTS, MISTAKE = {}, str(error)


@pytest.fixture(scope="session")
def behaved(model: FittedModel, rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """What comes of each test in behaviour.yaml, tried now: no `dvc repro` is needed to try a new one."""
    needed = (PREPARED / "reference.parquet", ROOT / "reports" / "metrics.json")
    if not all(path.is_file() for path in needed):
        pytest.skip("not all results are here: `dvc repro` makes them")
    table = tables.read(PREPARED / "test.parquet")
    found = model.predict(table, task.labels(table[model.schema.target], model.task))
    reference = profile.from_frame(tables.read(PREPARED / "reference.parquet"))
    metrics = list(files.read_json(ROOT / "reports" / "metrics.json"))  # the headline is the first one
    seed = params.load(params.Evaluate, ROOT / "params.yaml").seed

    def tried(declared: Mapping[str, Declaration]) -> dict[str, dict[str, Any]]:
        report = behaviour.run(declared, model, table, found, reference, metrics, seed)
        return {test["name"]: test for test in report["tests"]}

    try:
        return tried(TESTS)  # all at once is faster
    except ProjectError:
        outcomes: dict[str, dict[str, Any]] = {}
    for name, test in TESTS.items():
        try:
            outcomes |= tried({name: test})
        except ProjectError as error:
            outcomes[name] = {"passed": False, "sentence": str(error), "examples": []}
    return outcomes


def test_behaviour_yaml_can_be_read() -> None:
    if MISTAKE:
        pytest.fail(MISTAKE, pytrace=False)


@pytest.mark.parametrize("name", TESTS)
def test_the_model_behaves(name: str, behaved: dict[str, dict[str, Any]]) -> None:
    test = behaved[name]

    if test["passed"] is None:
        pytest.skip(test["sentence"])
    if not test["passed"]:
        worst = "".join(f"\n  {example}" for example in test["examples"])
        pytest.fail(f"{name}: {test['sentence']}{worst}", pytrace=False)


def answers(model: FittedModel, table: pd.DataFrame) -> np.ndarray:
    """The probabilities of the n rows, or the predicted numbers where there are none."""
    return behaviour.as_numbers(model.predict(table))


def test_an_answer_depends_on_its_own_row_only(model: FittedModel, rows: pd.DataFrame) -> None:
    together = answers(model, rows)

    one_by_one = np.concatenate([answers(model, rows.iloc[[row]]) for row in range(20)])
    # Not to the last bit: of one row, BLAS may add in another order than of many.
    np.testing.assert_allclose(answers(model, rows[::-1])[::-1], together, rtol=1e-9)
    np.testing.assert_allclose(one_by_one, together[:20], rtol=1e-9)


def test_the_label_is_not_looked_at(model: FittedModel, rows: pd.DataFrame) -> None:
    unlabelled = rows.drop(columns=model.schema.target)

    assert np.array_equal(answers(model, unlabelled), answers(model, rows))


def test_missing_values_and_unknown_levels_get_an_answer(model: FittedModel, rows: pd.DataFrame) -> None:
    odd = rows.head(1)
    for name in model.schema.inputs:
        column = model.schema.columns[name]
        value = "a level that nobody has seen" if column.type == "category" else None
        odd = odd.assign(**{name: pd.Series([value], odd.index, rows[name].dtype)})

    assert np.isfinite(answers(model, odd)).all()


def test_the_model_file_gives_the_predictions_that_were_kept(model: FittedModel, rows: pd.DataFrame) -> None:
    path = PREPARED / "predictions.parquet"
    if not path.is_file():
        pytest.skip(f"{path} is not here: `dvc repro` makes it, `dvc pull` brings it")
    kept = results.from_frame(tables.read(path).head(len(rows)), model.classes, model.positive)

    assert_same(model.predict(rows), kept)


def test_the_server_answers_single_rows_as_training_computed_them(
    model: FittedModel, delivered: pd.DataFrame, schema: Schema, events: Files
) -> None:
    table = derived(delivered, schema, features.derive, events)
    as_served = raw_model(MODEL.read_bytes())
    as_served.events = events
    served = engine.choose(as_served, table)
    in_training = model.predict(table)

    for number in range(0, len(delivered), 10):
        row = {name: plain(delivered[name].iloc[number]) for name in schema.needed}
        assert_same(served.predict([row]), in_training.subset(slice(number, number + 1)))


def assert_same(found: Predictions, wanted: Predictions) -> None:
    """Check that n rows have the same labels, and the same numbers but for their last bits."""
    np.testing.assert_allclose(behaviour.as_numbers(found), behaviour.as_numbers(wanted), rtol=1e-9, atol=1e-12)
    if wanted.classes:
        assert found.predicted.tolist() == wanted.predicted.tolist()


def raw_model(content: bytes) -> RawModel:
    """The model as a server has it."""
    return RawModel(content, features.derive, raw_model)


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if pd.isna(value):
        return None
    return value.isoformat() if isinstance(value, pd.Timestamp) else getattr(value, "item", lambda: value)()
