"""`sweep`: many DVC experiments, each in a clone of the project as it is now, and the best of them.

Not by DVC's queue, which costs more for each, and can stop with some still in it. What is finished
is an experiment in Git: the same command on the same state goes on from there, also after a kill.
"""

import hashlib
import json
import os
import re
import shutil
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mlops.base import console, locks, params, yaml
from mlops.base.errors import ParameterError, StoreError, nearest
from mlops.commands.experiments.progress import Board
from mlops.commands.options import AsJson, DryRun
from mlops.history import clones, experiments, paths, revisions
from mlops.history.clones import State
from mlops.history.experiments import Candidate, Outcome
from mlops.registry import backend

if TYPE_CHECKING:
    from mlops.training.proposals import Tried

Clones = SimpleQueue[tuple[Path, Path]]
FOLDER = Path(".dvc/tmp/sweeps")
NAME = re.compile(r"\w[\w-]*")  # what a file, a Git ref and an option can all be called


@dataclass(frozen=True)
class Plan:
    """What is to be tried: a grid, or so many trials of a space; `fixed` changes are common to all trials."""

    grid: list[tuple[str, ...]]
    trials: int
    sampler: Literal["random", "tpe"]
    fixed: tuple[str, ...]
    space: params.Space
    seed: int
    model: str

    @property
    def total(self) -> int:
        """How many candidates there are."""
        return self.trials or len(self.grid)

    def candidate(self, number: int, sweep: str, tried: list[Outcome | Candidate], *, maximize: bool) -> Candidate:
        """The next candidate, given those that are finished or running."""
        name = f"{sweep}-{number:03d}"
        if not self.trials:
            return Candidate(number, name, self.grid[number])
        from mlops.training import proposals

        past = [self._tried(one) for one in tried if isinstance(one, Candidate) or one.mean is not None]
        drawn = proposals.propose(
            self.space, self.model, past, self.sampler,
            maximize=maximize, seed=self.seed, number=number,
        )  # fmt: skip
        return Candidate(
            number, name, (*self.fixed, *(f"{key}={experiments.as_override(value)}" for key, value in drawn.items()))
        )

    def _tried(self, one: Outcome | Candidate) -> "Tried":
        """What was tried of the space, whether it is the default or not; a running one is known by its changes."""
        from mlops.training.proposals import MODEL, Tried, belongs

        known = one.parameters if isinstance(one, Outcome) else experiments.parse_overrides(one.overrides)
        model = known.get(MODEL, self.model)
        used = {name: known[name] for name in self.space if name in known and belongs(name, model)}
        return Tried(used, one.mean if isinstance(one, Outcome) else None)


def sweep(
    set_param: Annotated[
        list[str] | None,
        typer.Option("--set-param", "-S", help="A parameter and its values, as DVC takes them: a.b=1,2."),
    ] = None,
    trials: Annotated[int, typer.Option(min=0, help="So many trials of sweep.space instead of a grid.")] = 0,
    sampler: Annotated[Literal["random", "tpe"], typer.Option(help="How trials are chosen.")] = "tpe",
    jobs: Annotated[int, typer.Option(min=1, help="Experiments at once.")] = 1,
    metric: Annotated[str, typer.Option(help="Cross-validated; auto is the headline.")] = "auto",
    maximize: Annotated[
        bool | None, typer.Option("--maximize/--minimize", help="By default what is better of this metric.")
    ] = None,
    name: Annotated[str, typer.Option(help="What the experiments' names begin with.")] = "sweep",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Try many parameters, each an experiment in a clone of its own; the same command goes on where it was stopped.

    Raises:
        ParameterError: there is nothing to try, or a parameter or the metric is unknown.
        StoreError: there is no commit, the same sweep is running, or all candidates failed.
    """
    if not NAME.fullmatch(name):
        raise ParameterError(f"--name is {name!r}: take letters, digits, _ and -, the first of them no -")
    overrides = set_param or []
    plan = _plan(overrides, trials, sampler)
    metric, higher = _metric(metric)
    maximize = higher if maximize is None else maximize
    state = clones.frozen()
    # A grid is the same whatever it is ranked by; what trials come up depends on it.
    asked = json.dumps([state.tree, state.commit, overrides, *([sampler, metric, maximize] if trials else [])])
    sweep = f"{name}-{hashlib.sha256(asked.encode()).hexdigest()[:6]}"
    board = Board(plan.total, metric, maximize, finished=experiments.finished(sweep, metric))
    if dry_run:
        for number in range(plan.total if not trials else 0):
            typer.echo(f"{sweep}-{number:03d}  {' '.join(plan.grid[number])}")
        typer.echo(f"{sweep}: {plan.total} candidates, {len(board.finished)} of them finished; the best {metric} wins")
        return
    if files := clones.untracked():
        typer.echo(f"not known to Git, and so to no experiment: {', '.join(files[:5])} (`git add` them)", err=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with locks.exclusive(FOLDER / f"{sweep}.lock", f"the sweep {sweep} is running already: let it end, or stop it"):
        _run(plan, sweep, state, jobs, board)
    ranked, failed = board.best(), board.failed()
    if as_json:
        console.print_json([one.as_dict() for one in [*ranked, *failed]])
    else:
        board.print()
    if not ranked:
        raise StoreError(f"all {plan.total} candidates failed, the first one with: {failed[0].failed}")


# ---- what is to be tried


def _plan(overrides: list[str], trials: int, sampler: Literal["random", "tpe"]) -> Plan:
    from dvc.exceptions import InvalidArgumentError
    from dvc.utils.hydra import get_hydra_sweeps
    from hydra.errors import HydraException

    from mlops.training.proposals import MODEL, belongs

    settings = params.load(params.Sweep)
    content = yaml.read(params.FILE)
    known = params.flat(content)
    for override in overrides:
        key = override.partition("=")[0]
        if key[:1] not in "+~" and not any(one == key or one.startswith(f"{key}.") for one in known):
            raise ParameterError(f"-S {override} changes no parameter of {params.FILE}: {nearest(key, list(known))}")
    try:
        grid = [tuple(changes[params.FILE.name]) for changes in get_hydra_sweeps({params.FILE.name: overrides})]
    except (HydraException, InvalidArgumentError) as error:
        raise ParameterError(f"-S is not as DVC takes it: {' '.join(str(error).split())}") from None
    if trials and len(grid) > 1:
        raise ParameterError("--trials takes its values from sweep.space in params.yaml: give -S one value each")
    if not trials and not overrides:
        raise ParameterError("nothing is to be tried: give -S name=value,value … or --trials")
    for key in settings.space if trials else ():
        if key not in known and not key.startswith("models."):
            raise ParameterError(f"params.yaml: sweep.space.{key} is no parameter: {nearest(key, list(known))}")
    fixed = grid[0] if trials and overrides else ()
    given = experiments.parse_overrides(fixed)
    model = given.get(MODEL, content["train"]["model"])
    left = {name: dimension for name, dimension in settings.space.items() if name not in given}
    if trials and not any(belongs(name, model) for name in left):
        raise ParameterError("params.yaml: sweep.space has nothing left to vary: name a parameter there")
    return Plan([] if trials else grid, trials, sampler, fixed, left, settings.seed, model)


def _metric(asked: str) -> tuple[str, bool]:
    """The cross-validated metric to go by, never one of the test split, which would be spoilt; is more better?"""
    from mlops.training import task
    from mlops.training.metrics import HIGHER_IS_BETTER

    head = revisions.find("")
    known = head.json(paths.CROSS_VALIDATED)
    name = task.headline(head.json(paths.TRAINING)["task"], asked)
    if name not in known:
        raise ParameterError(f"--metric is {name}, but cross-validated are {', '.join(known)}: choose one of them")
    return name, HIGHER_IS_BETTER[name]


# ---- running


def _run(plan: Plan, sweep: str, state: State, jobs: int, board: Board) -> None:
    """Run what is missing, so many at a time; an interruption ends what runs, and keeps what is finished."""
    done = {one.candidate.number for one in board.finished}
    waiting = iter([number for number in range(plan.total) if number not in done])
    missing = plan.total - len(done & set(range(plan.total)))
    if not missing:
        return
    address = backend.address(params.load(params.Tracking).uri)
    stop = threading.Event()
    free: Clones = SimpleQueue()
    try:
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, FOLDER / sweep, ignore_errors=True)
            for place in range(min(jobs, missing)):
                # Not where a killed sweep had its own: what it started may still be running there.
                folder = (FOLDER / sweep / f"{os.getpid()}-{place}").resolve()
                free.put((folder, stack.enter_context(clones.clone(state, folder))))
            # What runs is ended, in this order, before the clone that it runs in is removed.
            pool = stack.enter_context(ThreadPoolExecutor(jobs))
            stack.callback(stop.set)
            show = stack.enter_context(board.shown())
            running: dict[Future[Outcome], Candidate] = {}
            while True:
                # A trial is proposed when its turn has come, so that it learns from all that are finished.
                while len(running) < jobs and (number := next(waiting, None)) is not None:
                    tried: list[Outcome | Candidate] = [
                        *sorted(board.finished, key=lambda one: one.candidate.number),
                        *running.values(),
                    ]
                    candidate = plan.candidate(number, sweep, tried, maximize=board.maximize)
                    board.running[candidate.name] = time.monotonic()
                    running[pool.submit(_try, candidate, state, free, board.metric, address, stop)] = candidate
                if not running:
                    return
                ended, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in ended:
                    candidate = running.pop(future)
                    board.running.pop(candidate.name)
                    board.finished.append(future.result())
                show()
    except (KeyboardInterrupt, SystemExit) as ended_by:
        # By what is in Git: one may have come there after the last look at what has ended.
        kept = len(experiments.finished(sweep, board.metric))
        typer.echo(f"stopped: {kept} of {plan.total} are finished and kept; the same command goes on", err=True)
        raise SystemExit(130 if isinstance(ended_by, KeyboardInterrupt) else ended_by.code) from None


def _try(
    candidate: Candidate, state: State, free: "Clones", metric: str, address: str, stop: threading.Event
) -> Outcome:
    """Run one experiment in a clone that is free."""
    folder, project = free.get()
    try:
        return experiments.run(candidate, state, folder, project, metric, address, stop)
    finally:
        free.put((folder, project))
