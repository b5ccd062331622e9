"""What the model server was asked: the next delivery of a real project, and the row behind a prediction id."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from mlops.base import files
from mlops.data import parsing
from mlops.intake import tables
from mlops.serving import prediction_log
from mlops.serving.prediction_log import PredictionLog

from tests.conftest import BakedProject, bake_copy
from tests.projects import DVC, answers, example, succeeds

LOG = Path("serving")

ASKED = 60


@pytest.fixture(scope="module")
def served(quick: BakedProject, tmp_path_factory: pytest.TempPathFactory) -> tuple[BakedProject, list[dict[str, str]]]:
    """A copy whose server was asked the first rows of the delivery, half of which have a label by now; and the rows."""
    project = bake_copy(quick, tmp_path_factory.mktemp("served"))
    rows = list(csv.DictReader(io.StringIO("\n".join(example(project, "incoming")))))[:ASKED]
    log = PredictionLog(project.path / LOG)
    feedback = PredictionLog(project.path / LOG, "feedback")
    for number, row in enumerate(rows):
        # As JSON has them: numbers are numbers, and what is empty is null.
        features: dict[str, Any] = {name: value or None for name, value in row.items() if name != "churn"}
        features |= {"tenure": int(row["tenure"]), "monthly_charges": float(row["monthly_charges"])}
        record = {"id": id_of(project, number), "time": prediction_log.timestamp()}
        more = {"version": "1", "variant": "champion", "prediction": "No", "probability": 0.25, "ms": 0.2}
        log.append([{**record, **more, "features": features}])
        if number % 2:
            feedback.append([{**record, "actual": "Yes"}, {**record, "actual": "No"}])
    log.close()
    feedback.close()
    return project, rows


def id_of(project: BakedProject, number: int) -> str:
    return f"{files.sha256(project.path / 'models' / 'model.joblib')[:16]}-{number:016x}"


def test_what_was_asked_is_traced_with_its_label(served: tuple[BakedProject, list[dict[str, str]]]) -> None:
    project, rows = served
    (chain,) = json.loads(answers(project, "trace", id_of(project, 1), "--json"))
    assert chain["version"]["version"] == "1"
    assert chain["prediction"]["features"]["tenure"] == int(rows[1]["tenure"])
    assert chain["prediction"]["feedback"]["actual"] == "No"

    labelled, unlabelled, unknown, version = (
        answers(project, "trace", what) for what in (*(id_of(project, number) for number in (1, 2, ASKED)), "1")
    )
    assert f"answered by version 1 as champion\n    row: {next(iter(rows[1]))} " in labelled
    assert f"tenure {rows[1]['tenure']}, " in labelled
    assert "answer: No, probability 0.25\n    label: No, 20" in labelled
    assert "label: none yet" in unlabelled
    assert f"{id_of(project, ASKED)} is not in serving/predictions" in unknown
    assert "serving/predictions" not in version


def test_what_was_asked_is_the_next_delivery_and_is_monitored(
    served: tuple[BakedProject, list[dict[str, str]]],
) -> None:
    project, rows = served
    facts = json.loads(succeeds(project, "python", "-m", "mlops", "ingest", "--from-predictions", "--json"))

    assert (facts["rows"], facts["predictions"]["labelled"]) == (ASKED, ASKED // 2)
    layout = tables.read_schema(project.path / "schema.yaml")
    table = tables.read(project.path / facts["file"])
    assert {name: str(table[name].dtype) for name in table} == {
        name: parsing.DTYPES[layout.columns[name].type] for name in layout.from_outside
    }
    assert table["tenure"].tolist() == [int(row["tenure"]) for row in rows]
    assert table["churn"].fillna("").tolist() == ["", "No"] * (ASKED // 2)
    assert project.run("git", "check-ignore", "--quiet", "serving/ingested.json").returncode == 0

    succeeds(project, *DVC, "repro", "--quiet", "monitor")
    report = json.loads(project.read("reports/drift.json"))
    assert report["delivery"]["rows"] == ASKED
    assert report["predictions"]["metrics"]["accuracy"] > 0
    assert not list(Path(project.path, "data", "incoming").glob("*.csv"))
