"""Check the prepared data against the schema: report everything at once, and stop the pipeline on errors."""

from pathlib import Path
from typing import Annotated

import typer

from store import console


def main(
    train: Annotated[Path, typer.Argument(help="Training split (Parquet).")],
    test: Annotated[Path, typer.Argument(help="Test split (Parquet).")],
    schema: Annotated[Path, typer.Argument(help="What a valid row is.")],
    report: Annotated[Path, typer.Option(help="Where the outcome of every check goes (JSON).")],
) -> None:
    """Check types, ranges, allowed values, missing shares, ids, duplicates, class balance and overlap."""
    from dataclasses import asdict

    import pandas as pd

    from ml import checks
    from ml.errors import DataError
    from store import files, params

    settings = params.load(params.Validate)
    layout = files.read_schema(schema)
    splits = files.read_table(train), files.read_table(test)
    whole = pd.concat(splits, ignore_index=True)
    results = [
        *checks.check_columns(whole, layout, settings.missing_warning),
        *checks.check_rows(whole, layout, settings.duplicate_warning, settings.smallest_class_warning),
        *checks.check_overlap(*splits, layout, settings.overlap_warning),
    ]
    failed = [result for result in results if not result.passed]
    errors = [result for result in failed if result.severity == "error"]
    counts = {"passed": len(results) - len(failed), "warnings": len(failed) - len(errors), "errors": len(errors)}
    files.write_json(report, {**counts, "checks": [asdict(result) for result in results]})

    for result in failed:
        typer.echo(f"{result.severity}: {result.sentence()}", err=True)
    typer.echo(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    if errors:
        raise DataError(
            f"{len(errors)} checks of the data failed (all are in {report}): correct the data in its source, or the "
            f"limits in {schema}"
        )


if __name__ == "__main__":
    console.run(main)
