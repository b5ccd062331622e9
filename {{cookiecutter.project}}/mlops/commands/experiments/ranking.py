"""The ranking of a sweep's trials."""

import typer

from mlops.history.experiments import TrialResult

PRINTED = 10
COMPARED = 3


def ranked(results: list[TrialResult], *, maximize: bool) -> tuple[list[TrialResult], list[TrialResult]]:
    """The successful trials, best first, and the failed trials."""
    passed = [result for result in results if not result.failed]
    best_first = sorted(passed, key=lambda result: (result.mean or 0.0) * (-1 if maximize else 1))
    return best_first, [result for result in results if result.failed]


def print_ranking(best_first: list[TrialResult], failed: list[TrialResult], metric: str) -> None:
    """Print the best trials, the failed trials, and the commands to continue with."""
    for place, result in enumerate(best_first[:PRINTED], 1):
        typer.echo(f"{place:>3}  {line(result)}")
    for result in failed:
        typer.echo(f"  –  {line(result)}")
    if best_first:
        names = [result.trial.name for result in best_first[:COMPARED]]
        typer.echo(f"\nthe best {metric} of {len(best_first) + len(failed)}: {names[0]}")
        typer.echo(f"  dvc exp apply {names[0]}           # take it over into the work tree")
        typer.echo(f"  dvc exp branch {names[0]} BRANCH   # make a branch of it")
        if len(names) > 1:
            typer.echo(f"  python -m mlops compare {' '.join(names)}   # is it really better?")


def line(result: TrialResult) -> str:
    """Score, name and parameter changes of a trial."""
    spread = "" if result.std is None else f" ± {result.std:.4f}"
    score = f"failed: {result.failed}" if result.failed else f"{result.mean:.4f}{spread}"
    return f"{score}  {result.trial.name}  {' '.join(result.trial.overrides)}"
