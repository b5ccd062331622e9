"""The time of commands that open the registry, beside `import mlflow`."""

import shutil
import sys
from argparse import Namespace

from benchmarks.measure import OPS, Row, Side, copied, run, turns

TITLE = "Commands that open the registry"
PACKAGES = ("mlflow", "sqlalchemy")
PEER = "import mlflow"
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
ABOUT = """
Whole processes on the example, whose store is SQLite with one version. `python -c "import mlflow"` is what any
program takes that is written with MLflow.
"""


def measure(options: Namespace) -> list[Row]:
    """Each command, in turns with the import."""
    project = copied("readers")
    command = {name: [*OPS, *name.split(), *more] for name, more in COMMANDS.items()}
    run(project, *command["approve 1"])  # what is measured is a project in which version 1 is approved
    kept = {project / name: project.parent / name.replace("/", "-") for name in CHANGED}
    for file, copy in kept.items():
        shutil.copyfile(file, copy)

    def restore() -> None:
        for file, copy in kept.items():
            shutil.copyfile(copy, file)

    sides = {PEER: Side([sys.executable, "-c", PEER], project)}
    sides |= {name: Side(each, project, restore) for name, each in command.items()}
    costs = turns(sides, options.repeat)
    mlflow = costs.pop(PEER).seconds
    return [Row(name, "s", each.seconds, PEER, mlflow, most=2) for name, each in costs.items()]
