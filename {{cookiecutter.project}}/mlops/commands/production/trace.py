"""`trace`: the whole chain behind a version, from the raw files to production, with digests and commits."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from mlops.base import console, files, params
from mlops.base.errors import StoreError
from mlops.commands.options import AsJson
from mlops.commands.production import lineage
from mlops.data import digest
from mlops.history import cache, data_versions, git, paths, revisions
from mlops.registry import audit, registry
from mlops.registry.registry import Version
from mlops.serving import prediction_log

DIGITS = 12


def trace(
    what: Annotated[str, typer.Argument(help="Number of a version, id of a prediction, or file of a model or data.")],
    openlineage: Annotated[Path | None, typer.Option(help="Also write OpenLineage events here, one a line.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the history of a version, from raw data to production.

    The history has the data, stages, metrics, gate, approvals and promotions, with digests and commits.

    A model file stands for the version with the same bytes, a data file for each version that was made from it, and a
    prediction id for the version that gave the prediction. What the server was asked, what it answered, and the label
    that has come since are shown if the log of this project has the prediction.

    With `openlineage`, that file gets the events of all these versions, one JSON object a line.

    Raises:
        StoreError: nothing in the registry fits `what`, no commit here holds the version, or the file cannot be
            written.
    """
    with registry.configured() as (client, settings):
        known = registry.versions(client, settings.name)
        entries = audit.read(client, settings.name)
        store = lineage.public(client.tracking_uri)
    chains = []
    for version in _versions(what, known):
        changes = {"production": audit.about(entries, version), "left": audit.departures(entries, version)}
        chains.append({"name": settings.name, "store": store, **_chain(version), **changes})
    if digest.model_of(what) and not Path(what).is_file():
        found = prediction_log.find(_log(), what)
        chains = [{**chain, "prediction": found and {**found[0], "feedback": found[1]}} for chain in chains]
    if openlineage:
        _export(chains, openlineage)
    if as_json:
        console.print_json(chains)
        return
    for chain in chains:
        typer.echo("\n".join([*_lines(chain), *(_asked(what, chain["prediction"]) if "prediction" in chain else [])]))


def _versions(what: str, known: list[Version]) -> list[Version]:
    """The versions that a number, a prediction id, a model file or a data file stands for.

    Raises:
        StoreError: it stands for none.
    """
    path = Path(what)
    if path.is_file():
        content = cache.md5(path)
        found = _with_model(known, files.sha256(path)) or [each for each in known if content in _data_digests(each)]
        problem = "is the model of no version, and was among the data of none that this repository has"
    else:
        model = digest.model_of(what)
        found = [each for each in known if each.number == what] or (_with_model(known, model) if model else [])
        numbers = ", ".join(each.number for each in known) or "none"
        problem = f"is neither a version (there are {numbers}), nor a prediction, nor a file of a model or of data"
    if not found:
        raise StoreError(f"{what} {problem}")
    return found


def _with_model(known: list[Version], start: str) -> list[Version]:
    """The versions whose model digest begins with `start`."""
    return [each for each in known if each.tags.get(registry.MODEL_DIGEST, "").startswith(start)]


def _data_digests(version: Version) -> set[str]:
    """The MD5s of all data files behind a version; none if its commit is not in this clone."""
    try:
        return set(data_versions.files_of(revisions.of_result(version.tags)).values())
    except StoreError:
        return set()


def _chain(version: Version) -> dict[str, Any]:
    """Everything between a raw file and the version, as plain values."""
    revision = revisions.of_result(version.tags)
    seconds = int(git.run("show", "--no-patch", "--format=%ct", revision.commit))
    return {
        "version": version.as_dict(),
        "commit": revision.commit,
        "committed": datetime.fromtimestamp(seconds, UTC).isoformat(),
        "repository": lineage.source(git.run("remote", "get-url", "origin", default="").strip()),
        "data": [{"path": path, "md5": md5} for path, md5 in data_versions.files_of(revision).items()],
        "stages": {
            name: {
                side: {entry["path"]: entry["md5"] for entry in stage.get(side, []) if not paths.is_code(entry["path"])}
                for side in ("deps", "outs")
            }
            for name, stage in revision.stages.items()
        },
        "metrics": revision.json(paths.METRICS),
        "gate": revision.json(paths.REGISTRATION)["rules"],
    }


def _export(chains: list[dict[str, Any]], path: Path) -> None:
    lines = [json.dumps(event) for chain in chains for event in lineage.events(chain)]
    files.write_text(path, "".join(f"{line}\n" for line in lines))
    # On standard error: standard output may be JSON for another program.
    typer.echo(f"{len(lines)} OpenLineage events are in {path}", err=True)


def _asked(what: str, record: dict[str, Any] | None) -> list[str]:
    """A prediction for people: when and by what it was made, the row, the answer, and the label."""
    if record is None:
        place = _log() / "predictions"
        return [f"  {what} is not in {place}: no server here gave it, or its line was dropped or deleted"]
    masked = record.get("masked", ())
    row = ", ".join(
        f"{name} {'not logged' if name in masked else _value(value)}" for name, value in record["features"].items()
    )
    probability = record.get("probability")
    answer = _value(record.get("prediction")) + (f", probability {probability}" if probability is not None else "")
    feedback = record["feedback"]
    actual = feedback and feedback["actual"]
    shadow = " in shadow, which nobody was given" if record.get("shadow") else ""
    return [
        f"  asked {record['time']}, answered by version {record.get('version')} as {record.get('variant')}{shadow}",
        f"    row: {row}",
        f"    answer: {answer}",
        f"    label: {_value(actual)}, {feedback['time']}" if actual is not None else "    label: none yet",
    ]


def _value(value: Any) -> str:
    """A value as JSON has it, text without quotes."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _lines(chain: dict[str, Any]) -> list[str]:
    """A chain for people."""
    version = chain["version"]
    aliases = ", ".join(version["aliases"]) or "no alias"
    lines = [f"version {version['version']} ({aliases}), commit {chain['commit'][:8]}"]
    lines += [f"  {file['path']}  md5 {file['md5'][:DIGITS]}" for file in chain["data"]]
    for name, stage in chain["stages"].items():
        lines.append(f"  {name}: {', '.join(stage['deps'])}")
        lines += [f"    → {path}  md5 {content[:DIGITS]}" for path, content in stage["outs"].items()]
    metrics = (f"{name} {value:.4f}" for name, value in chain["metrics"].items() if value is not None)
    lines.append(f"  {', '.join(metrics)}")
    lines += [f"  {'✓' if rule['passed'] else '✗'} {rule['rule']}" for rule in chain["gate"]]
    digests = (f"{name.removesuffix('_digest')} {version.get(name, '')[:DIGITS]}" for name in registry.DIGESTS)
    author = version.get("author", "an unknown author")
    lines.append(f"  registered {version['created']} by {author}: {', '.join(digests)}")
    changes = [(entry, entry["action"]) for entry in chain["production"]]
    changes += [(entry, f"left production ({entry['action']} of version {entry['to']})") for entry in chain["left"]]
    return lines + [
        f"  {what} {entry['when']} by {entry['who']}: {entry['reason'] or 'no reason given'}"
        for entry, what in sorted(changes, key=lambda change: change[0]["number"])
    ]


def _log() -> Path:
    """The folder of the model server, where its log is."""
    return Path(params.load(params.Serving).folder)
