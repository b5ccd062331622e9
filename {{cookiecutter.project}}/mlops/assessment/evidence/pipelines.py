"""DVC's pipelines: which stages there are, and whether dvc.lock is still what they would give now."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from mlops.assessment.evidence import documents
from mlops.assessment.evidence.commands import commands
from mlops.assessment.evidence.documents import UnreadableError
from mlops.assessment.evidence.repository import Repository
from mlops.assessment.evidence.running import entries, run_by
from mlops.history import paths

MOST_TRACKED = 2_000  # .dvc files that are read


@dataclass(frozen=True)
class Stage:
    """A stage of a dvc.yaml: its name, the file and line, the folder of the file, and what it says."""

    name: str
    path: str
    line: int
    folder: str
    content: Mapping[Any, Any]

    def at(self, path: str) -> str:
        """A path of the stage as one of the repository."""
        joined = PurePosixPath(self.folder, path)
        return str(joined) if ".." not in joined.parts else ""

    @property
    def outputs(self) -> list[str]:
        """The paths that it writes."""
        kinds = ("outs", "metrics", "plots")
        return [self.at(name) for kind in kinds for name in _names(self.content.get(kind))]

    @property
    def parametrised(self) -> bool:
        """Whether the file holds a template (`foreach`, or an expression of DVC) that is not written out here."""
        return "foreach" in self.content or "matrix" in self.content or "${" in str(dict(self.content))


@dataclass
class Pipelines:
    """The stages of all dvc.yaml files, their state in dvc.lock, and the files that DVC tracks."""

    repository: Repository
    folder: str = ""  # what lies outside is another project's

    def _files(self, name: str) -> list[str]:
        inside = f"{self.folder}/" if self.folder else ""
        return [path for path in self.repository.named(name) if path.startswith(inside)]

    @cached_property
    def locks(self) -> list[str]:
        """The dvc.lock files, the nearest to the root first."""
        return self._files("dvc.lock")

    @cached_property
    def pointers(self) -> list[str]:
        """The .dvc files."""
        inside = f"{self.folder}/" if self.folder else ""
        return [path for path in self.repository.ending(".dvc") if path.startswith(inside)][:MOST_TRACKED]

    @cached_property
    def configuration(self) -> str:
        """DVC's configuration: that of the project, or that of the whole repository."""
        own = f"{self.folder}/.dvc/config"
        return own if own in self.repository.files else ".dvc/config"

    @cached_property
    def stages(self) -> list[Stage]:
        """Every stage."""
        found = []
        for path in self._files("dvc.yaml"):
            content = self._parsed(path)
            stages = content.get("stages") if isinstance(content, dict) else None
            for name, stage in stages.items() if isinstance(stages, dict) else ():
                if isinstance(stage, dict):
                    folder = path.rpartition("/")[0]
                    found.append(Stage(str(name), path, getattr(name, "line", 1), folder, stage))
        return found

    @cached_property
    def locked(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The entry of each stage in dvc.lock, by the folder and the name."""
        found = {}
        for path in self.locks:
            content = self._parsed(path)
            stages = content.get("stages") if isinstance(content, dict) else None
            for name, entry in stages.items() if isinstance(stages, dict) else ():
                if isinstance(entry, dict):
                    found[path.rpartition("/")[0], str(name)] = entry
        return found

    @cached_property
    def tracked(self) -> list[tuple[str, str]]:
        """The files and folders that a .dvc file tracks with a digest, each with the .dvc file."""
        found = []
        for path in self.pointers:
            content = self._parsed(path)
            outs = [out for out in _entries(content, "outs") if _digest(out)]
            found += [(str(PurePosixPath(path).parent / str(out.get("path"))), path) for out in outs]
        return found

    @cached_property
    def digests(self) -> dict[str, str]:
        """What dvc.lock and .dvc files say that each path has as its digest."""
        found = {}
        for (folder, _), entry in self.locked.items():
            for out in _entries(entry, "outs"):
                if _digest(out):
                    found[str(PurePosixPath(folder, str(out.get("path"))))] = _digest(out)
        for path in self.pointers:
            for out in _entries(self._parsed(path), "outs"):
                if _digest(out):
                    found[str(PurePosixPath(path).parent / str(out.get("path")))] = _digest(out)
        return found

    @cached_property
    def remotes(self) -> list[tuple[str, int]]:
        """The addresses of DVC's remotes, each with its line in .dvc/config."""
        text = self.repository.text(self.configuration) or ""
        lines = enumerate(text.splitlines(), 1)
        found = [(re.match(r"\s*url\s*=\s*(\S.*)", line), at) for at, line in lines]
        return [(match[1].strip().strip("\"'"), at) for match, at in found if match]

    @cached_property
    def stale(self) -> dict[tuple[str, str], str]:
        """The stages whose entry in dvc.lock is not that of the files that are committed, each with the reason."""
        found = {}
        for stage in self.stages:
            if reason := self._reason(stage):
                found[stage.folder, stage.name] = reason
        return found

    def writer(self, path: str) -> Stage | None:
        """The stage that writes a file."""
        return next((stage for stage in self.stages if path in stage.outputs), None)

    def is_current(self, path: str) -> bool | None:
        """Whether a committed report is the one that dvc.lock names, by a stage that is not stale; None: not DVC's."""
        stage = self.writer(path)
        if stage is None or (stage.folder, stage.name) not in self.locked:
            return None
        known = self.digests.get(path)
        content = self.repository.content(path)
        if known and content is not None and not _fits(content, known):
            return False
        return (stage.folder, stage.name) not in self.stale

    @cached_property
    def scripts(self) -> set[str]:
        """The files of the repository that the stages run."""
        found, installed = set(), entries(self.repository)
        for stage in self.stages:
            raw = stage.content.get("cmd", _mapping(stage.content.get("do")).get("cmd", ""))
            for one in raw if isinstance(raw, list) else [raw]:
                for command in commands(str(one)):
                    near = stage.at(command.script) if command.script else ""
                    found.add(near if near in self.repository.files else run_by(self.repository, command, installed))
        return found - {""}

    def _reason(self, stage: Stage) -> str:
        """Why a stage is not current; "" if nothing says so."""
        entry = self.locked.get((stage.folder, stage.name))
        if all(one.content.get("frozen") is True for one in self.stages):
            return f"{stage.name} is frozen, and so are all stages: `dvc repro` runs nothing"
        if stage.content.get("frozen") is True or stage.content.get("always_changed") is True:
            return ""
        if entry is None:
            return "" if stage.parametrised else f"{stage.name} was never run: dvc.lock lacks it"
        if stage.parametrised:
            return ""
        if _squeezed(stage.content.get("cmd")) != _squeezed(entry.get("cmd")):
            return f"the command of {stage.name} has changed"
        names = set(_names(stage.content.get("deps")))
        known = {str(dep.get("path")): _digest(dep) for dep in _entries(entry, "deps")}
        if missing := sorted(names - known.keys()):
            return f"{stage.name} depends on {missing[0]}, which dvc.lock does not know"
        for path, digest in known.items():
            if path in names and digest and self._differs(stage.at(path), digest, _count(entry, path)):
                return f"{path} has changed since {stage.name} was run"
        return self._parameter(stage, entry)

    def _parameter(self, stage: Stage, entry: Mapping[Any, Any]) -> str:
        for file, values in _mapping(entry.get("params")).items():
            content = self._parsed(stage.at(str(file)))
            declared = _declared(stage.content.get("params"), str(file))
            for name, value in _mapping(values).items():
                if name in declared and isinstance(content, dict) and _value(content, str(name)) != value:
                    return f"the parameter {name} has changed since {stage.name} was run"
        return ""

    def _differs(self, path: str, digest: str, count: int | None) -> bool:
        """Whether what is committed under a path certainly has another digest than dvc.lock says."""
        if path in self.digests:
            return self.digests[path] != digest
        if (content := self.repository.content(path)) is not None:
            return not _fits(content, digest)
        inside = [
            name
            for name in self.repository.below(path)
            if path and not paths.LEFTOVER.search(name) and not self.repository.files[name].is_link
        ]
        if not inside or not digest.endswith(".dir") or count != len(inside):
            return bool(inside) and count is not None and count != len(inside) and ".dvcignore" not in self._ignores
        entries = []
        for name in inside:
            if (content := self.repository.content(name)) is None:
                return False
            entries.append({"md5": _md5(content), "relpath": name.removeprefix(f"{path}/")})
        listing = json.dumps(sorted(entries, key=lambda entry: entry["relpath"]))
        return f"{_md5(listing.encode())}.dir" != digest

    @cached_property
    def _ignores(self) -> set[str]:
        """The .dvcignore files whose patterns are not those that a generated project has."""
        known = self.repository.text(str(PurePosixPath(self.folder, "mlops/VERSION"))) is not None
        return set() if known else {path.rpartition("/")[2] for path in self.repository.named(".dvcignore")}

    def _parsed(self, path: str) -> Any:
        if path not in self._contents:
            try:
                parse = documents.from_json if path.endswith(".json") else documents.from_yaml
                self._contents[path] = parse(self.repository.text(path) or "")
            except UnreadableError:
                self._contents[path] = None
        return self._contents[path]

    @cached_property
    def _contents(self) -> dict[str, Any]:
        return {}


def _mapping(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _entries(content: Any, kind: str) -> list[dict[Any, Any]]:
    found = _mapping(content).get(kind)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _names(raw: Any) -> Iterator[str]:
    """The paths of a list of DVC, whose entries are a path, or a path with its options."""
    for one in raw if isinstance(raw, list) else []:
        if isinstance(one, dict):
            yield from (str(name) for name in list(one)[:1])
        else:
            yield str(one)


def _digest(entry: Mapping[Any, Any]) -> str:
    return str(entry.get("md5") or entry.get("etag") or entry.get("checksum") or "")


def _count(entry: Mapping[Any, Any], path: str) -> int | None:
    found = next((dep.get("nfiles") for dep in _entries(entry, "deps") if dep.get("path") == path), None)
    return found if isinstance(found, int) else None


def _squeezed(raw: Any) -> str:
    return " ".join(" ".join(str(one) for one in raw).split() if isinstance(raw, list) else str(raw).split())


def _declared(raw: Any, file: str) -> set[str]:
    """The parameters of one file that a stage declares."""
    found: set[str] = set()
    for one in raw if isinstance(raw, list) else []:
        if isinstance(one, dict):
            for name, values in one.items():
                if str(name) == file:
                    found |= {str(value) for value in values} if isinstance(values, list) else set()
        elif file == "params.yaml":
            found.add(str(one))
    return found


def _value(content: Any, name: str) -> Any:
    for part in [name] if name in content else name.split("."):
        content = content.get(part) if isinstance(content, dict) else None
    return content


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _fits(content: bytes, digest: str) -> bool:
    """Whether content has a digest of DVC; before version 3, DVC took the line ends of Windows out first."""
    return digest in (_md5(content), _md5(content.replace(b"\r\n", b"\n")), _md5(content.replace(b"\n", b"\r\n")))
