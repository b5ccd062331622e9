"""`schema infer`: from the deliveries in a folder to a draft of schema.yaml."""

from pathlib import Path

import pandas as pd
import typer

from ml import inference
from ml.errors import DataError, SchemaError
from store import deliveries, files


def infer(data: Path, target: str, out: Path, *, force: bool, dry_run: bool) -> None:
    """Write the draft for what lies in `data` to `out`.

    Raises:
        DataError: there is no data, its files differ in their columns, or the target is not among them.
        SchemaError: `out` says something else already, and `force` is not given.
    """
    paths = deliveries.listed(data)
    if not paths:
        raise DataError(f"{data} has no data: put a {', '.join(deliveries.ENDINGS)} file there first")
    tables = {path: deliveries.read_raw(path) for path in paths}
    first = next(iter(tables.values()))
    for path, table in tables.items():
        if set(table) != set(first):
            differing = ", ".join(sorted(map(str, set(table) ^ set(first))))
            raise DataError(f"{path} and {paths[0]} differ in the columns {differing}: deliver the same columns")
    draft = inference.to_yaml(inference.infer(pd.concat(tables.values(), ignore_index=True), target))
    if dry_run:
        typer.echo(draft, nl=False)
        return
    if out.exists() and out.read_text(encoding="utf-8") != draft and not force:
        raise SchemaError(f"{out} says something else: see the draft with --dry-run, or replace the file with --force")
    files.write_text(out, draft)
    looks = draft.count("  # ")
    typer.echo(f"wrote {out}: {draft.count('{')} columns, {looks} of them worth a look (see the comments)")
