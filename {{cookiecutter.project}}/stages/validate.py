"""Check the prepared data against the schema: report everything at once, and stop the pipeline on errors."""

from pathlib import Path
from typing import Annotated

import typer

from mlops.base import console


def main(
    train: Annotated[Path, typer.Argument(help="Training split (Parquet).")],
    test: Annotated[Path, typer.Argument(help="Test split (Parquet).")],
    schema: Annotated[Path, typer.Argument(help="What a valid row is.")],
    dataset: Annotated[Path, typer.Argument(help="Facts about the data (JSON).")],
    report: Annotated[Path, typer.Option(help="Outcome of every check (JSON).")],
) -> None:
    """Run every check, report, and fail if one of severity error failed."""
    from mlops.base import files, params
    from mlops.base.errors import DataError
    from mlops.data import validation
    from mlops.intake import tables

    settings, layout = params.load(params.Validate), tables.read_schema(schema)
    facts = files.read_json(dataset)
    results = validation.validate(tables.Stored(train), tables.Stored(test), facts, layout, settings)
    files.write_json(report, validation.report(results))

    for result in results:
        if not result.passed:
            typer.echo(f"{result.severity}: {result.sentence()}", err=True)
    counts = validation.counts(results)
    typer.echo(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    if counts["errors"]:
        raise DataError(
            f"{counts['errors']} checks of the data failed (all are in {report}): correct the data in its source, or "
            f"the limits in {schema}"
        )


if __name__ == "__main__":
    console.run(main)
