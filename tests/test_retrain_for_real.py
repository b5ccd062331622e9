"""`retrain` for real: pipeline, a Git and a DVC remote, registry, model server; from a delivery to production."""

import json
from pathlib import Path

import pytest

from tests import services
from tests.conftest import BakedProject, bake_copy
from tests.projects import DVC, Team, answers, change, commit, questions, runs, succeeds
from tests.services import ADMIN_KEY, ADMIN_KEYS, SHORT_CANARY

pytestmark = pytest.mark.xdist_group("model server")


def test_once_somebody_approves_a_delivery_becomes_the_version_in_production_by_its_canary(
    quick: BakedProject, tmp_path: Path
) -> None:
    team = Team(bake_copy(quick, tmp_path), None)
    project = team.project
    answers(team("bob"), "approve", "1")
    answers(team("ada"), "promote", "1", "--reason", "the first one")
    change(project, "retrain", "auto_merge", True)
    for name, value in {"route": "canary", **SHORT_CANARY}.items():
        change(project, "serving", name, value)
    head = commit(project, "Let it go the whole way")
    succeeds(project, "git", "clone", "--quiet", "--bare", ".", "../remote.git")
    succeeds(project, "git", "remote", "add", "origin", "../remote.git")

    first = json.loads(answers(team("ada"), "retrain", "--json"))

    assert first["outcome"] == "merged", first["told"]
    assert first["decision"]["trigger"] == "new rows"
    assert first["awaited"].startswith(f"version {first['version']} is the challenger: its canary is begun by")
    newest = team.versions()[0]
    assert (newest["version"], newest["aliases"]) == (first["version"], ["challenger"])
    said = {"training_type": "automatic", "trigger": "new rows", "commit": first["commit"], "registered": "true"}
    assert said.items() <= newest.items()
    assert "300 new labelled rows, 33.3% of the 900 in use" in str(newest["reasons"])
    (run,) = [tags for tags in runs(project) if tags["model_digest"] == first["model"]]
    assert {"training_type": "automatic", "trigger": "new rows", "stage": "candidate"}.items() <= run.items()

    answers(team("rita"), "approve", first["version"])
    with services.model(team("ada"), tmp_path / "server", "--poll", "1", **ADMIN_KEYS) as server:
        ada = team("ada").with_env(MLOPS_SERVER_URL=server.url, MLOPS_ADMIN_KEY=ADMIN_KEY)
        with services.asked(server, questions(project)):
            second = json.loads(answers(ada, "retrain", "--json"))

    assert (second["outcome"], second["commit"]) == ("in production", first["commit"]), second["told"]
    assert "champion" in team.versions()[0]["aliases"]
    log = succeeds(project, "git", "show", "origin/main:reports/audit.jsonl")
    changes = [entry for entry in map(json.loads, log.splitlines()) if entry["action"] != "route"]
    assert [entry["action"] for entry in changes] == ["approve", "promote", "approve", "promote"]
    assert "step 1 of 1 passed" in changes[-1]["reason"]
    card = succeeds(project, "git", "show", "origin/main:reports/model_card.md")
    assert "without a person, because of new rows: 300 new labelled rows" in card
    review = project.read(".retrain/review.md")
    assert "- passed  champion: lower end of the gain in accuracy over the version in production" in review
    assert f"→ {first['branch']}" in review
    # What was pushed is all there for somebody else, and what was here is as it was.
    succeeds(project, "git", "clone", "--quiet", "../remote.git", "../fresh")
    fresh = BakedProject(project.path.with_name("fresh"), "")
    succeeds(fresh, *DVC, "pull", "--quiet", "data/raw", "models/model.joblib")
    assert len(list((fresh.path / "data" / "raw").iterdir())) == 2
    assert succeeds(project, "git", "rev-parse", "HEAD", "main").split() == [head, head]
    assert succeeds(project, "git", "status", "--porcelain").split() == ["M", "reports/audit.jsonl"]

    third = json.loads(answers(team("ada"), "retrain", "--json"))

    assert third["outcome"] == "not needed"
    assert third["delivery"]["files"][0]["known"]
