"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for other programs.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")]
Reason = Annotated[str, typer.Option(help="Why; the audit log keeps it.")]
Schema = Annotated[Path, typer.Option(help="File that says what a valid row is.")]
