"""What claims are derived from: counts, margins, proofs or log lines, from which a stranger can derive them again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from certify.core.evidence.ablation import AblationEvidence
from certify.core.evidence.base import CLAIMS, EVIDENCE, Claim, Evidence, kinds_of
from certify.core.evidence.bounds import BoundEvidence
from certify.core.evidence.complete import CompleteEvidence
from certify.core.evidence.enumeration import MOST_SUBSETS, EnumerationEvidence, subsets
from certify.core.evidence.erased import ErasedEvidence
from certify.core.evidence.lipschitz import LipschitzEvidence, PartNorm
from certify.core.evidence.masks import MasksEvidence
from certify.core.evidence.pixels import PixelsEvidence
from certify.core.evidence.published import PublishedEvidence
from certify.core.evidence.sampled import Look, Sampled
from certify.core.evidence.smoothing import SmoothingEvidence
from certify.core.evidence.votes import VotesEvidence

__all__ = [
    "CLAIMS",
    "EVIDENCE",
    "MOST_SUBSETS",
    "AblationEvidence",
    "BoundEvidence",
    "Claim",
    "CompleteEvidence",
    "EnumerationEvidence",
    "ErasedEvidence",
    "Evidence",
    "LipschitzEvidence",
    "Look",
    "MasksEvidence",
    "PartNorm",
    "PixelsEvidence",
    "PublishedEvidence",
    "Sampled",
    "SmoothingEvidence",
    "VotesEvidence",
    "evidence_from",
    "kinds_of",
    "subsets",
]


def evidence_from(fields: Mapping[str, Any]) -> Evidence:
    """Evidence of any kind from its fields in JSON; KeyError, TypeError or ValueError where they are no evidence."""
    return EVIDENCE[fields["kind"]].from_dict(fields)
