"""What a candidate costs over its own work: `python -m benchmarks.experiments [--candidates N]`, or `make bench`.

Its own work is what `dvc repro` takes for the same change. The search inside `train` has no work apart: its whole cost
per candidate is shown, of the same model.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.__main__ import DVC, ENVIRONMENT, FOLDER, generated

OPS = [sys.executable, "-m", "mlops"]
MODEL = "models.logistic_regression.C"


def run(project: Path, *command: str) -> str:
    """Run a command that has to succeed; what it printed."""
    done = subprocess.run(command, cwd=project, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def clean(project: Path) -> None:
    """Put the project back to its commit."""
    run(project, "git", "checkout", "--quiet", ".")
    run(project, *DVC, "checkout", "--quiet")


def repro(project: Path, values: list[float]) -> float:
    """Seconds per candidate of its own work: the parameter is set, and the pipeline run."""
    took = []
    for value in values:
        text = (project / "params.yaml").read_text(encoding="utf-8")
        (project / "params.yaml").write_text(text.replace("    C: 1.0\n", f"    C: {value}\n"), encoding="utf-8")
        took.append(timed(lambda: run(project, *DVC, "repro", "--quiet")))
        clean(project)
    return statistics.fmean(took)


def workspace(project: Path, values: list[float]) -> float:
    """Seconds per candidate of `dvc exp run` in the work tree."""
    took = []
    for value in values:
        took.append(timed(lambda value=value: run(project, *DVC, "exp", "run", "--quiet", "-S", f"{MODEL}={value}")))  # type: ignore[misc]
        clean(project)
    return statistics.fmean(took)


def queue(project: Path, values: list[float]) -> float:
    """Seconds per candidate of DVC's queue, on one worker, from the first that is queued to the last that ends."""
    start = time.perf_counter()
    grid = f"{MODEL}={','.join(map(str, values))}"
    run(project, *DVC, "exp", "run", "--quiet", "--queue", "-S", grid)
    run(project, *DVC, "queue", "start")
    while any(word in run(project, *DVC, "queue", "status") for word in ("Queued", "Running")):
        time.sleep(0.2)
    return (time.perf_counter() - start) / len(values)


def sweep(project: Path, values: list[float]) -> float:
    """Seconds per candidate of `ops sweep`, one at a time, making the clone and removing it included."""
    grid = f"{MODEL}={','.join(map(str, values))}"
    return timed(lambda: run(project, *OPS, "sweep", "-S", grid)) / len(values)


def search(project: Path, count: int) -> float:
    """Seconds per candidate of the search inside `train`, which comes on top of a run without."""
    train = [*DVC, "repro", "--quiet", "--force", "--single-item", "train"]
    without = timed(lambda: run(project, *train))
    text = (project / "params.yaml").read_text(encoding="utf-8")
    (project / "params.yaml").write_text(text.replace("candidates: 0 ", f"candidates: {count} "), encoding="utf-8")
    took = timed(lambda: run(project, *train))
    clean(project)
    return (took - without) / count


def timed(work: Callable[[], object]) -> float:
    """Wall time in seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Measure each way on the example with a logistic regression, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--candidates", type=int, default=5, help="of each way; the inner search takes four times as many"
    )
    parser.add_argument("--json", type=Path, help="where the results go")
    arguments = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    project = FOLDER / "experiments" / "customer-churn"
    shutil.rmtree(project.parent, ignore_errors=True)
    project.parent.mkdir(parents=True)
    for name in ("customer-churn", "customer-churn-storage"):
        shutil.copytree(generated().with_name(name), project.with_name(name), symlinks=True)
    text = (project / "params.yaml").read_text(encoding="utf-8")
    changed = text.replace("  model: random_forest ", "  model: logistic_regression ")
    (project / "params.yaml").write_text(changed, encoding="utf-8")
    run(project, *DVC, "repro", "--quiet")
    for name, value in {"user.name": "bench", "user.email": "bench@localhost"}.items():
        run(project, "git", "config", name, value)
    run(project, "git", "commit", "--quiet", "--all", "--message", "Logistic regression")

    ways: dict[str, Callable[[Path, list[float]], float]] = {
        "dvc repro (own work)": repro, "dvc exp run": workspace, "dvc queue": queue, "ops sweep": sweep
    }  # fmt: skip
    results: dict[str, float] = {}
    for place, (name, way) in enumerate(track(ways.items(), "candidates", console=Console(stderr=True))):
        # Other values each time, or DVC would take results from its cache.
        results[name] = way(project, [round(2 + place + number / 10, 1) for number in range(arguments.candidates)])
    results["train.search"] = search(project, 4 * arguments.candidates)
    own = results["dvc repro (own work)"]
    table = Table("way", "seconds per candidate", "over its own work")
    for name, seconds in results.items():
        table.add_row(
            name, f"{seconds:.2f}", "–" if name in ("train.search", "dvc repro (own work)") else f"{seconds - own:+.2f}"
        )
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
