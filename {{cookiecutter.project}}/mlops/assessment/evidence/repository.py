"""A Git repository, read from its last commit: no code, hook, filter or configuration of it is ever run.

Files are read as Git's objects, never from the work tree. So no symbolic link is followed, what is not committed does
not count, and a bare repository is read as any other one.
"""

import os
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import IO, cast

from mlops.assessment.finding import Kind, Source
from mlops.base.errors import StoreError

MOST_BYTES = 1_000_000  # of a file; a larger one is data, or was generated
MOST_COMMITS = 3_000  # that are looked at for the age of files
SECONDS = 4.0  # for reading files; what is left then is not looked at
GRACE = 2.0  # more, for single files
AT_ONCE = 100  # objects asked for before the first answer is read: their names fit into a pipe
DAY = 86_400.0
# Whatever the configuration of the repository says, these win.
HARMLESS = {
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.pager": "cat",
    "log.showSignature": "false",  # would run gpg.program
    "protocol.allow": "never",  # a partial clone would fetch what it lacks, by commands of its configuration
}
ENVIRONMENT = {
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}


@dataclass(frozen=True)
class Blob:
    """A tracked file: its object, its size in bytes, and whether it is a symbolic link."""

    name: str
    size: int
    is_link: bool = False


@dataclass
class Repository:
    """The last commit of a Git repository, and what was read of it."""

    path: Path
    now: datetime
    commit: str
    is_bare: bool
    is_shallow: bool
    remote: str
    files: Mapping[str, Blob]
    branch: str = ""  # the main branch, as the remote named it when it was cloned; "" if that is not known
    asked: str = ""  # the folder that was asked about, below the root
    deadline: float = field(default_factory=lambda: time.monotonic() + SECONDS)
    truncated: bool = False  # whether time or room has ended before all files were looked at
    _texts: dict[str, str | None] = field(default_factory=dict)
    _reader: "subprocess.Popen[bytes] | None" = None

    def text(self, path: str) -> str | None:
        """The text of a tracked file; None without one, or if it is a link, too large or no text."""
        if path not in self._texts and path in self.files:
            if time.monotonic() > self.deadline + GRACE:
                self.truncated = True
                return None
            list(self.read([path]))
        return self._texts.get(path)

    def read(self, paths: Iterable[str]) -> Iterator[tuple[str, str]]:
        """The text of each of these files that has one, those that were read before first; what is read is kept.

        It ends early when the time is over, and notes so.
        """
        asked = [path for path in paths if path in self.files]
        yield from [(path, text) for path in asked if (text := self._texts.get(path)) is not None]
        wanted = [path for path in asked if path not in self._texts]
        small = [path for path in wanted if not self.files[path].is_link and self.files[path].size <= MOST_BYTES]
        self._texts.update(dict.fromkeys(set(wanted) - set(small)))
        for start in range(0, len(small), AT_ONCE):
            some = small[start : start + AT_ONCE]
            contents = self._objects([self.files[path].name for path in some])
            for path, content in zip(some, contents, strict=True):
                text = None if content is None or b"\0" in content[:8000] else content.decode(errors="replace")
                self._texts[path] = text
                if text is not None:
                    yield path, text
            if time.monotonic() > self.deadline and start + AT_ONCE < len(small):
                self.truncated = True
                return

    def forget(self, path: str) -> None:
        """Give the memory of a text back."""
        self._texts.pop(path, None)

    def content(self, path: str) -> bytes | None:
        """The bytes of a tracked file of at most MOST_BYTES; None without one."""
        blob = self.files.get(path)
        if blob is None or blob.is_link or blob.size > MOST_BYTES:
            return None
        return self._objects([blob.name])[0]

    def named(self, *names: str) -> list[str]:
        """The paths of the files with one of these names, those nearest to the root first."""
        found = [path for name in names for path in self._by_name.get(name, ())]
        return sorted(found, key=lambda path: (path.count("/"), path))

    def ending(self, *ends: str) -> list[str]:
        """The paths with one of these ends."""
        return [path for path in self.files if path.endswith(ends)]

    def below(self, folder: str) -> list[str]:
        """The paths below a folder; all with an empty one."""
        return [path for path in self.files if path.startswith(f"{folder}/" if folder else "")]

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        names: dict[str, list[str]] = {}
        for path in self.files:
            names.setdefault(path.rpartition("/")[2], []).append(path)
        return names

    def days(self, seconds: float) -> float:
        """The age in days of a moment (Unix seconds); a moment in the future has none."""
        return max(0.0, round((self.now.timestamp() - seconds) / DAY, 2))

    def changed(self, path: str) -> float | None:
        """When a commit last changed a file (Unix seconds); None if that is not known."""
        return self.changes.get(path)

    def source(self, path: str, line: int | None = None, kind: Kind = "file") -> Source:
        """A file as the source of a finding."""
        changed = self.changed(path)
        return Source(kind, path, line, None if changed is None else self.days(changed))

    @cached_property
    def changes(self) -> Mapping[str, float]:
        """When each file was last changed (Unix seconds), as far as the newest commits tell.

        Where the history of a shallow clone ends, all files seem to be new: nothing is said of them.
        """
        shown = ("--format=%x01%ct %P", "--name-only", "--no-renames", "-m", "--first-parent", "-z")
        found: dict[str, float] = {}
        with suppress(StoreError, ValueError):
            log = self.git("log", f"--max-count={MOST_COMMITS}", *shown, self.commit, seconds=3)
            for entry in log.split("\x01")[1:]:
                head, _, names = entry.partition("\0")
                seconds, _, parents = head.partition(" ")
                if self.is_shallow and not parents.strip():
                    continue
                for name in names.strip("\n\0").split("\0"):
                    found.setdefault(name.lstrip("\n"), float(seconds))
        return found

    def git(self, *arguments: str, seconds: float = 3) -> str:
        """What a Git command that only reads prints.

        Raises:
            StoreError: it fails, or takes longer.
        """
        return _git(self.path, *arguments, seconds=seconds)

    def close(self) -> None:
        """End the process that reads."""
        if self._reader is not None:
            self._reader.kill()
            self._reader.communicate()
        self._reader = None

    def _objects(self, names: list[str]) -> list[bytes | None]:
        """The content of at most AT_ONCE objects, by one process for all of them; None for one that is not here."""
        if self._reader is None:
            command, pipe = _command(self.path, "cat-file", "--batch"), subprocess.PIPE
            self._reader = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=_environment()
            )
        asked, answers = cast("IO[bytes]", self._reader.stdin), cast("IO[bytes]", self._reader.stdout)
        found: list[bytes | None] = []
        try:
            asked.write("".join(f"{name}\n" for name in names).encode())
            asked.flush()
            for _ in names:
                header = answers.readline()
                size = header.rsplit(b" ", 1)[-1].strip()
                if not header:
                    break
                found.append(answers.read(int(size) + 1)[:-1] if size.isdigit() else None)
        except BrokenPipeError:
            pass
        if len(found) < len(names):  # a damaged object has ended the process
            self.close()
        return found + [None] * (len(names) - len(found))


def opened(path: Path, now: datetime) -> Repository:
    """The repository that a folder is in.

    Raises:
        StoreError: there is none, it has no commit, or Git refuses to read it.
    """
    if not path.is_dir():
        raise StoreError(f"{path} is no folder: give the folder of a Git repository")
    facts = ("--is-bare-repository", "--is-shallow-repository", "--absolute-git-dir")
    try:
        bare, shallow, folder = _git(path, "rev-parse", *facts).splitlines()
        if bare != "true" and Path(folder).name == ".git" and path.resolve().is_relative_to(Path(folder)):
            path = Path(folder).parent  # the folder of Git itself stands for the work tree around it
        place = path if bare == "true" else Path(_git(path, "rev-parse", "--show-toplevel").rstrip("\n"))
        asked = "" if bare == "true" else _git(path, "rev-parse", "--show-prefix").strip("/\n")
    except StoreError as error:
        raise StoreError(
            f"{path} is in no Git repository that can be read ({error}): evidence is what is committed, so run "
            "`git init` and commit, or give another folder"
        ) from None
    try:
        commit = _git(place, "rev-parse", "--verify", "HEAD^{commit}").strip()
    except StoreError:
        raise StoreError(
            f"{place} has no commit yet, so there is nothing to judge: evidence is what is committed; run "
            "`git add --all` and `git commit`"
        ) from None
    head = ("symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD")
    branch = _git(place, *head, default="").strip()
    remote = _git(place, "config", "--get", "remote.origin.url", default="").strip()
    return Repository(
        place,
        now,
        commit,
        bare == "true",
        shallow == "true",
        remote,
        _files(place, commit),
        branch.partition("/")[2],
        asked,
    )


def _files(path: Path, commit: str) -> dict[str, Blob]:
    listed = _git(path, "ls-tree", "-r", "-z", "--full-tree", "-l", commit, seconds=10)
    found = {}
    for entry in listed.split("\0")[:-1]:
        facts, _, name = entry.partition("\t")
        mode, kind, digest, size = facts.split()
        if kind == "blob":  # else a submodule
            found[name] = Blob(digest, int(size) if size.isdigit() else 0, mode == "120000")
    return found


def _command(path: Path, *arguments: str) -> list[str]:
    settings = [part for name, value in HARMLESS.items() for part in ("-c", f"{name}={value}")]
    return ["git", "-C", str(path), "--no-pager", *settings, *arguments]


def _environment() -> dict[str, str]:
    """That of this process, without what would lead Git elsewhere, as in a hook."""
    return {name: value for name, value in os.environ.items() if not _leads_elsewhere(name)} | ENVIRONMENT


def _leads_elsewhere(name: str) -> bool:
    return name.startswith("GIT_") and not name.startswith(("GIT_CONFIG", "GIT_CEILING"))


def _git(path: Path, *arguments: str, default: str | None = None, seconds: float = 5) -> str:
    try:
        done = subprocess.run(
            _command(path, *arguments),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env=_environment(),
            stdin=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
        )
    except OSError as error:
        raise StoreError(f"git could not be run ({error}): install it, or put it on the PATH") from None
    except subprocess.TimeoutExpired:
        raise StoreError(f"git {arguments[0]} took longer than {seconds:g} s") from None
    if not done.returncode:
        return done.stdout
    if default is not None:
        return default
    raise StoreError(f"git {arguments[0]} failed: {next(iter(done.stderr.strip().splitlines()), 'no reason given')}")
