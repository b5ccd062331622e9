"""`assess`: how mature the project is, by the answers of a person and by the evidence of its repository."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mlops.base import console, files
from mlops.base.errors import ParameterError
from mlops.commands.options import AsJson

if TYPE_CHECKING:
    from mlops.assessment.rubric import Rubric

INTERRUPTED = 130  # exit code after Ctrl-C, as in every shell


def assess(
    repository: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, help="Git repository to assess.")
    ] = Path(),
    evidence: Annotated[
        bool, typer.Option("--evidence", help="Ask nobody: judge by what the repository and its systems show.")
    ] = False,
    answers: Annotated[
        Path | None, typer.Option(help="File of answers; else assessment.yaml of the repository.")
    ] = None,
    lang: Annotated[Literal["en", "ja"], typer.Option(help="Language of questions and reports.")] = "en",
    non_interactive: Annotated[
        bool, typer.Option("--non-interactive", help="Ask nothing; an answer that is missing is an error.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Ask all again; an empty line keeps an answer.")] = False,
    demo: Annotated[bool, typer.Option("--demo", help="Show what a report looks like.")] = False,
    markdown: Annotated[Path | None, typer.Option(help="Also write the report in Markdown.")] = None,
    html: Annotated[Path | None, typer.Option(help="Also write the page with charts.")] = None,
    badge: Annotated[Path | None, typer.Option(help="Also write a badge (SVG) for the README.")] = None,
    output: Annotated[Path | None, typer.Option(help="Also write the JSON into this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Assess how mature the project is: levels 0, 1 and 2.

    Without `--evidence`, 36 statements are asked one after the other; each answer is kept at once, and a later call
    goes on from there. With it, each statement is judged by what the repository and its systems show, and compared with
    the answers if there are any; any Git repository will do.

    Raises:
        ParameterError: an answer is missing, and nobody is asked or the input has ended.
        StoreError: a file cannot be read or written, or there is no Git repository to look at.
    """
    from mlops.assessment import report
    from mlops.assessment import rubric as rubrics
    from mlops.history import git

    rubric, now = rubrics.load(), datetime.now(UTC)
    about = {
        "repository": repository.resolve().name,
        "commit": git.run("-C", str(repository), "rev-parse", "--short", "HEAD", default="").strip() or None,
        "time": now.isoformat(timespec="seconds"),
        "demonstration": demo,
        "by_evidence": evidence,
    }
    if demo:
        facts = report.demonstration(rubric, lang, about)
    else:
        file, given = _answers(rubric, answers, repository)
        if not evidence:
            given = _ask(rubric, lang, file, given, again=again, non_interactive=non_interactive)
        findings = None
        if evidence:
            from mlops.assessment.evidence.gathering import gather

            findings = gather(repository, now)
        facts = report.make(rubric, lang, about, given or None if evidence else given, findings)
    _write(rubric, facts, markdown=markdown, html=html, badge=badge, output=output, as_json=as_json)


def _answers(rubric: "Rubric", asked: Path | None, repository: Path) -> tuple[Path, dict[str, bool]]:
    from mlops.assessment import answers

    file = asked or repository / answers.FILE
    return file, answers.read(file, rubric)


def _ask(
    rubric: "Rubric",
    lang: Literal["en", "ja"],
    file: Path,
    given: dict[str, bool],
    *,
    again: bool,
    non_interactive: bool,
) -> dict[str, bool]:
    """The answers of the file and of the person, whose answers go into the file one by one."""
    from mlops.assessment import answers, questionnaire

    words = rubric.in_words(lang)
    missing = [each.id for each in rubric.criteria if each.id not in given]
    if non_interactive:
        if missing:
            raise ParameterError(words["missing"].format(file=file, ids=", ".join(missing)))
        return given
    whole = False
    if missing or again:
        typer.echo(words["hint"].format(file=file), err=True)
    else:
        typer.echo(words["all_there"].format(file=file), err=True)
    try:
        whole = questionnaire.ask(
            rubric,
            lang,
            given,
            again=again,
            keep=lambda: answers.write(file, given, rubric, lang),
            say=lambda line: typer.echo(line, err=True),
            hear=_line,
        )
    except KeyboardInterrupt:
        typer.echo(f"\n{_kept(words, given, rubric, file)}", err=True)
        sys.exit(INTERRUPTED)
    if not whole:
        typer.echo(err=True)
        raise ParameterError(_kept(words, given, rubric, file))
    typer.echo(err=True)
    return given


def _kept(words: Any, given: dict[str, bool], rubric: "Rubric", file: Path) -> str:
    name = "kept" if given else "none_kept"
    return str(words[name].format(answered=len(given), all=len(rubric.criteria), file=file))


def _line(question: str) -> str | None:
    """The line that is typed after a question; None at the end of the input."""
    typer.echo(question, nl=False, err=True)
    try:
        line = sys.stdin.readline() or None
    except UnicodeDecodeError:  # of another encoding than the terminal's: it is asked again
        line = "?"
    if line and not sys.stdin.isatty():  # a terminal shows what is typed, and its line end
        typer.echo(line.rstrip(), err=True)
    return line


def _write(
    rubric: "Rubric",
    facts: dict[str, Any],
    *,
    markdown: Path | None,
    html: Path | None,
    badge: Path | None,
    output: Path | None,
    as_json: bool,
) -> None:
    from mlops.assessment import report
    from mlops.base import pages

    content = report.content(rubric, facts)
    if output:
        files.write_json(output, facts)
    if markdown:
        files.write_text(markdown, pages.filled("assessment.md", **content) + "\n")
    if html:
        pages.write_page(html, "assessment.html", **content)
    if badge:
        files.write_text(badge, pages.filled("assessment.svg", **content) + "\n")
    if as_json:
        console.print_json(facts)
    else:
        typer.echo(pages.filled("assessment.txt", **content).rstrip())
