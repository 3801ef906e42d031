"""What bounds may take, as a user says it."""

from __future__ import annotations

import pytest

from certify.bounds.memory import check_memory
from certify.errors import BadInput


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "4G", True])
def test_what_is_no_number_of_bytes_is_refused(wrong: object) -> None:
    with pytest.raises(BadInput, match="max_memory"):
        check_memory(wrong)  # type: ignore[arg-type]
