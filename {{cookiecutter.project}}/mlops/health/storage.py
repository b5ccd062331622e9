"""DVC: is the remote there and writable, is the cache whole, and does dvc.lock say what the pipeline would?"""

import errno
import json
import os
import re
import shlex
import stat
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlops.base import yaml
from mlops.base.errors import StoreError, counted
from mlops.health import probes, processes, repository
from mlops.health.finding import EDIT, Finding, Repair, named
from mlops.history import cache, dvc, git, paths, revisions

SMALL = 1_000_000  # bytes of an object of the cache that is read to compare it with its name
MOST_READ = 50_000_000  # bytes of all of them together
MOST_SUSPECTED = 2_000_000_000  # bytes that are read where something speaks against an object; takes seconds
PROTECTED = 0o444  # rights of an object that DVC takes for whole without reading it
MOST_ASKED = 50  # objects that a remote elsewhere is asked for
MISSING = {"deleted", "not in cache"}  # what `dvc status` calls a file that is only not here
STATUS_SECONDS = 20.0  # to hash what has changed; DVC remembers the rest
# What makes a folder writable, by the error; a drive has to be mounted again by whoever may.
UNWRITABLE = {errno.EACCES: "chmod u+rwx", errno.EROFS: "findmnt --target", errno.ENOSPC: "df --human-readable"}
LOCK = Path(".dvc/tmp/lock")
CONFIGS = (Path(".dvc/config"), Path(".dvc/config.local"))  # the second is this machine's own


@dataclass(frozen=True)
class Remote:
    """The default remote: its name, its address without secrets, and which of some objects (MD5) it has.

    `has` raises whatever the libraries of the remote do.
    """

    name: str
    place: str
    has: Callable[[Collection[str]], set[str]]


def config() -> dict[str, Any]:
    """DVC's configuration; empty where DVC is not set up.

    Raises:
        StoreError: it cannot be read.
    """
    if not Path(".dvc").is_dir():
        return {}
    from dvc.config import Config, ConfigError

    try:
        return dict(Config(".dvc"))
    except ConfigError as error:
        raise StoreError(f"DVC's configuration cannot be read ({' '.join(str(error).split())})") from None


def _broken_config() -> str:
    """The file of DVC's configuration that has the mistake: the first one that makes the files before it unusable."""
    from dvc.config import Config, ConfigError, merge
    from dvc.config_schema import SCHEMA

    merged: dict[str, Any] = {name: {} for name in SCHEMA}
    for path in (*(Path(Config.get_dir(level), "config") for level in Config.SYSTEM_LEVELS), *CONFIGS):
        try:
            merge(merged, Config.load_file(str(path)))
            Config.validate(merged)
        except FileNotFoundError:
            continue
        except ConfigError:
            return shlex.quote(path.as_posix())
    return CONFIGS[0].as_posix()


def check(now: datetime) -> Iterator[Finding]:
    """Look at DVC's own files and at the cache; the remote is looked at by `check_remote`."""
    if not Path(".dvc").is_dir():
        yield Finding("DVC", "fault", "the folder .dvc is missing: the data has no versions", "dvc init")
        return
    try:
        settings = config()
    except StoreError as error:
        yield Finding("DVC", "fault", str(error), f"{EDIT} {_broken_config()}")
        return
    found = list(_cut_off())
    wrong = damaged() if not found else {}  # before DVC is asked, which removes some of it
    found += [*_locked(settings), *_damage(wrong), *_absent(wrong)]
    yield from found
    if not any(finding.state == "fault" for finding in found) and git.run("rev-parse", "--git-dir", default=""):
        yield from _stale()


def _cut_off() -> Iterator[Finding]:
    """Files that DVC cannot read, because it was killed while it wrote them."""
    for path in (paths.LOCK, *repository.data_files()):
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            if not repository.MARK.search(text) and not dvc.is_whole(path, text):  # merge marks are Git's matter
                yield Finding("DVC", "fault", f"{path} ends too early, or is no DVC file", "python -m mlops resolve")


def _locked(settings: dict[str, Any]) -> Iterator[Finding]:
    try:
        holders = _holders()
    except ValueError:
        repair = Repair(f"remove {dvc.RUNNING}", f"removed {dvc.RUNNING}", _release)
        said = f"{dvc.RUNNING} is cut off, and DVC stops at it"
        yield Finding("DVC", "fault", said, f"rm {dvc.RUNNING}", None if _at_work() else repair)
        return
    except OSError as error:
        yield Finding("DVC", "unknown", f"{dvc.RUNNING} could not be read: {error.strerror}")
        return
    if holders and not any(map(processes.is_running, holders)):
        repair = Repair(f"remove {dvc.RUNNING}", f"removed {dvc.RUNNING}", _release)
        dead = named([str(number) for number in holders])
        said = f"{dvc.RUNNING} is held by a process that is gone ({dead}): DVC warns of it, or waits"
        yield Finding("DVC", "warning", said, f"rm {dvc.RUNNING}", repair)
    elif holders:
        alive = named([str(number) for number in filter(processes.is_running, holders)])
        yield Finding("DVC", "fine", f"a DVC command is at work (process {alive})")
    # The usual lock goes with its process; a hard link does not, and does not tell whose it is.
    if settings.get("core", {}).get("hardlink_lock") and LOCK.exists() and not _at_work():
        repair = Repair(f"remove {LOCK}", f"removed {LOCK}", _unlock)
        yield Finding("DVC", "fault", f"{LOCK} is left, and no DVC command is at work here", f"rm {LOCK}", repair)


def _holders() -> list[int]:
    """The processes that hold a file of the project, by DVC's own list.

    Raises:
        OSError: the list cannot be read.
        ValueError: it is cut off.
    """
    if not dvc.RUNNING.is_file():
        return []
    text = dvc.RUNNING.read_text(encoding="utf-8")
    try:
        content = json.loads(text)
        entries = [*content.get("write", {}).values()]
        entries += [entry for several in content.get("read", {}).values() for entry in several]
        return sorted({int(entry["pid"]) for entry in entries})
    except (KeyError, TypeError, AttributeError):
        raise ValueError(text[:20]) from None


def _at_work() -> list[int]:
    return processes.at_work(Path(), "dvc")


def _release() -> None:
    try:
        holders = _holders()
    except ValueError:
        holders = []
    if any(map(processes.is_running, holders)) or (not holders and _at_work()):
        raise StoreError(f"{dvc.RUNNING} was left alone: a DVC command is at work")
    dvc.RUNNING.unlink(missing_ok=True)


def _unlock() -> None:
    if _at_work():
        raise StoreError(f"{LOCK} was left alone: a DVC command is at work")
    LOCK.unlink(missing_ok=True)


def objects() -> dict[str, list[str]]:
    """The MD5s of what the results of the work tree consist of, by path; of a folder those of its files, too."""
    found: dict[str, list[str]] = {}
    for path, digest in repository.dvc_outputs().items():
        if digest:
            parts = []
            if digest.endswith(cache.FOLDER) and cache.path_of(digest).is_file():
                with suppress(ValueError, KeyError, TypeError):
                    parts = [entry["md5"] for entry in cache.listing(digest)]
            found[path] = [digest, *parts]
    return found


def damaged() -> dict[str, str]:
    """The objects of the cache whose content is not what their name says: the path that each belongs to, by MD5.

    The size of all is compared with that in dvc.lock or the .dvc file. Read to the end are small objects, what that
    size speaks against, what `dvc checkout` would bring into the work tree, and what is not protected from writing,
    which DVC looks at and removes without a word as soon as it is asked.
    """
    expected, gone, several = _sizes(), set(absent()), objects()
    read, wrong = 0, {}
    for path, digests in several.items():
        places = {digest: cache.path_of(digest) for digest in digests}
        facts = {digest: place.stat() for digest, place in places.items() if place.is_file()}
        content = [facts[one].st_size for one in facts if len(digests) == 1 or not one.endswith(cache.FOLDER)]
        whole = len(facts) == len(digests)  # of a folder, DVC keeps the size of all files together
        suspected = whole and sum(content) != expected.get(digests[0], sum(content))
        for digest, fact in facts.items():
            must = suspected or path in gone or stat.S_IMODE(fact.st_mode) != PROTECTED
            if fact.st_size < SMALL or must:
                read += fact.st_size
                if read <= (MOST_SUSPECTED if must else MOST_READ) and not _is_whole(digest):
                    wrong[digest] = path
    return wrong


def _is_whole(digest: str) -> bool:
    return cache.md5(cache.path_of(digest)) == digest.removesuffix(cache.FOLDER)


def _sizes() -> dict[str, int]:
    """The bytes of what DVC keeps, as dvc.lock and the .dvc files have them, by MD5; of a folder those of all files."""
    stages = revisions.find("").stages.values()
    outs = [out for stage in stages for out in stage.get("outs", [])]
    outs += [out for path in repository.data_files() for out in yaml.read(path)["outs"]]
    return {str(out["md5"]): int(out["size"]) for out in outs if "md5" in out and "size" in out}


def _damage(wrong: dict[str, str]) -> Iterator[Finding]:
    for digest, path in wrong.items():
        shown = os.path.relpath(cache.path_of(digest))
        said = f"the copy of {path} in DVC's cache is damaged ({shown}): it would be checked out and pushed so"
        yield Finding("DVC cache", "fault", said, _replaced(digest, path), figures={"object": shown})


def _replaced(digest: str, path: str) -> str:
    """The command that gets an object anew.

    The copy in the work tree stays: what is as it was, gives the object again; otherwise the remote has to.
    """
    shown, here = shlex.quote(os.path.relpath(cache.path_of(digest))), Path(path)
    whole = here.exists() and not here.is_symlink() and cache.md5(here) == objects()[path][0]
    again = "commit --force" if whole else "fetch" if here.exists() else "pull"
    return f"mv {shown} {shown}.damaged && dvc {again} {shlex.quote(path)} && rm -f {shown}.damaged"


def missing() -> dict[str, list[str]]:
    """The objects that the cache lacks, by path."""
    lacking = {
        path: [one for one in several if not cache.path_of(one).is_file()] for path, several in objects().items()
    }
    return {path: several for path, several in lacking.items() if several}


def absent() -> list[str]:
    """What DVC keeps and the work tree lacks."""
    return [path for path in objects() if not Path(path).exists()]


def _absent(wrong: dict[str, str]) -> Iterator[Finding]:
    """What the work tree lacks although the cache has it."""
    unusable = {*missing(), *wrong.values()}
    if gone := [path for path in absent() if path not in unusable]:
        command = f"dvc checkout {' '.join(map(shlex.quote, gone))}"
        repair = Repair(f"run `{command}`", f"ran `{command}`", partial(_checkout, gone))
        said = f"{named(gone)} {_is(gone)} in DVC's cache, and not in the work tree"
        yield Finding("DVC", "warning", said, command, repair, {"absent": gone})


def _checkout(targets: list[str]) -> None:
    gone = [path for path in targets if not Path(path).exists()]  # nothing that came meanwhile is replaced
    for path in gone:  # all of it is read before: what is damaged must not come into the work tree
        for digest in objects()[path]:
            if not _is_whole(digest):
                raise StoreError(f"the copy of {path} in DVC's cache is damaged: {_replaced(digest, path)}")
    if gone:
        dvc.run("checkout", *gone, hint="see `dvc status`")


def _stale() -> Iterator[Finding]:
    before = {digest: path for path, several in objects().items() for digest in several if _is_kept(digest)}
    try:
        stages = stale(STATUS_SECONDS)
    except StoreError as error:
        yield Finding("DVC", "unknown", f"what is stale is not known: {error}", "dvc status")
        return
    if removed := sorted({path for digest, path in before.items() if not _is_kept(digest)}):
        said = f"DVC has removed a damaged copy of {named(removed)} from its cache"
        yield Finding("DVC cache", "fault", said, f"dvc pull {' '.join(map(shlex.quote, removed))}")
    data = [name.removesuffix(".dvc") for name in stages if name.endswith(".dvc")]
    if not paths.LOCK.is_file():
        yield Finding("DVC", "warning", "the pipeline has not run yet: there is no dvc.lock", "dvc repro")
    elif lacking := only_missing(data):
        for path, names in lacking.items():
            said = f"{named(names)} of {path} {_is(names)} not here, and nothing else of it has changed"
            said += f" (if that was meant: `{recorded([path])}`)"
            yield Finding("DVC", "warning", said, brought_back([path]), figures={"missing": names})
    elif stages:
        said = f"dvc.lock is not what the pipeline gives: {named(stages)} changed"
        yield Finding("DVC", "warning", said, recorded(data), figures={"stale": stages})
    else:
        yield Finding("DVC", "fine", "no data, code or parameter has changed since its results were made")


def _is_kept(digest: str) -> bool:
    return cache.path_of(digest).is_file()


def recorded(data: list[str]) -> str:
    """The command that takes changed data for the new state of things and runs what is stale."""
    return f"dvc add {' '.join(map(shlex.quote, data))} && dvc repro" if data else "dvc repro"


def brought_back(data: list[str]) -> str:
    """The command that brings missing files of folders back, from the cache if it has them."""
    lacking = missing()
    return f"dvc {'pull' if any(path in lacking for path in data) else 'checkout'} {' '.join(map(shlex.quote, data))}"


def only_missing(data: Collection[str]) -> dict[str, list[str]]:
    """The files that are gone from each folder of which nothing else has changed, by the folder.

    What is too much to be read is taken for changed, and so is a folder whose list is not in the cache.
    """
    known, read, found = repository.dvc_outputs(), 0, {}
    for path in data:
        digest, folder = known.get(path, ""), Path(path)
        if not digest.endswith(cache.FOLDER) or not _is_kept(digest) or not folder.is_dir():
            continue
        try:
            wanted = {entry["relpath"]: entry["md5"] for entry in cache.listing(digest)}
        except (ValueError, KeyError, TypeError):
            continue
        here = {file.relative_to(folder).as_posix(): file for file in paths.files_of(folder)}
        read += sum(file.stat().st_size for file in here.values())
        gone = [name for name in wanted if name not in here]
        if not gone or not set(here) <= set(wanted) or read > MOST_SUSPECTED:
            continue
        if all(cache.md5(file) == wanted[name] for name, file in here.items()):
            found[path] = gone
    return found


def stale(seconds: float) -> list[str]:
    """The stages and .dvc files whose data, code or parameters have changed, as `dvc status` has them.

    A file that is only missing, as in a fresh clone, changes nothing: see `absent`.

    Raises:
        StoreError: DVC cannot say so, or not within `seconds`.
    """
    environment = {**os.environ, "DVC_NO_ANALYTICS": "true"}
    try:
        done = subprocess.run(
            dvc.command("status", "--json"),
            capture_output=True,
            env=environment,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise StoreError(f"`dvc status` did not end within {seconds:g} s") from None
    if done.returncode:
        raise StoreError(f"`dvc status` failed ({' '.join(done.stderr.removeprefix('ERROR: ').split())[:160]})")
    try:
        changed = json.loads(done.stdout or "{}")
    except ValueError:
        raise StoreError("`dvc status` gave no JSON") from None
    order = [*(path.as_posix() for path in repository.data_files()), *yaml.read(paths.PIPELINE).get("stages", {})]
    stale = [name for name, entries in changed.items() if set(_kinds(entries)) - MISSING]
    return sorted(stale, key=lambda name: (order.index(name) if name in order else len(order), name))


def _kinds(found: Any) -> Iterator[str]:
    """The kinds of change in a part of what `dvc status` says."""
    if isinstance(found, str):
        yield found
    else:
        for part in found.values() if isinstance(found, dict) else found:
            yield from _kinds(part)


def check_remote(now: datetime) -> Iterator[Finding]:
    """Look whether the remote can be read and written, and whether it has what the cache lacks."""
    settings = config()
    if not settings:
        return
    name = settings.get("core", {}).get("remote")
    if not name or name not in settings.get("remote", {}):
        said = f"there is no remote {name}" if name else "there is no remote: the data is on this machine alone"
        yield Finding("DVC remote", "warning", said, "dvc remote add --default storage PATH-OR-URL && dvc push")
        return
    found = list(_reached(settings, name))
    reached = next((one for one in found if isinstance(one, Remote)), None)
    yield from (one for one in found if isinstance(one, Finding))
    yield from _compared(reached)


def _reached(settings: dict[str, Any], name: str) -> Iterator[Finding | Remote]:
    """What was found of a remote, and the remote if it could be read."""
    url = str(settings["remote"][name].get("url", ""))
    scheme = urlsplit(url).scheme if "://" in url else ""
    place = f"{name} ({without_secrets(url)})"
    if scheme in ("", "file"):
        yield from _folder(name, place, Path(url.removeprefix("file://")))
    elif scheme in ("http", "https"):
        answer = probes.get(url, method="HEAD")
        yield Finding("DVC remote", "fine", f"{place} answers ({answer.status}); whether it takes data was not tried")
    else:
        yield from _elsewhere(settings, name, place)


def _folder(name: str, place: str, folder: Path) -> Iterator[Finding | Remote]:
    """A remote that is a folder of this machine, or of a drive that is mounted here."""
    if not folder.exists():
        near = next(parent for parent in folder.parents if parent.exists())
        if near != folder.parent or not os.access(near, os.W_OK):
            said = f"{place} is not there: its drive is not mounted, or its folder was moved"
            yield Finding("DVC remote", "fault", said, f"dvc remote modify {name} url PATH")
        else:
            said = "it is new, and the first `dvc push` makes it, or it was deleted or not mounted"
            yield Finding("DVC remote", "unknown", f"{place} is not there: {said}")
            yield Remote(name, place, lambda wanted: set())
        return
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-"):
            pass
    except OSError as error:
        said = f"{place} cannot be written: {error.strerror}"
        yield Finding(
            "DVC remote", "fault", said, f"{UNWRITABLE.get(error.errno or 0, 'ls -ld')} {shlex.quote(str(folder))}"
        )
    else:
        yield Finding("DVC remote", "fine", f"{place} can be read and written")
    yield Remote(name, place, lambda wanted: {one for one in wanted if (folder / key(one)).is_file()})


def key(digest: str) -> str:
    """Where a remote has the object with this MD5."""
    return f"files/md5/{digest[:2]}/{digest[2:]}"


def _elsewhere(settings: dict[str, Any], name: str, place: str) -> Iterator[Finding | Remote]:
    """A remote of S3, GCS, Azure, SSH and so on: an empty object is written and removed."""
    from dvc.fs import get_cloud_fs

    kind = urlsplit(str(settings["remote"][name]["url"])).scheme
    os.environ.setdefault("AWS_MAX_ATTEMPTS", "1")  # one look, not five
    try:
        cls, found, root = get_cloud_fs(settings, name=name)
        if kind == "s3":
            found = {"connect_timeout": probes.SECONDS, "read_timeout": probes.SECONDS, **found}
        system = cls(**found)
        if hasattr(system.fs, "retries"):  # its library is loaded here
            system.fs.retries = 1
    except Exception as error:  # each kind has its own
        if "requires" not in str(error) and not isinstance(error, ImportError):
            raise
        said = f"{place} needs a package of DVC that is not installed"
        yield Finding("DVC remote", "fault", said, f"uv add 'dvc[{kind}]' && python -m mlops lock")
        return
    probe = f"{root.rstrip('/')}/.doctor-{uuid.uuid4().hex}"
    try:
        system.pipe_file(probe, b"written by `python -m mlops doctor`, and removed")
        system.remove(probe)
    except Exception as error:
        said = _reason(error)
        if re.search("connect|timeout|resolve|endpoint", f"{type(error).__name__} {said}", re.IGNORECASE):
            yield Finding("DVC remote", "fault", f"{place} cannot be reached: {said}", "dvc status --cloud")
            return
        try:
            there = bool(system.exists(f"{root.rstrip('/')}/files"))
        except Exception as unread:  # reading fails as well
            why = _reason(unread)
            yield Finding("DVC remote", "fault", f"{place} cannot be reached: {why}", _credentials(kind, name))
            return
        yield Finding("DVC remote", "fault", f"{place} cannot be written: {said}", _credentials(kind, name))
        if not there:  # what it has is not known, if it is a place at all
            return
    else:
        yield Finding("DVC remote", "fine", f"{place} can be read and written")

    def has(wanted: Collection[str]) -> set[str]:
        asked = sorted(wanted)[:MOST_ASKED]
        there = system.exists([f"{root.rstrip('/')}/{key(one)}" for one in asked])
        return {one for one, is_there in zip(asked, there, strict=True) if is_there}

    yield Remote(name, place, has)


def _credentials(kind: str, name: str) -> str:
    """The command that gives a remote what it asks for."""
    known = {"s3": "access_key_id", "gs": "credentialpath", "azure": "account_name", "ssh": "keyfile"}
    return f"dvc remote modify --local {name} {known.get(kind, 'user')} …"


def _reason(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:160]


def without_secrets(url: str) -> str:
    """An address without user and password, and without what follows a question mark."""
    parts = urlsplit(url)
    return (
        parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl() if parts.netloc else url
    )


def _compared(remote: Remote | None) -> Iterator[Finding]:
    """What the cache lacks and the remote has, and the other way round."""
    lacking, whole = missing(), objects()
    if lacking:
        wanted = {several[0] for several in lacking.values()}
        there = remote.has(wanted) if remote else set()
        pulled = [path for path, several in lacking.items() if several[0] in there]
        lost = [path for path in lacking if path not in pulled]
        if pulled:
            said = f"{named(pulled)} {_is(pulled)} not in DVC's cache, but in the remote"
            targets = "" if len(pulled) == len(whole) else f" {' '.join(map(shlex.quote, pulled))}"
            yield Finding("DVC cache", "warning", said, f"dvc pull{targets}")
        yield from _lost(lost, remote)
    present = {one for several in whole.values() for one in several} - {
        one for each in lacking.values() for one in each
    }
    if remote and present:
        asked = sorted(present)[:MOST_ASKED]
        absent = sorted(set(asked) - remote.has(asked))
        if absent:
            said = f"the remote lacks {counted(len(absent), 'object')} that the cache has: nobody else can get them"
            yield Finding("DVC remote", "warning", said, "dvc push", figures={"not_pushed": len(absent)})


def _lost(lost: list[str], remote: Remote | None) -> Iterator[Finding]:
    here = [path for path in lost if Path(path).exists()]
    gone = [path for path in lost if path not in here]
    where = "nor in the remote" if remote else "and the remote could not be asked"
    if here:
        command = f"dvc commit --force {' '.join(map(shlex.quote, here))} && dvc push"
        said = f"{named(here)} {_is(here)} neither in DVC's cache {where}, and only in the work tree"
        yield Finding("DVC cache", "fault" if remote else "warning", said, command)
    data = [path for path in gone if Path(f"{path}.dvc").is_file()]
    made = [path for path in gone if path not in data]
    if data:
        said = f"{named(data)} {_is(data)} neither in the work tree nor in DVC's cache {where}"
        pushed = "dvc pull" if not remote else "dvc push   # on the machine that has it, then here: dvc pull"
        yield Finding("DVC cache", "fault" if remote else "unknown", said, pushed)
    if made:
        said = f"{named(made)} {_is(made)} neither in the work tree nor in DVC's cache {where}"
        yield Finding("DVC cache", "warning" if remote else "unknown", said, "dvc repro --pull")


def _is(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
