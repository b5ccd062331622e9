"""The time of commands that open the registry, as ratios to `import mlflow`: `python -m benchmarks.readers`.

The store is SQLite with one version. Everything takes turns in one run; medians of five.
"""

import argparse
import json
import shutil
import statistics
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.__main__ import FOLDER, Side, generated, seconds

PEER = "import mlflow"
BUDGET = 2.0
CHANGED = ("mlflow.db", "reports/audit.jsonl")  # by approve and promote
REASON = ("--reason", "measured")
COMMANDS = {
    "registry show": (),
    "registry history": (),
    "audit verify": (),
    "trace 1": (),
    "explain": (),
    "approve 1": REASON,
    "promote 1": REASON,
}


def prepared() -> Path:
    """A copy of the example in which version 1 is approved and somebody else than its author works."""
    project = FOLDER / "readers" / "customer-churn"
    shutil.rmtree(project.parent, ignore_errors=True)
    shutil.copytree(generated(), project, symlinks=True)
    for name, value in {"user.name": "bench", "user.email": "bench@localhost"}.items():
        seconds(Side(["git", "config", name, value], project))
    seconds(Side(command("approve 1"), project))
    for name in CHANGED:
        shutil.copyfile(project / name, project.parent / Path(name).name)
    return project


def restore(project: Path) -> None:
    """Put the store and the audit log back to the state after `prepared`."""
    for name in CHANGED:
        shutil.copyfile(project.parent / Path(name).name, project / name)


def command(name: str) -> list[str]:
    """The command line of one of the COMMANDS."""
    return [sys.executable, "-m", "mlops", *name.split(), *COMMANDS[name]]


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="runs of each command")
    parser.add_argument("--json", type=Path, help="where the results go")
    arguments = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    project = prepared()
    sides = {PEER: Side([sys.executable, "-c", PEER], project)}
    sides |= {name: Side(command(name), project, lambda: restore(project)) for name in COMMANDS}
    turns = track(range(arguments.repeat + 1), "readers", console=Console(stderr=True))
    runs = [{name: seconds(each) for name, each in sides.items()} for _ in turns][1:]  # the first warms up
    medians = {name: statistics.median(run[name] for run in runs) for name in sides}
    table = Table("command", "seconds", f"ratio to {PEER}", "at most", "kept")
    for name, median in medians.items():
        ratio = median / medians[PEER]
        table.add_row(name, f"{median:.2f}", f"{ratio:.2f}", f"{BUDGET:g}", "yes" if ratio <= BUDGET else "NO")
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps({name: median / medians[PEER] for name, median in medians.items()}))


if __name__ == "__main__":
    main()
