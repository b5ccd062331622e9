"""The machine: Python and packages, room on disk and in memory, and traits of the file system that bite."""

import os
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from mlops.base import environment
from mlops.base.errors import StoreError
from mlops.health import storage
from mlops.health.finding import Finding, named
from mlops.history import cache, paths

PROJECT = Path("pyproject.toml")
MEGABYTE, GIGABYTE = 1e6, 1e9
# DVC keeps every version of the data beside the work tree, and results and MLflow's files come on top.
COPIES, BESIDE = 3, 1 * GIGABYTE
LEAST_DISK = 0.2 * GIGABYTE  # with less, even a small run ends in the middle
# Measured with benchmarks/scaling.py: 5,000,000 rows of 20 columns (0.6 GB of CSV) within 2 GB.
MEMORY_FACTOR, MEMORY_BASE = 2.5, 0.5 * GIGABYTE
MOST_FILES = 200_000  # that are counted
# File systems of other machines, and those of Windows as Linux sees them; SQLite's locks do not work on them.
REMOTE = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "drvfs", "fuse.sshfs", "afs", "ceph", "lustre", "fuse.s3fs"}
OF_WINDOWS = {"9p", "drvfs", "ntfs", "ntfs3", "fuseblk", "vfat", "exfat"}
LIMITS = (  # of a container: what it may have, and what it has
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)


def check_environment(now: datetime) -> Iterator[Finding]:
    """Compare Python and the installed packages with pyproject.toml and the lock."""
    subject, here = "environment", ".".join(map(str, sys.version_info[:3]))
    project = _project()
    wanted = str(project.get("requires-python", ""))
    if wanted and not _fits(here, wanted):
        said = f"this is Python {here}, and the project needs {wanted}"
        yield Finding(subject, "fault", said, "uv venv --clear --python 3.13 && source .venv/bin/activate")
    try:
        lock = environment.LOCK.read_text(encoding="utf-8")
    except OSError:
        yield Finding(
            subject, "fault", "requirements.txt is missing: nobody knows which packages", "python -m mlops lock"
        )
        return
    pinned = set(re.findall(r"^([\w.-]+)==", lock, re.M))
    plain = re.findall(r"^([\w.-]+)==[^\n]*[^\\\n]$", lock, re.M)
    if plain and "--hash=" in lock:
        said = f"{named(plain)} in requirements.txt has no hash: pip refuses the whole file"
        yield Finding(subject, "fault", said, "python -m mlops lock")
    direct = [
        re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;]", each, maxsplit=1)[0]).lower() for each in _needed(project)
    ]
    if unlocked := sorted(set(direct) - pinned):
        said = f"pyproject.toml asks for {named(unlocked)}, and requirements.txt does not have it"
        yield Finding(subject, "fault", said, "python -m mlops lock")
    if wrong := environment.mismatches():
        said = f"not the packages of requirements.txt: {'; '.join(wrong[:3])}{' …' if len(wrong) > 3 else ''}"
        figures = {"packages": wrong}
        yield Finding(subject, "fault", f"{said} ({len(wrong)} in all)", environment.install(), figures=figures)
    elif not plain and not unlocked:
        said = f"Python {here}, and the {len(pinned)} packages of requirements.txt"
        yield Finding(subject, "fine", said, figures={"python": here, "packages": len(pinned)})


def _project() -> dict[str, object]:
    """The table `project` of pyproject.toml; empty if it cannot be read."""
    try:
        return dict(tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"])
    except (OSError, KeyError, ValueError):
        return {}


def _needed(project: dict[str, object]) -> list[str]:
    found = project.get("dependencies")
    return [str(each) for each in found] if isinstance(found, list) else []


def _fits(version: str, wanted: str) -> bool:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return SpecifierSet(wanted).contains(version, prereleases=True)
    except InvalidSpecifier:
        return True


def size_of(folder: Path) -> int:
    """The bytes of all files in a folder, each once however many names it has; links are not followed."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                found = os.lstat(os.path.join(place, name))  # noqa: PTH118 – a path object each takes too long
            except OSError:
                continue
            if (found.st_dev, found.st_ino) not in seen:
                seen.add((found.st_dev, found.st_ino))
                total += found.st_size
        if len(seen) > MOST_FILES:
            break
    return total


def check_room(now: datetime) -> Iterator[Finding]:
    """Compare the room on disk and in memory with the data at hand."""
    data, raw = size_of(Path("data")), size_of(paths.RAW)
    kept = size_of(_cache())
    need = COPIES * data + BESIDE
    places = {"the project": Path(), "DVC's cache": _cache(), "temporary files": Path(tempfile.gettempdir())}
    told = set()
    for name, place in places.items():
        near = next((one for one in (place.absolute(), *place.absolute().parents) if one.exists()), Path("/"))
        device = near.stat().st_dev
        if device in told:
            continue
        told.add(device)
        free = shutil.disk_usage(near).free
        figures = {"free_bytes": free, "data_bytes": data, "cache_bytes": kept, "needed_bytes": int(need)}
        said = f"{_bytes(free)} free for {name}; data {_bytes(data)}, DVC's cache {_bytes(kept)}"
        if free >= need:
            yield Finding("disk", "fine", said, figures=figures)
        else:
            few: bool = free < max(LEAST_DISK, data)
            said += f": a new version of the data with its results takes up to {_bytes(need)}"
            command = "dvc gc --all-commits" if name != "temporary files" else "export TMPDIR=…"
            yield Finding("disk", "fault" if few else "warning", said, command, figures=figures)
    yield from _memory(raw)


def _memory(raw: int) -> Iterator[Finding]:
    free = available_memory()
    need = MEMORY_FACTOR * raw + MEMORY_BASE
    figures = {"available_bytes": free, "raw_bytes": raw, "needed_bytes": int(need)}
    said = f"{_bytes(free)} available; a run on {_bytes(raw)} of raw data takes about {_bytes(need)}"
    if free >= need:
        yield Finding("memory", "fine", said, figures=figures)
    else:
        yield Finding(
            "memory", "warning", f"{said}: the kernel may end it", "ps aux --sort=-%mem | head", figures=figures
        )


def available_memory() -> int:
    """The bytes that a program can have, by the system and by the limit of a container."""
    import psutil

    free = int(psutil.virtual_memory().available)
    for limit, usage in LIMITS:
        try:
            most, used = int(limit.read_text("ascii")), int(usage.read_text("ascii"))
            # Pages of files that were read count as used, and are given back when memory is needed.
            kept = re.search(
                r"^(?:total_)?inactive_file (\d+)", limit.with_name("memory.stat").read_text("ascii"), re.M
            )
        except (OSError, ValueError):  # none, or "max"
            continue
        used -= int(kept[1]) if kept else 0
        free = min(free, max(most - used, 0))
    return free


def _bytes(number: float) -> str:
    for unit, size in (("GB", GIGABYTE), ("MB", MEGABYTE)):
        if number >= 0.95 * size:
            return f"{number / size:,.1f} {unit}"
    return f"{number / 1000:,.0f} kB"


def _cache() -> Path:
    try:
        return cache.folder().parents[1] if Path(".dvc").is_dir() else Path(".dvc/cache")
    except Exception:  # a broken configuration is told where it is read
        return Path(".dvc/cache")


def check_file_system(now: datetime) -> Iterator[Finding]:
    """Look for traits of the file system under the project that have bitten others; nothing is written into it."""
    subject, here = "file system", Path().resolve()
    found = []
    kind = kind_of(here)
    if kind in REMOTE:
        said = f"the project is on {kind}: locks of SQLite do not hold there, so two runs can damage mlflow.db"
        elsewhere = f"git clone {here} ~/{here.name}" if kind in OF_WINDOWS else "export MLFLOW_TRACKING_URI=…"
        found.append(Finding(subject, "warning", said, elsewhere, figures={"kind": kind}))
    elif kind in OF_WINDOWS:
        said = f"the project is on {kind}: it has no rights of files, and small files are slow"
        found.append(Finding(subject, "warning", said, f"git clone {here} ~/{here.name}", figures={"kind": kind}))
    if ignores_case(here):
        said = "upper and lower case are the same here: two files whose names differ by that are one"
        command = "git ls-files | sort --ignore-case | uniq --ignore-case --repeated"
        twice = _same_but_for_case()
        found.append(Finding(subject, "fault" if twice else "fine", f"{said}{_twice(twice)}", command if twice else ""))
    found += _links(subject)
    yield from found
    if not any(finding.state != "fine" for finding in found):
        yield Finding(subject, "fine", f"{kind or 'a local disk'}, {here}")


def kind_of(folder: Path) -> str:
    """The type of the file system of a folder on Linux; "" where it is not known."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    known = [(line.split()[1].replace("\\040", " "), line.split()[2]) for line in mounts if len(line.split()) > 2]
    under = [(place, kind) for place, kind in known if folder.is_relative_to(place)]
    return max(under, key=lambda one: len(one[0]), default=("", ""))[1]


def ignores_case(folder: Path) -> bool:
    """Whether a name in another case is the same file there."""
    name = next((each.name for each in folder.iterdir() if each.name.swapcase() != each.name), "")
    try:
        return bool(name) and (folder / name.swapcase()).samefile(folder / name)
    except OSError:
        return False


def _same_but_for_case() -> list[str]:
    from mlops.history import git

    names = [name for name in git.run("ls-files", "-z", default="").split("\0") if name]
    seen: dict[str, str] = {}
    return [name for name in names if seen.setdefault(name.casefold(), name) != name]


def _twice(names: list[str]) -> str:
    return f": {named(names)}" if names else ""


def _links(subject: str) -> Iterator[Finding]:
    """Links of the kind that DVC's cache is told to use."""
    try:
        kinds = [str(each) for each in storage.config().get("cache", {}).get("type", [])]
    except StoreError:
        return
    if "hardlink" in kinds and _cache().exists() and _cache().stat().st_dev != Path().stat().st_dev:
        said = "cache.type has hardlink, but DVC's cache is on another disk: DVC copies instead"
        yield Finding(subject, "warning", said, "dvc config cache.type reflink,copy")
    if "symlink" in kinds and not _can_link():
        said = "cache.type has symlink, but no link can be made here: DVC copies instead"
        yield Finding(subject, "warning", said, "dvc config cache.type reflink,copy")


def _can_link() -> bool:
    try:
        with tempfile.TemporaryDirectory(dir=".dvc/tmp" if Path(".dvc/tmp").is_dir() else None) as folder:
            Path(folder, "link").symlink_to(Path(folder, "file"))
    except OSError:
        return False
    return True
