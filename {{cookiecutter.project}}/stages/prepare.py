"""Turn raw deliveries into typed training and test splits, and keep what later deliveries are compared with.

No more than a batch of rows or a column is in memory at a time.
"""

from pathlib import Path
from typing import Annotated

import typer

from mlops.base import console


def main(
    raw: Annotated[Path, typer.Argument(help="Folder of labelled deliveries (CSV, TSV, Parquet).")],
    schema: Annotated[Path, typer.Argument(help="What a valid row is.")],
    train: Annotated[Path, typer.Option(help="Where the training split goes (Parquet).")],
    test: Annotated[Path, typer.Option(help="Where the test split goes (Parquet).")],
    reference: Annotated[Path, typer.Option(help="Where the profile of the training split goes (Parquet).")],
    report: Annotated[Path, typer.Option(help="Where the facts about the data go (JSON).")],
) -> None:
    """Read, type, clean and split the raw data."""
    from mlops.base import files, params
    from mlops.data import cleaning, profile, splitting
    from mlops.intake import deliveries, tables

    settings = params.load(params.Prepare)
    layout = tables.read_schema(schema)
    with deliveries.collected(raw, layout, layout.kept, train.with_name(".delivered.parquet")) as delivered:
        table = delivered.table
        keys = table.columns([*layout.with_role("id"), *layout.with_role("time"), *layout.with_role("group")])
        labelled = cleaning.labelled(table[layout.target])
        distinct = cleaning.distinct(keys[labelled], table.hashes[labelled], layout, settings.duplicates)
        kept = labelled.copy()
        kept[labelled] = distinct

        keys = keys.assign(**{layout.target: table[layout.target]})[kept]
        in_test = kept.copy()
        in_test[kept] = splitting.split(keys, layout, settings.split, settings.test_size, settings.seed)
        tables.write_batches(train, table.batches(kept & ~in_test))
        tables.write_batches(test, table.batches(in_test))
        content = table.digest(kept)
    tables.write(reference, profile.to_frame(profile.profile(tables.Stored(train), layout)))
    files.write_json(
        report,
        {
            "digest": content,
            "rows": len(keys),
            "columns": len(layout.kept),
            "files": delivered.files,
            "unparseable": delivered.unparseable,
            "rejected": {"unparseable": delivered.rejected, "target_missing": int((~labelled).sum())},
            "duplicates_dropped": int((~distinct).sum()),
            "period": cleaning.period(keys, layout),
            "target": cleaning.balance(keys[layout.target]),
            "split": {"by": settings.split, "train": int((kept & ~in_test).sum()), "test": int(in_test.sum())},
        },
    )
    typer.echo(f"{len(keys)} rows: {(kept & ~in_test).sum()} to train, {in_test.sum()} to test")


if __name__ == "__main__":
    console.run(main)
