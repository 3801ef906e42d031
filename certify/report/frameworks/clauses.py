"""The clauses: what each asks for, which facts of a run speak to it, and what no such run can show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from certify.report.frameworks.statements import Fact, accuracy, attacked, promise, record, robustness, undecided

__all__ = ["CLAUSES", "Clause"]


@dataclass(frozen=True, slots=True)
class Clause:
    """A clause of a law, framework or standard.

    Args:
        framework, clause: where it is written.
        asks: what it asks for, in our own words.
        facts: what speaks to it, read off each run.
        beyond: gaps that remain whatever the runs say.
    """

    framework: str
    clause: str
    asks: str
    facts: tuple[Fact, ...]
    beyond: tuple[str, ...]


_AI_ACT: Final = "EU AI Act, Regulation (EU) 2024/1689"
_RMF: Final = "NIST AI RMF 1.0"
_ISO: Final = "ISO/IEC 42001:2023"
_FORMAL: Final = "ISO/IEC 24029-2:2023"

_ONE_TIME: Final = "The runs are about a model at one time: not about its life cycle, drift or later releases."
_ONE_SET: Final = "Other data than the set named here, such as that of the deployment, was not looked at."

CLAUSES: Final = (
    Clause(
        _AI_ACT,
        "Article 15(1)",
        "high-risk systems reach appropriate accuracy, robustness and cybersecurity, and keep them over their life "
        "cycle",
        (accuracy, robustness),
        (_ONE_TIME, "Which level is appropriate for the intended purpose is not a question that a run answers."),
    ),
    Clause(
        _AI_ACT,
        "Article 15(3)",
        "the levels of accuracy and the metrics behind them are declared in the instructions for use",
        (accuracy, robustness, promise),
        ("Whether the instructions for use repeat these figures with their conditions is not shown.",),
    ),
    Clause(
        _AI_ACT,
        "Article 15(4)",
        "systems are as resilient as possible to errors, faults and inconsistencies within them and around them, and "
        "to feedback loops",
        (robustness,),
        ("Faults of hardware and software, redundancy, other wrong inputs and feedback loops were not examined.",),
    ),
    Clause(
        _AI_ACT,
        "Article 15(5)",
        "systems withstand third parties who exploit their weaknesses, among them by adversarial examples, poisoned "
        "data or models, and attacks on confidentiality",
        (robustness, attacked),
        ("Poisoning, attacks on confidentiality and the security of the system around the model were not examined.",),
    ),
    Clause(
        _RMF,
        "MEASURE 2.5",
        "the system is shown to be valid and reliable, and limits of generalising beyond the conditions of its "
        "development are documented",
        (accuracy, robustness, promise),
        (_ONE_SET,),
    ),
    Clause(
        _RMF,
        "MEASURE 2.6",
        "the system is regularly evaluated for safety risks, what risk remains is tolerable, and it fails safely, "
        "beyond its knowledge limits too",
        (robustness, undecided),
        (_ONE_TIME, "Harm, risk tolerance, response times and monitoring lie outside of a robustness run."),
    ),
    Clause(
        _RMF,
        "MEASURE 2.7",
        "security and resilience are evaluated and documented",
        (robustness, attacked, record),
        ("Poisoning, attacks on confidentiality and the security of the system around the model were not examined.",),
    ),
    Clause(
        _ISO,
        "9.1 Monitoring, measurement, analysis and evaluation",
        "it is determined what is measured, how and when, and results are kept as evidence",
        (record, accuracy, robustness),
        (_ONE_TIME,),
    ),
    Clause(
        _ISO,
        "A.6.2.4 AI system verification and validation",
        "measures for verification and validation are defined and documented, with criteria for their use",
        (record, robustness, promise, attacked),
        ("Which figures are acceptable has to be set beforehand; the runs set no criterion.",),
    ),
    Clause(
        _ISO,
        "A.6.2.7 AI system technical documentation",
        "users, partners and authorities get the technical documentation that they need",
        (record, promise),
        ("This documents the runs, not the system.",),
    ),
    Clause(
        _FORMAL,
        "Clause 5: domain, stability and what else is assessed",
        "the domain of inputs is stated, and by how much the output may change within it is assessed by formal methods",
        (robustness, undecided, promise),
        ("How much each output or feature contributes, which the clause asks as well, was not assessed.",),
    ),
    Clause(
        _FORMAL,
        "Clause 6: applicability of formal methods",
        "the method fits the network and what is asked of it, and its limits are known",
        (record, promise),
        ("Why this method was chosen among others is not on record.",),
    ),
    Clause(
        _FORMAL,
        "Clause 7: robustness during the life cycle",
        "robustness is assessed in design, in verification and validation, in deployment and in operation",
        (robustness, attacked),
        (_ONE_TIME,),
    ),
)
