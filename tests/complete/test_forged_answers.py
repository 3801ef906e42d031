"""False answers made up at random are never confirmed; the generators are shared with longer runs."""

from __future__ import annotations

import pytest
from adversary.answers import confirmed_proofs, confirmed_witnesses


@pytest.mark.parametrize("method", ["inputs", "neurons"])
def test_changed_proofs_show_nothing_false(method):
    made = list(confirmed_proofs(0, 60, method))
    assert len({what for what, _ in made}) > 40
    assert [what for what, shown in made if shown] == []


def test_made_up_witnesses_are_not_confirmed():
    assert [text for text, confirmed in confirmed_witnesses(0, 250) if confirmed] == []
