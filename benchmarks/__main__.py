"""Measure ours beside its peers: `python -m benchmarks [NAME …]`, or `make bench`.

Each benchmark is a module with a `TITLE`, words `ABOUT` how it was measured, and `measure`, which gives rows. They are
kept in results/, of which `python -m benchmarks.page` makes docs/benchmarks.md and its pictures.
"""

import argparse
import subprocess
import sys
from multiprocessing import get_context

from benchmarks.measure import TEMPLATE, say
from benchmarks.results import NAMES, measured


def main() -> int:
    """Measure, print, keep, and write the page; exit 1 if one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; none: all of them")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each side, as long as there is time")
    parser.add_argument("--pairs", type=int, default=15, help="drift: pairs of each kind")
    parser.add_argument("--candidates", type=int, default=3, help="search, experiments: candidates of each way")
    parser.add_argument("--seconds", type=float, default=3, help="serving: of each load")
    parser.add_argument("--rows", type=int, default=200_000, help="scaling: of the longest table")
    parser.add_argument("--columns", type=int, default=3_000, help="scaling: of the widest table")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in NAMES]:
        parser.error(f"no benchmark {', '.join(unknown)}: known are {', '.join(NAMES)}")
    failed = []
    for name in options.names or NAMES:
        say(f"== {name}")
        # A process each: what one imports must not be in the way of another's memory.
        process = get_context("spawn").Process(target=measured, args=(name, options))
        process.start()
        process.join()
        failed += [name] if process.exitcode else []
    subprocess.run([sys.executable, "-m", "benchmarks.page"], cwd=TEMPLATE, check=True)
    if failed:
        say(f"failed: {', '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
