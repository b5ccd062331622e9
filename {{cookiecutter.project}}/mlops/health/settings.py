"""The files that people write: can they be read, and do they say nothing that is unknown?"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from mlops.base import params, yaml
from mlops.base.errors import ProjectError, StoreError
from mlops.health.finding import EDIT, Finding
from mlops.history import paths, revisions
from mlops.intake import deliveries, event_files

SUBJECT = "settings"


def check(now: datetime) -> Iterator[Finding]:
    """Read params.yaml, schema.yaml and dvc.yaml as the stages do."""
    wrong = []
    for kind in params.KINDS:
        try:
            params.load(kind)
        except ProjectError as error:
            wrong.append((params.FILE, str(error)))
    for path, read in ((paths.SCHEMA, revisions.find("").schema), (paths.PIPELINE, _stages)):
        try:
            read()
        except ProjectError as error:
            wrong.append((path, str(error)))
    if not wrong:
        wrong += _events()
    for path, said in {said: (path, said) for path, said in wrong}.values():
        yield Finding(SUBJECT, "fault", said, f"{EDIT} {path}")
    if not wrong:
        yield Finding(SUBJECT, "fine", f"{params.FILE}, {paths.SCHEMA} and {paths.PIPELINE} are as they should be")


def _events() -> Iterator[tuple[Path, str]]:
    """The columns of events that params.yaml names and a file lacks; a missing file is told of where DVC is."""
    for name, table in params.load(params.Features, missing_ok=True).tables.items():
        path = Path(table.file)
        if path.is_file() and path.name.lower().endswith(deliveries.ENDINGS):
            try:
                event_files.check_columns(path, name, [table.entity, table.time, *table.columns])
            except ProjectError as error:
                yield params.FILE, str(error)


def _stages() -> None:
    content = yaml.read(paths.PIPELINE)
    if not isinstance(content, dict) or not isinstance(content.get("stages"), dict):
        raise StoreError(f"{paths.PIPELINE} names no stages")
