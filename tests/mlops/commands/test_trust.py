"""`trust --committed`: the model that the last commit names, and no other."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlops.base import files, model_files, yaml
from mlops.base.errors import StoreError
from mlops.commands.production.trust import trust
from mlops.history import cache, paths, provenance


@pytest.fixture
def committed(handmade: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[bytes], str]:
    """A function that lets the work tree have a model of these bytes; its SHA-256. The commit has another one."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def lay(content: bytes) -> str:
        paths.MODEL.parent.mkdir(exist_ok=True)
        paths.MODEL.write_bytes(content)
        return files.sha256(paths.MODEL)

    lay(b"reviewed")
    outs = [{"path": paths.MODEL.as_posix(), "md5": cache.md5(paths.MODEL)}]
    handmade.write("dvc.lock", {"schema": "2.0", "stages": {"train": {"cmd": "train", "outs": outs}}})
    handmade.write("reports/dataset.json", {"digest": "d"})
    handmade.write("params.yaml", {})
    handmade.write("dvc.yaml", {"stages": {name: {"cmd": name, "deps": []} for name in provenance.STAGES_OF_MODEL}})
    handmade.write(".gitignore", "/models\n")
    handmade.commit()
    return lay


def test_the_model_of_the_last_commit_is_trusted(committed: Callable[[bytes], str]) -> None:
    digest = committed(b"reviewed")
    assert not model_files.is_trusted(digest)

    trust(committed=True)

    assert model_files.is_trusted(digest)


def test_a_model_that_was_replaced_is_not_trusted_even_if_the_lock_in_the_work_tree_names_it(
    committed: Callable[[bytes], str],
) -> None:
    digest = committed(b"replaced")
    lock = yaml.read(paths.LOCK)
    lock["stages"]["train"]["outs"][0]["md5"] = cache.md5(paths.MODEL)
    files.write_json(paths.LOCK, lock)  # JSON is YAML

    with pytest.raises(StoreError, match="not the model of the last commit"):
        trust(committed=True)

    assert not model_files.is_trusted(digest)
