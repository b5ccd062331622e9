"""The chain behind a version, told as OpenLineage events."""

import json
from copy import deepcopy
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlops.commands.production import lineage

CHAIN: dict[str, Any] = {
    "name": "demo",
    "store": "sqlite:////srv/mlflow.db",
    "version": {
        "version": "3",
        "created": "2026-01-02T10:00:00+00:00",
        "author": "Ada",
        "model_digest": "1" * 64,
        "data_digest": "2" * 64,
        "params_digest": "3" * 64,
        "code_digest": "4" * 64,
    },
    "commit": "c" * 40,
    "committed": "2026-01-02T11:00:00+00:00",
    "repository": "https://localhost/demo.git",
    "data": [
        {"path": "data/raw/2025/a.csv", "md5": "a" * 32},
        {"path": "data/incoming/b.csv", "md5": "b" * 32},
    ],
    "stages": {
        "prepare": {"deps": {"data/raw": "d.dir"}, "outs": {"data/prepared/train.parquet": "e"}},
        "train": {"deps": {"data/prepared/train.parquet": "e"}, "outs": {"models/model.joblib": "f"}},
        "evaluate": {"deps": {"models/model.joblib": "f"}, "outs": {"reports/metrics.json": "0"}},
        "register": {"deps": {"reports/metrics.json": "0"}, "outs": {"reports/registration.json": "1"}},
    },
    "metrics": {"accuracy": 0.75, "roc_auc": None},
    "production": [
        {
            "action": action,
            "when": f"2026-01-03T0{number}:00:00+00:00",
            "who": "Bob",
            "reason": "well done",
            "from": "2",
            "hash": f"{number}" * 64,
        }
        for number, action in enumerate(("approve", "promote", "rollback"))
    ],
}
PASSWORD = st.text("abcXYZ019!$&'()*+,;=-._~:%", min_size=1).map("secret".__add__)


def told(**changed: Any) -> dict[str, dict[str, Any]]:
    """The events by the name of their job."""
    return {event["job"]["name"]: event for event in lineage.events(deepcopy(CHAIN) | changed)}


def named(datasets: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    return {(one["namespace"], one["name"], one["facets"]["version"]["datasetVersion"]) for one in datasets}


def tags(event: dict[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in event["run"]["facets"]["tags"]["tags"]}


def test_every_stage_and_then_every_change_of_production_is_an_event() -> None:
    events = lineage.events(CHAIN)

    jobs = [event["job"]["name"] for event in events]
    assert jobs == ["prepare", "train", "evaluate", "register", "approve", "promote", "rollback"]
    assert {event["job"]["namespace"] for event in events} == {"demo"}
    assert {event["eventType"] for event in events} == {"COMPLETE"}


def test_what_a_stage_writes_is_what_the_next_one_reads() -> None:
    for before, after in pairwise(list(told().values())[:5]):
        assert named(before["outputs"]) & named(after["inputs"]), (before["job"], after["job"])


def test_a_stage_that_reads_a_folder_of_data_reads_its_files() -> None:
    assert named(told()["prepare"]["inputs"]) == {
        ("dvc://demo", "data/raw", "d.dir"),
        ("dvc://demo", "data/raw/2025/a.csv", "a" * 32),
    }


def test_evaluate_has_the_metrics_that_were_measured() -> None:
    assert tags(told()["evaluate"]) == {"accuracy": "0.75"}


def test_register_makes_the_version_in_the_store_when_the_version_was_made() -> None:
    register = told()["register"]

    assert ("sqlite:////srv/mlflow.db", "demo", "3") in named(register["outputs"])
    assert register["eventTime"] == "2026-01-02T10:00:00+00:00"
    assert tags(register)["author"] == "Ada"
    assert tags(register)["model_digest"] == "1" * 64


def test_promotions_say_who_and_why_and_when_and_what_is_the_champion_then() -> None:
    jobs = told()

    assert jobs["approve"]["outputs"] == []
    for job, hour in (("promote", 1), ("rollback", 2)):
        assert named(jobs[job]["inputs"]) == {("sqlite:////srv/mlflow.db", "demo", "3")}
        assert named(jobs[job]["outputs"]) == {("sqlite:////srv/mlflow.db", "demo@champion", "3")}
        assert tags(jobs[job]) == {"who": "Bob", "reason": "well done", "from": "2"}
        assert jobs[job]["eventTime"] == f"2026-01-03T0{hour}:00:00+00:00"


def test_the_same_chain_gives_the_same_bytes_and_another_model_other_runs() -> None:
    other = CHAIN["version"] | {"model_digest": "9" * 64}

    first, again, others = (told(**changed) for changed in ({}, {}, {"version": other}))

    assert json.dumps(first) == json.dumps(again)
    runs = [event["run"]["runId"] for event in first.values()]
    assert len({UUID(run) for run in runs}) == len(runs)
    assert all(first[stage]["run"] != others[stage]["run"] for stage in CHAIN["stages"])


def test_the_code_of_a_stage_is_where_the_repository_is_and_nowhere_without_one() -> None:
    said = told()["train"]["job"]["facets"]["sourceCodeLocation"]
    assert told()["promote"]["job"]["facets"] == {}

    assert (said["type"], said["url"], said["version"]) == ("git", "https://localhost/demo.git", "c" * 40)
    assert all(event["job"]["facets"] == {} for event in told(repository="").values())


@pytest.mark.parametrize(
    ("remote", "url"),
    [
        ("https://localhost:8443/a/b.git", "https://localhost:8443/a/b.git"),
        ("https://ada:t0ken@localhost/a/b.git", "https://localhost/a/b.git"),
        ("https://t0ken@localhost/a/b.git?token=t0ken#t0ken", "https://localhost/a/b.git"),
        ("git@localhost:a/b c.git", "ssh://localhost/a/b%20c.git"),
        ("localhost:/srv/b.git", "ssh://localhost/srv/b.git"),
        ("/srv/git/b.git", ""),
        ("../b.git", ""),
        (r"C:\git\b.git", ""),
        ("", ""),
    ],
)
def test_a_remote_of_git_is_a_url_that_anyone_may_see(remote: str, url: str) -> None:
    assert lineage.source(remote) == url


@pytest.mark.parametrize("address", ["sqlite:////home/a@b/my project/mlflow.db", "https://localhost/@a/b"])
def test_an_address_without_secrets_stays_as_it_is(address: str) -> None:
    assert lineage.public(address) == address


@given(PASSWORD, st.sampled_from(["", "/", "@", "#", "?"]))
def test_no_password_is_left_in_an_address(password: str, awkward: str) -> None:
    address = f"postgresql+psycopg://ada:{password}{awkward}@localhost/db?password={password}"

    assert lineage.public(address) == "postgresql+psycopg://localhost/db"
