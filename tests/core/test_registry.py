"""Families of members: what two of one name mean."""

import pytest

from certify.registry import Registry


def test_a_member_with_the_name_of_one_that_follows_from_another_family_is_left_out_with_a_warning():
    doors: Registry[str] = Registry("door")
    doors.derive(lambda: {"front": "the house's own"})
    doors.register("front")("somebody else's")
    with pytest.warns(UserWarning, match="door 'front' of a plug-in is left out: the name is taken"):
        assert doors["front"] == "the house's own"
    assert list(doors) == ["front"]
