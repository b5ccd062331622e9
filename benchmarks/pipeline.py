"""The pipeline beside a plain script that does the same work, and beside DVC alone."""

import shlex
import shutil
import sys
from argparse import Namespace
from pathlib import Path

from benchmarks.measure import DVC, FOLDER, Row, Side, copied, rows, run, stage, turns

TITLE = "The pipeline, a plain script, and DVC"
STAGES = ("prepare", "validate", "train", "evaluate", "register", "monitor")
PACKAGES = ("dvc", "mlflow", "scikit-learn", "pandas")
ABOUT = """
`dvc repro --force` runs all six stages of the example (7,043 rows). The plain script (`benchmarks/plain_script.py`)
is what people write today: read, split, cross-validate, fit, judge, register in MLflow, look for drift. It is one
process, so that it imports everything once; it logs a model of its own at each run, where ours finds the version that
the run before it made. The six commands without DVC are those of `dvc.yaml`, one after the other: the rest is
what DVC costs. One idle stage is a repository with a single stage that has nothing to do, so the least that DVC
takes.

**What the script has, and we do not:** it can be read in a minute. **What it lacks:** typing, checks, intervals, a
gate, explanations and pages, and it starts from the beginning after each change.
"""

MISSED = {
    ("a forced run of the example", "s", "plain script"): (
        "the six commands together take as long as the script. DVC comes on top: it reads and writes `dvc.lock` anew "
        "after each stage."
    ),
    ("nothing to do", "s", "dvc status"): (
        "`repro` of a single idle stage takes longer than `status` of all six. On top of that, ours reads "
        "`params.yaml` for each stage."
    ),
}


def measure(options: Namespace) -> list[Row]:
    """A forced run, and one with nothing to do."""
    project, script, alone = copied("pipeline"), FOLDER / "plain", FOLDER / "alone"
    data = [str(next((project / "data" / name).glob("*.csv"))) for name in ("raw", "incoming")]
    for folder in (script, alone):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    commands = " && ".join(shlex.join(stage(project, name)) for name in STAGES)
    forced = {
        "ours": Side([*DVC, "repro", "--force"], project),
        "plain script": Side([sys.executable, str(Path(__file__).with_name("plain_script.py")), *data], script),
        "its six commands without DVC": Side(["sh", "-c", commands], project),
    }
    run(alone, "git", "init", "--quiet")
    run(alone, *DVC, "init", "--quiet")
    (alone / "dvc.yaml").write_text("stages:\n  idle:\n    cmd: cp dvc.yaml made\n    outs: [made]\n", encoding="utf-8")
    run(alone, *DVC, "repro", "--quiet")
    idle = {
        "ours": Side([*DVC, "repro"], project),
        "dvc status": Side([*DVC, "status"], project),
        "dvc repro of one idle stage": Side([*DVC, "repro"], alone),
    }
    return [
        *rows("a forced run of the example", turns(forced, options.repeat), most=1.0),
        *rows("nothing to do", turns(idle, options.repeat), most=1.3),
    ]
