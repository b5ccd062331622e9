"""Which packages a result depends on, besides those that every result depends on."""

from importlib import metadata
from pathlib import Path

import pytest
from mlops.base import environment


def test_the_packages_that_the_owners_code_imports_are_behind_every_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forest = "sklearn.ensemble.RandomForestClassifier"
    assert environment.packages_behind(forest) == set()

    monkeypatch.setattr(environment, "OWN", tmp_path)
    (tmp_path / "features.py").write_text(
        "import os.path, pandas as pd\nfrom . import tables\nfrom project import metrics\nimport nowhere\n\n\n"
        "def derive(table):\n    import ruamel.yaml\n    from lightgbm.sklearn import LGBMModel\n"
    )
    (tmp_path / "draft.py").write_text("import )\n")

    assert environment.packages_behind(forest) == {"lightgbm", "ruamel-yaml", "ruamel-yaml-clib"}
    assert environment.packages_behind("shap.Explainer") == {"lightgbm", "ruamel-yaml", "ruamel-yaml-clib", "shap"}


def test_a_version_needs_the_client_of_redis_where_the_lock_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "redis" not in environment.answers_with()

    monkeypatch.setattr(environment, "LOCK", tmp_path / "requirements.txt")
    environment.LOCK.write_text(f"numpy==0\nredis=={metadata.version('redis')}\n")
    assert environment.answers_with() == environment.ANSWERS_WITH | {"redis"}

    environment.LOCK.write_text("redis==0\n")
    with pytest.raises(SystemExit, match=r"redis is \S+, not 0\. .* bring this one up to date"):
        environment.answers_with()
