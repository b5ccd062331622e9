"""`ingest` adds a whole delivery and tracks it, or adds nothing; no secret stays behind."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest
from mlops.__main__ import app
from mlops.base import files, yaml
from mlops.base.errors import ProjectError
from mlops.commands.data import ingest as module
from mlops.intake import sources
from mlops.serving import prediction_log
from mlops.serving.prediction_log import PredictionLog
from typer.testing import CliRunner, Result

LOG = Path("serving")

SCHEMA = """\
columns:
  id: {type: integer, role: id}
  seen: {type: datetime, role: time}
  size: {type: number, min: 0, max: 100, decimal: ","}
  level: {type: category, allowed: [a, b]}
  note: {type: text, role: ignore}
  label: {type: category, role: target, max_missing: 0}
"""
ROWS = [f"{at};2024-01-{at:02} 10:00;{at},5;{'ab'[at % 2]};n {at};{'yn'[at % 2]}" for at in range(1, 11)]
HEADER = "id;seen;size;level;note;label"
SECRET = "p@ss/w:rd"  # noqa: S105 – to be looked for


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one labelled file, tracked and committed."""
    folder = tmp_path_factory.mktemp("repository") / "project"
    (folder / "data" / "raw").mkdir(parents=True)
    (folder / "data" / "incoming").mkdir()
    (folder / "schema.yaml").write_text(SCHEMA, encoding="utf-8")
    (folder / "data" / "raw" / "first.csv").write_text("\n".join([HEADER, *ROWS]) + "\n", encoding="utf-8")
    for command in (
        ["git", "init", "--quiet"],
        ["git", "config", "user.name", "A"],
        ["git", "config", "user.email", "a@localhost"],
        [sys.executable, "-m", "dvc", "init", "--quiet"],
        [sys.executable, "-m", "dvc", "config", "core.analytics", "false"],
        [sys.executable, "-m", "dvc", "add", "--quiet", "data/raw", "data/incoming"],
        ["git", "add", "--all"],
        ["git", "commit", "--quiet", "--message", "Start"],
    ):
        subprocess.run(command, cwd=folder, check=True)
    return folder


@pytest.fixture
def project(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the repository, which is the working directory."""
    copy = tmp_path / "project"
    shutil.copytree(repository, copy)
    monkeypatch.chdir(copy)
    return copy


def ingest(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["ingest", *arguments])


def state(folder: Path) -> dict[str, bytes]:
    """Every file of the work tree."""
    paths = (path for path in folder.rglob("*") if path.is_file() and not {".git", ".dvc"} & set(path.parts))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def delivery(folder: Path, *rows: str, name: str = "new.csv") -> str:
    path = folder.parent / name
    path.write_text("\n".join([HEADER, *(rows or ROWS)]) + "\n", encoding="utf-8")
    return str(path)


def test_a_delivery_is_typed_tracked_and_reported(project: Path) -> None:
    done = ingest(delivery(project), "--json")

    assert done.exit_code == 0, done.output
    facts = json.loads(done.output)
    [path] = (project / "data" / "incoming").iterdir()
    assert facts["file"] == f"data/incoming/{path.name}"
    assert path.name.endswith(f"-new-{facts['digest'][:8]}.parquet")
    assert (facts["rows"], facts["columns"]) == (10, 5)
    assert facts["period"] == ["2024-01-01 10:00:00", "2024-01-10 10:00:00"]
    table = pd.read_parquet(path)
    assert table["size"].tolist() == [at + 0.5 for at in range(1, 11)]
    assert table["note"].tolist() == [f"n {at}" for at in range(1, 11)]
    [out] = yaml.read(project / "data" / "incoming.dvc")["outs"]
    assert out["nfiles"] == 1
    assert path.name in out["desc"]


def test_the_newest_delivery_replaces_the_last_one(project: Path) -> None:
    ingest(delivery(project))
    ingest(delivery(project, *ROWS[:5]))

    [path] = (project / "data" / "incoming").iterdir()

    assert len(pd.read_parquet(path)) == 5


def test_a_labelled_delivery_stands_beside_the_earlier_ones(project: Path) -> None:
    done = ingest(delivery(project, *(row.replace("-01-", "-02-") for row in ROWS)), "--labelled", "--name", "feb")

    assert done.exit_code == 0, done.output
    names = sorted(path.name for path in (project / "data" / "raw").iterdir())
    assert len(names) == 2
    assert "-feb-" in names[0]
    assert yaml.read(project / "data" / "raw.dvc")["outs"][0]["nfiles"] == 2


def test_the_same_delivery_twice_changes_nothing(project: Path) -> None:
    ingest(delivery(project))
    before = state(project)

    done = ingest(delivery(project))

    assert "is there already" in done.output
    assert state(project) == before


def test_a_dry_run_reports_the_delivery_and_changes_nothing(project: Path) -> None:
    before = state(project)

    done = ingest(delivery(project), "--dry-run")

    assert "10 rows × 5 columns" in done.output
    assert "would be written" in done.output
    assert state(project) == before


def test_values_of_another_type_are_kept_as_they_came(project: Path) -> None:
    done = ingest(delivery(project, ROWS[0].replace("1,5", "about two"), *ROWS[1:]))

    assert "reading of size: 1 row (10.0%), such as" in done.output
    [path] = (project / "data" / "incoming").iterdir()
    assert pd.read_parquet(path)["size"].iloc[0] == "about two"


def test_a_line_that_is_no_row_is_told_and_too_many_are_refused(project: Path) -> None:
    path = delivery(project, *ROWS, HEADER)
    error = str(ingest(path).exception)
    assert "lines left out: 1 row (9.1%), such as new.csv:12 (the header again); expected at most 5.0%" in error

    (project / "params.yaml").write_text("validate: {left_out_error: 0.1}", encoding="utf-8")
    done = ingest(path)
    assert "1 line left out: the header again (1, new.csv:12)" in done.output
    [stored] = (project / "data" / "incoming").iterdir()
    assert len(pd.read_parquet(stored)) == 10


def test_a_delivery_that_breaks_the_schema_is_refused_with_all_reasons(project: Path) -> None:
    before = state(project)
    rows = [ROWS[0].replace(";1,5;", ";700;"), ROWS[1].replace(";a;", ";c;"), ROWS[2], ROWS[2]]

    done = ingest(delivery(project, *rows))

    assert isinstance(done.exception, ProjectError)
    for reason in ("range of size: 1 row ", "allowed values of level: 1 row ", "unique of id: 2 rows"):
        assert reason in str(done.exception)
    assert "nothing was changed" in str(done.exception)
    assert state(project) == before


def test_a_column_that_cannot_be_read_is_refused_with_a_value_and_what_was_expected(project: Path) -> None:
    schema = SCHEMA.replace("min: 0, max: 100", "max_missing: 0.1")
    (project / "schema.yaml").write_text(schema, encoding="utf-8")

    done = ingest(delivery(project, *(row.replace(",5;", ".5 kg;") for row in ROWS)))

    assert (
        "missing values of size: 10 rows (100.0%); 10 values cannot be read as number, such as '1.5 kg' (new.csv:2); "
        "expected at most 10.0% missing"
    ) in str(done.exception)


def test_a_delivery_without_a_column_is_refused_and_named_as_it_was_given(project: Path) -> None:
    path = project.parent / "new.csv"
    path.write_text("id;seen;size;note\n1;2024-01-01;2;x\n", encoding="utf-8")

    done = ingest(str(path))

    assert str(done.exception).startswith("new.csv lacks the column level")


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), SystemExit(143), module.StoreError("dvc failed")])
def test_a_failure_at_the_end_restores_everything(
    project: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    ingest(delivery(project))
    before = state(project)

    asked = module._dvc

    def failing(*arguments: str) -> str:
        if arguments[0] == "add":
            raise failure
        return asked(*arguments)

    monkeypatch.setattr(module, "_dvc", failing)
    ingest(delivery(project, *ROWS[:3]))

    assert state(project) == before


def test_labelled_data_that_was_not_pulled_is_not_lost(project: Path) -> None:
    (project / "data" / "raw" / "first.csv").unlink()

    done = ingest(delivery(project), "--labelled")

    assert "dvc pull data/raw" in str(done.exception)


@pytest.mark.parametrize("by_hand", [True, False])
def test_files_that_a_fresh_clone_did_not_pull_stay_in_the_next_version(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_hand: bool
) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(project), str(clone)], check=True)
    (clone / "data" / "raw").mkdir()
    if by_hand:
        (clone / "data" / "raw" / "mine.csv").write_text(f"{HEADER}\n{ROWS[0]}\n", encoding="utf-8")
    monkeypatch.chdir(clone)
    before = state(clone)

    done = ingest(delivery(project), "--labelled")

    assert "dvc pull data/raw" in str(done.exception)
    assert state(clone) == before


def test_a_file_that_no_version_has_is_not_replaced(project: Path) -> None:
    (project / "data" / "incoming" / "mine.csv").write_text(f"{HEADER}\n{ROWS[0]}\n", encoding="utf-8")
    before = state(project)

    done = ingest(delivery(project))

    assert "data/incoming/mine.csv is in no version yet: keep it as one with `dvc add data/incoming`" in str(
        done.exception
    )
    assert state(project) == before


def test_lacking_and_unknown_columns_are_named_together(project: Path) -> None:
    path = project.parent / "new.csv"
    path.write_text("id;seen;size;more\n1;2024-01-01;2;x\n", encoding="utf-8")

    done = ingest(str(path))

    assert "new.csv lacks the column level" in str(done.exception)
    assert "new.csv has the column more" in str(done.exception)


def test_a_dot_in_a_name_stays(project: Path) -> None:
    ingest(delivery(project, name="v1.5_visits.2024.csv"))

    [path] = (project / "data" / "incoming").iterdir()
    assert "-v1.5_visits.2024-" in path.name


def test_a_folder_without_dvc_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "schema.yaml").write_text(SCHEMA, encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    done = ingest("new.csv")

    assert "is no project of DVC" in str(done.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["schema.yaml"]


def test_a_database_is_queried(project: Path) -> None:
    table = pd.DataFrame([row.replace(",", ".").split(";") for row in ROWS], columns=HEADER.split(";"))
    with sqlite3.connect(project.parent / "shop.db") as connection:
        table.astype({"id": int, "size": float}).to_sql("visits", connection, index=False)

    done = ingest(f"sqlite:///{project.parent / 'shop.db'}", "--query", "SELECT * FROM visits WHERE seen LIKE '%:00'")

    assert done.exit_code == 0, done.output
    [path] = (project / "data" / "incoming").iterdir()
    assert pd.read_parquet(path)["id"].tolist() == list(range(1, 11))


@pytest.mark.parametrize(
    ("source", "query", "sentence"),
    [
        ("sqlite:///shop.db", None, "say with --query which rows"),
        ("new.csv", "SELECT 1", "leave out --query"),
        ("nowhere.csv", None, "nowhere.csv is no file"),
        ("table.xlsx", None, "table.xlsx is none of .csv"),
        ("sqlite:///shop.db", "SELECT * FROM absent", "no such table: absent"),
        ("sqlite:///shop.db", "SELECT 1 AS a WHERE 0", "gives no row"),
        ("sqlite:///shop.db", "DROP TABLE t", "does more than read rows"),
        ("sqlite:///absent.db", "SELECT 1", "sqlite:///absent.db is no file"),
        ("sqlite:///shop.db", "SELECT 1 AS a, 2 AS a", "two columns of the same name"),
        (f"nosuch://u:{SECRET}@host/db", "SELECT 1", "nosuch"),
        ("http://127.0.0.1:9/a.csv?token=s3cr3t", None, "http://127.0.0.1:9/a.csv could not be read"),
    ],
)
def test_a_source_that_cannot_be_read_is_one_sentence(
    project: Path, source: str, query: str | None, sentence: str
) -> None:
    with sqlite3.connect("shop.db") as connection:
        connection.execute("CREATE TABLE t (x)")
    before = state(project)

    done = ingest(source, *(["--query", query] if query else []))

    assert isinstance(done.exception, ProjectError)
    assert sentence in str(done.exception)
    assert "\n" not in str(done.exception)
    assert "s3cr3t" not in str(done.exception)
    assert SECRET not in str(done.exception)
    assert state(project) == before


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder, but only the start of one file."""

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        """As its parent, but for `cut.csv`."""
        if not self.path.startswith("/cut.csv"):
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(b"id;seen\n1;2")


@pytest.fixture
def web(project: Path) -> Iterator[str]:
    """The folder above the project, on a free port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(project.parent)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_web_address_is_fetched_and_recorded_without_secrets(project: Path, web: str) -> None:
    delivery(project, name="new list.csv")

    done = ingest(f"{web}/new%20list.csv?token=s3cr3t")

    assert done.exit_code == 0, done.output
    [path] = (project / "data" / "incoming").iterdir()
    assert "-new-list-" in path.name
    assert "s3cr3t" not in done.output
    assert b"s3cr3t" not in b"".join(state(project).values())


@pytest.mark.parametrize("name", ["nothing.csv", "cut.csv"])
def test_a_missing_or_broken_download_is_one_sentence(project: Path, web: str, name: str) -> None:
    before = state(project)

    done = ingest(f"{web}/{name}?token=s3cr3t")

    assert isinstance(done.exception, ProjectError)
    assert f"{web}/{name}" in str(done.exception)
    assert "s3cr3t" not in str(done.exception)
    assert state(project) == before


@pytest.mark.parametrize(
    ("source", "description"),
    [
        ("data/new.csv", "data/new.csv"),
        (f"postgresql://me:{SECRET}@host:5432/db?sslmode=require", "postgresql://"),
        ("https://me:pw@host/a.csv?sig=x#y", "https://host/a.csv"),
        ("s3://bucket/a.csv", "s3://bucket/a.csv"),
        ("http://[broken/a.csv", "http://***"),
    ],
)
def test_a_source_is_described_without_secrets(source: str, description: str) -> None:
    assert sources.described(source).startswith(description)
    assert SECRET not in sources.described(source)


def test_parts_of_a_result_with_other_types_become_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "ROWS", 2)
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("CREATE TABLE t (whole, number, mixed)")
        connection.executemany(
            "INSERT INTO t VALUES (?, ?, ?)", [(1, 1, 1), (None, 2, 2), (3, 2.5, "x"), (None, None, None)]
        )

    path = sources.fetch(f"sqlite:///{tmp_path / 'a.db'}", "SELECT * FROM t", tmp_path)

    table = pd.read_parquet(path)
    assert table["whole"].dropna().tolist() == [1, 3]
    assert table["number"].dropna().tolist() == [1.0, 2.0, 2.5]
    assert table["mixed"].dropna().tolist() == ["1", "2", "x"]
    assert os.listdir(tmp_path) != []  # noqa: PTH208
    assert not list(tmp_path.glob(".*.part"))
    assert files.sha256(path)


def test_two_deliveries_at_once_take_turns(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCK_TIMEOUT", 0)
    with module._alone():
        done = ingest(delivery(project))

    assert "another `ingest` is running in this project" in str(done.exception)
    assert list((project / ".dvc" / "tmp" / "ingest").iterdir()) == []


def test_a_failure_leaves_the_file_that_somebody_else_brings_meanwhile(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = module._dvc

    def failing(*arguments: str) -> str:
        if arguments[0] == "add":
            (project / "data" / "raw" / "theirs.csv").touch()
            raise module.StoreError("dvc failed")
        return asked(*arguments)

    monkeypatch.setattr(module, "_dvc", failing)
    ingest(delivery(project), "--labelled")

    assert sorted(path.name for path in (project / "data" / "raw").iterdir()) == ["first.csv", "theirs.csv"]


def log_predictions(rows: list[dict[str, object]], first: int = 0, **labels: object) -> None:
    """Log that the server was asked these rows, one a minute from 2024 on, with labels for some (`n1`: 'y')."""
    log, feedback = PredictionLog(LOG), PredictionLog(LOG, "feedback")
    for number, row in enumerate(rows, first):
        time = prediction_log.timestamp((datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=number)).timestamp())
        record = {"id": f"{'a' * 16}-{number:016x}", "time": time}
        log.append([{**record, "variant": "champion", "features": row}])
        if f"n{number}" in labels:
            feedback.append([{**record, "actual": labels[f"n{number}"]}])
    log.close()
    feedback.close()


def asked(number: int) -> dict[str, object]:
    return {"id": 7, "seen": "2024-01-01T10:00", "size": number + 0.5, "level": "a"}


def test_predictions_with_their_labels_become_the_next_delivery_once(project: Path) -> None:
    log_predictions([asked(at) for at in range(5)], n1="y", n3="n")
    done = ingest("--from-predictions", "--until", "2024-01-01T00:04", "--json")

    assert done.exit_code == 0, done.output
    facts = json.loads(done.output)
    assert facts["source"] == "predictions before 2024-01-01T00:04:00.000+00:00"
    assert (facts["rows"], facts["predictions"]["labelled"], facts["predictions"]["skipped"]) == (4, 2, {})
    (path,) = (project / "data" / "incoming").iterdir()
    assert "-predictions-" in path.name
    table = pd.read_parquet(path)
    assert table["size"].tolist() == [0.5, 1.5, 2.5, 3.5]
    assert table["seen"].dtype == "datetime64[us]"
    assert table["id"].tolist() == [7] * 4  # who is asked about twice is twice in it
    assert table["label"].fillna("").tolist() == ["", "y", "", "n"]
    (out,) = yaml.read(project / "data" / "incoming.dvc")["outs"]
    assert out["desc"].endswith(f"from {facts['source']}")

    log_predictions([asked(9)], first=9)
    again = ingest("--from-predictions")
    assert "0 of 2 rows have a label" in again.output
    assert "from 2024-01-01T00:04:00.000+00:00 to" in again.output
    (path,) = (project / "data" / "incoming").iterdir()
    table = pd.read_parquet(path)
    assert table["size"].tolist() == [4.5, 9.5]
    assert "label" not in table

    before = state(project)
    nothing = ingest("--from-predictions")
    assert "serving/predictions has no prediction from" in str(nothing.exception)
    assert state(project) == before


def test_an_ingest_of_predictions_that_fails_or_is_dry_begins_there_again(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_predictions([asked(1)])
    before = state(project)
    assert "1 row × 4 columns" in ingest("--from-predictions", "--dry-run").output
    assert state(project) == before

    monkeypatch.setattr(module, "_place", lambda *_, **__: (_ for _ in ()).throw(module.StoreError("dvc failed")))
    assert str(ingest("--from-predictions").exception).startswith("dvc failed")
    assert state(project) == before


def test_predictions_that_break_the_schema_are_refused_with_what_is_known_of_them(project: Path) -> None:
    content = SCHEMA.replace("allowed: [a, b]", "allowed: [a, b], max_missing: 0, sensitive: true")
    (project / "schema.yaml").write_text(content, encoding="utf-8")
    log = PredictionLog(LOG, masked=["level"])
    log.append([{"id": f"{'a' * 16}-{1:016x}", "time": prediction_log.timestamp(), "features": asked(1)}])
    log.close()
    before = state(project)

    said = str(ingest("--from-predictions").exception)

    assert "missing values of level: 1 row" in said
    assert "`serving.mask` kept it out of the log: level (1 row)" in said
    assert "\n" not in said
    assert state(project) == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "give a source, or"),
        (("new.csv", "--from-predictions"), "give a source, or"),
        (("new.csv", "--since", "2024-01-01"), "without --from-predictions, leave out"),
        (("--from-predictions", "--labelled"), "with --from-predictions, leave out"),
        (("--from-predictions", "--query", "SELECT 1"), "with --from-predictions, leave out"),
    ],
)
def test_a_source_and_predictions_do_not_mix(project: Path, arguments: tuple[str, ...], sentence: str) -> None:
    done = CliRunner().invoke(app, ["ingest", *arguments], env={"COLUMNS": "400"})

    assert done.exit_code == 2
    assert sentence in done.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--since", "1.11.2026"), "--since is 1.11.2026, which is no time: give one of ISO 8601"),
        (
            ("--since", "2026-11-02", "--until", "2026-11-01"),
            "the period ends at 2026-11-01T00:00:00+00:00, and begins",
        ),
        (
            ("--since", "2999-01-01", "--until", "2999-01-02"),
            "begins at 2999-01-01T00:00:00+00:00: give an earlier",
        ),
        (("--since", "2024-01-01T02:00+01:00"), "no prediction from 2024-01-01T01:00:00.000+00:00 to"),
        ((), "ingested.json does not say up to when the log was ingested: delete it"),
    ],
)
def test_a_period_that_has_nothing_is_one_sentence(project: Path, arguments: tuple[str, ...], sentence: str) -> None:
    log_predictions([asked(1)])
    (LOG / "ingested.json").write_text('{"until": "cut o')

    done = ingest("--from-predictions", *arguments)

    assert isinstance(done.exception, ProjectError)
    assert sentence in str(done.exception)
