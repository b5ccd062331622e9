"""The MLflow registry: open the store, and read the model's versions, its runs and their files."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from mlops.base import params
from mlops.base.errors import StoreError
from mlops.registry import backend, sqlite_store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    Client: TypeAlias = MlflowClient

# Tags of runs and versions.
RESULT_KEY = "result"
STAGE = "stage"  # experiment, candidate, production or archived
DIGESTS = ("model_digest", "data_digest", "params_digest", "code_digest")
MODEL_DIGEST = DIGESTS[0]
PACKAGE = "package_digest"  # of the code that a version brings along
REMADE = "remade"  # who made the model of a version again with the same bytes, where and when
TAKEN_BACK = "taken_back"
MODEL_URI = "models:/"  # an id of a model that MLflow keeps follows
# Aliases of versions.
CHALLENGER, CHAMPION = "challenger", "champion"


@dataclass(frozen=True)
class Version:
    """A version of the model: its number, aliases, creation time (UTC), run, source and tags."""

    number: str
    aliases: tuple[str, ...]
    created: str
    run_id: str
    source: str
    tags: Mapping[str, str]

    @property
    def digests(self) -> dict[str, str]:
        """The SHA-256 of model, data, params and code, empty where the version has no such tag."""
        return {name.removesuffix("_digest"): self.tags.get(name, "") for name in DIGESTS}

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; every tag is a key of its own."""
        own = {"version": self.number, "aliases": list(self.aliases), "created": self.created, "run_id": self.run_id}
        return {**own, **self.tags}


@contextmanager
def configured() -> Iterator[tuple["Client", params.Register]]:
    """Open the store that params.yaml names; gives MLflow's client and the section `register`.

    Raises:
        ParameterError: a section of params.yaml is wrong.
        StoreError: the store cannot be reached or refuses.
    """
    settings, tracking = params.load(params.Register), params.load(params.Tracking)
    with opened(tracking.uri) as client:
        yield client, settings


@contextmanager
def opened(uri: str) -> Iterator["Client"]:
    """Open the store at `backend.address(uri)`; no other process can use a SQLite store meanwhile.

    Raises:
        StoreError: the store cannot be reached or refuses.
    """
    address = backend.address(uri)
    with backend.errors_as_sentences(address):
        import mlflow  # takes a second, so it comes before the lock

        logging.getLogger("mlflow").setLevel(logging.ERROR)  # its remarks are about how it works, not about the result
        with sqlite_store.exclusive(address):
            if database := sqlite_store.file_of(address):
                sqlite_store.follow(database) if database.exists() else sqlite_store.create(database)
            mlflow.set_tracking_uri(address)
            yield mlflow.MlflowClient()


def versions(client: "Client", name: str) -> list[Version]:
    """All versions of a model, the newest first."""
    models = client.search_registered_models(f"name = '{name}'")
    aliases = [(alias, str(number)) for model in models for alias, number in sorted(model.aliases.items())]
    return [
        Version(
            number=str(found.version),
            aliases=tuple(alias for alias, number in aliases if number == str(found.version)),
            created=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC).isoformat(timespec="seconds"),
            run_id=found.run_id or "",
            source=found.source,
            tags=dict(found.tags),
        )
        for found in reversed(search_versions(client, f"name = '{name}'"))
    ]


def version(client: "Client", name: str, number: str) -> Version:
    """The version with this number.

    Raises:
        StoreError: no version has this number.
    """
    known = {found.number: found for found in versions(client, name)}
    if number in known:
        return known[number]
    there = ", ".join(known) or "none"
    raise StoreError(f"{name} has no version {number}: there are {there} (`python -m mlops registry show`)")


def in_production(known: Sequence[Version]) -> Version | None:
    """The champion; None if no version is in production."""
    return next((found for found in known if CHAMPION in found.aliases), None)


def set_champion(client: "Client", name: str, champion: Version, known: Sequence[Version]) -> None:
    """Put a version into production; its tag `stage` and that of its run say so, and whom it replaces is archived.

    The alias comes last: where it stands, nothing is left to do. A run that somebody has deleted stays as it is.
    """
    from mlflow.exceptions import MlflowException

    replaced = [each for each in known if each.tags.get(STAGE) == "production" and each.number != champion.number]
    for version, stage in [(champion, "production"), *((each, "archived") for each in replaced)]:
        client.set_model_version_tag(name, version.number, STAGE, stage)
        try:
            client.set_tag(version.run_id, STAGE, stage)
        except MlflowException as error:
            if error.error_code not in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"):
                raise
    client.set_registered_model_alias(name, CHAMPION, champion.number)


def search_versions(client: "Client", query: str) -> list["ModelVersion"]:
    """All versions that match MLflow's filter `query`, the oldest first, without those that were taken back."""
    found = _all_pages(lambda token: client.search_model_versions(query, page_token=token))
    return sorted((each for each in found if TAKEN_BACK not in each.tags), key=lambda each: int(each.version))


def experiments(client: "Client", name: str) -> set[tuple[str, str]]:
    """Name and baseline commit of each DVC experiment that has a run in the MLflow experiment `name`."""
    home = client.get_experiment_by_name(name)
    if home is None:
        return set()
    query = f"tags.{RESULT_KEY} != ''"
    runs = _all_pages(lambda token: client.search_runs([home.experiment_id], query, page_token=token))
    tags = [run.data.tags for run in runs if "experiment" in run.data.tags]
    return {(each["experiment"], each.get("baseline", each.get("commit", ""))) for each in tags}


def artifact(client: "Client", run_id: str, path: Path, into: Path) -> Path:
    """Download a file of a run into a folder."""
    return Path(client.download_artifacts(run_id, path.as_posix(), str(into)))


def model(version: Version, into: Path) -> Path:
    """Download what MLflow keeps of a version's model into a folder; the folder that it is in."""
    import mlflow

    return Path(mlflow.artifacts.download_artifacts(artifact_uri=version.source, dst_path=str(into)))


def ensure_model(client: "Client", name: str) -> None:
    """Create the registered model `name` unless it exists."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _all_pages(search: Callable[[str | None], Any]) -> Iterator[Any]:
    """The items of every page of a search; `search` takes the token of a page."""
    token = None
    while token is None or token:
        page = search(token)
        yield from page
        token = page.token or ""
