"""The registry, against a real SQLite store: whoever records a result, however often, it is there once."""

import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.experiments import commands as experiments_of_mlflow
from mlops.base import files, model_files
from mlops.base.errors import StoreError
from mlops.data.schema import Schema
from mlops.registry import backend, recording, registry, sqlite_store
from mlops.training.model import fitted_model
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import make_pipeline
from sqlalchemy.engine import make_url
from sqlalchemy.engine.default import DefaultDialect

from tests.conftest import PROJECT, TEMPLATE

ROOT = TEMPLATE / PROJECT
SCHEMA = Schema.model_validate({"columns": {"x": {"type": "number"}, "y": {"type": "category", "role": "target"}}})
EXPERIMENT = "demo"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URI of an own SQLite store; making one takes seconds, so these tests share it, under names of their own."""
    return f"sqlite:///{tmp_path_factory.mktemp('store').as_posix()}/mlflow.db"


@pytest.fixture(autouse=True)
def _no_server_of_the_person_who_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def result(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> recording.Result:
    """A result under the name of the test that uses it, in a folder of its own that stands for the project."""
    monkeypatch.chdir(tmp_path)
    name = request.node.name
    pipeline = make_pipeline(DummyClassifier())
    model_files.write(
        tmp_path / "model.joblib",
        fitted_model(pipeline.fit([[0.0], [1.0]], ["no", "yes"]), SCHEMA, "classification", "yes", 1),
    )
    files.write_text(tmp_path / "reports" / "facts.json", "{}\n")
    return recording.Result(
        name=name,
        digests={"model": f"m-{name}", "data": "d" * 64, "params": "p" * 64, "code": f"{name:.16}"},
        params={"train": {"folds": 5, "model": "dummy"}, "prepare": {"seed": 1}},
        metrics={"accuracy": 0.5},
        tags={"author": "somebody"},
        model=tmp_path / "model.joblib",
        requirements=["scikit-learn"],
        artifacts=[Path("reports/facts.json")],
    )


def runs(store: str, result: recording.Result) -> list[str]:
    """The runs that have this model, finished or not."""
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return []
    found = client.search_runs([experiment.experiment_id], f"tags.model_digest = '{result.digests['model']}'")
    return [run.info.run_id for run in found]


def versions(store: str, result: recording.Result) -> list[str]:
    return [str(found.version) for found in MlflowClient(store).search_model_versions(f"name = '{result.name}'")]


def test_a_result_that_is_recorded_twice_is_there_once(store: str, result: recording.Result) -> None:
    first = recording.record(result, True, store, EXPERIMENT)
    again = recording.record(result, True, store, EXPERIMENT)

    assert (first.new, again.new) == (True, False)
    assert (first.run_id, first.version) == (again.run_id, again.version) == (first.run_id, "1")
    assert runs(store, result) == [first.run_id]
    assert versions(store, result) == ["1"]


def test_a_run_holds_parameters_metrics_tags_digests_files_and_the_model(store: str, result: recording.Result) -> None:
    recorded = recording.record(result, True, store, EXPERIMENT)

    client = MlflowClient(store)
    run = client.get_run(recorded.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"train.folds": "5", "train.model": "dummy", "prepare.seed": "1"}
    (data,) = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == (result.name, "d" * 36)
    assert run.data.metrics == {"accuracy": 0.5}
    assert run.data.tags["author"] == "somebody"
    assert run.data.tags["registered"] == "true"
    assert run.data.tags["data_digest"] == "d" * 64
    version = client.get_model_version(result.name, "1")
    assert version.run_id == recorded.run_id
    assert version.tags[registry.MODEL_DIGEST] == result.digests["model"]
    assert [file.path for file in client.list_artifacts(recorded.run_id, "reports")] == ["reports/facts.json"]
    assert mlflow.pyfunc.load_model(f"models:/{result.name}/1").predict({"x": 0.0})["prediction"].tolist() == ["no"]


def test_who_is_second_to_name_the_same_data_tries_again(
    store: str, result: recording.Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = MlflowClient.log_inputs, []

    def raced(self: MlflowClient, *arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 1:  # as a server answers two at once
            raise MlflowException("(psycopg.errors.UniqueViolation) duplicate key value violates dataset_pk")
        real(self, *arguments)

    monkeypatch.setattr(MlflowClient, "log_inputs", raced)
    recorded = recording.record(result, True, store, EXPERIMENT)

    assert len(MlflowClient(store).get_run(recorded.run_id).inputs.dataset_inputs) == 1


def test_an_interruption_between_a_run_and_its_id_leaves_no_run(
    store: str, result: recording.Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_run = MlflowClient.create_run
    made = []

    def interrupted(self: MlflowClient, *arguments: Any, **options: Any) -> None:
        made.append(create_run(self, *arguments, **options))
        raise KeyboardInterrupt

    monkeypatch.setattr(MlflowClient, "create_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        recording.record(result, True, store, EXPERIMENT)

    [run] = made
    left = MlflowClient(store).search_runs([run.info.experiment_id])
    assert run.info.run_id not in [each.info.run_id for each in left]


def test_an_interruption_within_a_transaction_leaves_no_run_and_no_lock(
    store: str, result: recording.Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: DefaultDialect, cursor: Any, statement: str, *rest: Any) -> None:
        cursor.executemany(statement, rest[0])
        if statement.startswith("INSERT INTO params"):
            signal.raise_signal(signal.SIGINT)

    recording.record(result, False, store, EXPERIMENT)
    client, other = MlflowClient(store), replace(result, digests={**result.digests, "code": "other"})
    home = client.get_experiment_by_name(EXPERIMENT)
    assert home is not None
    before = client.search_runs([home.experiment_id])
    monkeypatch.setattr(DefaultDialect, "do_executemany", interrupted)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.disable()  # as good as off in a stage, too: a cursor that nobody has any more keeps its lock
    try:
        with pytest.raises(KeyboardInterrupt):
            recording.record(other, False, store, EXPERIMENT)
    finally:
        gc.enable()
        signal.signal(signal.SIGINT, handler)

    after = client.search_runs([home.experiment_id])
    assert [run.info.run_id for run in after] == [run.info.run_id for run in before]


def test_a_run_that_a_killed_process_began_is_deleted_by_the_next(store: str, result: recording.Result) -> None:
    recorded = recording.record(result, False, store, EXPERIMENT)
    client = MlflowClient(store)
    home = client.get_experiment_by_name(EXPERIMENT)
    assert home is not None
    tags = {f"{kind}_digest": digest for kind, digest in result.digests.items()}
    begun = client.create_run(home.experiment_id, tags=tags).info.run_id
    other = client.create_run(home.experiment_id, tags={**tags, "code_digest": "other"}).info.run_id

    again = recording.record(result, False, store, EXPERIMENT)

    assert again.run_id == recorded.run_id
    assert client.get_run(begun).info.lifecycle_stage == "deleted"
    assert client.get_run(other).info.lifecycle_stage == "active"


def test_another_digest_is_another_run_and_the_same_model_the_same_version(
    store: str, result: recording.Result
) -> None:
    first = recording.record(result, True, store, EXPERIMENT)
    other_code = replace(result, digests={**result.digests, "code": "other"})

    second = recording.record(other_code, True, store, EXPERIMENT)

    assert second.new
    assert second.run_id != first.run_id
    assert second.version == first.version
    assert len(runs(store, result)) == 2
    assert versions(store, result) == ["1"]


def test_another_model_is_another_version(store: str, result: recording.Result) -> None:
    recording.record(result, True, store, EXPERIMENT)
    better = replace(result, digests={**result.digests, "model": "better" + result.digests["model"]})

    recorded = recording.record(better, True, store, EXPERIMENT)

    assert recorded.version == "2"
    assert sorted(versions(store, result)) == ["1", "2"]


def test_a_result_that_may_not_be_registered_is_a_run_without_a_version_until_it_may(
    store: str, result: recording.Result
) -> None:
    refused = recording.record(result, False, store, EXPERIMENT)

    assert refused.version is None
    assert versions(store, result) == []
    assert MlflowClient(store).get_run(refused.run_id).data.tags["registered"] == "false"

    accepted = recording.record(result, True, store, EXPERIMENT)
    assert (accepted.run_id, accepted.version, accepted.new) == (refused.run_id, "1", False)
    assert MlflowClient(store).get_run(refused.run_id).data.tags["registered"] == "true"


def as_experiment(result: recording.Result, name: str, baseline: str = "c1") -> recording.Result:
    return replace(result, tags={**result.tags, "experiment": name, "baseline": baseline})


def test_each_experiment_has_one_run_of_its_own_though_they_have_the_same_result(
    store: str, result: recording.Result
) -> None:
    experiments = [as_experiment(result, *names) for names in (("lunar",), ("solar",), ("lunar", "c2"))]

    first = [recording.record(one, False, store, EXPERIMENT) for one in experiments]
    again = [recording.record(one, False, store, EXPERIMENT) for one in experiments]

    assert [recorded.new for recorded in first] == [True] * 3
    assert [recorded.new for recorded in again] == [False] * 3
    assert [recorded.run_id for recorded in again] == [recorded.run_id for recorded in first]
    assert sorted(runs(store, result)) == sorted(recorded.run_id for recorded in first)
    found = [MlflowClient(store).get_run(recorded.run_id) for recorded in first]
    assert [(run.info.run_name, run.data.tags["baseline"]) for run in found] == [
        ("lunar", "c1"),
        ("solar", "c1"),
        ("lunar", "c2"),
    ]


def test_outside_an_experiment_a_result_is_the_earliest_run_that_had_it(store: str, result: recording.Result) -> None:
    lunar = recording.record(as_experiment(result, "lunar"), False, store, EXPERIMENT)
    recording.record(as_experiment(result, "solar"), False, store, EXPERIMENT)

    applied = recording.record(result, True, store, EXPERIMENT)

    assert (applied.run_id, applied.new, applied.version) == (lunar.run_id, False, "1")
    assert len(runs(store, result)) == 2


def test_a_run_and_a_version_say_what_has_become_of_their_result(store: str, result: recording.Result) -> None:
    tried = replace(
        as_experiment(result, "lunar"), tags={"experiment": "lunar", "baseline": "c1", "stage": "experiment"}
    )
    recorded = recording.record(tried, False, store, EXPERIMENT)
    plain = replace(result, tags={"stage": "candidate", "training_type": "manual"})

    recording.record(plain, True, store, EXPERIMENT)
    before = dict(MlflowClient(store).get_model_version(result.name, "1").tags)
    recording.record(replace(plain, commit="c" * 40, author="Ada"), True, store, EXPERIMENT)

    run, version = MlflowClient(store).get_run(recorded.run_id).data.tags, MlflowClient(store).get_model_version
    assert (run["stage"], run["training_type"], run["registered"]) == ("candidate", "manual", "true")
    assert run["commit"] == "c" * 40
    assert not {"commit", "author"} & before.keys()
    after = version(result.name, "1").tags
    assert {name: after[name] for name in ("commit", "author", "stage", "training_type", "registered")} == {
        "commit": "c" * 40,
        "author": "Ada",
        "stage": "candidate",
        "training_type": "manual",
        "registered": "true",
    }


@pytest.mark.parametrize("name", ["a%20b", "a?b#c", "ü {} 'x'"])
def test_a_store_is_where_its_address_says_whatever_its_folder_is_called(tmp_path: Path, name: str) -> None:
    database = tmp_path / name / "mlflow.db"
    uri = sqlite_store.address(database)

    assert sqlite_store.file_of(uri) == database
    assert make_url(uri).database == str(database)  # as MLflow reads it


def test_a_store_that_was_moved_or_copied_has_its_files_and_leaves_the_original_alone(
    tmp_path: Path, result: recording.Result
) -> None:
    for name in ("original", "copy%20of"):
        (tmp_path / name).mkdir()
    original, copy, moved = (tmp_path / name / "mlflow.db" for name in ("original", "copy%20of", "moved"))
    first = at(original, result)
    shutil.copytree(original.parent, copy.parent, dirs_exist_ok=True)
    before = sorted(original.parent.rglob("*"))

    better = replace(result, digests={**result.digests, "model": "better"})
    second = at(copy, better)
    original.parent.rename(moved.parent)

    for database, run_id in ((copy, second.run_id), (copy, first.run_id), (moved, first.run_id)):
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        with registry.opened(sqlite_store.address(database)) as client:
            kept = registry.artifact(client, run_id, Path("reports/facts.json"), tmp_path)
            assert mlflow.sklearn.load_model(f"runs:/{run_id}/model").predict({"x": 0.0}).tolist() == ["no"]
        assert kept.read_text() == "{}\n"
    assert [path.relative_to(original.parent) for path in before] == [
        path.relative_to(moved.parent) for path in sorted(moved.parent.rglob("*"))
    ]


def test_a_store_that_came_without_its_files_is_refused(tmp_path: Path, result: recording.Result) -> None:
    original, copy = (tmp_path / name / "mlflow.db" for name in ("original", "copy"))
    for database in (original, copy):
        database.parent.mkdir()
    at(original, result)
    shutil.copy(original, copy)

    with pytest.raises(StoreError, match=f"without its folder mlruns: move that one .from {original.parent}/mlruns."):
        at(copy, result)


def at(database: Path, result: recording.Result) -> recording.Recorded:
    """Record a result in a store of its own, wherever MLflow was before."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    return recording.record(result, True, sqlite_store.address(database), EXPERIMENT)


def test_a_result_that_was_there_is_a_run_again_when_an_experiment_has_it(store: str, result: recording.Result) -> None:
    plain = recording.record(result, True, store, EXPERIMENT)

    tried = recording.record(as_experiment(result, "lunar"), False, store, EXPERIMENT)

    assert (tried.new, tried.run_id != plain.run_id) == (True, True)
    assert MlflowClient(store).get_run(tried.run_id).data.tags["registered"] == "true"
    assert recording.record(result, False, store, EXPERIMENT).run_id == plain.run_id


@pytest.mark.parametrize("broken", ["model", "artifacts"])
def test_a_file_that_cannot_be_kept_leaves_no_run_behind(store: str, result: recording.Result, broken: str) -> None:
    nothing = Path("nothing.joblib")
    unusable = replace(result, **{broken: nothing if broken == "model" else [nothing]})

    with pytest.raises(StoreError, match="nothing"):
        recording.record(unusable, True, store, EXPERIMENT)

    assert runs(store, result) == []
    assert versions(store, result) == []


def test_an_experiment_that_somebody_deleted_is_to_be_restored_by_the_command_that_is_named(
    store: str, result: recording.Result
) -> None:
    recording.record(result, True, store, "deleted")
    client = MlflowClient(store)
    number = client.get_experiment_by_name("deleted").experiment_id
    client.delete_experiment(number)

    with pytest.raises(StoreError, match=f"the MLflow experiment {number} was deleted: restore it") as refused:
        recording.record(result, True, store, "deleted")

    assert f"MLFLOW_TRACKING_URI={store} mlflow experiments restore --experiment-id {number}`" in str(refused.value)
    assert CliRunner().invoke(experiments_of_mlflow, ["restore", "--experiment-id", number]).exit_code == 0
    assert not recording.record(result, True, store, "deleted").new


@pytest.mark.parametrize("uri", ["sqlite:///mlflow.db", "sqlite://", "sqlite:///./mlflow.db"])
def test_a_relative_tracking_uri_is_refused(
    uri: str, result: recording.Result, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    before = set(tmp_path.rglob("*"))

    with pytest.raises(StoreError, match="is a relative path: give an absolute one"):
        recording.record(result, True, "", EXPERIMENT)

    assert set(tmp_path.rglob("*")) == before


def test_the_environment_wins_over_the_parameter_and_the_project_is_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert backend.address("") == f"sqlite:///{tmp_path.as_posix()}/mlflow.db"
    assert backend.address("http://configured") == "http://configured"

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://environment")
    assert backend.address("http://configured") == "http://environment"


RECORD = """
import multiprocessing, sys
from pathlib import Path
import mlflow
from mlops.base.errors import StoreError
from mlops.registry import recording

result = recording.Result(
    name="shared", digests={kind: kind for kind in ("model", "data", "params", "code")}, params={}, metrics={},
    tags={}, model=Path(sys.argv[2]), requirements=["scikit-learn"], artifacts=[],
)

def record(_):
    try:
        return str(recording.record(result, True, sys.argv[1], "demo"))
    except StoreError as error:
        return str(error)

count = int(sys.argv[3])
if count == 1:
    print(record(0))
else:
    with multiprocessing.get_context("fork").Pool(count) as pool:  # forked, so that MLflow is imported once only
        print(*pool.map(record, range(count), chunksize=1), sep="\\n")
"""


def record_elsewhere(uri: str, result: recording.Result, processes: int) -> list[str]:
    """Record `result` in other processes at once; what each of them says."""
    command = [sys.executable, "-c", RECORD, uri, str(result.model), str(processes)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_server_that_does_not_answer_is_one_sentence_without_its_secrets(result: recording.Result) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    [said] = record_elsewhere(f"http://me:pass%2Fword@127.0.0.1:{port}", result, 1)

    assert said.startswith(f"the tracking store http://127.0.0.1:{port} could not be used")
    assert said.endswith("nothing was changed")
    assert "pass" not in said


@pytest.mark.parametrize("user", ["token", "me:token", "me:to%2Fken"])
def test_no_secret_of_an_address_is_told(user: str, result: recording.Result) -> None:
    try:
        with pytest.raises(StoreError, match="the tracking store nosuch://host/x could not be used") as error:
            recording.record(result, True, f"nosuch://{user}@host/x", EXPERIMENT)
    finally:  # MLflow remembers it for the whole process
        mlflow.set_tracking_uri("")
        mlflow.set_registry_uri("")

    assert user not in str(error.value)


def test_a_folder_that_is_missing_is_one_sentence(tmp_path: Path, result: recording.Result) -> None:
    with pytest.raises(StoreError, match=r"missing/mlflow\.db\.lock could not be locked: unable to open database file"):
        recording.record(result, True, f"sqlite:///{tmp_path.as_posix()}/missing/mlflow.db", EXPERIMENT)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks processes")
def test_processes_that_record_the_same_at_once_on_a_fresh_store_make_one_run_and_one_version(
    tmp_path: Path, result: recording.Result
) -> None:
    uri = f"sqlite:///{tmp_path.as_posix()}/mlflow.db"

    said = record_elsewhere(uri, result, 4)

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    [run] = client.search_runs([experiment.experiment_id])
    [version] = client.search_model_versions("name = 'shared'")
    assert version.tags[registry.MODEL_DIGEST] == "model"
    assert version.run_id == run.info.run_id
    assert len(said) == 4
    assert all(f"run_id='{run.info.run_id}', version='{version.version}'" in entry for entry in said), said
    assert not list(tmp_path.glob(".*.part"))
