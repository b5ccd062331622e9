"""From a trained model to production and back: on SQLite, and for a team with MLflow's server, PostgreSQL and S3.

On the server runs what differs there: what is done at once, accounts, secrets, and data on S3.
"""

import base64
import http.client
import json
import math
import os
import pickle
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd
import pytest
from ruamel.yaml import YAML

from tests.conftest import BakedProject, bake_copy, found_in
from tests.projects import DVC, MLOPS, REPRO, Team, another_version, answers, change, commit, raw_test_rows, succeeds
from tests.services import BUCKET, S3, Postgres, Tracking, scoring

SERVERS = pytest.mark.xdist_group("servers")  # one worker starts them
DELETE = "import mlflow, sys; mlflow.MlflowClient().delete_registered_model(sys.argv[1])"
EDIT = """
import mlflow, sys
mlflow.MlflowClient().set_model_version_tag(sys.argv[1] + ".audit", "3", "entry", sys.argv[2])
"""
RECORDED = """
import json, mlflow, sys
runs = mlflow.search_runs(experiment_names=sys.argv[1:], output_format="list")
print(json.dumps([run.data.tags for run in runs]))
"""

# What somebody runs who has a version's packages, and nothing of the project.
ELSEWHERE = """
import json, sys
import mlflow, pandas
model_uri, rows = sys.argv[1], json.load(sys.stdin)
model = mlflow.pyfunc.load_model(model_uri)
answers = model.predict(rows)
assert len(model.predict(model.input_example)) == 1
judged = mlflow.models.evaluate(
    model_uri, pandas.DataFrame(rows), targets="churn", model_type="classifier",
    evaluator_config={"pos_label": "Yes", "log_explainer": False},
)
types = {column.name: column.type.name for column in model.metadata.get_input_schema()}
own = [name for name in sys.modules if name.partition(".")[0] in ("mlops", "project")]
found = {"answers": answers.to_dict("list"), "types": types, "own": own}
metrics = {name: judged.metrics[name] for name in ("accuracy_score", "roc_auc", "log_loss")}
exec(sys.argv[2])
print(json.dumps(found | {"metrics": metrics}))
"""


@pytest.fixture
def registered(quick: BakedProject, tmp_path: Path) -> Team:
    """A team on SQLite, whose model has one version."""
    return Team(bake_copy(quick, tmp_path), None)


@pytest.fixture
def with_two(stricter: BakedProject, tmp_path: Path) -> Team:
    """A team on SQLite, whose model has two versions."""
    return Team(bake_copy(stricter, tmp_path), None)


@pytest.fixture(scope="module")
def remote(quick: BakedProject, s3: S3, tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """The quick project, with its data on S3."""
    copy = bake_copy(quick, tmp_path_factory.mktemp("remote"))
    keep = ("remote", "modify", "storage")
    succeeds(copy, *DVC, *keep, "url", f"s3://{BUCKET}/dvc")
    succeeds(copy, *DVC, *keep, "endpointurl", s3.url)
    succeeds(copy, *DVC, *keep, "--local", "access_key_id", s3.key_id)
    succeeds(copy, *DVC, *keep, "--local", "secret_access_key", s3.key)
    return copy


def named(project: BakedProject, server: Tracking) -> Team:
    """A team with a server, whose model has a name of its own, and no version yet."""
    team = Team(project, server)
    name = f"churn-{uuid4().hex[:8]}"
    change(team.project, "register", "name", name)
    change(team.project, "tracking", "experiment", name)
    # Results without a registry, as an experiment has them: the version is each test's own affair.
    aside = f"sqlite:///{project.path.as_posix()}/mlflow.db"
    succeeds(team("ada").with_env(MLFLOW_TRACKING_URI=aside), *REPRO, "--quiet")
    commit(team.project, "A name of its own")
    return team


@pytest.fixture
def served(remote: BakedProject, tracking: Tracking, tmp_path: Path) -> Team:
    """A team with a server, whose model has no version yet."""
    return named(bake_copy(remote, tmp_path), tracking)


@pytest.fixture(scope="module")
def one_served(remote: BakedProject, tracking: Tracking, tmp_path_factory: pytest.TempPathFactory) -> Team:
    """A team with a server, whose model has one version, which stays as it is."""
    team = named(bake_copy(remote, tmp_path_factory.mktemp("served")), tracking)
    succeeds(team("ada"), *DVC, "push", "--quiet")
    succeeds(team("ada"), *MLOPS, "sync")
    return team


@pytest.fixture
def copied(one_served: Team, tmp_path: Path) -> Team:
    """The same in a copy of its project, to be changed."""
    return Team(bake_copy(one_served.project, tmp_path), one_served.server)


def test_a_version_takes_raw_rows_in_a_process_that_knows_nothing_of_the_project(
    registered: Team, tmp_path: Path
) -> None:
    project = registered.project
    (tmp_path / "elsewhere").mkdir()
    store = f"sqlite:///{project.path.as_posix()}/mlflow.db"
    (shown,) = re.findall(r"^```python\n(.*?)^```$", project.read("docs/production.md"), re.MULTILINE | re.DOTALL)
    (delivery,) = (project.path / "data" / "incoming").glob("*.csv")
    told = shown.replace("deliveries/march.csv", delivery.as_posix()).replace("@champion", "@challenger")

    done = subprocess.run(
        ["python", "-I", "-c", ELSEWHERE, f"models:/{registered.name}@challenger", told],
        input=json.dumps(raw_test_rows(project)),
        cwd=tmp_path / "elsewhere",
        env=project.with_env(MLFLOW_TRACKING_URI=store).surroundings,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    pipeline = pd.read_parquet(project.path / "data" / "prepared" / "predictions.parquet")
    for column in ("prediction", "probability"):  # to the last bit
        assert found["answers"][column] == pipeline[column].tolist()
    assert found["answers"]["probability of Yes"] == found["answers"]["probability"]
    kinds = {"number": "double", "integer": "long", "boolean": "boolean", "category": "string"}
    columns = YAML(typ="safe").load(project.read("schema.yaml"))["columns"]
    assert found["types"] == {name: kinds[kind["type"]] for name, kind in columns.items() if "role" not in kind}
    assert found["own"] == []
    metrics = json.loads(project.read("reports/metrics.json"))
    assert found["metrics"] == {
        "accuracy_score": pytest.approx(metrics["accuracy"]),
        "roc_auc": pytest.approx(metrics["roc_auc"]),
        "log_loss": pytest.approx(metrics["log_loss"]),
    }
    assert "prediction  probability  threshold" in done.stdout.splitlines()[0]


def test_mlflows_server_takes_raw_rows_and_names_what_a_row_lacks(registered: Team, tmp_path: Path) -> None:
    project, rows = registered.project, raw_test_rows(registered.project)[:3]
    typed = [{**row, "partner": "Yes" if row["partner"] == "1" else "No", "total_charges": None} for row in rows]

    def ask(url: str, given: object, form: str = "inputs") -> tuple[int, Any]:
        host, _, path = url.removeprefix("http://").partition("/")
        connection = http.client.HTTPConnection(host, timeout=60)
        connection.request("POST", f"/{path}", json.dumps({form: given}), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    store = f"sqlite:///{project.path.as_posix()}/mlflow.db"
    with scoring(f"models:/{registered.name}@challenger", store, tmp_path) as url:
        whole, other = ask(url, rows), ask(url, typed)
        lacking = ask(url, {name: value for name, value in rows[0].items() if name != "tenure"})
        cast = ask(url, rows, "dataframe_records")

    pipeline = pd.read_parquet(project.path / "data" / "prepared" / "predictions.parquet")[:3]
    assert (whole[0], other[0], len(other[1]["predictions"])) == (200, 200, 3)
    assert [row["prediction"] for row in whole[1]["predictions"]] == pipeline["prediction"].tolist()
    assert [row["probability"] for row in whole[1]["predictions"]] == pytest.approx(pipeline["probability"].tolist())
    assert cast[0] == 400
    assert "must be a dictionary with 'inputs' key" in cast[1]["message"]
    assert lacking[0] == 400
    assert "Error: the row lacks tenure, which the model needs" in lacking[1]["message"]


@pytest.mark.parametrize("store", ["SQLite", pytest.param("server", marks=SERVERS)])
def test_five_who_register_at_once_make_one_run_and_one_version(request: pytest.FixtureRequest, store: str) -> None:
    team: Team = request.getfixturevalue("served" if store == "server" else "registered")
    if store == "SQLite":
        (team.project.path / "mlflow.db").unlink()
    ada = team("ada")
    at_once = [
        subprocess.Popen(
            [*MLOPS, "sync"],
            cwd=ada.path,
            env=ada.warm,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(5)
    ]
    said = [process.communicate()[0] for process in at_once]

    assert [words for process, words in zip(at_once, said, strict=True) if process.returncode] == []
    (version,) = team.versions()
    assert version["aliases"] == ["challenger"]
    assert version["model_digest"] == json.loads(ada.read("reports/registration.json"))["model_digest"]
    runs = json.loads(succeeds(team("rita"), "python", "-c", RECORDED, team.name))
    assert [tags["registered"] for tags in runs if tags.get("result")] == ["true"]


def test_a_version_goes_live_and_back_and_the_log_has_who_and_why(with_two: Team) -> None:
    team = with_two
    ada, bob = team("ada"), team("bob")

    own = ada.call("approve", "2", "--reason", "mine is good")
    for number in "12":
        early = ada.call("promote", number, "--reason", "now")
        answers(bob, "approve", number, "--reason", "looked at it")
        succeeds(ada, *MLOPS, "promote", number, "--reason", f"go, {number}")
        assert "is not approved" in early.stderr
    live = [version["aliases"] for version in team.versions()]
    succeeds(bob, *MLOPS, "rollback", "--reason", "complaints")

    assert own.returncode == 1
    assert "your own" in own.stderr
    assert live == [["challenger", "champion"], []]
    assert [version["aliases"] for version in team.versions()] == [["challenger"], ["champion"]]
    entries = json.loads(answers(team("rita"), "registry", "history", "--json"))["entries"]
    assert [(entry["action"], entry["from"], entry["to"], entry["reason"]) for entry in entries] == [
        ("approve", "1", "1", "looked at it"),
        ("promote", None, "1", "go, 1"),
        ("approve", "2", "2", "looked at it"),
        ("promote", "1", "2", "go, 2"),
        ("rollback", "2", "1", "complaints"),
    ]
    assert [entry["who"].split()[0].lower() for entry in entries] == ["bob", "ada", "bob", "ada", "bob"]
    assert [json.loads(line) for line in ada.read("reports/audit.jsonl").splitlines()] == entries
    assert "5 entries, each follows the one before" in answers(team("rita"), "audit", "verify")

    edited = entries[2] | {"who": "Eve"}
    store = f"sqlite:///{ada.path.as_posix()}/mlflow.db"
    succeeds(ada.with_env(MLFLOW_TRACKING_URI=store), "python", "-c", EDIT, team.name, json.dumps(edited))
    found = team("rita").call("audit", "verify")
    assert found.returncode == 3
    assert "entry 3 was edited" in found.stdout


def test_in_a_second_clone_no_model_is_opened_on_trust_and_the_log_goes_on(with_two: Team, tmp_path: Path) -> None:
    ada = with_two("ada")
    answers(with_two("bob"), "approve", "2", "--reason", "looked at it")
    answers(ada, "promote", "2", "--reason", "go")
    commit(ada, "In production")
    succeeds(ada, *DVC, "push", "--quiet")
    succeeds(ada, "git", "clone", "--quiet", ".", str(ada.path.with_name("clone")))
    clone = Team(BakedProject(ada.path.with_name("clone"), ""), None)
    carl = clone("carl").with_env(XDG_STATE_HOME=str(tmp_path / "state"))
    log = carl.read("reports/audit.jsonl")
    succeeds(carl, *DVC, "pull", "--quiet")

    early = [carl.call(*command) for command in (["sync"], ["explain"])]
    succeeds(carl, *MLOPS, "reproduce", "HEAD")
    answers(carl, "sync")
    refused = carl.call("approve", "1")
    said = answers(carl, "audit", "restore")

    assert [done.returncode for done in early] == [1, 1]
    assert "was made elsewhere" in early[1].stderr
    assert "the registry lacks the entries from 1 on" in refused.stderr
    assert said == "restored entries: 2; version 1 is in production\n"
    assert "2 entries, each follows the one before" in answers(carl, "audit", "verify")
    answers(carl, "approve", "1", "--reason", "as good here")
    assert carl.read("reports/audit.jsonl").startswith(log)
    (version,) = clone.versions()
    assert version["author"] == "Ada <ada@localhost>"
    assert version["commit"] == succeeds(ada, "git", "rev-parse", "HEAD~1").strip()


@pytest.mark.parametrize("store", ["SQLite", pytest.param("server", marks=SERVERS)])
def test_of_promotions_at_once_one_is_entered_after_the_other_or_told(
    request: pytest.FixtureRequest, store: str
) -> None:
    team: Team = request.getfixturevalue("served" if store == "server" else "with_two")
    ada, bob = team("ada"), team("bob")
    if store == "server":
        succeeds(ada, *MLOPS, "sync")
        another_version(team)
    for number in "12":
        answers(bob, "approve", number)

    def promote(number: str) -> "subprocess.Popen[str]":
        command = [*MLOPS, "promote", number, "--reason", "now"]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=ada.path, env=ada.warm, stdout=pipe, stderr=pipe, text=True)

    both = {number: promote(number) for number in "12"}
    said = {number: process.communicate() for number, process in both.items()}
    answers(bob, "approve", "1", "--reason", "the log goes on")

    won = {number for number, process in both.items() if process.returncode == 0}
    entries = json.loads(answers(ada, "registry", "history", "--json"))["entries"]
    promoted = [entry["to"] for entry in entries if entry["action"] == "promote"]
    assert won, said
    assert set(promoted) == won
    assert all("another change came first" in said[number][1] for number in both if number not in won)
    live = {version["version"]: version["aliases"] for version in team.versions()}
    assert [number for number, aliases in live.items() if "champion" in aliases] == [promoted[-1]]
    assert "each follows the one before" in answers(ada, "audit", "verify")


@SERVERS
def test_a_version_three_commits_back_is_made_again_to_the_byte(copied: Team) -> None:
    team, ada = copied, copied("ada")
    made = moves_on(team)
    before = state(team)
    shutil.rmtree(ada.path / ".dvc" / "cache")  # its data is fetched from S3

    found = json.loads(succeeds(team("rita"), *MLOPS, "reproduce", "1", "--json"))

    assert found["verdict"] == "identical bytes"
    assert found["commit"] == made
    assert state(team) == before
    assert not list((ada.path / ".dvc" / "tmp" / "reproduce").iterdir())


def test_data_that_is_no_longer_what_it_was_is_named(registered: Team) -> None:
    ada = registered("ada")
    (raw,) = (ada.path / "data" / "raw").glob("*.csv")
    listing = ada.read("data/raw.dvc")
    folder = listing.split("md5: ")[1].split()[0]
    cache = ada.path / ".dvc" / "cache" / "files" / "md5"
    (entry,) = json.loads((cache / folder[:2] / folder[2:]).read_text())
    kept = cache / entry["md5"][:2] / entry["md5"][2:]
    kept.chmod(0o644)
    kept.write_bytes(kept.read_bytes().replace(b"Month-to-month", b"Month-by-month", 1))
    os.utime(kept)

    done = ada.run(*MLOPS, "reproduce", "1")

    assert done.returncode == 3, done.stdout + done.stderr
    assert f"not reproducible; the first that differs is data/raw/{raw.name}" in done.stdout
    assert not list((ada.path / ".dvc" / "tmp" / "reproduce").iterdir())


def test_the_chain_behind_a_version_is_found_from_any_end(registered: Team) -> None:
    team, ada = registered, registered("ada")
    (raw,) = (ada.path / "data" / "raw").glob("*.csv")
    from_version, from_model, from_data = (
        json.loads(answers(team("rita"), "trace", what, "--json"))
        for what in ("1", "models/model.joblib", f"data/raw/{raw.name}")
    )

    (chain,) = from_version
    assert from_model == from_data == from_version
    assert chain["commit"] == succeeds(ada, "git", "rev-parse", "HEAD").strip()
    assert chain["data"][0]["path"] == f"data/raw/{raw.name}"
    assert list(chain["stages"]) == ["prepare", "validate", "train", "evaluate", "register", "monitor"]
    model = chain["stages"]["train"]["outs"]["models/model.joblib"]
    assert chain["stages"]["evaluate"]["deps"]["models/model.joblib"] == model
    assert chain["metrics"] == json.loads(ada.read("reports/metrics.json"))
    assert "train: data/prepared/train.parquet" in succeeds(ada, *MLOPS, "trace", "1")
    refused, missing = ada.call("trace", "README.md"), ada.call("reproduce", "9")
    assert (refused.returncode, missing.returncode) == (1, 1)
    assert refused.stderr.startswith("Error: README.md is the model of no version")
    assert missing.stderr.startswith(f"Error: {team.name} has no version 9: there are 1")


def test_a_prediction_is_explained_and_leads_back_to_its_version(registered: Team) -> None:
    rita = registered("rita")
    (row, _) = json.loads(succeeds(rita, *MLOPS, "explain", "--rows", "2", "--version", "1", "--json"))["rows"]
    same = json.loads(answers(rita, "explain", "--rows", "1", "--json"))["rows"]

    assert same == [row]
    assert row["base"] + sum(part["contribution"] for part in row["features"]) == pytest.approx(row["answer"])
    assert 1 / (1 + math.exp(-row["answer"])) == pytest.approx(row["probability"])
    (chain,) = json.loads(answers(rita, "trace", row["prediction_id"], "--json"))
    assert chain["version"]["version"] == "1"
    assert re.search(r"probability of Yes 0\.\d+ \(threshold 0\.5\)", answers(rita, "explain", "--id", row_id(rita)))


def row_id(project: BakedProject) -> str:
    """The id of a customer in the test split."""
    path = project.path / "data" / "prepared" / "test.parquet"
    return str(pd.read_parquet(path, columns=["customer_id"])["customer_id"].iloc[3])


@dataclass
class Trap:
    """What runs as soon as it is unpickled."""

    path: Path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("version", [(), ("--version", "1")])
def test_a_model_that_the_registry_does_not_know_is_not_even_opened(
    registered: Team, tmp_path: Path, version: tuple[str, ...]
) -> None:
    ada = registered("ada")
    digest = ada.read("dvc.lock").split("path: models/model.joblib")[1].split("md5: ")[1].split()[0]
    kept = ada.path / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]
    kept.chmod(0o644)
    kept.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))

    done = ada.call("explain", *version)

    assert done.returncode == 1, done.stdout + done.stderr
    assert "not loaded" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "sprung").exists()
    pickle.loads(kept.read_bytes())  # noqa: S301 – so that it is one
    assert (tmp_path / "sprung").exists()


def moves_on(team: Team) -> str:
    """Let three more commits follow, and a change that is not even committed; the commit before them."""
    made = succeeds(team.project, "git", "rev-parse", "HEAD").strip()
    change(team.project, "train", "model", "random_forest")
    commit(team.project, "Another model")
    with (team.project.path / "mlops" / "training" / "metrics.py").open("a") as file:
        file.write("\nraise RuntimeError('not what it was')\n")
    commit(team.project, "Broken code")
    (team.project.path / "notes.txt").write_text("mine")
    commit(team.project, "Notes")
    change(team.project, "train", "folds", 99)
    return made


def state(team: Team) -> dict[str, object]:
    """What must be the same after it as before."""
    return {
        "status": succeeds(team.project, "git", "status", "--porcelain"),
        "versions": team.versions(),
        **{name: team.project.read(name) for name in ("params.yaml", "dvc.lock", "mlops/training/metrics.py")},
    }


# ---- accounts, which only a server has


@SERVERS
def test_readers_read_editors_edit_and_the_administrator_deletes(served: Team) -> None:
    team = served
    succeeds(team("ada"), *MLOPS, "sync")
    rita, bob, admin = team("rita"), team("bob"), team("admin")

    for command in (("registry", "show"), ("registry", "history"), ("audit", "verify"), ("trace", "1")):
        answers(rita, *command)
    refused = [rita.call("approve", "1"), rita.run(*MLOPS, "sync")]
    assert all("does not allow rita to do this: ask" in one.stderr for one in refused), refused
    assert all("Traceback" not in one.stderr for one in refused)
    assert [one.returncode for one in refused] == [1, 1]
    assert json.loads(answers(rita, "registry", "history", "--json"))["entries"] == []

    answers(bob, "approve", "1", "--reason", "looked at it")
    answers(bob, "promote", "1", "--reason", "go")
    entries = json.loads(answers(rita, "registry", "history", "--json"))["entries"]
    assert [(entry["action"], entry["who"].split()[0].lower()) for entry in entries] == [
        ("approve", "bob"),
        ("promote", "bob"),
    ]
    assert "Permission denied" in bob.run("python", "-c", DELETE, team.name).stderr
    assert team.versions()[0]["aliases"] == ["challenger", "champion"]
    succeeds(admin, "python", "-c", DELETE, team.name)
    assert team.versions() == []


@SERVERS
@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"MLFLOW_TRACKING_PASSWORD": "wrong-password"}, "does not know ada with this password: set MLFLOW_TRACKING_"),
        ({"MLFLOW_TRACKING_USERNAME": ""}, "asks who this is: set MLFLOW_TRACKING_USERNAME and"),
    ],
)
def test_who_the_server_does_not_know_gets_one_sentence(
    copied: Team, environment: dict[str, str], sentence: str
) -> None:
    stranger = copied("ada").with_env(**environment)

    for command in ((*MLOPS, "registry", "show"), (*REPRO, "--single-item", "--force", "register")):
        done = stranger.run(*command)
        errors = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error: ")]
        assert done.returncode != 0
        assert len(errors) == 1, done.stdout + done.stderr
        assert sentence in errors[0]
        assert "Traceback" not in done.stderr


@SERVERS
def test_the_server_refuses_who_calls_it_by_another_name(tracking: Tracking) -> None:
    server = tracking
    known = base64.b64encode(f"ada:{server.passwords['ada']}".encode()).decode()

    def answer(host: str) -> int:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
        connection.request(
            "GET", "/api/2.0/mlflow/registered-models/search", headers={"Host": host, "Authorization": f"Basic {known}"}
        )
        return connection.getresponse().status

    assert answer(server.url.removeprefix("http://")) == 200
    assert answer("mlflow.evil.example") == 403


@SERVERS
def test_no_secret_is_left_anywhere(copied: Team, tracking: Tracking, postgres: Postgres, s3: S3) -> None:
    team, server, ada = copied, tracking, copied("ada")
    printed = [succeeds(ada, *MLOPS, "sync"), succeeds(team("bob"), *MLOPS, "approve", "1", "--reason", "looked at it")]
    wrong = ada.with_env(MLFLOW_TRACKING_PASSWORD=server.passwords["bob"]).run(*MLOPS, "registry", "show")
    unreachable = ada.with_env(MLFLOW_TRACKING_URI=f"http://ada:{server.passwords['ada']}@127.0.0.1:9").run(
        *MLOPS, "sync"
    )
    printed += [wrong.stderr, unreachable.stderr, succeeds(ada, *MLOPS, "trace", "1", "--json")]
    commit(team.project, "Approved")
    kept = {one.key: one.get()["Body"].read() for one in s3.bucket.objects.all()}

    told = (
        "import json, mlflow; c = mlflow.MlflowClient(); "
        "print([run.to_dictionary() for run in mlflow.search_runs(search_all_experiments=True, output_format='list')], "
        "[dict(version) for version in c.search_model_versions()])"
    )
    places = {
        "the server's log": server.log.read_bytes(),
        "runs and versions": succeeds(team("admin"), "python", "-c", told).encode(),
        **kept,
    }

    assert b"approve" in places["runs and versions"]  # so this is where to look
    assert any(key.endswith("metrics.json") for key in kept)
    for secret in (*server.passwords.values(), postgres.password, s3.key, s3.key_id):
        assert found_in(secret, team.project, *printed) == []
        assert [name for name, content in places.items() if secret.encode() in content] == []
