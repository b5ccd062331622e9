"""Eight weeks of a simulated year, on the quick project: everything that a year is to show happens."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlops.history import paths
from ruamel.yaml import YAML

from tests import browser
from tests.conftest import BakedProject, bake_copy

WEEKS = ("simulate", "--weeks", "8", "--label-delay", "1", "--json", "--html")


@pytest.fixture(scope="module")
def run(quick: BakedProject, tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    page = tmp_path_factory.mktemp("year") / "simulation.html"
    done = quick.call(*WEEKS, str(page))
    assert done.returncode == 0, done.stderr
    done.args = page
    return done


@pytest.fixture(scope="module")
def year(run: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    return json.loads(run.stdout)


def told(year: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [event for event in year["events"] if event["kind"] == kind]


def mean(year: dict[str, Any], side: str, first: int, last: int) -> float:
    weeks = [week for week in year["weeks"] if first <= week["week"] <= last and week[side] is not None]
    return float(np.mean([week[side] for week in weeks]))


def test_the_same_seed_gives_the_same_year_to_the_byte_and_the_project_stays_as_it_was(
    quick: BakedProject, run: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    again = quick.call(*WEEKS, str(tmp_path / "again.html"))
    other = quick.call(*WEEKS, str(tmp_path / "other.html"), "--seed", "43")

    assert again.stdout == run.stdout
    assert (tmp_path / "again.html").read_bytes() == run.args.read_bytes()
    assert json.loads(other.stdout)["weeks"] != json.loads(run.stdout)["weeks"]
    assert run.stderr == again.stderr == ""  # a log gets no progress
    assert quick.run("git", "status", "--porcelain").stdout == ""
    assert not (quick.path / paths.DRIFT.with_name("simulation.html")).exists()


def test_the_broken_delivery_is_refused_and_nobody_is_answered(year: dict[str, Any]) -> None:
    [broken], [refused] = told(year, "broken delivery"), told(year, "refused")
    week = year["weeks"][refused["week"] - 1]

    assert broken["week"] == refused["week"] == 3
    assert refused["text"].startswith("range of tenure: ")
    assert [week[side] for side in ("with", "without", "verdict")] == [None, None, None]


def test_after_the_shift_a_retraining_helps(year: dict[str, Any]) -> None:
    [shift], [promoted] = told(year, "sudden shift"), told(year, "promoted")
    [trained, _] = told(year, "retrained")
    [bad] = told(year, "wrong labels")

    assert shift["week"] < trained["week"] < promoted["week"] <= bad["week"]
    assert trained["version"] == promoted["version"] == 2
    before, without = mean(year, "without", 1, shift["week"] - 1), mean(year, "without", shift["week"], 8)
    assert before - without > 0.05
    helped = [mean(year, side, promoted["week"], bad["week"]) for side in ("with", "without")]
    assert helped[0] - helped[1] > 0.05
    assert year["accuracy"]["with"] > year["accuracy"]["without"] + 0.02


def test_a_challenger_that_learnt_wrong_labels_passes_the_gate_and_is_rolled_back_by_feedback(
    year: dict[str, Any],
) -> None:
    [bad], [rolled] = told(year, "wrong labels"), told(year, "rolled back")
    trained = told(year, "retrained")[-1]

    assert trained["week"] == bad["week"]
    assert trained["version"] == rolled["version"] == 3
    assert told(year, "gate refused") == []
    assert "answers with feedback" in rolled["text"]
    tried = [week for week in year["weeks"] if week["challenger"] == 3]
    assert [week["week"] for week in tried] == [bad["week"] + 1]
    assert year["weeks"][-1]["champion"] == 2
    assert mean(year, "with", 8, 8) > mean(year, "with", 7, 7) + 0.05


def test_labels_come_late(year: dict[str, Any]) -> None:
    [week, *others] = year["weeks"]

    assert week["realised"] is None
    assert others[0]["realised"] == pytest.approx(week["with"])


def test_the_page_says_it_in_a_sentence_and_names_every_event(
    year: dict[str, Any], run: subprocess.CompletedProcess[str]
) -> None:
    text = run.args.read_text(encoding="utf-8")

    assert year["sentence"].startswith(f"With retraining {year['accuracy']['with']:.3f} of the answers were right")
    assert "2 retrainings (1 promoted, 1 rolled back), 1 delivery refused" in year["sentence"]
    assert f'<p class="plain">{year["sentence"]}.</p>' in text
    assert len(re.findall(r"<tr><td>\d", text)) == 8
    assert text.count("<title>week") == len(
        [one for one in year["events"] if one["kind"] in "refused retrained promoted wrong labels rolled back"]
    )
    assert all(f"<b>{event['kind'].capitalize()}" in text for event in year["events"])
    assert "http" not in re.sub(r'xmlns="[^"]*"', "", text)


def test_the_page_fits_every_window(run: subprocess.CompletedProcess[str], tmp_path: Path) -> None:
    assert browser.faults([run.args], tmp_path) == []


def test_a_number_cannot_be_simulated_and_a_sentence_says_why(quick: BakedProject, tmp_path: Path) -> None:
    project, yaml = bake_copy(quick, tmp_path), YAML()
    schema = yaml.load(project.read("schema.yaml"))
    schema["columns"]["churn"]["role"] = "ignore"
    schema["columns"]["monthly_charges"]["role"] = "target"
    yaml.dump(schema, project.path / "schema.yaml")

    done = project.call(*WEEKS, str(tmp_path / "page.html"))

    assert done.returncode == 1
    assert "the target monthly_charges is a number: a year is simulated for classes only" in done.stderr
    assert not (tmp_path / "page.html").exists()
