"""Work on threads: what it returns, and what it says."""

import warnings

import pytest
from mlops.base import parallel


def squared(number: int) -> int:
    warnings.resetwarnings()  # as another thread does that is just setting its own filters
    warnings.warn("`sklearn.utils.parallel.delayed` should be used with `Parallel`", UserWarning, stacklevel=1)
    warnings.warn("this is far", UserWarning, stacklevel=1)
    return number**2


def test_results_keep_their_order_and_a_warning_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():  # not pytest's recorder, which would take the place of what shows them
        warnings.showwarning = lambda message, *where, **more: print(message)

        found = list(parallel.each(squared, (), [(number,) for number in range(50)], 1))

    assert found == [number**2 for number in range(50)]
    assert capsys.readouterr().out.splitlines() == ["this is far"]
