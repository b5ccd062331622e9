"""Measure and print ratios: `python -m benchmarks [--repeat N] [--only NAME] [--json FILE]`, or `make bench`.

Times of one machine prove nothing, so what counts is the ratio to the peer that took turns with us. Everything is
byte-compiled and has run once before.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

TEMPLATE = Path(__file__).resolve().parents[1]
PROJECT = TEMPLATE / "{{cookiecutter.project}}"
FOLDER = TEMPLATE / "bench"
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
}


@dataclass(frozen=True)
class Side:
    """A command that is measured, and where it runs; what has to be put back before each run is `reset`."""

    command: list[str]
    folder: Path
    reset: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Result:
    """Median wall times in seconds, and the ratio that `budget` limits; a peer that is not to be had says why."""

    name: str
    ours: float
    peer: float | None
    budget: float
    note: str

    @property
    def ratio(self) -> float | None:
        """How many times as long we take."""
        return self.ours / self.peer if self.peer else None


def seconds(side: Side) -> float:
    """Wall time of one run, which has to succeed."""
    side.reset()
    start = time.perf_counter()
    done = subprocess.run(side.command, cwd=side.folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    took = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join(side.command)} failed:\n{done.stdout}\n{done.stderr}")
    return took


def compare(name: str, ours: Side, peer: Side, budget: float, note: str, repeat: int) -> Result:
    """Run both once to warm up, then in turns."""
    times = [(seconds(ours), seconds(peer)) for _ in track(range(repeat + 1), name, console=Console(stderr=True))][1:]
    ours_median, peer_median = (statistics.median(column) for column in zip(*times, strict=True))
    return Result(name, ours_median, peer_median, budget, note)


def generated() -> Path:
    """The example project, generated and run once."""
    project = FOLDER / "customer-churn"
    if not project.exists():
        template = exported()
        seconds(Side([*GENERATE, str(template), "setup=here", "--output-dir", str(FOLDER)], FOLDER))
    return project


def exported() -> Path:
    """The template as a clone of it has it."""
    template = FOLDER / "template"
    if not template.exists():
        subprocess.run(["git", "clone", "--quiet", str(TEMPLATE), str(template)], check=True)
    return template


GENERATE = [sys.executable, "-m", "cookiecutter", "--no-input"]
DVC = [sys.executable, "-m", "dvc"]


def forced(repeat: int) -> Result:
    """`dvc repro --force` of the example against a script that does the same work the usual way."""
    project = generated()
    script = FOLDER / "plain"
    shutil.rmtree(script, ignore_errors=True)
    script.mkdir()
    data = [str(next((project / "data" / name).glob("*.csv"))) for name in ("raw", "incoming")]
    ours = Side([*DVC, "repro", "--force"], project)
    peer = Side([sys.executable, str(Path(__file__).with_name("plain_script.py")), *data], script)
    return compare("forced repro", ours, peer, 1.0, "one plain script, same work", repeat)


def nothing(repeat: int) -> Result:
    """`dvc repro` with nothing to do against `dvc status`."""
    project = generated()
    return compare(
        "nothing to do", Side([*DVC, "repro"], project), Side([*DVC, "status"], project), 1.3, "dvc status", repeat
    )


def drift(repeat: int) -> Result:
    """Drift of 100,000 × (50 numbers + 10 categories) against a loop over scipy's tests."""
    tables = FOLDER / "drift"
    if not tables.exists():
        seconds(Side([sys.executable, "-m", "benchmarks.drift", "make", str(tables)], TEMPLATE))
    ours, peer = (
        Side([sys.executable, "-m", "benchmarks.drift", side, str(tables)], TEMPLATE) for side in ("ours", "loop")
    )
    return compare("drift", ours, peer, 0.6, "scipy ks_2samp and chi2_contingency in a loop", repeat)


def generation(repeat: int) -> Result:
    """Generating files only, against cookiecutter-data-science.

    Its package on PyPI is a loader that fetches the template from GitHub, so a checkout has to be given.
    """
    out = FOLDER / "generated"
    ours = Side(
        [*GENERATE, str(exported()), "setup=no", "--output-dir", str(out)],
        FOLDER,
        lambda: shutil.rmtree(out, ignore_errors=True),
    )
    checkout = os.environ.get("DATA_SCIENCE_TEMPLATE")
    if checkout is None:
        times = [seconds(ours) for _ in range(repeat + 1)][1:]
        note = "cookiecutter-data-science: not on PyPI; give a checkout as DATA_SCIENCE_TEMPLATE"
        return Result("generation", statistics.median(times), None, 0.8, note)
    theirs = FOLDER / "theirs"
    peer = Side(
        [sys.executable, "-m", "ccds", "--no-input", "--output-dir", str(theirs), checkout],
        FOLDER,
        lambda: shutil.rmtree(theirs, ignore_errors=True),
    )
    return compare("generation", ours, peer, 0.8, "cookiecutter-data-science", repeat)


COMPARISONS: dict[str, Callable[[int], Result]] = {
    "forced": forced, "nothing": nothing, "drift": drift, "generation": generation
}  # fmt: skip


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="runs of each side")
    parser.add_argument("--only", choices=COMPARISONS, help="one comparison")
    parser.add_argument("--json", type=Path, help="where the results go")
    arguments = parser.parse_args()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    chosen = [arguments.only] if arguments.only else list(COMPARISONS)
    results = [COMPARISONS[name](arguments.repeat) for name in chosen]
    table = Table("what", "ours", "peer", "ratio", "at most", "kept", "against")
    for result in results:
        peer, ratio = (f"{value:.2f}" if value else "–" for value in (result.peer, result.ratio))
        kept = "not measured" if result.ratio is None else "yes" if result.ratio <= result.budget else "NO"
        table.add_row(result.name, f"{result.ours:.2f} s", peer, ratio, f"{result.budget:g}", kept, result.note)
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(
            json.dumps([{**asdict(result), "ratio": result.ratio} for result in results], indent=2)
        )


if __name__ == "__main__":
    main()
