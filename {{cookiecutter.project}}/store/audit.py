"""The audit log of a model: every approval and every change of what is in production, in the registry and in Git.

In the registry an entry is a version of a model of its own, `<name>.audit`: the registry gives out version numbers one
by one, so of two changes at once only one gets the number that it counts on. The mirror in Git shows what the registry
forgot.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ml import ledger
from ml.errors import StoreError
from ml.ledger import Entry
from store import files, registry

MIRROR = Path("reports/audit.jsonl")
TAG = "entry"


def read(client: "registry.Client", name: str) -> list[Entry]:
    """All entries, the oldest first; those that lost a race, and were not taken back, are none."""
    found = reversed(registry.versions(client, _log(name)))
    entries = [(version.number, _parsed(version.tags.get(TAG, ""), version.number)) for version in found]
    return [entry for number, entry in entries if str(entry.get("slot", number)) == number]


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
    slots = [int(version.number) for version in registry.versions(client, _log(name))]
    slot = max(slots, default=0) + 1
    when = datetime.now(UTC).isoformat(timespec="seconds")
    previous = entries[-1]["hash"] if entries else ledger.FIRST
    entry = ledger.linked({"when": when, **facts, "slot": slot}, len(entries) + 1, previous)
    text = json.dumps(entry, ensure_ascii=False, sort_keys=True)
    number = registry.add_entry(client, _log(name), source, {TAG: text})
    if int(number) != slot:
        registry.remove_entry(client, _log(name), number)
        raise _overtaken(read(client, name)[-1])
    mirror([*entries, entry])
    return entry


def _overtaken(first: Entry) -> StoreError:
    return StoreError(
        f"another change came first: {first['action']} of version {first['to']} by {first['who']}; look at it "
        "(`python -m ops registry history`), and try again"
    )


def mirror(entries: list[Entry]) -> None:
    """Write the log into the project, to be committed."""
    lines = [json.dumps(entry, ensure_ascii=False, sort_keys=True) for entry in entries]
    files.write_text(MIRROR, "".join(f"{line}\n" for line in lines))


def mirrored() -> list[Entry]:
    """The log as Git has it."""
    if not MIRROR.exists():
        return []
    lines = MIRROR.read_text(encoding="utf-8").splitlines()
    return [_parsed(line, f"{number}") for number, line in enumerate(lines, 1)]


def _log(name: str) -> str:
    return f"{name}.audit"


def _parsed(text: str, number: str) -> Entry:
    """An entry; what is none any more is one that was edited."""
    try:
        entry: Entry = json.loads(text)
    except ValueError:
        return {"number": int(number), "hash": "", "previous": ""}
    return entry
