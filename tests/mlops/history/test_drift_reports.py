"""Checks in Git: which commits are checks, what is broken or missing is told, and one process reads all of them."""

import json
import os
import subprocess
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from mlops.__main__ import app
from mlops.base import files, params
from mlops.base.errors import StoreError
from mlops.history import drift_reports, git, paths
from typer.testing import CliRunner, Result

from tests.mlops.monitoring.reports import deliver, report

ADA = {"GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@localhost"}
ADA |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in ADA.items()}
AUDIT = {"number": 1, "when": "2026-02-01T09:00:00+00:00", "action": "promote", "who": "Ada", "from": None, "to": "3"}
AUDIT |= {"reason": "better", "model_digest": "sha-m", "previous": "", "hash": "x"}


def run(folder: Path, *arguments: str, day: int = 1) -> str:
    date = f"2026-01-{day:02d}T02:00:00+00:00"
    env = {**os.environ, **ADA, "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
    done = subprocess.run(["git", *arguments], cwd=folder, env=env, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder: Path, content: Any, day: int) -> str:
    """Commit a report (text as it is), and what else has changed."""
    text = content if isinstance(content, str) else json.dumps(content)
    files.write_text(folder / paths.DRIFT, text)
    run(folder, "add", "--all")
    run(folder, "commit", "--quiet", "--allow-empty", "--message", f"day {day}", day=day)
    return run(folder, "rev-parse", "HEAD")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project below the top of a repository, with a first commit without a delivery."""
    folder = tmp_path / "repository" / "my project"
    folder.mkdir(parents=True)
    run(folder.parent, "init", "--quiet", "--initial-branch=main")
    monkeypatch.chdir(folder)
    files.write_json(Path("reports/registration.json"), {"model_digest": "sha-m"})
    commit(folder, {"delivery": None, "alarm": False, "verdict": "no delivery yet"}, 1)
    return folder


def monitor(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["monitor", "history", *arguments], catch_exceptions=False)


def test_each_commit_that_brings_another_report_is_a_check(project: Path) -> None:
    first = commit(project, report("a"), 5)
    (project / "note.txt").write_text("x")
    commit(project, report("a"), 6)  # another change, the same report
    second = commit(project, report("b", drifted=["age"]), 12)
    files.write_text(paths.AUDIT, json.dumps(AUDIT) + "\n")

    told = json.loads(monitor("--json").stdout)

    assert [(each["commit"], each["time"], each["model"], each["version"]) for each in told["drift_history"]] == [
        (first, "2026-01-05T02:00:00+00:00", "sha-m", 3),
        (second, "2026-01-12T02:00:00+00:00", "sha-m", 3),
    ]
    assert told["drift_history"][1]["gap_days"] == 7
    assert told["events"][0]["action"] == "promote"
    assert told["baseline_stats"]["age"]["count"] == 80
    assert told["summary"]["total_checks"] == 2


def test_both_sides_of_a_merge_count_and_the_merge_itself_does_not(project: Path) -> None:
    commit(project, report("a"), 5)
    run(project, "checkout", "--quiet", "-b", "side")
    side = commit(project, report("b"), 6)
    run(project, "checkout", "--quiet", "main")
    main = commit(project, report("c"), 7)
    run(project, "merge", "--quiet", "--strategy=ours", "side", "--message", "Merge", day=8)

    found = drift_reports.read()

    assert [each["delivery"]["digest"] for each in found.checks] == ["a", "b", "c"]
    assert [each["commit"] for each in found.checks][1:] == [side, main]


def test_a_merge_that_brings_a_report_of_its_own_is_a_check(project: Path) -> None:
    commit(project, report("a"), 5)
    run(project, "checkout", "--quiet", "-b", "side")
    commit(project, report("b"), 6)
    run(project, "checkout", "--quiet", "main")
    commit(project, report("c"), 7)
    run(project, "merge", "--quiet", "--strategy=ours", "--no-commit", "side")
    merge = commit(project, report("d"), 8)

    assert [each["commit"] for each in drift_reports.read().checks][3:] == [merge]


def test_after_a_merge_the_report_that_stands_is_the_newest_one(project: Path) -> None:
    run(project, "checkout", "--quiet", "-b", "side")
    commit(project, report("late", drifted=["age"]), 9)
    run(project, "checkout", "--quiet", "main")
    files.write_text(params.FILE, "monitor: {windows: 2, needed: 1}\n")
    deliver(report("early"))
    run(project, "add", "--all")
    run(project, "commit", "--quiet", "--message", "early", day=5)
    run(project, "merge", "--quiet", "--strategy=ours", "side", "--message", "Merge", day=10)

    done = CliRunner().invoke(app, ["check-drift"])

    assert (done.exit_code, done.output) == (
        0,
        "0 of 3 features drifted; 1 of the last 2 deliveries raised an alarm\n",
    )


def test_a_report_that_is_not_committed_is_the_last_check(project: Path) -> None:
    commit(project, report("a"), 5)
    files.write_json(paths.DRIFT, report("b", rows=7))

    told = json.loads(monitor("--json").stdout)["drift_history"]

    assert [(each["commit"], each["delivery"]["rows"]) for each in told[1:]] == [("work tree", 7)]
    run(project, "add", "--all")
    run(project, "commit", "--quiet", "--message", "b")
    assert len(drift_reports.read().checks) == 2


@pytest.mark.parametrize("broken", ["<<<<<<< HEAD\n{}", "", "[" * 100_000, '{"delivery": {}}', "\udcff"])
def test_a_broken_report_in_the_history_is_told_and_left_out(project: Path, broken: str) -> None:
    commit(project, report("a"), 5)
    (project / paths.DRIFT).write_bytes(broken.encode(errors="surrogateescape"))
    run(project, "commit", "--all", "--quiet", "--message", "broken", day=6)
    bad = run(project, "rev-parse", "--short=8", "HEAD")
    commit(project, report("b"), 7)

    done = monitor()

    assert done.exit_code == 0
    assert f"reports/drift.json of {bad} is left out" in done.stderr
    assert "2 checks from 2026-01-05 to 2026-01-07, 0 with drift" in done.stdout


def test_a_broken_report_in_the_work_tree_is_told_as_such(project: Path) -> None:
    commit(project, report("a"), 5)
    (project / paths.DRIFT).write_text("{", encoding="utf-8")

    found = drift_reports.read()

    assert found.notes == ["reports/drift.json of work tree is left out: it is no JSON"]
    assert len(found.checks) == 1


def test_a_shallow_clone_says_so(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(project, report("a"), 5)
    commit(project, report("b"), 6)
    run(tmp_path, "clone", "--quiet", "--depth", "1", project.parent.as_uri(), "clone")
    monkeypatch.chdir(tmp_path / "clone" / "my project")

    done = monitor()

    assert "git fetch --unshallow" in done.stderr
    assert "1 check from 2026-01-06" in done.stdout


def test_outside_of_git_the_report_in_the_work_tree_is_the_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no check of a delivery yet" in monitor().stdout
    files.write_json(paths.DRIFT, report("a"))

    assert [each["commit"] for each in drift_reports.read().checks] == ["work tree"]


def test_the_text_names_what_drifts_and_what_is_unusual(project: Path) -> None:
    for day in range(1, 7):
        commit(project, report(f"{day}"), day)
    commit(project, report("z", rows=9, drifted=["age", "level"], shifts={"age": 40.0}), 30)

    done = monitor("--most", "2")

    lines = done.stdout.splitlines()
    assert lines[0] == "2 checks from 2026-01-06 to 2026-01-30, 1 with drift"
    assert lines[1] == "drift most often: age 1, level 1"
    assert lines[2].endswith("of the training data: age +40.0 % on 2026-01-30, size -2.0 % on 2026-01-06")
    assert lines[-2].split()[:2] == ["2026-01-30", "02:00"]
    assert " 9!" in lines[-2]
    assert " 24.0!" in lines[-2]
    assert lines[-1].startswith("!: far from")


def test_a_delivery_that_two_models_checked_is_one_delivery_with_two_lines(project: Path) -> None:
    for day, drifted in ((5, ["age", "level"]), (6, ["age"])):
        commit(project, report("a", drifted=drifted), day)

    lines = monitor().stdout.splitlines()

    assert lines[0] == "2 checks of 1 delivery from 2026-01-05 to 2026-01-06, 1 with drift"
    assert lines[1] == "drift most often: age 1"
    assert [line.split()[0] for line in lines[-2:]] == ["2026-01-05", "2026-01-06"]


def test_a_long_verdict_is_shortened_but_keeps_the_advice(project: Path) -> None:
    first = "2 of 3 features drifted (age, level)"
    long = f"{first}; the columns taken together drifted: {'a classifier ' * 9}; retraining is recommended: 67%"
    for day, verdict in ((5, long), (6, f"{first}; the predictions drifted")):
        commit(project, report(f"{day}", retraining=day == 5) | {"verdict": verdict}, day)

    one, other = monitor().stdout.splitlines()[-2:]

    assert one.rstrip().endswith(f" {first}; …; retraining is recommended")
    assert other.rstrip().endswith(f" {first}; the predictions drifted")


def test_the_output_is_a_file_and_since_is_a_date(project: Path) -> None:
    commit(project, report("a"), 5)
    commit(project, report("b"), 9)

    done = monitor("--since", "2026-01-06", "--output", "reports/history.json")

    assert done.stdout.startswith("1 check from 2026-01-09")
    assert set(files.read_json(Path("reports/history.json"))) == {
        *("baseline_stats", "drift_history", "summary", "events"),
    }
    assert monitor("--since", "2026-02-01").stdout == "no check since 2026-02-01: the last one is of 2026-01-09\n"
    refused = CliRunner().invoke(app, ["monitor", "history", "--since", "yesterday"])
    assert "--since yesterday is no date" in str(refused.exception)


def test_many_commits_are_read_by_one_process(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in range(2, 12):
        commit(project, report(f"{day}"), day)
    started: list[object] = []
    begin = subprocess.Popen.__init__

    def counted(self: subprocess.Popen[Any], *given: Any, **named: Any) -> None:
        started.append(given)
        begin(self, *given, **named)

    monkeypatch.setattr(subprocess.Popen, "__init__", counted)

    assert len(drift_reports.read().checks) == 10
    assert len(started) <= 6  # however many commits there are


def test_a_damaged_store_costs_only_what_is_damaged(project: Path, tmp_path: Path) -> None:
    commit(project, report("a"), 5)
    blob = run(project, "rev-parse", "HEAD:./reports/drift.json")
    commit(project, report("b"), 6)
    place = project.parent / ".git" / "objects" / blob[:2] / blob[2:]
    place.chmod(0o600)
    place.write_bytes(b"broken")

    found = drift_reports.read()

    assert [each["delivery"]["digest"] for each in found.checks] == ["b"]
    assert len(found.notes) == 1
    with chdir(tmp_path), pytest.raises(StoreError, match="git fsck"):
        list(git.contents(["HEAD"]))


def test_one_odd_day_is_no_alarm_and_two_are(project: Path) -> None:
    files.write_text(params.FILE, "monitor: {windows: 3, needed: 2}\n")
    commit(project, report("a"), 2)
    commit(project, report("b"), 3)
    deliver(report("c", drifted=["age"], retraining=True))
    odd = CliRunner().invoke(app, ["check-drift"])
    run(project, "add", "--all")
    run(project, "commit", "--quiet", "--message", "c", day=4)
    committed = CliRunner().invoke(app, ["check-drift"])
    deliver(report("d", drifted=["age"]))
    drift = CliRunner().invoke(app, ["check-drift", "--json"])
    deliver(report("d", drifted=["age"], retraining=True))
    retrain = CliRunner().invoke(app, ["check-drift"])
    deliver(report("e"))
    calm = CliRunner().invoke(app, ["check-drift"])

    assert (odd.exit_code, drift.exit_code, retrain.exit_code, calm.exit_code) == (0, 3, 4, 0)
    assert odd.output == "1 of 3 features drifted; 1 of the last 3 deliveries raised an alarm, 2 are needed\n"
    assert (committed.exit_code, committed.output) == (0, odd.output)
    told = json.loads(drift.output)
    assert told["recent"]["alarms"] == told["recent"]["needed"] == 2
    assert retrain.output == "1 of 3 features drifted; 2 of the last 3 deliveries raised an alarm\n"
    assert calm.output == "0 of 3 features drifted; 1 of the last 3 deliveries raised an alarm\n"
