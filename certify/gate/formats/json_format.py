"""Format ``json``: the judgement for machines."""

from __future__ import annotations

import json

from certify.gate.judge import GATE_FORMATS, Judgement

__all__ = ["render"]


@GATE_FORMATS.register("json")
def render(judgement: Judgement) -> str:
    """The judgement as one JSON object; estimates, ends and thresholds are fractions."""
    return json.dumps(judgement.to_dict(), indent=2, allow_nan=False)
