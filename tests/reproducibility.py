"""Run a generated pipeline again under everything that Debian's reprotest varies, and name the first file that differs.

    python -m tests.reproducibility demo/customer-churn          all variations at once
    python -m tests.reproducibility demo/customer-churn --each   one after the other, to find the culprit

Each run is a forced one in a copy of the project; the original is not touched. What this machine cannot vary (no root,
no faketime, one core) is said.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ruamel.yaml import YAML

STRANGER = 4711  # a user id without an account


@dataclass
class Run:
    """How one varied run is made: the folder, the environment, and commands that the real one is wrapped in."""

    folder: Path
    env: dict[str, str]
    wrappers: list[list[str]] = field(default_factory=list)
    umask: int = 0o022


def _needs(program: str) -> str:
    return "" if shutil.which(program) else f"{program} is not installed"


def _needs_root() -> str:
    return "" if os.geteuid() == 0 else "it takes root"


def directory(run: Run) -> str:
    """Another directory, deeper and with a space in its name."""
    moved = run.folder.parent / "another place" / "deeper" / run.folder.name
    moved.parent.mkdir(parents=True)
    run.folder = run.folder.rename(moved)
    return ""


def home(run: Run) -> str:
    """An empty home that nobody has written to."""
    empty = run.folder.parent / "home"
    empty.mkdir()
    run.env |= {"HOME": str(empty)}
    return ""


def host_name(run: Run) -> str:
    """Another host name, in a name space of its own."""
    run.wrappers.append(["unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$0" "$@"'])
    return _needs_root() or _needs("unshare") or _needs("hostname")


def environment(run: Run) -> str:
    """Another hash seed, other thread counts, variables that nobody asked for."""
    threads = {f"{library}_NUM_THREADS": "7" for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")}
    run.env |= {**threads, "PYTHONHASHSEED": "4711", "CAPTURE_ENVIRONMENT": "yes", "COLUMNS": "43", "CI": "true"}
    return ""


def path_order(run: Run) -> str:
    """The PATH backwards, behind the environment's own folder."""
    first, *rest = run.env["PATH"].split(os.pathsep)
    run.env["PATH"] = os.pathsep.join([first, *reversed(rest), "/i/do/not/exist"])
    return ""


def file_order(run: Run) -> str:
    """Every folder lists its files in another order: they are made anew, last name first."""
    for folder in [run.folder / "data", run.folder / "mlops", run.folder / "project", run.folder / "stages"]:
        for path in sorted((path for path in folder.rglob("*") if path.is_file()), reverse=True):
            content, mode = path.read_bytes(), path.stat().st_mode
            path.unlink()
            path.write_bytes(content)
            path.chmod(mode)
    return ""


def locale(run: Run) -> str:
    """Another locale of this machine: with other sorting and decimal marks, or at least without UTF-8."""
    known = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=False).stdout.split()
    foreign = next((name for name in known if name[:2].islower() and not name.startswith("en")), "POSIX")
    run.env |= {"LANG": foreign, "LC_ALL": foreign, "LANGUAGE": "fr"}
    return ""


def time_zone(run: Run) -> str:
    """Half a day away."""
    run.env["TZ"] = "Pacific/Kiritimati"
    return ""


def clock(run: Run) -> str:
    """More than a year later, in another month, on another weekday."""
    run.wrappers.append(["faketime", "-f", "+399d"])
    return _needs("faketime")


def umask(run: Run) -> str:
    """Files that only their owner and group may read."""
    run.umask = 0o027
    return ""


def user(run: Run) -> str:
    """Somebody without an account, in a user name space of their own; the files are theirs there too."""
    run.wrappers.append(["unshare", "--user", f"--map-user={STRANGER}", f"--map-group={STRANGER}"])
    run.env |= {"USER": "stranger", "LOGNAME": "stranger"}  # DVC takes no user without a name
    return _needs("unshare")


def cores(run: Run) -> str:
    """One core."""
    run.wrappers.append(["taskset", "--cpu-list", str(min(os.sched_getaffinity(0)))])
    return _needs("taskset") or ("" if len(os.sched_getaffinity(0)) > 1 else "this machine has one core")


# In the order in which they are applied; what takes root's rights stands before `user` gives them up.
VARIATIONS: dict[str, Callable[[Run], str]] = {
    variation.__name__: variation
    for variation in (
        directory, home, environment, path_order, file_order, locale, time_zone, umask, host_name, clock, cores, user
    )
}  # fmt: skip


def outputs(lock: Path) -> dict[str, str]:
    """Every output of a `dvc.lock` with its digest, in the order of the stages."""
    stages = YAML(typ="safe").load(lock.read_text(encoding="utf-8"))["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}


def first_difference(project: Path, varied: Path) -> str | None:
    """The first output, else the first line of `dvc.lock`, that differs; None if the lock is the same to the byte."""
    ours, theirs = (folder / "dvc.lock" for folder in (project, varied))
    if ours.read_bytes() == theirs.read_bytes():
        return None
    digests = outputs(theirs)
    for path, digest in outputs(ours).items():
        if digests.get(path) != digest:
            return path
    lines = zip(ours.read_text().splitlines(), theirs.read_text().splitlines(), strict=False)
    return "dvc.lock: " + next(f"{one!r} is now {other!r}" for one, other in lines if one != other)


def rerun(project: Path, variations: Iterable[str], into: Path) -> tuple[str | None, dict[str, str]]:
    """Force the pipeline in a copy under `variations`; what differs first, and what could not be varied and why."""
    run = Run(into / project.name, dict(os.environ))
    shutil.copytree(project, run.folder, symlinks=True, ignore=shutil.ignore_patterns("mlflow.db*", "mlruns", "tmp"))
    left_out = {name: why for name in variations if (why := VARIATIONS[name](run))}
    run.wrappers = [wrapper for wrapper in run.wrappers if shutil.which(wrapper[0])]
    command = [part for wrapper in run.wrappers for part in wrapper] + ["python", "-m", "dvc", "repro", "--force"]
    done = subprocess.run(
        command, cwd=run.folder, env=run.env, umask=run.umask, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed in {run.folder}:\n{done.stdout}\n{done.stderr}")
    return first_difference(project, run.folder), left_out


def main() -> int:
    """Vary, compare, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path, help="a generated project whose pipeline has run")
    parser.add_argument("--each", action="store_true", help="one variation a run")
    arguments = parser.parse_args()
    rounds = [[name] for name in VARIATIONS] if arguments.each else [list(VARIATIONS)]
    differing = 0
    for names in rounds:
        with tempfile.TemporaryDirectory() as folder:
            found, left_out = rerun(arguments.project.resolve(), names, Path(folder))
        for name, why in left_out.items():
            print(f"not varied: {name} ({why})")
        varied = ", ".join(name for name in names if name not in left_out) or "nothing"
        print(f"{varied}: {f'differs, first in {found}' if found else 'the same bytes'}", flush=True)
        differing += found is not None
    return int(differing > 0)


if __name__ == "__main__":
    sys.exit(main())
