"""What a sweep tries, in which order, and how it ranks; no experiment runs here."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from mlops.base import params, yaml
from mlops.base.errors import ParameterError
from mlops.commands.experiments import ranking, sweep
from mlops.history import clones, experiments
from mlops.history.clones import State
from mlops.history.experiments import Trial, TrialResult
from mlops.registry import backend

PARAMS: dict[str, Any] = {
    "train": {"model": "forest", "folds": 5},
    "models": {"forest": {"depth": 3}, "ridge": {"alpha": 1.0}},
    "sweep": {
        "seed": 1,
        "space": {
            "models.forest.depth": {"low": 2, "high": 9},
            "models.ridge.alpha": {"low": 0.1, "high": 10.0, "log": True},
            "train.model": ["forest", "ridge"],
        },
    },
    "tracking": {"uri": "", "experiment": "here"},
}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / params.FILE).write_text(yaml.dumped(PARAMS), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def result(number: int, mean: float | None, parameters: dict[str, Any] | None = None) -> TrialResult:
    trial = Trial(number, f"s-{number:03d}", ())
    spread, failed = (0.1, "") if mean is not None else (None, "it broke")
    return TrialResult(trial, mean, spread, parameters or {}, failed)


def plan(overrides: list[str], trials: int, sampler: Any) -> sweep.Plan:
    return sweep._plan(overrides, trials, sampler, "s", "accuracy", maximize=True)


# ---- what is tried


def test_a_grid_is_the_product_of_what_dvc_takes_for_lists_and_ranges() -> None:
    grid = plan(["train.model=forest,ridge", "models.forest.depth=range(2,8,3)", "train.folds=4"], 0, "tpe")

    assert grid.total == 4
    assert [grid.trial(number, []).overrides for number in range(4)] == [
        ("train.model=forest", "models.forest.depth=2", "train.folds=4"),
        ("train.model=forest", "models.forest.depth=5", "train.folds=4"),
        ("train.model=ridge", "models.forest.depth=2", "train.folds=4"),
        ("train.model=ridge", "models.forest.depth=5", "train.folds=4"),
    ]


def test_what_is_fixed_is_in_every_trial_and_nothing_that_it_leaves_without_use() -> None:
    trials = plan(["train.model=ridge", "train.folds=4"], 3, "random")

    for number in range(trials.total):
        drawn = experiments.parse_overrides(trials.trial(number, []).overrides)
        assert drawn.keys() == {"train.model", "train.folds", "models.ridge.alpha"}
        assert (drawn["train.model"], drawn["train.folds"]) == ("ridge", 4)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_trial_is_the_same_whether_the_ones_before_ran_just_now_or_are_read_from_git(sampler: Any) -> None:
    trials = plan([], 20, sampler)
    ran: list[TrialResult] = []
    read: list[TrialResult] = []
    for number in range(15):
        trial = trials.trial(number, ran)
        assert trials.trial(number, read) == trial
        drawn = experiments.parse_overrides(trial.overrides)
        ran.append(TrialResult(trial, number % 4 / 4, 0.1, drawn))
        # From Git comes all of params.yaml, with what this trial did not set as it was.
        read.append(result(number, number % 4 / 4, params.flat(PARAMS) | drawn))


@pytest.mark.parametrize(
    ("overrides", "trials", "words"),
    [
        (["train.modle=forest"], 0, "did you mean train.model?"),
        (["train.model=forest,ridge"], 3, "give -S one value each"),
        (["train.model=[forest"], 0, "-S cannot be read"),
        ([], 0, "nothing is to be tried"),
    ],
)
def test_what_cannot_be_tried_is_refused(overrides: list[str], trials: int, words: str) -> None:
    with pytest.raises(ParameterError) as refused:
        plan(overrides, trials, "tpe")

    assert words in str(refused.value)


@pytest.mark.parametrize("name", ["", "a/b", "a..b", "-x", "a b"])
def test_a_name_that_no_experiment_can_have_is_refused_before_anything_is_done(name: str) -> None:
    with pytest.raises(ParameterError, match="--name is"):
        sweep.sweep(name=name)


def test_trials_need_something_to_vary(project: Path) -> None:
    content = {**PARAMS, "sweep": {"seed": 1, "space": {}}}
    (project / params.FILE).write_text(yaml.dumped(content), encoding="utf-8")

    with pytest.raises(ParameterError, match="nothing left to vary"):
        plan([], 3, "tpe")


def test_trials_whose_space_is_fixed_as_a_whole_are_refused() -> None:
    fixed = ["train.model=ridge", "models.ridge.alpha=2.0"]

    with pytest.raises(ParameterError, match="nothing left to vary"):
        plan(fixed, 3, "tpe")


# ---- in which order


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials that end after a moment, in clones that are not made."""

    def run(trial: Trial, *_: Any) -> TrialResult:
        time.sleep(0.05)
        return result(trial.number, 0.5)

    @contextmanager
    def clone(state: State, folder: Path) -> Iterator[Path]:
        yield folder

    monkeypatch.setattr(experiments, "run", run)
    monkeypatch.setattr(clones, "clone", clone)
    monkeypatch.setattr(backend, "address", lambda uri: uri)


class Asked:
    """A plan of four trials that notes how many results it was given, finished and running."""

    name, metric, total = "s", "accuracy", 4

    def __init__(self) -> None:
        self.known: list[tuple[int, int]] = []

    def trial(self, number: int, results: list[TrialResult]) -> Trial:
        running = sum(one.mean is None for one in results)
        self.known.append((len(results) - running, running))
        return Trial(number, f"s-{number}", ())


@pytest.mark.usefixtures("instant")
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_trial_knows_all_that_is_finished_when_its_turn_comes(jobs: int, capsys: pytest.CaptureFixture[str]) -> None:
    asked, results = Asked(), list[TrialResult]()

    sweep._run(cast(sweep.Plan, asked), State("commit"), jobs, results)

    assert sorted(one.trial.number for one in results) == [0, 1, 2, 3]
    assert all(running < jobs for _, running in asked.known)
    assert [ended for ended, _ in asked.known] == [
        max(0, number - running) for number, (_, running) in enumerate(asked.known)
    ]
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == ["[1/4]", "[2/4]", "[3/4]", "[4/4]"]
    assert "0.5000 ± 0.1000  s-00" in lines[0]


@pytest.mark.usefixtures("instant")
def test_only_what_is_missing_runs() -> None:
    asked, results = Asked(), [result(1, 0.5), result(3, None)]

    sweep._run(cast(sweep.Plan, asked), State("commit"), 1, results)

    assert [one.trial.number for one in results] == [1, 3, 0, 2]


@pytest.mark.usefixtures("instant")
def test_an_interruption_while_a_result_is_printed_ends_what_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped: list[bool] = []

    def run(trial: Trial, *arguments: Any) -> TrialResult:
        if trial.number:
            stopped.append(arguments[-1].wait(10))
        return result(trial.number, 0.5)

    def interrupted(_: TrialResult) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(experiments, "run", run)
    monkeypatch.setattr(experiments, "finished", lambda *_: [result(0, 0.5)])
    monkeypatch.setattr(ranking, "line", interrupted)

    with pytest.raises(SystemExit) as ended:
        sweep._run(cast(sweep.Plan, Asked()), State("commit"), 2, [])

    assert ended.value.code == 130
    assert stopped == [True]
    assert capsys.readouterr().err == "stopped: 1 of 4 are finished and kept; the same command goes on\n"


@pytest.mark.usefixtures("instant")
def test_experiments_at_once_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed: list[str] = []

    def run(trial: Trial, *arguments: Any) -> TrialResult:
        allowed.append(arguments[3]["LOKY_MAX_CPU_COUNT"])
        return result(trial.number, 0.5)

    monkeypatch.setattr(experiments, "run", run)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)

    sweep._run(cast(sweep.Plan, Asked()), State("commit"), 3, [])

    assert allowed == ["2"] * 4


# ---- what is read from Git


def test_finished_trials_are_read_with_what_they_changed(handmade: Any, classifier: Any) -> None:
    right = np.arange(60) % 5 > 0
    handmade.result(classifier(right))
    handmade.commit("First")
    handmade.result(classifier(right), folds=[0.7, 0.9], changed={"train": {"model": "a b"}})
    handmade.experiment("s-007")
    handmade.result(classifier(right))
    handmade.experiment("other-001")

    [found] = experiments.finished("s", "accuracy")

    assert found.trial == Trial(7, "s-007", ('train.model="a b"',))
    assert (found.mean, found.failed) == (pytest.approx(0.8), "")
    assert found.parameters["train.model"] == "a b"


@pytest.mark.parametrize(
    ("training", "reason"),
    [
        ({"cross_validated": {}}, "accuracy is not defined for it"),
        ({}, r"reports/training\.json of s-001 \(.*\) has no cross_validated, it was made by an older pipeline"),
        ({"cross_validated": {"accuracy": {"mean": None, "std": None}}}, "accuracy is not defined for it"),
        (None, r"s-001 \(.*\) has no reports/training\.json"),
    ],
)
def test_an_experiment_without_the_metric_is_a_failed_trial(
    handmade: Any, classifier: Any, training: dict[str, Any] | None, reason: str
) -> None:
    handmade.result(classifier(np.arange(60) % 5 > 0))
    handmade.commit("First")
    if training is None:
        (handmade.path / "reports" / "training.json").unlink()
    else:
        handmade.write("reports/training.json", training)
    handmade.experiment("s-001")

    [found] = experiments.finished("s", "accuracy")

    assert found.mean is None
    assert re.match(reason, found.failed), found.failed


# ---- how it is ranked


def test_a_trial_without_the_metric_has_no_rank_but_a_reason(handmade: Any, classifier: Any) -> None:
    handmade.result(classifier(np.arange(60) % 5 > 0))
    handmade.commit("First")
    spreads = {"roc_auc": {"mean": 0.9, "std": None}, "f1": {"mean": None, "std": None}}
    for number, scores in enumerate([{"accuracy": {"mean": 0.8, "std": 0.1}}, spreads]):
        handmade.write("reports/training.json", {"cross_validated": scores})
        handmade.experiment(f"s-{number:03d}")

    for metric, places, reason in (
        ("roc_auc", [1], "roc_auc is not defined for it, but accuracy"),
        ("f1", [], "f1 is not defined for it, but roc_auc"),
    ):
        best_first, failed = ranking.ranked(experiments.finished("s", metric), maximize=True)

        assert [found.trial.number for found in best_first] == places
        assert failed[-1].failed == reason
    [alone] = ranking.ranked(experiments.finished("s", "roc_auc"), maximize=True)[0]
    assert ranking.line(alone).startswith("0.9000  s-001")


@pytest.mark.parametrize(("maximize", "order"), [(True, [2, 0, 1]), (False, [1, 0, 2])])
def test_the_ranking_has_the_best_first_and_leaves_failures_out(maximize: bool, order: list[int]) -> None:
    results = [result(0, 0.5), result(1, 0.0), result(2, 0.75), result(3, None)]

    best_first, failed = ranking.ranked(results, maximize=maximize)

    assert [one.trial.number for one in best_first] == order
    assert [one.trial.number for one in failed] == [3]


def test_the_ranking_ends_with_the_commands_to_go_on_with(capsys: pytest.CaptureFixture[str]) -> None:
    ranking.print_ranking([result(1, 0.75), result(0, 0.5)], [result(2, None)], "accuracy")

    printed = capsys.readouterr().out
    assert "  1  0.7500 ± 0.1000  s-001" in printed
    assert "  –  failed: it broke  s-002" in printed
    assert "the best accuracy of 3: s-001" in printed
    assert "dvc exp apply s-001 " in printed
    assert "dvc exp branch s-001 BRANCH" in printed
    assert "python -m mlops compare s-001 s-000 " in printed
