"""The audit log of a model: every approval, promotion and rollback, in the registry and in Git.

In the registry, an entry is a version of a second registered model, `<name>.audit`: the registry numbers versions one
by one, so of two changes at once it is certain which came first. The copy in Git shows what the registry has lost.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mlops.base import files
from mlops.base.errors import StoreError
from mlops.history import paths
from mlops.registry import ledger, registry
from mlops.registry.ledger import Entry

if TYPE_CHECKING:
    from mlops.registry.registry import Client, Version

TAG = "entry"
FIELDS = ("when", "action", "who", "from", "to", "reason", "previous", "hash")
CHANGES = ("promote", "rollback")  # actions that change which version is in production


def log_of(name: str) -> str:
    """The name of the registered model that holds the audit log."""
    return f"{name}.audit"


def read(client: "Client", name: str) -> list[Entry]:
    """All entries, the oldest first; if several claim the same number, the first of them counts."""
    first: dict[int, Entry] = {}
    for found in registry.search_versions(client, f"name = '{log_of(name)}'"):
        entry = _parse(found.tags.get(TAG, ""), int(found.version))
        first.setdefault(entry["number"], entry)
    return list(first.values())


def append(client: "Client", name: str, facts: Mapping[str, Any], version: "Version", known: list[Entry]) -> None:
    """Add an entry about `version` to the log, and update the copy in Git.

    Raises:
        StoreError: the log has entries beyond `known`, or another process added one at the same time.
    """
    entries = read(client, name)
    if entries[len(known) :]:
        raise _overtaken(entries[-1])
    when = datetime.now(UTC).isoformat(timespec="seconds")
    entry = ledger.linked({"when": when, **facts}, entries)
    registry.ensure_model(client, log_of(name))
    model_id = version.source.removeprefix(registry.MODEL_URI)
    client.create_model_version(
        log_of(name), version.source, version.run_id, tags={TAG: _dump(entry)}, model_id=model_id
    )
    winner = read(client, name)[len(entries)]
    if winner != entry:
        raise _overtaken(winner)
    files.write_text(paths.AUDIT, "".join(f"{_dump(each)}\n" for each in [*entries, entry]))


def _overtaken(first: Entry) -> StoreError:
    return StoreError(
        f"another change came first: {first['action']} of version {first['to']} by {first['who']}; look at it "
        "(`python -m mlops registry history`), and try again"
    )


def last_change(entries: list[Entry]) -> str | None:
    """The version that is in production according to the log; None if the log has no promotion."""
    return next((entry["to"] for entry in reversed(entries) if entry.get("action") in CHANGES), None)


def mirrored() -> list[Entry]:
    """The entries of the copy in Git."""
    if not paths.AUDIT.exists():
        return []
    lines = paths.AUDIT.read_text(encoding="utf-8").splitlines()
    return [_parse(line, number) for number, line in enumerate(lines, 1)]


def _dump(entry: Entry) -> str:
    return json.dumps(entry, ensure_ascii=False, sort_keys=True)


def _parse(text: str, number: int) -> Entry:
    """The entry in a JSON text; what somebody removed from the text is unreadable, and no hash fits it any more."""
    entry: Entry = {"number": number, **dict.fromkeys(FIELDS, "unreadable")}
    with suppress(ValueError, TypeError):
        entry |= json.loads(text)
    return entry
