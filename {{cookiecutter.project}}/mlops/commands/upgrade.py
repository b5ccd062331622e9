"""`upgrade`: merge a newer version of the template with the edits of the owner, and say what changed."""

import re
import shlex
import shutil
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
    and to commit. Conflicts stand in the files, as Git writes them. What `skip` below tool.cruft in pyproject.toml
    names is never changed, and a file that you have deleted or renamed is left out, and named. The exit code is 3 if
    there are conflicts.

    Raises:
        StoreError: the project is not in Git, the work tree has changes (a dry run allows them), `skip` cannot be read,
            or the template cannot be had or rendered; nothing was changed then.
    """
    before = template.origin()
    _require_in_git()
    if not dry_run:
        _require_clean()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        address = source or before.template
        template.fetch(address, place / "template")
        old = template.commit_of(place / "template", before.commit)
        new = template.commit_of(place / "template", to or template.newest(place / "template"))
        if old == new:
            typer.echo(f"the project is of {to or 'the newest version'} ({new[:8]}): nothing to do")
            return
        common = template.common(place / "template", old, new)
        if not to and common == new:
            typer.echo(f"the project ({old[:8]}) is ahead of the newest version ({new[:8]}): nothing to do")
            return
        if not to and common != old:
            raise StoreError(
                f"the newest version of the template ({new[:8]}) does not come after the project's ({old[:8]}), but "
                "beside it: name with --to what the project is to be brought to"
            )
        if common != old:
            typer.echo(
                f"{to} ({new[:8]}) does not follow the project's version ({old[:8]}): what it lacks is taken back"
            )
        (first, _), (second, answers) = (
            template.render(place / "template", commit, before.answers, place / side)
            for side, commit in (("old", old), ("new", new))
        )
        news = _news(place / "template" / CHANGELOG, _version(first), _version(second))
        versions = [f"{_version(side)} ({commit[:8]})" for side, commit in ((first, old), (second, new))]
        told = [*_parameters(first, second), *_questions(before.answers, answers)]
        left_out = template.leave_out_what_is_the_owners(first, second)
        shutil.copy(template.ORIGIN, first)
        files.write_text(second / template.ORIGIN, before.at(address, new, to, answers))
        commits = template.commits(first, second)
    changed = [name for name in template.differing(*commits) if name != template.ORIGIN.as_posix()]
    typer.echo(f"the template's version {versions[0]} → {versions[1]}: {counted(len(changed), 'file')} changed there")
    told += [
        f"left out, since Git has no such file here: {name} (`{command}` shows what changed there)"
        for name, command in left_out.items()
    ]
    for lines in (news, told):
        if lines:
            typer.echo("\n".join(["", *lines]))
    if dry_run:
        return
    conflicts = template.merge(*commits)
    made, to_add = _make_events(conflicts)
    _tell_what_is_left(conflicts, changed, made, to_add)
    if conflicts:
        sys.exit(console.VERDICT)


def _require_in_git() -> None:
    tracked = git.run("ls-files", "-z", default="").split("\0")
    for path in (template.ORIGIN, VERSION, paths.PIPELINE):
        if path.as_posix() not in tracked:
            raise StoreError(f"{path} is not in Git: commit the project first, which a new version is merged with")


def _require_clean() -> None:
    if changed := git.run("status", "--porcelain", "-z", "--untracked-files=no").split("\0")[0]:
        raise StoreError(f"{changed[3:]} has changes that are not committed: commit them first, or stash them")


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


def _questions(given: dict[str, Any], answers: dict[str, Any]) -> list[str]:
    """The questions that only the new version asks."""
    new = [f"{name}={value}" for name, value in answers.items() if name not in given]
    remedy = f"write another answer into {template.ORIGIN} and commit it before you upgrade"
    return [f"new questions, answered by default: {', '.join(new)} ({remedy})"] if new else []


def _make_events(conflicts: list[str]) -> tuple[bool, str]:
    """Give the folder of events to a project from before there was one: dvc.yaml names it.

    Returns:
        Whether it was made, and what is left to do.
    """
    known = paths.EVENTS.with_name(f"{paths.EVENTS.name}.dvc")
    is_there = known.exists() or git.run("ls-files", "--", paths.EVENTS.as_posix())
    if is_there or paths.EVENTS.as_posix() not in yaml.text_of(paths.PIPELINE):
        return False, ""
    add = f"`dvc add {paths.EVENTS.as_posix()}`"
    if paths.EVENTS.exists():
        return False, add
    paths.EVENTS.mkdir(parents=True)
    files.write_text(paths.EVENTS / "README.md", "Events that columns are made of; see docs/features.md\n")
    if conflicts:
        return True, add  # DVC cannot read dvc.yaml, if it is that
    done = commands.call(Path.cwd(), "dvc", "add", paths.EVENTS.as_posix())
    if done.code:
        return True, f"{add}, which has failed: {done.reason}"
    git.run("add", "--", known.as_posix(), known.with_name(".gitignore").as_posix(), default="")
    return True, ""


def _tell_what_is_left(conflicts: list[str], changed: list[str], events: bool, to_add: str) -> None:
    steps = [f"resolve {name}, and `git add {shlex.quote(name)}`" for name in conflicts]
    if paths.REQUIREMENTS.as_posix() in changed:
        steps.append(f"install the new versions: {environment.install()}")
    if to_add:
        steps.append(to_add)
    back = "git reset --hard" + (f" && git clean -fdx {paths.EVENTS.as_posix()}" if events else "")
    steps += ["`git diff --cached`, `dvc repro`, `pytest`", f"`git commit`, or `{back}` takes all of it back"]
    typer.echo("\nmerged into the work tree; what is left:")
    for number, step in enumerate(steps, 1):
        typer.echo(f"{number}. {step}")
