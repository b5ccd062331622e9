"""DVC's cache is where DVC itself says that it is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo
from mlops.history import cache


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    yield
    cache.folder.cache_clear()


@pytest.mark.parametrize("place", ["", "{tmp}/shared", "../../shared", "~/shared", "here"])
@pytest.mark.parametrize("file", ["config", "config.local"])
def test_the_folder_of_the_cache_is_the_one_that_dvc_uses(
    handmade: Any, place: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    setting = f"dir = {place.format(tmp=tmp_path)}" if place else ""
    handmade.write(f".dvc/{file}", f"[cache]\n{setting}\n")

    with Repo() as repo:
        assert cache.folder() == Path(repo.cache.local.path).resolve()
