"""The model of a version: raw rows in, answers out, by code that no other version and no project shares."""

import ast
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import mlflow.sklearn  # not when it is first used: it is patched
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlops.base import environment, model_files
from mlops.data.schema import Schema
from mlops.registry import packaging, recording, scoring
from mlops.training import encoding, fitting
from mlops.training.model import FittedModel, fitted_model
from project import estimators as project_estimators
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier

from tests.conftest import PROJECT, TEMPLATE

ROOT = TEMPLATE / PROJECT
FEATURES = """
import pandas as pd


def derive(table: pd.DataFrame) -> pd.DataFrame:
    from project import factors  # where the function is called, another version's code may be loaded

    return table.assign(derived=table["x"] * factors.FACTOR)
"""

ESTIMATORS = '''
from sklearn.linear_model import LinearRegression


class Mine(LinearRegression):
    """The project's own."""
'''


class Decided(DummyClassifier):
    """An estimator of another package, whose `predict` has a threshold that nobody else knows."""

    def predict(self, table: Any) -> Any:
        return np.full(len(table), "yes")


def schema(target: str, **columns: Any) -> Schema:
    return Schema.model_validate(
        {"columns": {"x": {"type": "number"}, **columns, "y": {"type": target, "role": "target"}}}
    )


def fitted(estimator: BaseEstimator, layout: Schema, target: Any, positive: Any = None) -> FittedModel:
    """A model that has learnt the target (n,) from the numbers 0 to n - 1, whatever the column."""
    target = np.array(target)
    table = pd.DataFrame({name: np.arange(len(target), dtype=float) for name in layout.inputs})
    task = "regression" if target.dtype == np.float64 else "classification"
    encoder = encoding.encoder(layout, [], 1, task, 1)
    return fitted_model(fitting.fit(fitting.pipeline(encoder, estimator), table, target, 1), layout, task, positive, 1)


@pytest.fixture
def written(tmp_path: Path) -> Callable[[FittedModel], Path]:
    """A function that writes a model to a file of its own."""

    def write(model: FittedModel) -> Path:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.joblib"
        model_files.write(path, model)
        return path

    return write


@pytest.fixture
def logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Path]:
    """A function that gives the folder in which MLflow keeps a model, without a store."""
    monkeypatch.setattr(sys, "path", [*sys.path])  # MLflow adds to it
    monkeypatch.setattr(mlflow, "start_run", lambda **_: None)
    monkeypatch.setattr(mlflow, "end_run", lambda *_: None)

    def log(model: Path) -> Path:
        kept = tmp_path / f"kept-{len(list(tmp_path.iterdir()))}"
        with monkeypatch.context() as patch:
            patch.setattr(
                mlflow.sklearn,
                "log_model",
                lambda answering, name, **given: mlflow.sklearn.save_model(answering, kept, **given),
            )
            recording._log_model("run", result(model))
        return kept

    return log


def result(model: Path) -> recording.Result:
    return recording.Result(
        name="m", digests={}, params={}, metrics={}, tags={}, model=model, requirements=["pandas"], artifacts=[]
    )


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A function that lets the code of the next version derive a column with this factor."""

    def with_factor(factor: int) -> None:
        root = tmp_path / f"project-{factor}"
        shutil.copytree(ROOT / "mlops", root / "mlops", ignore=shutil.ignore_patterns("__pycache__"))
        (root / "project").mkdir()
        (root / "project" / "features.py").write_text(FEATURES)
        (root / "project" / "factors.py").write_text(f"FACTOR = {factor}\n")
        (root / "project" / "estimators.py").write_text(ESTIMATORS)
        monkeypatch.setattr(packaging, "ROOT", root)

    return with_factor


@pytest.mark.parametrize(
    ("estimator", "target", "positive", "columns"),
    [
        (
            LogisticRegression(),
            ["no", "yes", "no", "yes"],
            "yes",
            ["prediction", "probability", "threshold", "probability of no", "probability of yes"],
        ),
        (
            LogisticRegression(),
            [1, 2, 3, 1],
            None,
            ["prediction", "probability of 1", "probability of 2", "probability of 3"],
        ),
        (
            DummyClassifier(),
            [True, False],
            True,
            ["prediction", "probability", "threshold", "probability of False", "probability of True"],
        ),
        (
            Decided(),
            ["no", "yes"],
            "yes",
            ["prediction", "probability", "probability of no", "probability of yes"],
        ),
        (RidgeClassifier(), ["no", "yes"], "yes", ["prediction"]),
        (LinearRegression(), [0.5, 1.5], None, ["prediction"]),
    ],
)
def test_the_answers_have_the_columns_and_types_of_the_signature(
    written: Callable[[FittedModel], Path],
    logged: Callable[[Path], Path],
    estimator: BaseEstimator,
    target: list[Any],
    positive: Any,
    columns: list[str],
) -> None:
    layout = schema("number" if isinstance(target[0], float) else "category")
    model = fitted(estimator, layout, target, positive)

    version = mlflow.pyfunc.load_model(str(logged(written(model))))
    answers = version.predict(pd.DataFrame({"x": [0, 1]}, index=[5, 3]))

    assert answers.columns.tolist() == columns == version.metadata.get_output_schema().input_names()
    found = mlflow.models.infer_signature(None, answers).outputs
    assert found.input_types() == version.metadata.get_output_schema().input_types()
    assert answers.index.tolist() == [5, 3]
    own = model.predict(pd.DataFrame({"x": [0.0, 1.0]}))
    assert answers["prediction"].tolist() == own.predicted.tolist()
    if own.probabilities is not None:
        assert answers[columns[-len(own.classes) :]].to_numpy().tolist() == own.probabilities.tolist()


def test_the_signature_has_the_types_of_the_schema_and_the_columns_that_a_row_needs() -> None:
    layout = schema(
        "category",
        n={"type": "integer"},
        flag={"type": "boolean"},
        level={"type": "category"},
        at={"type": "datetime"},
        note={"type": "text", "role": "source"},
        derived={"type": "number", "derived": True},
        key={"type": "integer", "role": "id"},
    )
    assert scoring.inputs(layout) == {
        **{"x": "double", "n": "long", "flag": "boolean", "level": "string", "at": "datetime", "note": "string"}
    }


def test_versions_in_one_process_each_run_their_own_code(
    written: Callable[[FittedModel], Path],
    logged: Callable[[Path], Path],
    project: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layout = schema("number", derived={"type": "number", "derived": True})
    mine = type("Mine", (LinearRegression,), {"__module__": "project.estimators"})
    monkeypatch.setattr(project_estimators, "Mine", mine, raising=False)
    model = written(fitted(mine(), layout, [0.0, 2.0, 4.0]))  # the sum of both columns
    kept = {}
    for factor in (2, 3):
        project(factor)
        kept[factor] = logged(model)
    before, path = dict(sys.modules), list(sys.path)

    versions = {factor: mlflow.pyfunc.load_model(str(folder)) for factor, folder in kept.items()}
    answers = {factor: version.predict({"x": 1})["prediction"].item() for factor, version in versions.items()}

    assert answers == {factor: pytest.approx(1 + factor) for factor in (2, 3)}
    classes = [type(mlflow.sklearn.load_model(str(folder)).model.pipeline[-1]) for folder in kept.values()]
    assert len({mine, *classes}) == 3
    own = {name for name in sys.modules if name.partition(".")[0] in packaging.OWN}
    assert {name: sys.modules[name] for name in own} == {name: before[name] for name in own}
    added = {Path(folder) for folder in sys.path} - {Path(folder) for folder in path}
    packages = {part.name for folder in added for part in folder.iterdir() if part.name != "__pycache__"}
    assert [name[:5] for name in packages] == ["code_", "code_"]


def test_a_version_needs_no_more_than_it_lists_and_keeps_the_bytes_of_its_model(
    written: Callable[[FittedModel], Path], logged: Callable[[Path], Path]
) -> None:
    model = written(fitted(LogisticRegression(), schema("category"), ["no", "yes"], "yes"))

    kept = logged(model)

    assert model.read_bytes() in (kept / "model.pkl").read_bytes()
    sources = list((kept / "code").rglob("*.py"))
    imported = set()
    for node in (node for source in sources for node in ast.walk(ast.parse(source.read_bytes()))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            imported.add(str(node.module).partition(".")[0])
    [code] = {source.relative_to(kept / "code").parts[0] for source in sources}
    known_as = {"sklearn": "scikit-learn", "ruamel": "ruamel-yaml"}
    packages = {known_as.get(name, name) for name in imported - sys.stdlib_module_names}
    assert packages - {code, "mlflow", "redis"} <= environment.ANSWERS_WITH
    assert len(sources) < 50


def test_what_cannot_be_read_is_one_sentence_for_mlflow(
    written: Callable[[FittedModel], Path], logged: Callable[[Path], Path]
) -> None:
    version = mlflow.pyfunc.load_model(
        str(logged(written(fitted(LogisticRegression(), schema("category"), ["no", "yes"], "yes"))))
    )

    with pytest.raises(MlflowException, match="the row lacks x, which the model needs") as error:
        version.predict({"y": "no"})

    assert error.value.error_code == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize(
    ("source", "moved"),
    [
        ("from mlops.data import rows", "from P.mlops.data import rows"),
        ("from mlops.data.rows import (\n    typed,\n)", "from P.mlops.data.rows import (\n    typed,\n)"),
        ("import project.features as own", "import P.project.features as own"),
        ("import os, mlops.base", "import os; import P.mlops.base; from P import mlops"),
        ("if x: import project", "if x: import P.project; from P import project"),
        ("ü = 1; from project import a; from mlops import b", "ü = 1; from P.project import a; from P.mlops import b"),
        ("from . import other\nimport mlopsy", "from . import other\nimport mlopsy"),
        ("'''\nfrom mlops import x\n'''", "'''\nfrom mlops import x\n'''"),
    ],
)
def test_imports_of_the_own_code_and_no_others_move(source: str, moved: str) -> None:
    found = source.encode()

    assert packaging._moved(found, packaging._own_imports(found), "P").decode() == moved


def test_a_file_of_the_project_that_python_cannot_read_comes_along_as_it_is(
    project: Callable[[int], None], tmp_path: Path
) -> None:
    project(1)
    (packaging.ROOT / "project" / "draft.py").write_text("def\n")
    (packaging.ROOT / "project" / "regions.csv").write_text("a\n")

    place = packaging.write(tmp_path)

    assert (place / "project" / "draft.py").read_text() == "def\n"
    assert (place / "project" / "regions.csv").read_text() == "a\n"
