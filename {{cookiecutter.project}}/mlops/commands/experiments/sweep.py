"""`sweep`: run many DVC experiments, each in a clone of the project, and rank them.

DVC's own queue is not used: it costs more per experiment, and can stop before it is empty. A finished trial is an
experiment in Git, so the same command continues a sweep that was stopped or killed.
"""

import hashlib
import json
import os
import re
import shutil
import sys
import threading
from collections.abc import Generator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Annotated, Literal

import typer

from mlops.base import cluster, console, locks, params, yaml
from mlops.base.errors import ParameterError, StoreError, nearest
from mlops.commands.experiments import ranking
from mlops.commands.options import AsJson, DryRun
from mlops.history import clones, experiments, paths, revisions
from mlops.history.clones import State
from mlops.history.experiments import Trial, TrialResult
from mlops.registry import backend

FOLDER = Path(".dvc/tmp/sweeps")
NAME = re.compile(r"\w[\w-]*")  # valid as a file name, as a Git ref and as an argument


@dataclass(frozen=True)
class Plan:
    """The trials of a sweep: a grid of overrides, or `trials` proposals from a space, each with the `fixed` overrides.

    `model` is trained where the space has no train.model.
    """

    name: str
    metric: str
    maximize: bool
    grid: list[tuple[str, ...]]
    trials: int
    sampler: Literal["random", "tpe"]
    fixed: tuple[str, ...]
    space: params.Space
    seed: int
    model: str

    @property
    def total(self) -> int:
        """The number of trials."""
        return self.trials or len(self.grid)

    def trial(self, number: int, results: list[TrialResult]) -> Trial:
        """The next trial, given the results of the finished and running trials."""
        name = f"{self.name}-{number:03d}"
        if not self.trials:
            return Trial(number, name, self.grid[number])
        from mlops.training import proposals

        tried = []
        for result in results:
            if not result.failed:
                model = result.parameters.get(proposals.MODEL, self.model)
                varied = [key for key in self.space if key in result.parameters and proposals.belongs(key, model)]
                tried.append(proposals.Tried({key: result.parameters[key] for key in varied}, result.mean))
        proposal = proposals.propose(
            self.space, self.model, tried, self.sampler, maximize=self.maximize, seed=self.seed, number=number
        )
        return Trial(number, name, (*self.fixed, *experiments.as_overrides(proposal)))


def sweep(
    set_param: Annotated[
        list[str] | None,
        typer.Option("--set-param", "-S", help="A parameter and the values to try: train.folds=5,10."),
    ] = None,
    trials: Annotated[int, typer.Option(min=0, help="Try so many combinations of sweep.space, not all of -S.")] = 0,
    sampler: Annotated[
        Literal["random", "tpe"], typer.Option(help="At random, or by tpe, which learns from finished trials.")
    ] = "tpe",
    jobs: Annotated[int, typer.Option(min=1, help="Experiments at the same time.")] = 1,
    metric: Annotated[str, typer.Option(help="Cross-validated metric; auto: the headline.")] = "auto",
    maximize: Annotated[
        bool | None, typer.Option("--maximize/--minimize", help="Which is better; by default as the metric means it.")
    ] = None,
    name: Annotated[str, typer.Option(help="The experiments are called NAME-…")] = "sweep",
    at: Annotated[
        str, typer.Option("--cluster", help="Scheduler of a Dask cluster that does the work: tcp://HOST:8786.")
    ] = "",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Run many experiments with other parameters, and rank them.

    The same command continues a sweep that was stopped. The stages of an experiment run on this machine, and with
    `--cluster` their folds, fits and batches on the workers, for `--jobs` experiments at the same time.

    Raises:
        ParameterError: there is nothing to try, or a parameter or the metric is unknown.
        StoreError: there is no commit, no such cluster, the same sweep is running, or all trials failed.
    """
    from mlops.training.metrics import declare
    from project.metrics import METRICS

    declare(METRICS)
    if not NAME.fullmatch(name):
        raise ParameterError(f"--name is {name!r}: take letters, digits, _ and -, the first of them no -")
    overrides = set_param or []
    _ = revisions.find("").digests  # a dvc.lock that is cut off would make every trial fail
    metric, higher_is_better = _metric(metric)
    maximize = higher_is_better if maximize is None else maximize
    state = clones.frozen()
    # The trials of a grid do not depend on the ranking; proposals do.
    identity = json.dumps([state.tree, state.commit, overrides, *([sampler, metric, maximize] if trials else [])])
    name = f"{name}-{hashlib.sha256(identity.encode()).hexdigest()[:6]}"
    plan = _plan(overrides, trials, sampler, name, metric, maximize=maximize)
    results = experiments.finished(name, metric)
    if dry_run:
        for number, changes in enumerate(plan.grid):
            typer.echo(f"{name}-{number:03d}  {' '.join(changes)}")
        typer.echo(f"{name}: {plan.total} trials, {len(results)} of them finished; the best {metric} wins")
        return
    if at:
        os.environ["DASK_SCHEDULER_ADDRESS"] = at  # of the experiments, too
        with cluster.connected(params.load(params.Compute)):
            pass  # or each of them would say what is wrong with it
    if files := clones.untracked():
        typer.echo(f"experiments lack what Git does not know: {', '.join(files[:5])} (`git add` them)", err=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with locks.exclusive(FOLDER / f"{name}.lock", f"the sweep {name} is running already: let it end, or stop it"):
        _run(plan, state, jobs, results)
    best_first, failed = ranking.ranked(results, maximize=maximize)
    if as_json:
        console.print_json([result.as_dict() for result in (*best_first, *failed)])
    else:
        ranking.print_ranking(best_first, failed, metric)
    if not best_first:
        raise StoreError(f"all {plan.total} trials failed, the first one with: {failed[0].failed}")


def _metric(name: str) -> tuple[str, bool]:
    """The cross-validated metric to rank by, and whether a higher value is better.

    A metric of the test split is no choice: a ranking by the test split would spoil its estimate.
    """
    from mlops.training.metrics import HIGHER_IS_BETTER

    head = revisions.find("")
    known = head.json(paths.CROSS_VALIDATED)
    metric = head.headline if name == "auto" else name
    if metric not in known:
        raise ParameterError(f"--metric is {metric}, but cross-validated are {', '.join(known)}: choose one of them")
    return metric, HIGHER_IS_BETTER[metric]


def _plan(
    overrides: list[str], trials: int, sampler: Literal["random", "tpe"], name: str, metric: str, *, maximize: bool
) -> Plan:
    """The plan of these options; the options are checked against params.yaml."""
    from dvc.exceptions import InvalidArgumentError
    from dvc.utils.hydra import get_hydra_sweeps
    from hydra.errors import HydraException

    from mlops.training.proposals import MODEL, belongs

    settings, content = params.load(params.Sweep), yaml.read(params.FILE)
    known = params.flat(content)
    for override in overrides:
        key = override.partition("=")[0]
        if key[:1] not in "+~" and not any(parameter == key or parameter.startswith(f"{key}.") for parameter in known):
            raise ParameterError(f"-S {override} changes no parameter of {params.FILE}: {nearest(key, list(known))}")
    try:
        grid = [tuple(changes[params.FILE.name]) for changes in get_hydra_sweeps({params.FILE.name: overrides})]
    except (HydraException, InvalidArgumentError) as error:
        raise ParameterError(f"-S cannot be read: {' '.join(str(error).split())}") from None
    if not trials:
        if not overrides:
            raise ParameterError("nothing is to be tried: give -S name=value,value … or --trials")
        return Plan(name, metric, maximize, grid, 0, sampler, (), {}, settings.seed, content["train"]["model"])
    if len(grid) > 1:
        raise ParameterError("--trials takes its values from sweep.space in params.yaml: give -S one value each")
    for key in settings.space:
        if key not in known and not key.startswith("models."):
            raise ParameterError(f"params.yaml: sweep.space.{key} is no parameter: {nearest(key, list(known))}")
    fixed = grid[0] if overrides else ()
    values = experiments.parse_overrides(fixed)
    model = values.get(MODEL, content["train"]["model"])
    space = {key: dimension for key, dimension in settings.space.items() if key not in values}
    if not any(belongs(key, model) for key in space):
        raise ParameterError("params.yaml: sweep.space has nothing left to vary: name a parameter there")
    return Plan(name, metric, maximize, [], trials, sampler, fixed, space, settings.seed, model)


def _run(plan: Plan, state: State, jobs: int, results: list[TrialResult]) -> None:
    """Run the missing trials, and print and append each result; finished trials outlive an interruption."""
    finished = {result.trial.number for result in results}
    missing = [number for number in range(plan.total) if number not in finished]
    if not missing:
        shutil.rmtree(FOLDER / plan.name, ignore_errors=True)  # killed after its last trial
        return
    try:
        with closing(_new_results(plan, missing, state, jobs, results)) as new:
            for result in console.progress(new, len(missing), plan.name):
                # typer.echo would bypass the progress bar, and write into it.
                print(f"[{len(results)}/{plan.total}] {ranking.line(result)}", file=sys.stderr, flush=True)
    except (KeyboardInterrupt, SystemExit) as interruption:
        # Git has also the trials that ended after the last result was printed.
        finished = {result.trial.number for result in experiments.finished(plan.name, plan.metric)}
        typer.echo(
            f"stopped: {len(finished)} of {plan.total} are finished and kept; the same command goes on", err=True
        )
        raise SystemExit(130 if isinstance(interruption, KeyboardInterrupt) else interruption.code) from None


def _new_results(
    plan: Plan, missing: list[int], state: State, jobs: int, results: list[TrialResult]
) -> Generator[TrialResult, None, None]:
    """Run the missing trials, `jobs` at once; append each result to `results`, and give it."""
    address = backend.address(params.load(params.Tracking).uri)
    # joblib takes as many threads as this allows, so that experiments at once share the cores.
    cores = max(1, (os.cpu_count() or 1) // jobs)
    env = clones.environment(MLFLOW_TRACKING_URI=address, LOKY_MAX_CPU_COUNT=str(cores))
    stop = threading.Event()
    free: SimpleQueue[Path] = SimpleQueue()

    def run(trial: Trial) -> TrialResult:
        project = free.get()
        try:
            return experiments.run(trial, state, project, plan.metric, env, stop)
        finally:
            free.put(project)

    with ExitStack() as stack:
        stack.callback(shutil.rmtree, FOLDER / plan.name, ignore_errors=True)
        for place in range(min(jobs, len(missing))):
            # The process id is in the name, because a killed sweep's processes may still run in its own clones.
            folder = (FOLDER / plan.name / f"{os.getpid()}-{place}").resolve()
            free.put(stack.enter_context(clones.clone(state, folder)))
        # At the end, in this order: stop the processes, wait for them, remove the clones that they run in.
        pool = stack.enter_context(ThreadPoolExecutor(jobs))
        stack.callback(stop.set)
        numbers = iter(missing)
        running: dict[Future[TrialResult], TrialResult] = {}
        while True:
            # A trial is proposed only when it can start, so that it learns from all finished trials.
            while len(running) < jobs and (number := next(numbers, None)) is not None:
                in_order = sorted(results, key=lambda result: result.trial.number)
                trial = plan.trial(number, [*in_order, *running.values()])
                pending = TrialResult(trial, parameters=experiments.parse_overrides(trial.overrides))
                running[pool.submit(run, trial)] = pending
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                del running[future]
                results.append(future.result())
                yield results[-1]
