"""What killed processes have left: half-written files, clones, a retraining, the state of a server."""

import os
import re
import shlex
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from mlops.base import params
from mlops.base.errors import ProjectError, StoreError, counted
from mlops.health import processes, routes
from mlops.health.finding import Finding, Repair, named
from mlops.history import git, paths
from mlops.retraining import journal

SUBJECT = "leftovers"
# `.NAME.PROCESS.part` of base/files.py; others do not say whose they are.
PART = re.compile(r"^\..+\.(\d+)\.part$")
CLONES = (".retrain/clones", ".dvc/tmp/sync", ".dvc/tmp/reproduce", ".dvc/tmp/sweeps", ".dvc/tmp/sweeps/*")
SKIPPED = {".git", ".venv", "mlruns", "node_modules", "__pycache__", "cache"}
# What only the project writes to; elsewhere a file with such a name may be a person's.
OWN = tuple(map(Path, ("data/prepared", "models", "reports", ".dvc/tmp", "serving", ".retrain", ".mlops")))
OF_PEOPLE = (paths.RAW, paths.INCOMING, paths.EVENTS)
DAY = 86_400  # seconds after which a half-written file is nobody's
METRICS = "mlops-metrics-*"  # folders of a server's counters, in memory
SHARED = Path("/dev/shm")  # noqa: S108 – memory that has a name, on Linux


def check(now: datetime) -> Iterator[Finding]:
    """Look for what nobody will go on with."""
    found = [*_parts(), *_clones(), *_retraining(now), *_serving(), *_counters()]
    yield from found
    if not found:
        yield Finding(SUBJECT, "fine", "none of a killed command")


def _parts() -> Iterator[Finding]:
    """Half-written files that are a day old; people have their own in the folders of data, which are left out."""
    mine: list[Path] = []
    old: list[Path] = []
    others: list[Path] = []
    for place, folders, names in os.walk("."):
        folders[:] = [name for name in folders if name not in SKIPPED and Path(place, name) not in OF_PEOPLE]
        for name in [name for name in (*names, *folders) if name.endswith((".part", ".part-journal"))]:
            path = Path(place, name)
            match = PART.match(name)
            if _age(path) > DAY and not (_is_own(path) and match and processes.is_running(int(match[1]))):
                (others if not _is_own(path) else mine if _is_dead_part(path) else old).append(path)
    tracked = _tracked([*mine, *old, *others])
    mine, old, others = ([path for path in each if path.as_posix() not in tracked] for each in (mine, old, others))
    if mine:
        names = [path.as_posix() for path in mine]
        what = f"remove {named(names)}"
        repair = Repair(what, f"removed {named(names)}", partial(_remove_parts, mine))
        said = f"{counted(len(mine), 'half-written file')} of dead processes: {named(names)}"
        yield Finding(SUBJECT, "warning", said, f"rm {_quoted(mine)}", repair, {"files": names})
    if old:
        names = [path.as_posix() for path in old]
        said = f"half-written for more than a day: {named(names)}"
        yield Finding(SUBJECT, "warning", said, f"rm -r {_quoted(old)}", figures={"files": names})
    if others:
        names = [path.as_posix() for path in others]
        said = f"half-written for more than a day, perhaps by a person: {named(names)}"
        yield Finding(SUBJECT, "warning", said, f"ls -ld {_quoted(others)}", figures={"files": names})


def _is_own(path: Path) -> bool:
    return any(path.is_relative_to(folder) for folder in OWN)


def _is_dead_part(path: Path) -> bool:
    """Whether a path is a file that base/files.py was writing in a process that is gone."""
    match = PART.match(path.name)
    return bool(match) and not path.is_dir() and not processes.is_running(int(match[1]))  # type: ignore[index]


def _tracked(files: list[Path]) -> set[str]:
    """The ones of some files that Git has."""
    names = [path.as_posix() for path in files]
    return set(git.run("ls-files", "-z", "--", *names, default="").split("\0")) if names else set()


def _quoted(files: list[Path]) -> str:
    return " ".join(shlex.quote(path.as_posix()) for path in files)


def _age(path: Path) -> float:
    try:
        return time.time() - path.lstat().st_mtime
    except OSError:
        return 0.0


def _remove_parts(files: list[Path]) -> None:
    tracked = _tracked(files)
    for path in files:
        if _is_own(path) and _is_dead_part(path) and _age(path) > DAY and path.as_posix() not in tracked:
            path.unlink(missing_ok=True)


def _clones() -> Iterator[Finding]:
    dead = [path for form in CLONES for path in Path().glob(f"{form}/*") if _is_dead(path)]
    if dead:
        names = [path.as_posix() for path in dead]
        repair = Repair(f"remove {named(names)}", f"removed {named(names)}", partial(_remove_clones, dead))
        said = f"{counted(len(dead), 'clone')} of dead processes: {named(names)}"
        yield Finding(SUBJECT, "warning", said, f"rm -r {' '.join(names)}", repair, {"folders": names})


def _is_dead(path: Path) -> bool:
    """Whether a path is the clone of a process that is gone."""
    process = re.match(r"(\d+)(-\d+)?$", path.name)
    return bool(process) and path.is_dir() and not path.is_symlink() and not processes.is_running(int(process[1]))  # type: ignore[index]


def _remove_clones(folders: list[Path]) -> None:
    for path in filter(_is_dead, folders):
        shutil.rmtree(path)


def _retraining(now: datetime) -> Iterator[Finding]:
    """A retraining that stopped before its end, and that nobody goes on with at the moment."""
    kept = journal.read()
    if kept is None or kept.outcome or processes.at_work(Path(), "mlops") or "awaited" in kept.notes:
        return
    at = datetime.fromtimestamp(journal.STATE.stat().st_mtime, UTC)
    step = list(kept.steps)[-1] if kept.steps else "the start"
    days = (now - at).total_seconds() / DAY
    said = f"a retraining stopped after {step}, {days:.1f} days ago: it goes on there"
    yield Finding(SUBJECT, "warning", said, "python -m mlops retrain", figures={"step": step, "days": round(days, 2)})


def _serving() -> Iterator[Finding]:
    """The state of a server that is not running: a route that would go on, and versions that were half copied."""
    folder = Path(params.load(params.Serving, missing_ok=True).folder)
    if not folder.is_dir() or processes.at_work(Path(), "mlops"):
        return
    half = [path for path in folder.glob("models/.*.part") if path.is_dir()]
    if half:
        names = [path.as_posix() for path in half]
        repair = Repair(f"remove {named(names)}", f"removed {named(names)}", partial(_remove_copies, half))
        said = f"half a copy of a version, of a server that is gone: {named(names)}"
        yield Finding(SUBJECT, "warning", said, f"rm -r {' '.join(names)}", repair)
    try:
        route = routes.on_disk(folder)
    except ProjectError as error:
        yield Finding(SUBJECT, "warning", str(error), f"mv {folder}/state.sqlite {folder}/state.sqlite.broken")
        return
    if route and route["mode"] != "champion":
        said = f"a server that is not running left this: {route['described']}; the next one goes on with it"
        yield Finding(SUBJECT, "warning", said, "python -m mlops serve", figures={"route": route["mode"]})


def _remove_copies(folders: list[Path]) -> None:
    if processes.at_work(Path(), "mlops"):
        raise StoreError("half copies of versions were left alone: a command of mlops is at work here")
    for path in folders:
        shutil.rmtree(path)


def _counters() -> Iterator[Finding]:
    """Counters of dead servers, which take up memory. They may be of another container, so nobody removes them here."""
    dead = []
    for folder in SHARED.glob(METRICS) if os.name == "posix" and SHARED.is_dir() else ():
        try:
            numbers = {int(match[1]) for path in folder.iterdir() if (match := re.search(r"_(\d+)\.db$", path.name))}
            own = folder.stat().st_uid == os.getuid()
        except OSError:
            continue
        if own and numbers and not any(map(processes.is_running, numbers)) and _age(folder) > DAY:
            dead.append(folder.as_posix())
    if dead:
        said = f"counters of servers that are gone, in memory: {named(dead)}"
        yield Finding(SUBJECT, "warning", said, f"rm -r {' '.join(dead)}", figures={"folders": dead})
