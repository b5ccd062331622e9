"""`upgrade`: merge a newer version of the template with the edits of the owner, and say what changed."""

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from mlops.base import console, environment, files, yaml
from mlops.base.errors import StoreError, counted
from mlops.commands.options import DryRun
from mlops.history import commands, git, paths, template

VERSION, CHANGELOG, PARAMS = Path("mlops/VERSION"), "CHANGELOG.md", Path("params.yaml")
SECTION = re.compile(r"^## v?(\d[\w.]*)[^\n]*\n", re.M)
MOST_LINES = 60  # of a changelog


def upgrade(
    to: Annotated[str, typer.Option(help="Tag, branch or commit of the template; by default the newest release.")] = "",
    source: Annotated[str, typer.Option("--template", help="Another address of the template.")] = "",
    dry_run: DryRun = False,
) -> None:
    """Bring the project to a newer version of the template.

    The difference between the two versions is merged into the work tree, which must be clean, and is yours to look at
    and to commit. Conflicts stand in the files, as Git writes them. What `[tool.cruft] skip` in pyproject.toml names is
    never changed, and a file that you have deleted stays deleted. The exit code is 3 if there are conflicts.

    Raises:
        StoreError: the work tree has changes, or the template cannot be had or rendered; nothing was changed then.
    """
    if changed := git.run("status", "--porcelain", "--untracked-files=no").splitlines():
        raise StoreError(f"{changed[0][3:]} has changes that are not committed: commit them first, or stash them")
    before = template.origin()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        address = source or before.template
        template.fetch(address, place / "template")
        old = template.commit_of(place / "template", before.commit)
        new = template.commit_of(place / "template", to or template.newest(place / "template"))
        if old == new:
            typer.echo(f"the project is of {to or 'the newest version'} ({new[:8]}): nothing to do")
            return
        renderings = [
            template.render(place / "template", commit, before.answers, place / side)
            for side, commit in (("old", old), ("new", new))
        ]
        news = _news(place / "template" / CHANGELOG, *(_version(rendering) for rendering in renderings))
        versions = [
            f"{_version(rendering)} ({commit[:8]})" for rendering, commit in zip(renderings, (old, new), strict=True)
        ]
        parameters = _parameters(*renderings)
        template.leave_out_what_is_the_owners(*renderings)
        first, second = template.commits(*renderings)
    changed = git.run("diff", "--name-only", "--no-renames", first, second).splitlines()
    typer.echo(f"the template's version {versions[0]} → {versions[1]}: {counted(len(changed), 'file')} changed there")
    for lines in (news, parameters):
        if lines:
            typer.echo("\n".join(["", *lines]))
    if dry_run:
        return
    conflicts = _merged(first, second)
    _note(address, new, to)
    _make_events()
    _tell_what_is_left(conflicts, changed)
    if conflicts:
        sys.exit(console.VERDICT)


def _version(place: Path) -> str:
    return yaml.text_of(place / VERSION).strip()


def _news(changelog: Path, old: str, new: str) -> list[str]:
    """What the changelog says of the versions after the old one, up to the new one."""
    if old == new or not changelog.is_file():
        return []
    parts = SECTION.split(yaml.text_of(changelog))[1:]
    wanted = [
        line
        for version, text in zip(parts[::2], parts[1::2], strict=True)
        if _order(old) < _order(version) <= _order(new)
        for line in [f"{version}:", *(f"  {line}" for line in text.strip().splitlines())]
    ]
    return [*wanted[:MOST_LINES], *(["  …"] if len(wanted) > MOST_LINES else [])]


def _order(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def _parameters(old: Path, new: Path) -> list[str]:
    """The parameters that only one of two versions has."""
    names = [set(_names(yaml.read(place / PARAMS))) for place in (old, new)]
    told = {"new in params.yaml": names[1] - names[0], "no longer in params.yaml": names[0] - names[1]}
    return [f"{words}: {', '.join(sorted(found))}" for words, found in told.items() if found]


def _names(content: Any, above: str = "") -> list[str]:
    if not isinstance(content, dict) or not content:
        return [above]
    return [name for key, value in content.items() for name in _names(value, f"{above}.{key}".lstrip("."))]


def _merged(first: str, second: str) -> list[str]:
    """Merge the difference of two commits into the work tree and the index; the files that are in conflict.

    Raises:
        StoreError: files that Git does not know would be overwritten.
    """
    added = set(git.run("diff", "--name-only", "--no-renames", "--diff-filter=A", first, second).splitlines())
    if lying := [name for name in sorted(added - set(git.run("ls-files").splitlines())) if Path(name).exists()]:
        raise StoreError(f"{lying[0]} is here, not in Git, and comes with the new version: commit it, or move it away")
    try:
        git.run(*template.IDENTITY, "cherry-pick", "--no-commit", second)
    except StoreError:
        found = git.run("diff", "--name-only", "--diff-filter=U").splitlines()
        if not found:
            raise
        return found
    return []


def _note(address: str, commit: str, to: str) -> None:
    """Write down which version the project is of now; cruft reads it, too."""
    content = files.read_json(template.ORIGIN)
    content |= {"template": address, "commit": commit, "checkout": to or None}
    files.write_text(template.ORIGIN, f"{json.dumps(content, indent=2, ensure_ascii=False)}\n")
    git.run("add", "--", template.ORIGIN.as_posix())


def _make_events() -> None:
    """Give the folder of events to a project from before there was one: dvc.yaml names it."""
    known = paths.EVENTS.with_name(f"{paths.EVENTS.name}.dvc")
    if known.exists() or paths.EVENTS.as_posix() not in yaml.text_of(paths.PIPELINE):
        return
    paths.EVENTS.mkdir(parents=True, exist_ok=True)
    files.write_text(paths.EVENTS / "README.md", "Events that columns are made of; see docs/features.md\n")
    done = commands.call(Path.cwd(), "dvc", "add", "--quiet", paths.EVENTS.as_posix())
    if done.code:
        typer.echo(f"Warning: `dvc add {paths.EVENTS}` is left to you: {done.reason}", err=True)


def _tell_what_is_left(conflicts: list[str], changed: list[str]) -> None:
    steps = [f"resolve {name}, and `git add {name}`" for name in conflicts]
    if paths.REQUIREMENTS.as_posix() in changed:
        steps.append(f"install the new versions: {environment.install()}")
    steps += ["`git diff --cached`, `dvc repro`, `pytest`", "`git commit`, or `git reset --hard` takes all of it back"]
    typer.echo("\nmerged into the work tree; what is left:")
    for number, step in enumerate(steps, 1):
        typer.echo(f"{number}. {step}")
