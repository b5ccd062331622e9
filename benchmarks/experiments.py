"""What a candidate costs over its own work, by `sweep`, by DVC's queue and by `dvc exp run`."""

import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import DVC, OPS, Row, copied, run, say

TITLE = "Experiments, beside DVC's own"
PACKAGES = ("dvc",)
MODEL = "models.logistic_regression.C"
MOST_SECONDS = 600
ABOUT = """
Values of one argument of a logistic regression on the example, one after the other. Its own work is what `dvc repro`
takes for the same change; the table says what each way takes for a candidate on top of that. `sweep` works in clones,
a process each, and its figure holds making and removing them; DVC's queue runs on one worker, from the first
experiment that is queued to the last that ends. `dvc exp run` works in the work tree, so that nothing else can be
done there meanwhile.

**What DVC's queue does that `sweep` does not:** experiments can be added while it works, it runs on without a
terminal, and tools such as DVC's extension for VS Code show it. `sweep` makes experiments of DVC, too, so `dvc exp
show` has both.
"""


def measure(options: Namespace) -> list[Row]:
    """Seconds of a candidate over its own work, each way."""
    project = copied("experiments")
    params = project / "params.yaml"
    text = params.read_text(encoding="utf-8")
    params.write_text(text.replace("  model: random_forest ", "  model: logistic_regression "), encoding="utf-8")
    run(project, *DVC, "repro", "--quiet")
    run(project, "git", "commit", "--quiet", "--all", "--message", "Logistic regression")
    ways: dict[str, Callable[[Path, list[float]], None]] = {
        "its own work": repro, "ours": sweep, "DVC's queue": queue, "dvc exp run": workspace
    }  # fmt: skip
    took = {}
    for place, (name, way) in enumerate(ways.items()):
        say(f"experiments: {name}")
        # Other values each time, or DVC would take results from its cache.
        values = [round(2 + place + number / 10, 1) for number in range(options.candidates)]
        start = time.perf_counter()
        way(project, values)
        took[name] = (time.perf_counter() - start) / len(values)
    own = took.pop("its own work")
    ours = took.pop("ours") - own
    found = [Row("a candidate, over its own work", "s", ours, name, each - own) for name, each in took.items()]
    return [*found, Row("a candidate's own work", "s", own)]


def clean(project: Path) -> None:
    """Put the project back to its commit."""
    run(project, "git", "checkout", "--quiet", ".")
    run(project, *DVC, "checkout", "--quiet")


def repro(project: Path, values: list[float]) -> None:
    """A candidate's own work: the parameter is set, and the pipeline run."""
    for value in values:
        text = (project / "params.yaml").read_text(encoding="utf-8")
        (project / "params.yaml").write_text(text.replace("    C: 1.0\n", f"    C: {value}\n"), encoding="utf-8")
        run(project, *DVC, "repro", "--quiet")
        clean(project)


def workspace(project: Path, values: list[float]) -> None:
    """By `dvc exp run` in the work tree."""
    for value in values:
        run(project, *DVC, "exp", "run", "--quiet", "-S", f"{MODEL}={value}")
        clean(project)


def queue(project: Path, values: list[float]) -> None:
    """By DVC's queue, on one worker."""
    run(project, *DVC, "exp", "run", "--quiet", "--queue", "-S", f"{MODEL}={','.join(map(str, values))}")
    until = time.monotonic() + MOST_SECONDS
    run(project, *DVC, "queue", "start")
    while any(word in run(project, *DVC, "queue", "status") for word in ("Queued", "Running")):
        if time.monotonic() > until:
            raise SystemExit(f"DVC's queue has not ended after {MOST_SECONDS} s")
        time.sleep(0.2)


def sweep(project: Path, values: list[float]) -> None:
    """By `sweep`, one at a time."""
    run(project, *OPS, "sweep", "-S", f"{MODEL}={','.join(map(str, values))}")
