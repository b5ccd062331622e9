"""Which packages a result depends on, besides those that every result depends on."""

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

    assert environment.packages_behind(forest) == {"lightgbm", "ruamel-yaml"}
    assert environment.packages_behind("shap.Explainer") == {"lightgbm", "ruamel-yaml", "shap"}
