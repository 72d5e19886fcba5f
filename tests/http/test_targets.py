"""Tests for `torua.http.targets`."""

import re
from urllib.parse import unquote_to_bytes

from hypothesis import example, given
from hypothesis import strategies as st

from torua.errors import MalformedError
from torua.http.targets import decoded


@given(st.text("%0aAfFgé \u0663", max_size=12))
@example("%a ")
@example("%+1")
@example("%C3%A9%c3")
def test_what_is_percent_encoded_is_decoded_or_refused(text: str) -> None:
    """As the standard library decodes it, where each percent sign has two digits."""
    expected: str | None = None
    if not re.search("%(?![0-9A-Fa-f]{2})", text):
        data = unquote_to_bytes(text)
        expected = data.decode(errors="replace")
        expected = expected if expected.encode() == data else None
    try:
        found: str | None = decoded(text, "key")
    except MalformedError:
        found = None
    assert found == expected
