"""`predict` and its client: what is sent, what is tried again, and which sentence a refusal becomes."""

import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pandas as pd
import pytest
from mlops.__main__ import app
from mlops.base.errors import DataError, ParameterError, StoreError
from mlops.commands.production import predict
from mlops.serving import client
from mlops.serving.client import Client, RefusedError
from typer.testing import CliRunner

from .servers import Answer, Asked, Server, in_project, running

SCHEMA = """
columns:
  key: {type: integer, role: id}
  tenure: {type: integer}
  plan: {type: category}
  churn: {type: category, role: target}
"""
ROWS = [
    {"key": str(number), "tenure": str(number % 7), "plan": "a", "churn": "no", "note": "x"} for number in range(25)
]


def answered(asked: Asked) -> Answer:
    """Each row's own tenure comes back as its probability."""
    return 200, {"predictions": [answer(row) for row in asked.content["rows"]]}, {}


def answer(row: dict[str, Any]) -> dict[str, Any]:
    own = {"prediction": "yes", "probability": float(row["tenure"] or 0), "model_version": "2", "variant": "champion"}
    return {**own, "prediction_id": f"{'0' * 16}-{int(row.get('key') or 0):016x}"}


@pytest.fixture
def server() -> Iterator[Server]:
    with running(answered) as found:
        yield found


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    in_project(tmp_path, SCHEMA, monkeypatch)
    pd.DataFrame(ROWS).to_csv("rows.csv", index=False)
    return tmp_path


def run(server: Server, *options: str) -> str:
    return CliRunner().invoke(app, ["predict", *options, "--url", server.url], catch_exceptions=False).output


def test_rows_go_out_in_parts_over_one_connection_and_come_back_with_their_ids(project: Path, server: Server) -> None:
    said = run(server, "rows.csv", "out.csv", "--rows", "10")

    assert [len(asked.content["rows"]) for asked in server.asked] == [10, 10, 5]
    assert len({asked.port for asked in server.asked}) == 1
    assert server.asked[0].content["rows"][3] == {"key": "3", "tenure": "3", "plan": "a"}
    out = pd.read_csv("out.csv", dtype=str)
    assert out.columns.tolist() == ["key", "prediction", "probability", "model_version", "variant", "prediction_id"]
    assert out["key"].tolist() == [row["key"] for row in ROWS]
    assert out["probability"].astype(float).tolist() == [float(row["tenure"]) for row in ROWS]
    assert "not sent, since schema.yaml does not name them: note" in said
    assert said.endswith("25 answers are in out.csv (25 by version 2)\n")


def test_without_a_schema_every_column_is_sent(project: Path, server: Server) -> None:
    (project / "schema.yaml").unlink()

    run(server, "rows.csv", "out.parquet")

    assert server.asked[0].content["rows"][0] == ROWS[0]
    assert pd.read_parquet("out.parquet").columns.tolist() == list(predict.ANSWER)


def test_parquet_values_are_sent_as_json_has_them(project: Path, server: Server) -> None:
    values = {"tenure": pd.array([1, None], "Int64"), "plan": ["a", None]}
    pd.DataFrame(values).to_parquet("rows.parquet")

    run(server, "rows.parquet", "out.parquet")

    assert server.asked[0].content["rows"] == [{"tenure": 1, "plan": "a"}, {"tenure": None, "plan": None}]


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (float("nan"), None),
        (float("inf"), "inf"),
        (pd.Timestamp("2024-02-29 13:45"), "2024-02-29T13:45:00"),
        (True, True),
    ],
)
def test_what_json_lacks_is_sent_as_text_or_null(value: Any, sent: Any) -> None:
    assert predict.as_json_value(value) == sent


@pytest.mark.parametrize(
    "passing",
    [None, (429, {"detail": "slow down"}, {"retry-after": "0"}), (502, b"<html>", {}), (503, {}, {}), (504, {}, {})],
)
def test_what_fails_for_a_passing_reason_is_asked_again(project: Path, server: Server, passing: Answer) -> None:
    server.script = [passing, passing]

    run(server, "rows.csv", "out.csv")

    assert len(server.asked) == 3
    assert server.asked[0].content == server.asked[2].content
    assert len(pd.read_csv("out.csv")) == len(ROWS)


def test_pauses_grow_and_are_as_long_as_the_server_asks(server: Server) -> None:
    pauses: list[float] = []
    server.script = [
        (503, {}, {}),
        (429, {}, {"retry-after": "7"}),
        (503, {}, {"retry-after": "Wed, 21 Oct 2026"}),
        None,
    ]

    with Client(server.url, pauses=(1, 2, 4, 8), sleep=pauses.append) as asking:
        assert len(asking.predict([{"tenure": "1"}])) == 1

    assert pauses == [1, 7, 4, 8]


def test_after_the_last_try_the_reason_is_told_and_nothing_is_written(project: Path, server: Server) -> None:
    server.script = [(503, {"detail": "the model is being loaded"}, {})] * 3

    with pytest.raises(StoreError, match=r"the model is being loaded \(rows 1 to 25 of rows\.csv were asked about\)"):
        run(server, "rows.csv", "out.csv")

    assert sorted(path.name for path in project.iterdir()) == ["rows.csv", "schema.yaml"]


def test_a_refused_row_is_named_by_its_line_in_the_file_and_nothing_is_written(project: Path, server: Server) -> None:
    (project / "rows.csv").write_text('key,tenure,plan\n1,2,"a\nb"\n2,3,a\n3,x,a\n4,y,a\n', encoding="utf-8")
    faults = [
        {"row": row, "column": "tenure", "fault": "the value is no integer: give a whole number"} for row in (1, 2)
    ]
    server.script = [answered(Asked("", "", {}, {"rows": ROWS[:2]}, 0)), (422, {"detail": faults}, {})]

    with pytest.raises(DataError, match=r"^rows\.csv:5: tenure: the value is no integer.*1 more faults in rows 3 to 4"):
        run(server, "rows.csv", "out.csv", "--rows", "2")

    assert len(server.asked) == 2  # not asked again
    assert not (project / "out.csv").exists()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ((401, {"detail": "the header x-api-key has to hold a key"}, {}), "has to hold a key"),
        ((413, {"detail": "rows has 25 entries"}, {}), "rows has 25 entries .*; a smaller --rows"),
        ((404, b"<html>", {}), "the server answered 404 Not Found"),
        ((200, b"<html>", {}), "the answer is no JSON"),
        ((200, {"predictions": []}, {}), "did not answer each of 25 rows"),
    ],
)
def test_another_refusal_is_one_sentence(project: Path, server: Server, given: Answer, sentence: str) -> None:
    server.script = [given]

    with pytest.raises(StoreError, match=sentence):
        run(server, "rows.csv", "out.csv")

    assert len(server.asked) == 1


def test_the_key_of_the_environment_is_sent(project: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    run(server, "rows.csv", "out.csv")
    monkeypatch.setenv("MLOPS_API_KEY", "a secret")
    run(server, "rows.csv", "out.csv")

    assert [asked.headers.get("x-api-key") for asked in server.asked] == [None, "a secret"]


def test_a_server_that_is_not_there_is_one_sentence() -> None:
    with running(answered) as gone:
        pass
    with (
        Client(gone.url, pauses=()) as asking,
        pytest.raises(RefusedError, match=r"cannot be reached.*running") as error,
    ):
        asking.predict([{}])
    assert error.value.status == 0


def test_a_server_that_refuses_before_it_has_read_everything_is_heard() -> None:
    def refuse(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(100)
            detail = b'{"detail": "not ready"}'
            connection.sendall(b"HTTP/1.1 503 Busy\r\ncontent-length: %d\r\n\r\n%s" % (len(detail), detail))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = Thread(target=refuse, args=(listening,))
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with Client(url, pauses=()) as asking, pytest.raises(RefusedError, match="not ready") as error:
            asking.predict([{"x": "y" * 30_000_000}])
        thread.join()
    assert error.value.status == 503


def test_a_file_is_read_as_it_is_asked_about(project: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "CELLS", 12)  # 4 rows of 3 columns
    (project / "rows.parquet").write_bytes(pd.DataFrame(ROWS).to_parquet())

    run(server, "rows.parquet", "out.csv", "--rows", "3")

    assert [len(asked.content["rows"]) for asked in server.asked] == [3, 1] * 6 + [1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["rows.csv", "out.json"], "out.json ends in neither .csv nor .parquet"),
        (["rows.csv", "rows.csv"], "rows.csv is the file of rows"),
        (["rows.csv", "out.csv", "--url", "ftp://ann:pw@x"], "ftp://x is no address of a server"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_asked(
    project: Path, arguments: list[str], sentence: str
) -> None:
    with pytest.raises(ParameterError, match=sentence):
        CliRunner().invoke(app, ["predict", *arguments], catch_exceptions=False)


def test_the_client_needs_nothing_but_python() -> None:
    source = Path(client.__file__).read_text(encoding="utf-8")
    assert "mlops" not in "".join(line for line in source.splitlines() if line.startswith(("import", "from")))
