"""The audit log of a model: every approval, promotion and rollback, in the registry and in Git.

In the registry, an entry is a version of a second registered model, `<name>.audit`: the registry numbers versions one
by one, so of two changes at once it is certain which came first. The copy in Git shows what the registry has lost.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from mlops.base import files
from mlops.base.errors import StoreError
from mlops.base.params import Register
from mlops.history import paths
from mlops.registry import ledger, registry
from mlops.registry.ledger import Entry

if TYPE_CHECKING:
    from mlops.registry.registry import Client, Version

TAG = "entry"
FIELDS = ("when", "action", "who", "from", "to", "reason", "model_digest", "previous", "hash")
CHANGES = ("promote", "rollback")  # actions that change which version is in production


def log_of(name: str) -> str:
    """The name of the registered model that holds the audit log."""
    return f"{name}.audit"


def read(client: "Client", name: str) -> list[Entry]:
    """All entries, the oldest first; if several claim the same number, the first of them counts."""
    versions = registry.search_versions(client, f"name = '{log_of(name)}'")
    return entries_of((found.tags, int(found.version)) for found in versions)


def entries_of(versions: Iterable[tuple[Mapping[str, str], int]]) -> list[Entry]:
    """The entries in the versions of a log, from their tags and numbers, the oldest first."""
    first: dict[int, Entry] = {}
    for tags, number in versions:
        entry = _parse(tags.get(TAG, ""), number)
        first.setdefault(entry["number"], entry)
    return list(first.values())


def facts(action: str, version: "Version", before: str | None, reason: str, who: str) -> dict[str, Any]:
    """What an entry about a change from version `before` to `version` says."""
    return {
        "action": action,
        "who": who,
        "from": before,
        "to": version.number,
        "reason": reason,
        "commit": version.tags.get("commit", ""),
        **{name: version.tags.get(name, "") for name in registry.DIGESTS},
    }


def append(
    client: "Client", name: str, facts: Mapping[str, Any], version: "Version", known: list[Entry]
) -> list[Entry]:
    """Add an entry about `version` to the log in the registry; returns all entries.

    Raises:
        StoreError: the log has entries beyond `known`, another process added one at the same time, or the log in Git
            has entries that the registry lacks.
    """
    entries = read(client, name)
    if entries[len(known) :]:
        raise _overtaken(entries[-1])
    agree(entries)
    when = datetime.now(UTC).isoformat(timespec="seconds")
    entry = ledger.linked({"when": when, **facts}, entries)
    _add(client, name, entry, version)
    winner = read(client, name)[len(entries)]
    if winner != entry:
        raise _overtaken(winner)
    return [*entries, entry]


def agree(entries: Sequence[Entry]) -> None:
    """Check that the log in Git has nothing that the registry lacks.

    Raises:
        StoreError: it has; the sentence names the first entry, and how to bring it back.
    """
    if differing := difference(mirrored(), entries):
        raise StoreError(
            f"{differing}, and nothing was changed: `python -m mlops audit restore` writes the entries of "
            f"{paths.AUDIT} into a registry that lacks them; if both sides have entries of their own, see "
            "docs/production.md"
        )


def restore(client: "Client", name: str, versions: Sequence["Version"], *, dry_run: bool) -> list[Entry]:
    """Write the entries that only Git has into the registry, unchanged, hashes included; returns these entries.

    Raises:
        StoreError: the registry has entries that Git's log lacks, the log in Git is damaged, or there is no version.
    """
    copy, entries = mirrored(), read(client, name)
    if ledger.broken(copy):
        raise StoreError(f"{paths.AUDIT} is damaged ({ledger.broken(copy)[0]}): bring back the one that Git has")
    if copy[: len(entries)] != entries:
        raise StoreError(
            f"the registry has entries that {paths.AUDIT} lacks: `git pull` may bring them (`python -m mlops audit "
            "verify` names the first)"
        )
    if not versions:
        raise StoreError(f"{name} has no version here that the log could be about: `python -m mlops sync` first")
    for entry in copy[len(entries) :] if not dry_run else []:
        about = [version for version in versions if _is_about(entry, version)]
        _add(client, name, entry, [*about, versions[0]][0])
    return copy[len(entries) :]


def apply(client: "Client", name: str) -> "Version":
    """Let the champion be the version that the log names last, again if another change is logged meanwhile.

    Raises:
        StoreError: that version is not in this registry.
    """
    before = None
    while True:
        versions = registry.versions(client, name)
        champion = in_production(read(client, name), versions)
        if champion is None:
            raise StoreError(f"the version that the log of {name} names last is not in the registry")
        if champion.number == before:
            return champion
        registry.set_champion(client, name, champion, versions)
        before = champion.number


def write_copy(entries: Sequence[Entry]) -> None:
    """Write the copy in Git.

    Raises:
        StoreError: the copy cannot be written, or has entries that these lack, which would be lost.
    """
    if differing := difference(mirrored(), entries):
        raise StoreError(f"{paths.AUDIT} was not written: {differing}")
    files.write_text(paths.AUDIT, "".join(f"{_dump(each)}\n" for each in entries))


def difference(copy: Sequence[Entry], entries: Sequence[Entry]) -> str:
    """How the log in Git contradicts the one in the registry; "" if it is the same, or only behind."""
    for number, (ours, theirs) in enumerate(zip(copy, entries, strict=False), 1):
        if ours != theirs:
            return f"entry {number} of the registry is not the one that Git has in {paths.AUDIT}"
    if len(copy) > len(entries):
        return f"the registry lacks the entries from {len(entries) + 1} on, which Git has in {paths.AUDIT}"
    return ""


def changes(entries: Sequence[Entry]) -> list[Entry]:
    """The promotions and rollbacks."""
    return [entry for entry in entries if entry["action"] in CHANGES]


def in_production(entries: Sequence[Entry], versions: Sequence["Version"]) -> "Version | None":
    """The version that is in production according to the log; None if it is not in this registry.

    A version is known by its model, since another registry may give it another number.
    """
    last = changes(entries)[-1:]
    return next((version for version in versions for entry in last if _is_about(entry, version)), None)


def unknown(last: Entry) -> str:
    """What to do about the last change of the log if its version is not in this registry, as in another clone's own."""
    return (
        f"version {last['to']} is in production, which is not in this registry (another registry has other numbers): "
        "set the address of the team's (tracking.uri in params.yaml, or MLFLOW_TRACKING_URI); or check out "
        f"{str(last.get('commit', ''))[:8] or 'the commit that made it'}, `dvc pull`, `python -m mlops sync`, go back "
        "with `git switch - && dvc checkout`, and `python -m mlops audit restore`"
    )


def about(entries: Sequence[Entry], version: "Version") -> list[Entry]:
    """The approvals of a version, and the changes that brought it into production."""
    return [entry for entry in entries if _is_about(entry, version)]


def departures(entries: Sequence[Entry], version: "Version") -> list[Entry]:
    """The changes by which another version took the place of this one."""
    pairs = pairwise(changes(entries))
    return [now for before, now in pairs if _is_about(before, version) and not _is_about(now, version)]


def approvals(entries: Sequence[Entry], version: "Version") -> list[Entry]:
    """The approvals of a version, the oldest first."""
    return [entry for entry in about(entries, version) if entry["action"] == "approve"]


def admission(entries: Sequence[Entry], version: "Version", settings: Register) -> dict[str, Any]:
    """What the log says of a promotion's approval and remaking: the last approval, or "off"; who made it again.

    Raises:
        StoreError: the version is not approved, or nobody has made it again, though `settings` ask for that.
    """
    number, remade = version.number, version.tags.get(registry.REMADE, "")
    found = approvals(entries, version)
    if settings.approval == "required" and not found:
        raise StoreError(
            f"version {number} is not approved: someone else than its author runs `python -m mlops approve {number}`, "
            "or a team of one sets register.approval to off in params.yaml"
        )
    if settings.remade == "required" and not remade:
        raise StoreError(
            f"nobody has made version {number} again: `python -m mlops reproduce {number}` does, in CI or on another "
            "machine, or set register.remade to off in params.yaml"
        )
    last = found[-1] if settings.approval == "required" else None
    return {"approval": {"number": last["number"], "who": last["who"]} if last else "off", "remade": remade}


def _is_about(entry: Entry, version: "Version") -> bool:
    digest: object = version.tags.get(registry.MODEL_DIGEST)
    return digest is not None and entry["model_digest"] == digest


def _add(client: "Client", name: str, entry: Entry, version: "Version") -> None:
    registry.ensure_model(client, log_of(name))
    model_id = version.source.removeprefix(registry.MODEL_URI)
    tags = {TAG: _dump(entry)}
    client.create_model_version(log_of(name), version.source, version.run_id, tags=tags, model_id=model_id)


def _overtaken(first: Entry) -> StoreError:
    return StoreError(
        f"another change came first: {first['action']} of version {first['to']} by {first['who']}; look at it "
        "(`python -m mlops registry history`), and try again"
    )


def mirrored() -> list[Entry]:
    """The entries of the copy in Git."""
    if not paths.AUDIT.exists():
        return []
    try:
        lines = paths.AUDIT.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise StoreError(f"{paths.AUDIT} could not be read: {error.strerror}") from None
    return [_parse(line, number) for number, line in enumerate(lines, 1)]


def _dump(entry: Entry) -> str:
    return json.dumps(entry, ensure_ascii=False, sort_keys=True)


def _parse(text: str, number: int) -> Entry:
    """The entry in a JSON text; what somebody removed from the text is unreadable, and no hash fits it any more."""
    entry: Entry = {"number": number, **dict.fromkeys(FIELDS, "unreadable")}
    with suppress(ValueError, TypeError, RecursionError):
        found = json.loads(text)
        json.dumps(found, ensure_ascii=False).encode()  # half a surrogate pair can be read, but not printed
        entry |= found
    wrong = [name for name in FIELDS if not isinstance(entry[name], str) and (name, entry[name]) != ("from", None)]
    entry |= dict.fromkeys(wrong, "unreadable")
    if type(entry["number"]) is not int:
        entry["number"] = number
    return entry
