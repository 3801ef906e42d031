"""What runs show beside what clauses of the EU AI Act, the NIST AI RMF and ISO/IEC 42001 ask for."""

from certify.report.frameworks.clauses import CLAUSES, Clause
from certify.report.frameworks.mapped import NOT_ADVICE, Mapped, evidence_for
from certify.report.frameworks.numbered import Numbered, numbered

__all__ = ["CLAUSES", "NOT_ADVICE", "Clause", "Mapped", "Numbered", "evidence_for", "numbered"]
