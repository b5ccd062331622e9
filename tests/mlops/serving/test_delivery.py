"""A period of the prediction log as a delivery: the values that the server read, with the labels that have come."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlops.base.errors import DataError
from mlops.data import parsing, rows
from mlops.data.schema import Schema
from mlops.intake import deliveries
from mlops.serving import delivery, prediction_log
from mlops.serving.delivery import Period, Taken
from mlops.serving.prediction_log import PredictionLog

START = datetime(2026, 11, 1, 8, tzinfo=UTC)
SCHEMA = Schema.model_validate(
    {
        "columns": {
            "id": {"type": "integer", "role": "id"},
            "seen": {"type": "datetime", "role": "time", "format": "%d.%m.%Y %H:%M"},
            "size": {"type": "number", "decimal": ",", "unit": "kg"},
            "count": {"type": "integer"},
            "yes": {"type": "boolean"},
            "level": {"type": "category", "sensitive": True},
            "double": {"type": "number", "derived": True},
            "label": {"type": "boolean", "role": "target"},
        }
    }
)
ROW: dict[str, Any] = {"seen": "2026-10-01T10:00", "size": 1.5, "count": 3, "yes": True, "level": "a"}
ROWS = [
    ROW,
    {"seen": "01.02.2026 11:30", "size": "2,5 kg", "count": "9007199254740993", "yes": "No", "level": 107.0},
    {"seen": None, "size": None, "count": None, "yes": None, "level": None},
    {"seen": "2026-10-01T10:00:00+02:00", "size": 0.1 + 0.2, "count": 2**53 + 1, "yes": 0, "level": " b "},
    {"seen": "", "size": "NA", "count": 4.0, "yes": "t", "level": "Ä\u2028\n"},
    {"seen": "NaN", "size": 1e-07, "count": 10**16, "yes": 1, "level": True},
    {"seen": "2026-10-01", "size": 12345678, "count": -1, "yes": False, "level": ""},
]
ALL = Period(None, START + timedelta(days=1))


def derive(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(double=2 * table["size"])


def name_of(number: int) -> str:
    return f"{'a' * 16}-{number:016x}"


@pytest.fixture
def log(tmp_path: Path) -> Callable[..., None]:
    """A function that writes predictions of these rows, one a minute, and feedback by the row's number."""

    def write(asked: list[dict[str, Any]], labels: dict[int, Any] | None = None, **more: Any) -> None:
        masked = more.pop("masked", ())
        file = PredictionLog(tmp_path, masked=masked)
        for number, row in enumerate(asked):
            time = prediction_log.timestamp((START + timedelta(minutes=number)).timestamp())
            record = {"id": name_of(number), "time": time, "variant": "champion", "features": row, **more}
            file.append([record])
        file.close()
        feedback = PredictionLog(tmp_path, "feedback")
        for number, actual in (labels or {}).items():
            feedback.append([{"id": name_of(number), "time": prediction_log.timestamp(), "actual": actual}])
        feedback.close()

    return write


def delivered(folder: Path, period: Period = ALL) -> tuple[pd.DataFrame, Taken]:
    """The delivery as it is stored, and what was taken."""
    path = folder / "inbox" / "predictions.parquet"
    taken = delivery.write(folder, SCHEMA, period, path)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    return pd.concat(deliveries.batches(path)), taken


def test_the_delivery_is_read_as_the_server_read_the_rows(
    tmp_path: Path, log: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "ROWS", 2)
    log(ROWS)

    table, _ = delivered(tmp_path)

    parsed = parsing.parse(table, SCHEMA, "the delivery", SCHEMA.needed)
    assert parsed.unparseable == []
    # One by one, since pandas would make a float of an integer beside a missing value.
    server = pd.concat([rows.typed(row, SCHEMA, derive) for row in ROWS], ignore_index=True)
    pd.testing.assert_frame_equal(derive(parsed.table)[list(server)], server)
    assert parsed.table["count"].tolist()[:2] == [3, 2**53 + 1]


def test_labels_come_from_feedback_and_an_id_from_the_row(tmp_path: Path, log: Callable[..., None]) -> None:
    log(
        [{**ROW, "id": 7, "label": "Yes"}, ROW, {**ROW, "id": 2**60 + 1, "label": "Yes"}, ROW],
        labels={0: False, 1: "Yes", 3: None},
    )

    table, taken = delivered(tmp_path)

    typed = parsing.parse(table, SCHEMA, "the delivery", SCHEMA.needed).table
    assert typed["label"].tolist() == [False, True, pd.NA, pd.NA]
    assert typed["id"].tolist() == [7, pd.NA, 2**60 + 1, pd.NA]
    assert taken.sentences() == ["2 of 4 rows have a label"]


def test_a_column_that_no_row_has_is_not_there(tmp_path: Path, log: Callable[..., None]) -> None:
    log([ROW, {name: value for name, value in ROW.items() if name != "yes"}], labels={99: "Yes"})

    table, taken = delivered(tmp_path)

    assert list(table) == ["seen", "size", "count", "yes", "level"]
    assert taken.sentences()[1:] == ["missing, since these rows were asked without the column: yes (1 row)"]


def test_what_is_masked_damaged_or_unknown_is_said(tmp_path: Path, log: Callable[..., None]) -> None:
    log([{**ROW, "old": 1}, ROW], masked=SCHEMA.sensitive)
    (path,) = (tmp_path / "predictions").iterdir()
    with path.open("ab") as file:
        file.write(b'{"id": "a')

    table, taken = delivered(tmp_path)

    assert table["level"].isna().all()
    assert "old" not in table
    said = "; ".join(taken.sentences())
    assert f"the line is cut off or damaged: {path.name} (1 line)" in said
    assert "`serving.mask` kept it out of the log: level (2 rows)" in said
    assert "schema.yaml does not name the column: old (1 row)" in said
    assert taken.as_dict()["masked"] == {"level": 2}


def test_a_period_and_a_variant_choose_rows_and_shadows_are_nobodys(tmp_path: Path, log: Callable[..., None]) -> None:
    log([{**ROW, "count": number} for number in range(6)])
    log([{**ROW, "count": number} for number in range(10, 16)], variant="challenger")
    log([{**ROW, "count": 99}] * 6, variant="challenger", shadow=True)
    two, four = (START + timedelta(minutes=minutes) for minutes in (2, 4))

    everybody, champion = (delivered(tmp_path, Period(two, four, name))[0] for name in ("", "champion"))

    assert sorted(everybody["count"]) == ["12", "13", "2", "3"]
    assert sorted(champion["count"]) == ["2", "3"]


@pytest.mark.parametrize("damaged", [False, True])
def test_a_period_without_predictions_is_one_sentence(tmp_path: Path, log: Callable[..., None], damaged: bool) -> None:
    log([ROW])
    if damaged:
        (tmp_path / "predictions" / "b.jsonl").write_text("x")

    with pytest.raises(DataError) as error:
        delivered(tmp_path, Period(START + timedelta(hours=1), START + timedelta(hours=2), "champion"))

    times = "from 2026-11-01T09:00:00.000+00:00 to 2026-11-01T10:00:00.000+00:00"
    assert f"predictions has no prediction of the champion {times}" in str(error.value)
    assert ("lines: 1)" in str(error.value)) == damaged
    assert not list((tmp_path / "inbox").glob("*"))
