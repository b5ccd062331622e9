"""What a sweep tries, in which order, and how it ranks: no experiment is run here."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from mlops.base import params, yaml
from mlops.base.errors import ParameterError
from mlops.commands.experiments import sweep
from mlops.commands.experiments.progress import Board
from mlops.history import clones, experiments
from mlops.history.clones import State
from mlops.history.experiments import Candidate, Outcome
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


def outcome(number: int, mean: float | None, parameters: dict[str, Any] | None = None) -> Outcome:
    candidate = Candidate(number, f"s-{number:03d}", ())
    return Outcome(candidate, mean, None if mean is None else 0.1, parameters or {}, 1.0, "" if mean else "it broke")


# ---- what is tried


def test_a_grid_is_the_product_of_what_dvc_takes_for_lists_and_ranges() -> None:
    plan = sweep._plan(["train.model=forest,ridge", "models.forest.depth=range(2,8,3)", "train.folds=4"], 0, "tpe")

    assert plan.total == 4
    assert [plan.candidate(number, "s", [], maximize=True).overrides for number in range(4)] == [
        ("train.model=forest", "models.forest.depth=2", "train.folds=4"),
        ("train.model=forest", "models.forest.depth=5", "train.folds=4"),
        ("train.model=ridge", "models.forest.depth=2", "train.folds=4"),
        ("train.model=ridge", "models.forest.depth=5", "train.folds=4"),
    ]


def test_what_is_fixed_is_in_every_trial_and_nothing_that_it_leaves_without_use() -> None:
    plan = sweep._plan(["train.model=ridge", "train.folds=4"], 3, "random")

    for number in range(plan.total):
        drawn = experiments.parse_overrides(plan.candidate(number, "s", [], maximize=True).overrides)
        assert drawn.keys() == {"train.model", "train.folds", "models.ridge.alpha"}
        assert (drawn["train.model"], drawn["train.folds"]) == ("ridge", 4)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_trial_is_the_same_whether_the_ones_before_ran_just_now_or_are_read_from_git(sampler: Any) -> None:
    plan = sweep._plan([], 20, sampler)
    ran: list[Outcome | Candidate] = []
    read: list[Outcome | Candidate] = []
    for number in range(15):
        candidate = plan.candidate(number, "s", ran, maximize=True)
        assert plan.candidate(number, "s", read, maximize=True) == candidate
        drawn = experiments.parse_overrides(candidate.overrides)
        ran.append(Outcome(candidate, number % 4 / 4, 0.1, drawn))
        # From Git comes all of params.yaml, with what this trial did not set as it was.
        read.append(outcome(number, number % 4 / 4, params.flat(PARAMS) | drawn))


@pytest.mark.parametrize(
    ("overrides", "trials", "words"),
    [
        (["train.modle=forest"], 0, "did you mean train.model?"),
        (["train.model=forest,ridge"], 3, "give -S one value each"),
        (["train.model=[forest"], 0, "-S is not as DVC takes it"),
        ([], 0, "nothing is to be tried"),
    ],
)
def test_what_cannot_be_tried_is_refused(overrides: list[str], trials: int, words: str) -> None:
    with pytest.raises(ParameterError) as refused:
        sweep._plan(overrides, trials, "tpe")

    assert words in str(refused.value)


@pytest.mark.parametrize("name", ["", "a/b", "a..b", "-x", "a b"])
def test_a_name_that_no_experiment_can_have_is_refused_before_anything_is_done(name: str) -> None:
    with pytest.raises(ParameterError, match="--name is"):
        sweep.sweep(name=name)


def test_trials_need_something_to_vary(project: Path) -> None:
    content = {**PARAMS, "sweep": {"seed": 1, "space": {}}}
    (project / params.FILE).write_text(yaml.dumped(content), encoding="utf-8")

    with pytest.raises(ParameterError, match="nothing left to vary"):
        sweep._plan([], 3, "tpe")


def test_trials_whose_space_is_fixed_as_a_whole_are_refused() -> None:
    fixed = ["train.model=ridge", "models.ridge.alpha=2.0"]

    with pytest.raises(ParameterError, match="nothing left to vary"):
        sweep._plan(fixed, 3, "tpe")


# ---- in which order


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_trial_knows_all_that_is_finished_when_its_turn_comes(jobs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    known: list[tuple[int, int]] = []

    class Asked:
        total = trials = 4

        def candidate(self, number: int, name: str, tried: list[Outcome | Candidate], *, maximize: bool) -> Candidate:
            ended = sum(isinstance(one, Outcome) for one in tried)
            known.append((ended, len(tried) - ended))
            return Candidate(number, f"{name}-{number}", ())

    def slowly(candidate: Candidate, *_: Any) -> Outcome:
        time.sleep(0.6)  # longer than the sweep looks away
        return outcome(candidate.number, 0.5)

    @contextmanager
    def clone(state: State, folder: Path) -> Iterator[Path]:
        yield folder

    monkeypatch.setattr(experiments, "run", slowly)
    monkeypatch.setattr(clones, "clone", clone)
    monkeypatch.setattr(backend, "address", lambda uri: uri)
    board = Board(4, "accuracy", maximize=True)

    sweep._run(cast(sweep.Plan, Asked()), "s", State("commit"), jobs, board)

    assert sorted(one.candidate.number for one in board.finished) == [0, 1, 2, 3]
    assert all(running < jobs for _, running in known)
    assert [ended for ended, _ in known] == [max(0, number - running) for number, (_, running) in enumerate(known)]


# ---- how it is ranked


@pytest.mark.parametrize(("maximize", "order"), [(True, [2, 0, 1]), (False, [1, 0, 2])])
def test_the_ranking_has_the_best_first_and_leaves_failures_out(maximize: bool, order: list[int]) -> None:
    finished = [outcome(0, 0.5), outcome(1, 0.25), outcome(2, 0.75), outcome(3, None)]
    board = Board(4, "accuracy", maximize, finished=finished)

    assert [one.candidate.number for one in board.best()] == order
    assert [one.candidate.number for one in board.failed()] == [3]


def test_the_ranking_ends_with_the_commands_to_go_on_with(capsys: pytest.CaptureFixture[str]) -> None:
    Board(3, "accuracy", maximize=True, finished=[outcome(0, 0.5), outcome(1, 0.75), outcome(2, None)]).print()

    said = capsys.readouterr().out
    assert "  1  0.7500 ± 0.1000  s-001" in said
    assert "  –  failed: it broke  s-002" in said
    assert "dvc exp apply s-001 " in said
    assert "dvc exp branch s-001 BRANCH" in said
    assert "python -m mlops compare s-001 s-000 " in said
