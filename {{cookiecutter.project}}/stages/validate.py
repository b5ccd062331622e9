"""Check the prepared data against the schema: report everything at once, and stop the pipeline on errors."""

from pathlib import Path
from typing import Annotated

import typer

from mlops.base import console


def main(
    train: Annotated[Path, typer.Argument(help="Training split (Parquet).")],
    test: Annotated[Path, typer.Argument(help="Test split (Parquet).")],
    schema: Annotated[Path, typer.Argument(help="What a valid row is.")],
    report: Annotated[Path, typer.Option(help="Where the outcome of every check goes (JSON).")],
) -> None:
    """Check types, ranges, allowed values, missing shares, ids, duplicates, class balance and overlap."""
    import numpy as np
    import pandas as pd

    from mlops.base import files, params
    from mlops.base.errors import DataError
    from mlops.data import checks
    from mlops.intake import tables

    settings = params.load(params.Validate)
    layout = tables.read_schema(schema)
    splits = tables.Stored(train), tables.Stored(test)
    for split in splits:
        checks.check_names(split, layout)
    parts: list[list[checks.CheckResult]] = []
    hashes = []
    for split in splits:
        fingerprints = []
        for batch in split.batches():
            parts.append(checks.check_columns(batch, layout, settings.missing_warning))
            fingerprints.append(checks.fingerprints(batch, layout))
        hashes.append(np.concatenate(fingerprints))
    results = checks.combine(parts)
    for name in layout.with_role("id"):
        ids = [split[name] for split in splits]
        results += [checks.check_ids(pd.concat(ids, ignore_index=True)), checks.check_id_overlap(ids[0], ids[1])]
    results += [
        checks.check_rows(np.concatenate(hashes), settings.duplicate_warning),
        *checks.check_balance(pd.concat([split[layout.target] for split in splits]), settings.smallest_class_warning),
        checks.check_overlap(hashes[0], hashes[1], settings.overlap_warning),
    ]
    failed = [result for result in results if not result.passed]
    errors = [result for result in failed if result.severity == "error"]
    counts = {"passed": len(results) - len(failed), "warnings": len(failed) - len(errors), "errors": len(errors)}
    files.write_json(report, {**counts, "checks": [result.as_dict() for result in results]})

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
