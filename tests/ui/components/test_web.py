"""The web components."""

import pytest
from cbir.ui.components.web import _bytes

from cbir.errors import ImageError


@pytest.mark.parametrize("text", ["", "data:text/html;base64,AAAA", "data:image/png;base64,???", None, 7, {"a": 1}])
def test_malformed_pasted_data_is_refused(text: object) -> None:
    with pytest.raises(ImageError, match="not an image"):
        _bytes(text, 100)


def test_pasted_bytes_have_a_limit() -> None:
    assert _bytes("data:image/png;base64,aGk=", 100) == b"hi"
    with pytest.raises(ImageError, match="larger than 1 MB"):
        _bytes("data:image/png;base64," + "A" * (3 << 20), 1 << 20)
