"""Sentences of errors: what must not be in them."""

import pytest
from mlops.base.errors import without_passwords


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("https://ada:s3@cret@example.org/t.git", "https://example.org/t.git"),
        ("postgresql+psycopg://mlflow:pw@db/runs", "postgresql+psycopg://db/runs"),
        ("ssh://git:s3cret@example.org/t.git", "ssh://git@example.org/t.git"),
        ("git@example.org:t.git", "git@example.org:t.git"),
    ],
)
def test_no_address_in_a_sentence_has_a_password(address: str, public: str) -> None:
    assert without_passwords(f"no answer from {address} (timeout)") == f"no answer from {public} (timeout)"
