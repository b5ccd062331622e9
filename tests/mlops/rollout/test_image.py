"""Images by a container engine that is stood in for; tests/test_containers.py builds one by a real one."""

from pathlib import Path

import pytest
from mlops.base.errors import StoreError
from mlops.rollout import image

ENGINE = """\
#!/bin/sh
echo "$*" >> "{folder}/calls"
case $1 in
build) while [ "$1" != --iidfile ]; do shift; done; echo sha256:1 > "$2" ;;
push) [ -e "{folder}/login" ] || {{ echo "unauthorized: log in first"; exit 125; }} ;;
esac
"""


@pytest.fixture(autouse=True)
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docker").write_text(ENGINE.format(folder=tmp_path))
    (tmp_path / "docker").chmod(0o755)
    (tmp_path / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(tmp_path))


def test_an_image_is_built_and_pushed_by_the_engine_that_is_here(tmp_path: Path) -> None:
    (tmp_path / "login").touch()

    built = image.build(tmp_path, "registry.example.org/churn:3", 1_700_000_000, ["--no-cache"])
    image.push(built)

    assert built == image.Image("sha256:1", "registry.example.org/churn:3", "docker")
    build, push = (tmp_path / "calls").read_text().splitlines()
    assert build.startswith("build --target baked --tag registry.example.org/churn:3 --iidfile ")
    assert build.endswith(f" --no-cache {tmp_path}")
    assert push == "push registry.example.org/churn:3"


def test_what_the_engine_refuses_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError, match=r"^docker could not push churn:3: unauthorized: log in first$"):
        image.push(image.Image("sha256:1", "churn:3", "docker"))

    (tmp_path / "docker").unlink()
    with pytest.raises(StoreError, match="install one of buildah, podman, docker"):
        image.build(tmp_path, "churn:3", 0)
