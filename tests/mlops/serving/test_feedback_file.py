"""`feedback`: which labels of a file go out, which are named or left out, and what a second time changes."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlops.__main__ import app
from mlops.base.errors import DataError, ParameterError, StoreError
from mlops.serving import prediction_log
from mlops.serving.prediction_log import PredictionLog
from typer.testing import CliRunner

from .servers import Answer, Asked, Server, in_project, running

SCHEMA = """
missing: ['', '?']
columns:
  key: {type: integer, role: id}
  tenure: {type: integer}
  churn: {type: category, role: target}
"""


def identity(number: int) -> str:
    return f"{'a' * 16}-{number:016x}"


def accepted(asked: Asked) -> Answer:
    return 200, {"accepted": len(asked.content["feedback"])}, {}


@pytest.fixture
def server() -> Iterator[Server]:
    with running(accepted) as found:
        yield found


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return in_project(tmp_path, SCHEMA, monkeypatch)


def run(server: Server, *options: str) -> str:
    done = CliRunner().invoke(app, ["feedback", *options, "--url", server.url], catch_exceptions=False)
    return done.output


def write(name: str, **columns: list[Any]) -> str:
    pd.DataFrame(columns).to_csv(name, index=False)
    return name


def sent(server: Server) -> dict[str, Any]:
    return {each["prediction_id"]: each["actual"] for asked in server.asked for each in asked.content["feedback"]}


def test_labels_go_out_in_parts_and_those_that_have_not_come_wait(project: Path, server: Server) -> None:
    names = [identity(number) for number in range(7)]
    file = write("labels.csv", note=["x"] * 7, prediction_id=names, churn=["yes", "", "no", "?", " yes", "no", "no"])

    said = run(server, file, "--rows", "2")

    assert [asked.path for asked in server.asked] == ["/feedback"] * 3
    assert [len(asked.content["feedback"]) for asked in server.asked] == [2, 2, 1]
    known = [names[at] for at in (0, 2, 4, 5, 6)]
    assert sent(server) == dict(zip(known, ["yes", "no", " yes", "no", "no"], strict=True))
    assert said == f"5 labels of labels.csv went to {server.url}; left out: each row without an actual value yet (2)\n"


def test_a_passing_failure_is_tried_again_and_a_dry_run_sends_nothing(project: Path, server: Server) -> None:
    file = write("labels.csv", prediction_id=[identity(1)], actual=[1])
    server.script = [None, (503, {"detail": "the feedback could not be written: try again later"}, {})]

    run(server, file)
    assert len(server.asked) == 3
    assert "would be sent" in run(server, file, "--dry-run")
    assert len(server.asked) == 3


def test_rows_are_found_by_their_ids_in_the_log(project: Path, server: Server) -> None:
    log = PredictionLog(project / "serving")
    for number, key, more in ((1, 7, {}), (2, "8", {}), (3, 7, {}), (4, 7, {"shadow": True}), (5, None, {})):
        time = f"2026-11-0{number}T00:00:00.000+00:00"
        log.append([{"id": identity(number), "time": time, "features": {"key": key, "tenure": 1}, **more}])
    log.close()
    file = write("truth.csv", key=["7", "08", "9", ""], churn=["yes", "no", "no", "no"])

    said = run(server, file)
    assert sent(server) == {identity(3): "yes", identity(2): "no"}
    assert "left out: each row that was never asked about (2)" in said
    assert "1 row had several predictions, of which the newest counts" in said

    server.asked.clear()
    facts = json.loads(run(server, file, "--until", "2026-11-02", "--json"))
    assert sent(server) == {identity(1): "yes"}
    left_out = "that was not asked about within --until 2026-11-02"
    assert facts == {"labels": 1, "sent": 1, "left_out": {left_out: 3}, "again": 0}


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"prediction_id": ["x", identity(1)], "actual": ["a", "a"]}, r"labels.csv:2: prediction_id is no .* was sent"),
        ({"prediction_id": [identity(1)] * 2, "actual": ["a", "b"]}, r"labels.csv:3: another value .* in row 1"),
        ({"prediction_id": [identity(1)], "actual": [""]}, "no label to send: each row without .* .1."),
        ({"prediction_id": [identity(1)], "truth": ["a"]}, "lacks actual: it has prediction_id, truth"),
        ({"who": ["a"], "actual": ["a"]}, "lacks key: .* or the columns of the role id"),
    ],
    ids=["no id", "two values", "no value", "no column of values", "no column of ids"],
)
def test_a_file_that_cannot_be_meant_is_named_before_anything_is_sent(
    project: Path, server: Server, columns: dict[str, list[str]], sentence: str
) -> None:
    file = write("labels.csv", **columns)

    with pytest.raises(DataError, match=sentence):
        run(server, file)

    assert server.asked == []


@pytest.mark.parametrize(
    ("target", "values", "sentence"),
    [
        ('category, role: target, allowed: ["no", "yes"]', ["yes", "", "maybe"], "no class: give one of no, yes; noth"),
        ("integer, role: target", ["3", "1", "many"], "labels.csv:4: the actual value is no integer; nothing was sent"),
    ],
)
def test_a_label_that_the_schema_does_not_know_is_named_before_anything_is_sent(
    project: Path, server: Server, target: str, values: list[str], sentence: str
) -> None:
    Path("schema.yaml").write_text(SCHEMA.replace("category, role: target", target), encoding="utf-8")
    file = write("labels.csv", prediction_id=[identity(n) for n in range(3)], actual=values)

    with pytest.raises(DataError, match=sentence):
        run(server, file, "--rows", "1")

    assert server.asked == []


def test_classes_that_the_schema_only_warns_of_are_left_to_the_server(project: Path, server: Server) -> None:
    known = "category, role: target, allowed: ['yes'], severity: warning"
    Path("schema.yaml").write_text(SCHEMA.replace("category, role: target", known), encoding="utf-8")

    run(server, write("labels.csv", prediction_id=[identity(1)], actual=["maybe"]))

    assert sent(server) == {identity(1): "maybe"}


def test_a_label_that_the_server_refuses_is_named_with_its_line(project: Path, server: Server) -> None:
    file = write("labels.csv", prediction_id=[identity(n) for n in range(4)], actual=["yes", "", "no", "maybe"])
    fault = {"row": 1, "column": "actual", "fault": "the value is none of the model's classes"}
    server.script = [(200, {"accepted": 2}, {}), (422, {"detail": [fault]}, {})]

    with pytest.raises(DataError, match=r"labels.csv:5: the value is none of .* 2 labels before it were sent"):
        run(server, file, "--rows", "2")


def test_what_cannot_work_is_one_sentence(project: Path, server: Server) -> None:
    by_id = write("by_id.csv", prediction_id=[identity(1)], actual=["yes"])
    by_row = write("by_row.csv", key=[1], churn=["yes"])

    with pytest.raises(StoreError, match=r"serving/predictions is missing"):
        run(server, by_row)
    with pytest.raises(ParameterError, match=r"--since and --until choose predictions by ids of rows"):
        run(server, by_id, "--since", "2026-11-01")
    with pytest.raises(DataError, match=r"nothing.csv is missing"):
        run(server, "nothing.csv")
    server.script = [(401, {"detail": "the header x-api-key has to hold a key"}, {})]
    with pytest.raises(StoreError, match=r"has to hold a key \(0 labels before it were sent\); give the same command"):
        run(server, by_id)


def test_a_label_that_is_sent_again_keeps_the_time_when_it_first_came(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, "feedback")
    for day, actual in ((1, "a"), (2, "a"), (3, "b"), (5, "a"), (4, "a")):
        log.append([{"id": identity(1), "time": f"1970-01-01T00:00:0{day}+00:00", "actual": actual}])
    log.close()

    with prediction_log.timed_labels(tmp_path, Counter()) as label:
        assert label(identity(1)) == ("a", 5.0)
