"""`comment`: a review as one comment on the pull or merge request, the same one at every run."""

import sys
from pathlib import Path

from ml.errors import ProjectError, StoreError
from store import comments

MARKER = "<!-- python -m ops comment: this comment is updated by every run -->"


def comment(file: Path, *, dry_run: bool) -> None:
    """Post the Markdown in `file`, or put it in place of what was posted before.

    Raises:
        StoreError: there is no text, no request to comment on, or the host does not take it.
    """
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{file} could not be read ({error}): write it with `python -m ops review > {file}`") from None
    if not text:
        raise StoreError(f"{file} is empty: write it with `python -m ops review > {file}`")
    there = comments.discussion()
    before = next((one["id"] for one in there.own_comments() if one["body"].startswith(MARKER)), None)
    body = f"{MARKER}\n{text}\n\n[All of this run, with the page of plots]({there.run})"
    if len(body) > there.limit:
        body = shortened(body, there.limit, f"*Cut here, for its length: [all of it]({there.run}) is with this run.*")
    if not dry_run:
        there.write(body, before)
    did = ("would update" if before else "would post") if dry_run else ("updated" if before else "posted")
    print(f"{did} the comment on {there.name} ({len(body):,} characters)")


def shortened(body: str, limit: int, note: str) -> str:
    """As many whole lines of `body` as go before the `note` in so many characters."""
    kept = body[: limit - len(note) - 2].rpartition("\n")[0]
    return f"{kept}\n\n{note}"


if __name__ == "__main__":  # the job whose token may write installs nothing, typer neither: python -m ops.comment FILE
    try:
        comment(Path(sys.argv[1]), dry_run=False)
    except ProjectError as error:
        sys.exit(f"Error: {error}")
