"""Every error of cbir is a `CbirError` with an exit code."""

import pytest

from cbir import CbirError, DamageError, DiskFullError, ImageError, UsageError


@pytest.mark.parametrize(
    ("kind", "code"), [(CbirError, 1), (UsageError, 2), (ImageError, 1), (DamageError, 1), (DiskFullError, 3)]
)
def test_an_error_has_an_exit_code_and_one_base_class(kind: type[CbirError], code: int) -> None:
    assert issubclass(kind, CbirError)
    assert kind("message").exit_code == code
