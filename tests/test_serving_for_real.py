"""The model server as people run it: a real process, a real registry, requests over HTTP."""

import html
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from tests import services
from tests.conftest import BakedProject, bake_copy
from tests.projects import Team, answers, change, raw_test_rows, succeeds
from tests.services import Model

SERVER = pytest.mark.xdist_group("model server")  # one worker starts it
pytestmark = SERVER
ADMIN = {"x-api-key": "of-whoever-may-change-the-route"}
ADMIN_KEYS = {"MLOPS_ADMIN_KEYS": f"ada:{ADMIN['x-api-key']}"}
# One row of every kind that JSON has and a CSV, and what must never be seen again in an answer.
MARK = "do-not-repeat-me"


@pytest.fixture(scope="module")
def team(stricter: BakedProject, tmp_path_factory: pytest.TempPathFactory) -> Team:
    """A team with two versions, the first in production, and canaries that are over after few requests."""
    team = Team(bake_copy(stricter, tmp_path_factory.mktemp("team")), None)
    for number in "12":
        answers(team("bob"), "approve", number, "--reason", "looked at it")
    answers(team("ada"), "promote", "1", "--reason", "go")
    for name, value in {"steps": [0.5], "step_requests": 60, "step_minutes": 0, "max_rows": 200}.items():
        change(team.project, "serving", name, value)
    return team


@pytest.fixture(scope="module")
def server(team: Team, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    """A server with two workers."""
    with services.model(team("ada"), tmp_path_factory.mktemp("server"), "--workers", "2", **ADMIN_KEYS) as running:
        yield running


@pytest.fixture(scope="module")
def rows(team: Team) -> list[dict[str, Any]]:
    """Raw test rows with the columns that a prediction needs, and the id."""
    return [{name: value for name, value in row.items() if name != "churn"} for row in raw_test_rows(team.project)]


def predicted(server: Model, rows: object, **headers: str) -> list[dict[str, Any]]:
    status, found = server.ask("/predict", {"rows": rows}, **headers)
    assert status == 200, found
    return found["predictions"]


def eventually(check: Any, what: str) -> None:
    """Wait until `check` holds."""
    deadline = time.monotonic() + services.PATIENCE
    while not check():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


# ---- Answers


def test_every_form_of_a_request_gets_the_answer_of_the_pipeline(
    team: Team, server: Model, rows: list[dict[str, Any]]
) -> None:
    given = rows[:150]
    by_rows = predicted(server, given)
    needed = [name for name in given[0] if name != "customer_id"]
    one = server.ask("/predict", {"features": [given[0][name] for name in needed]})[1]
    table = pa.Table.from_pandas(pd.DataFrame(given))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    arrow = {"Content-Type": "application/vnd.apache.arrow.stream"}
    status, content = server.ask("/predict", sink.getvalue().to_pybytes(), **arrow)
    assert status == 200, content
    by_arrow = pa.ipc.open_stream(content).read_all().to_pylist()
    inputs = [{"name": name, "shape": [1], "datatype": "BYTES", "data": [given[0][name]]} for name in needed]
    open_inference = server.ask(f"/v2/models/{team.name}/infer", {"inputs": inputs})[1]

    labels, probabilities = ([row[name] for row in by_rows] for name in ("prediction", "probability"))
    assert [row["probability"] for row in by_arrow] == probabilities  # the same bits
    assert [row["prediction"] for row in by_arrow] == labels
    assert (one["prediction"], one["probability"]) == (labels[0], probabilities[0])
    outputs = {output["name"]: output["data"] for output in open_inference["outputs"]}
    assert (outputs["prediction"], outputs["probability"]) == (labels[:1], probabilities[:1])
    assert {row["model_version"] for row in by_rows} == {one["model_version"]} == {"1"}
    assert len({row["prediction_id"] for row in by_rows}) == len(by_rows)


def test_a_wrong_request_is_told_every_fault_and_nothing_is_repeated(server: Model, rows: list[dict[str, Any]]) -> None:
    good = rows[0]
    lacking = {name: value for name, value in good.items() if name != "tenure"}
    wrong = lacking | {"monthly_charges": MARK, "tenur": MARK, "partner": [MARK]}

    status, found = server.ask("/predict", {"rows": [good, wrong]})

    assert status == 422
    assert {(fault["row"], fault["column"]) for fault in found["detail"]} == {
        (2, "monthly_charges"),
        (2, "tenure"),
        (2, "partner"),
        (2, None),
    }
    assert "did you mean tenure?" in json.dumps(found)
    assert MARK not in json.dumps(found)


def hostile(good: dict[str, Any]) -> list[bytes]:
    whole = json.dumps({"rows": [good]}).encode()
    value = json.dumps(good["monthly_charges"]).encode()
    pieces = [b"NaN", b"Infinity", b"1e999", b'"\\ud800"', b"1" * 5000, b"[" * 50_000, b"{}", b"[1]", b"\xff\xfe"]
    changed = [whole.replace(value, piece, 1) for piece in pieces]
    cut = [whole[:length] for length in range(0, len(whole), 37)]
    return [
        *changed,
        *cut,
        b"",
        b"null",
        b"[]",
        b'{"rows": []}',
        b'{"rows": 1}',
        b"[" * 200_000,
        b'{"a":' * 100_000,
        whole.decode().encode("utf-16"),
        b"\xef\xbb\xbf" + whole,
        whole + b"x",
        b" " * 200_000,
        whole.replace(b'"tenure"', b'"tenure": 1, "tenure"', 1),
        json.dumps({"rows": [good] * 201}).encode(),
        b'{"rows": [' + b"{}," * 100_000 + b"{}]}",
    ]


def test_hostile_bodies_get_a_4xx_and_leave_the_server_as_it_was(server: Model, rows: list[dict[str, Any]]) -> None:
    bodies = hostile(rows[0])
    paths = ("/predict", "/feedback", "/admin/route")

    statuses = {path: [server.ask(path, body, **ADMIN)[0] for body in bodies] for path in paths}

    for path, found in statuses.items():
        wrong = [body[:80] for body, status in zip(bodies, found, strict=True) if not 400 <= status < 500]
        assert wrong == [], path
    assert predicted(server, rows[:1])
    assert "traceback" not in server.log.read_text()


def test_a_body_that_is_too_large_is_refused_while_it_comes(server: Model) -> None:
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), 30) as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
        client.sendall(b"Transfer-Encoding: chunked\r\n\r\n")
        answer = b""
        try:
            for _ in range(40):  # of 20 MB; 10 are allowed
                client.sendall(b"80000\r\n" + b" " * 0x80000 + b"\r\n")
        except OSError:
            pass  # it does not read on
        client.settimeout(30)
        answer = client.recv(4096)
    assert answer.startswith(b"HTTP/1.1 413")


def test_the_documents_of_the_interface_have_the_columns_of_the_schema(
    server: Model, rows: list[dict[str, Any]]
) -> None:
    status, described = server.ask("/openapi.json")
    assert status == 200
    text, page = json.dumps(described), html.unescape(server.ask("/docs")[1].decode())
    assert all(json.dumps(name) in text and name in page for name in rows[0] if name != "customer_id")
    assert 'Known are "Month-to-month", "One year", "Two year"' in page
    assert json.dumps(described["components"]["schemas"]["PredictRequest"]["examples"][1]) in page
    assert not re.search("<script|https?://", page)  # it is read where there is no web


def test_requests_that_are_made_from_its_own_description_get_the_answers_that_it_describes(
    server: Model, tmp_path: Path
) -> None:
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    options = ("--phases", "examples,fuzzing", "--max-examples", "10", "--generation-deterministic", "--no-shrink")
    health = ("--suppress-health-check", "all", "--warnings", "off")
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json", "--checks", checks]

    done = subprocess.run([*command, *options, *health], capture_output=True, text=True, check=False, cwd=tmp_path)

    assert done.returncode == 0, done.stdout[-4000:]
    assert "8 passed" in done.stdout


def test_health_version_and_metrics_say_what_was_answered(server: Model, rows: list[dict[str, Any]]) -> None:
    before = server.ask("/health")[1]["predictions"]
    predicted(server, rows[:50])

    eventually(lambda: server.ask("/health")[1]["predictions"] >= before + 50, "the predictions are not counted")
    status, found = server.ask("/version")
    assert (status, found["champion"]["version"], found["champion"]["engine"]) == (200, "1", "linear")
    page = server.ask("/metrics")[1].decode()
    counted = [line for line in page.splitlines() if line.startswith("mlops_predictions_total{")]
    total = sum(float(line.split()[-1]) for line in counted)
    assert total >= before + 50  # whichever worker was asked
    assert any('path="/predict"' in line and 'status="200"' in line for line in page.splitlines())


def test_every_request_has_a_line_with_its_id_and_every_prediction_a_record(
    team: Team, server: Model, rows: list[dict[str, Any]]
) -> None:
    (found,) = predicted(server, rows[:1], **{"x-request-id": "mine-1"})

    def written() -> list[dict[str, Any]]:  # after the answer
        lines = [
            json.loads(line) for line in server.requests.read_text().splitlines(keepends=True) if line.endswith("\n")
        ]
        return [line for line in lines if line["request"] == "mine-1"]

    eventually(written, "the request has no line")
    (line,) = written()
    assert (line["status"], line["path"], line["method"]) == (200, "/predict", "POST")
    traced = answers(team("rita"), "trace", found["prediction_id"])
    assert "version 1" in traced
    assert "mine-1" in traced or rows[0]["contract"] in traced


def test_only_who_has_a_key_changes_the_route(server: Model) -> None:
    wanted = {"route": "shadow", "reason": "to look"}

    assert server.ask("/admin/route", wanted)[0] == 401
    assert server.ask("/admin/route", wanted, **{"x-api-key": "of-nobody-in-particular"})[0] == 401
    status, found = server.ask("/admin/route", {"route": "blue", "reason": "x"}, **ADMIN)
    assert (status, "serving.route" in found["detail"] or "route" in found["detail"]) == (422, True)


# ---- Two versions


def routed(server: Model, **wanted: object) -> dict[str, Any]:
    """Change the route, and wait for its challenger."""
    status, found = server.ask("/admin/route", {"reason": "to see", **wanted}, **ADMIN)
    assert status == 200, found
    if wanted["route"] != "champion":
        eventually(lambda: both_workers(server, found["described"]), "the challenger is not ready")
    return found


def both_workers(server: Model, described: str) -> bool:
    """Whether twenty answers in a row say that the challenger is there: whichever worker they come from."""
    found = [server.ask("/version")[1] for _ in range(20)]
    return all(one["route"] == described and one.get("challenger", {}).get("ready") for one in found)


def candidate(server: Model, number: str) -> bool:
    """Whether every worker knows this version (none: "") by the alias `challenger`: twenty answers in a row say so."""
    return all(server.ask("/admin/route", **ADMIN)[1]["candidate"] == number for _ in range(20))


def test_a_shadow_is_logged_and_never_seen(team: Team, server: Model, rows: list[dict[str, Any]]) -> None:
    routed(server, route="shadow")

    found = predicted(server, rows[:20])

    assert {row["variant"] for row in found} == {"champion"}
    folder = team.project.path / "serving" / "predictions"

    def logged() -> int:
        lines = [json.loads(line) for path in folder.glob("*.jsonl") for line in path.read_text().splitlines()]
        return sum(bool(line.get("shadow")) for line in lines)

    eventually(lambda: logged() >= 20, "the shadow is not logged")


def test_a_key_keeps_its_variant(server: Model, rows: list[dict[str, Any]]) -> None:
    routed(server, route="ab", share=0.5, key="customer_id", slow_ms=10_000)

    first, second = (predicted(server, rows[:100]) for _ in range(2))

    variants = [row["variant"] for row in first]
    assert variants == [row["variant"] for row in second]
    assert 20 < variants.count("challenger") < 80
    assert {(row["variant"], row["model_version"]) for row in first} == {("champion", "1"), ("challenger", "2")}


def test_a_challenger_that_is_wrong_is_rolled_back_by_feedback(
    team: Team, server: Model, rows: list[dict[str, Any]]
) -> None:
    routed(server, route="canary", slow_ms=10_000, steps=[0.4, 0.5])
    asked = 0
    for row in islice(cycle(rows), 3000):
        (found,) = predicted(server, [row])
        asked += 1
        other = {"Yes": "No", "No": "Yes"}[found["prediction"]]
        actual = other if found["variant"] == "challenger" else found["prediction"]
        assert server.ask("/feedback", {"prediction_id": found["prediction_id"], "actual": actual})[0] == 200
        if asked % 20 == 0 and server.ask("/admin/route", **ADMIN)[1]["route"]["mode"] == "champion":
            break

    assert asked < 500
    assert "wrong answers" in server.ask("/admin/route", **ADMIN)[1]["changed"][0]["reason"]

    def rejections() -> list[dict[str, Any]]:
        entries = json.loads(answers(team("rita"), "registry", "history", "--json"))["entries"]
        return [entry for entry in entries if entry["action"] == "reject"]

    eventually(rejections, "the registry does not follow")
    (rejected,) = rejections()
    assert "wrong answers" in rejected["reason"]
    assert (rejected["from"], rejected["to"]) == ("1", "2")
    assert [version["aliases"] for version in team.versions()] == [[], ["champion"]]
    eventually(lambda: candidate(server, ""), "the server does not see that the alias is gone")


ALIAS = "import mlflow, sys; mlflow.MlflowClient().set_registered_model_alias(sys.argv[1], 'challenger', '2')"


def test_an_equal_challenger_is_promoted_and_no_request_is_lost_meanwhile(
    team: Team, server: Model, rows: list[dict[str, Any]]
) -> None:
    store = f"sqlite:///{team.project.path.as_posix()}/mlflow.db"
    succeeds(team.project.with_env(MLFLOW_TRACKING_URI=store), "python", "-c", ALIAS, team.name)
    eventually(lambda: candidate(server, "2"), "the alias is not seen")
    routed(server, route="canary", slow_ms=10_000)
    over = threading.Event()
    found: list[tuple[int, Any]] = []

    def keep_asking() -> None:
        for row in cycle(rows):
            if over.is_set():
                return
            found.append(server.ask("/predict", {"rows": [row]}))

    with ThreadPoolExecutor(4) as clients:
        for _ in range(4):
            clients.submit(keep_asking)
        try:
            eventually(lambda: server.ask("/health")[1]["model_version"] == "2", "it is not promoted")
            answers(team("ada"), "rollback", "--reason", "to see it")
            eventually(lambda: server.ask("/health")[1]["model_version"] == "1", "the rollback is not followed")
        finally:
            over.set()

    assert {status for status, _ in found} == {200}
    answered = [answer["predictions"][0] for _, answer in found]
    digests = {answer["model_version"]: answer["prediction_id"][:16] for answer in answered}
    assert len(digests) == 2
    assert all(answer["prediction_id"].startswith(digests[answer["model_version"]]) for answer in answered)
    entries = json.loads(answers(team("rita"), "registry", "history", "--json"))["entries"]
    promoted = [entry for entry in entries if entry["action"] == "promote"][-1]
    assert (promoted["from"], promoted["to"]) == ("1", "2")
    assert promoted["evidence"]["requests"]["challenger"] > 0


# ---- What it survives


def workers_of(process: int) -> list[int]:
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_of_a_worker_that_is_killed_nothing_that_was_answered_is_lost(
    team: Team, server: Model, rows: list[dict[str, Any]]
) -> None:
    routed(server, route="champion")
    killed = workers_of(server.process.pid)[0]
    acknowledged = [row["prediction_id"] for row in predicted(server, rows[:20])]

    def ask(row: dict[str, Any]) -> str | None:
        try:
            return predicted(server, [row])[0]["prediction_id"]
        except (OSError, http.client.HTTPException):
            return None  # it was under way in the worker

    with ThreadPoolExecutor(4) as clients:
        under_way = [clients.submit(ask, row) for row in islice(cycle(rows), 200)]
        os.kill(killed, signal.SIGKILL)
        acknowledged += [found for one in under_way if (found := one.result())]

    assert len(acknowledged) > 150
    folder = team.project.path / "serving" / "predictions"
    logged = {json.loads(line)["id"] for path in folder.glob("*.jsonl") for line in path.read_text().splitlines()}
    assert set(acknowledged) <= logged
    eventually(lambda: len(workers_of(server.process.pid)) == 2, "no worker took its place")


def test_without_the_registry_it_goes_on_and_starts_with_what_it_has(
    team: Team, server: Model, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    store, away = team.project.path / "mlflow.db", team.project.path / "mlflow.away"
    store.rename(away)
    store.mkdir()  # neither there nor to be made
    try:
        eventually(lambda: "last good" in server.ask("/ready")[1]["store"], "the outage is not told")
        assert predicted(server, rows[:1])[0]["model_version"] == "1"
        with services.model(team("ada"), tmp_path / "second") as second:  # beside the first one
            assert predicted(second, rows[:1])[0]["model_version"] == "1"
            assert "last good" in second.ask("/ready")[1]["store"]
    finally:
        store.rmdir()
        away.rename(store)
    eventually(lambda: server.ask("/ready")[1]["store"] == "reachable", "the registry is not seen again")


def test_a_log_that_cannot_be_written_costs_no_answer(team: Team, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    folder = tmp_path / "place"
    change(team.project, "serving", "folder", str(folder))
    try:
        folder.mkdir()
        (folder / "predictions").write_text("no folder")
        with services.model(team("ada"), tmp_path / "log") as running:
            assert predicted(running, rows[:3])
            page = running.ask("/metrics")[1].decode()
        assert "mlops_log_drops_total 3.0" in page
    finally:
        change(team.project, "serving", "folder", "serving")


@pytest.mark.parametrize(
    ("options", "environment", "words"),
    [
        (("--host", "0.0.0.0"), {}, "can be reached by others: set MLOPS_API_KEYS"),  # noqa: S104
        ((), {"MLOPS_API_KEYS": "ada"}, "MLOPS_API_KEYS has an entry that is no name:key"),
        ((), {"MLOPS_ADMIN_KEYS": "ada:short"}, "at least 16 characters"),
    ],
)
def test_a_server_that_would_be_open_or_has_wrong_keys_does_not_start(
    team: Team, options: tuple[str, ...], environment: dict[str, str], words: str
) -> None:
    done = team.project.with_env(**environment).call("serve", *options)

    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr


def test_it_finishes_what_it_accepted(team: Team, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    with services.model(team("ada"), tmp_path / "ending") as running, ThreadPoolExecutor(8) as clients:
        under_way = [clients.submit(running.ask, "/predict", {"rows": rows[:100]}) for _ in range(8)]
        time.sleep(0.05)
        running.process.send_signal(signal.SIGTERM)
        found = [one.exception() or one.result()[0] for one in under_way]
        assert running.process.wait(services.PATIENCE) == 0
    # A connection that was not yet accepted is refused; none is cut off.
    assert all(status == 200 or isinstance(status, ConnectionRefusedError) for status in found), found
