"""`retrain` for real: the pipeline, a bare Git remote, a DVC remote, the registry; from a delivery to production."""

import json
from pathlib import Path

from tests.conftest import BakedProject, bake_copy
from tests.projects import DVC, Team, answers, change, commit, runs, succeeds


def test_a_delivery_becomes_the_version_in_production_once_somebody_approves(
    quick: BakedProject, tmp_path: Path
) -> None:
    team = Team(bake_copy(quick, tmp_path), None)
    project = team.project
    change(project, "retrain", "auto_merge", True)
    head = commit(project, "Let it go the whole way")
    succeeds(project, "git", "clone", "--quiet", "--bare", ".", "../remote.git")
    succeeds(project, "git", "remote", "add", "origin", "../remote.git")

    first = json.loads(answers(team("ada"), "retrain", "--json"))

    assert first["outcome"] == "merged", first["told"]
    assert first["decision"]["trigger"] == "new rows"
    assert f"version {first['version']} is not approved: someone else than its author" in first["awaited"]
    newest = team.versions()[0]
    assert (newest["version"], newest["aliases"]) == (first["version"], ["challenger"])
    said = {"training_type": "automatic", "trigger": "new rows", "commit": first["commit"], "registered": "true"}
    assert said.items() <= newest.items()
    assert "300 new labelled rows, 33.3% of the 900 in use" in str(newest["reasons"])
    (run,) = [tags for tags in runs(project) if tags["model_digest"] == first["model"]]
    assert {"training_type": "automatic", "trigger": "new rows", "stage": "candidate"}.items() <= run.items()

    answers(team("rita"), "approve", first["version"])
    second = json.loads(answers(team("ada"), "retrain", "--json"))

    assert (second["outcome"], second["commit"]) == ("in production", first["commit"])
    assert "champion" in team.versions()[0]["aliases"]
    log = succeeds(project, "git", "show", "origin/main:reports/audit.jsonl")
    assert [json.loads(line)["action"] for line in log.splitlines()] == ["approve", "promote"]
    card = succeeds(project, "git", "show", "origin/main:reports/model_card.md")
    assert "without a person, because of new rows: 300 new labelled rows" in card
    review = project.read(".retrain/review.md")
    assert "- passed  champion: no version in production to compare with" in review
    assert f"→ {first['branch']}" in review
    # What was pushed is all there for somebody else, and what was here is as it was.
    succeeds(project, "git", "clone", "--quiet", "../remote.git", "../fresh")
    fresh = BakedProject(project.path.with_name("fresh"), "")
    succeeds(fresh, *DVC, "pull", "--quiet", "data/raw", "models/model.joblib")
    assert len(list((fresh.path / "data" / "raw").iterdir())) == 2
    assert succeeds(project, "git", "rev-parse", "HEAD", "main").split() == [head, head]
    assert succeeds(project, "git", "status", "--porcelain").split() == ["??", "reports/audit.jsonl"]

    third = json.loads(answers(team("ada"), "retrain", "--json"))

    assert third["outcome"] == "not needed"
    assert third["delivery"]["files"][0]["known"]
