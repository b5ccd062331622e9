"""The audit log of a model: every approval and every change of what is in production, in the registry and in Git.

In the registry an entry is a version of a model of its own, `<name>.audit`: the registry gives out version numbers one
by one, so of two changes at once it is plain which came first. The mirror in Git shows what the registry forgot.
"""

import json
from datetime import UTC, datetime
from typing import Any

from mlops.base import files
from mlops.base.errors import StoreError
from mlops.history import paths
from mlops.registry import ledger, registry
from mlops.registry.ledger import Entry

TAG = "entry"


def read(client: "registry.Client", name: str) -> list[Entry]:
    """All entries, the oldest first; of those that were to follow the same one, the first is the entry."""
    first: dict[int, Entry] = {}
    for version in reversed(registry.versions(client, registry.log_of(name))):
        entry = _parsed(version.tags.get(TAG, ""), version.number)
        first.setdefault(entry["number"], entry)
    return list(first.values())


def append(
    client: "registry.Client", name: str, facts: dict[str, Any], source: registry.Version, known: list[Entry]
) -> Entry:
    """Add an entry after those that are `known`, and bring the mirror up to date.

    Raises:
        StoreError: another change came first.
    """
    entries = read(client, name)
    if entries[len(known) :]:
        raise _overtaken(entries[-1])
    when = datetime.now(UTC).isoformat(timespec="seconds")
    previous = entries[-1]["hash"] if entries else ledger.FIRST
    entry = ledger.linked({"when": when, **facts}, len(entries) + 1, previous)
    registry.add_entry(client, name, source, {TAG: json.dumps(entry, ensure_ascii=False, sort_keys=True)})
    winner = read(client, name)[len(entries)]
    if winner != entry:
        raise _overtaken(winner)
    mirror([*entries, entry])
    return entry


def _overtaken(first: Entry) -> StoreError:
    return StoreError(
        f"another change came first: {first['action']} of version {first['to']} by {first['who']}; look at it "
        "(`python -m mlops registry history`), and try again"
    )


def last_change(entries: list[Entry]) -> str | None:
    """The version that the log says is in production; None if none ever was."""
    return next((entry["to"] for entry in reversed(entries) if entry.get("action") in ("promote", "rollback")), None)


def mirror(entries: list[Entry]) -> None:
    """Write the log into the project, to be committed."""
    lines = [json.dumps(entry, ensure_ascii=False, sort_keys=True) for entry in entries]
    files.write_text(paths.AUDIT, "".join(f"{line}\n" for line in lines))


def mirrored() -> list[Entry]:
    """The log as Git has it."""
    if not paths.AUDIT.exists():
        return []
    lines = paths.AUDIT.read_text(encoding="utf-8").splitlines()
    return [_parsed(line, f"{number}") for number, line in enumerate(lines, 1)]


def _parsed(text: str, number: str) -> Entry:
    """An entry; what is none any more is one that was edited."""
    try:
        entry: Entry = {"number": int(number), **json.loads(text)}
    except (ValueError, TypeError):
        return {"number": int(number), "hash": "", "previous": ""}
    return entry
