"""Turn raw deliveries into typed training and test splits, and keep what later deliveries are compared with."""

from pathlib import Path
from typing import Annotated

import typer

from store import console


def main(
    raw: Annotated[Path, typer.Argument(help="Folder of labelled deliveries (CSV, CSV.gz, Parquet).")],
    schema: Annotated[Path, typer.Argument(help="What a valid row is.")],
    train: Annotated[Path, typer.Option(help="Where the training split goes (Parquet).")],
    test: Annotated[Path, typer.Option(help="Where the test split goes (Parquet).")],
    reference: Annotated[Path, typer.Option(help="Where the profile of the training split goes (Parquet).")],
    report: Annotated[Path, typer.Option(help="Where the facts about the data go (JSON).")],
) -> None:
    """Read, type, clean and split the raw data."""
    from ml import cleaning, digest, profile, splitting
    from store import deliveries, files, params

    settings = params.load(params.Prepare)
    layout = files.read_schema(schema)
    delivered = deliveries.read(raw, layout, layout.kept)
    labelled = cleaning.with_target(delivered.table, layout)
    table = cleaning.without_duplicates(labelled, layout, settings.duplicates)
    in_test = splitting.split(table, layout, settings.split, settings.test_size, settings.seed)

    files.write_table(train, table[~in_test])
    files.write_table(test, table[in_test])
    files.write_table(reference, profile.to_frame(profile.profile(table[~in_test], layout)))
    files.write_json(
        report,
        {
            "digest": digest.content_digest(table),
            "rows": len(table),
            "columns": len(table.columns),
            "files": delivered.files,
            "unparseable": delivered.unparseable,
            "rejected": {
                "unparseable": delivered.rejected,
                "target_missing": len(delivered.table) - len(labelled),
            },
            "duplicates_dropped": len(labelled) - len(table),
            "target": cleaning.balance(table[layout.target]),
            "split": {"by": settings.split, "train": int((~in_test).sum()), "test": int(in_test.sum())},
        },
    )
    typer.echo(f"{len(table)} rows: {(~in_test).sum()} to train, {in_test.sum()} to test")


if __name__ == "__main__":
    console.run(main)
