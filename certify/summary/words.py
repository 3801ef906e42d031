"""What a table is about, what it guarantees and which methods made it, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from certify.core.certificate import Certificate, Evidence
from certify.core.columns import CertificateColumns
from certify.core.finding import Finding
from certify.core.guarantee import Guarantee
from certify.core.legible import many
from certify.core.properties.top_class import TOP_CLASS
from certify.core.rounding import brief_up, percent_down
from certify.core.threats.base import Threat
from certify.summary.join import FAILED_VERDICTS, same_model

__all__ = ["head_of_table", "parts_of", "percent", "statement"]


def percent(probability: float, sign: str = "%") -> str:
    """A probability in percent, never rounded up.

    >>> percent(0.95), percent(1 - 0.05 / 3), percent(0.95, " %")
    ('95%', '98.3%', '95 %')
    """
    return percent_down(probability).removesuffix(".0") + sign


def _subject(kinds: Sequence[Certificate]) -> str:
    """What proofs are about: float32 executions are claimed for the table only where every proof covers them."""
    made = {c.evidence.about for c in kinds if c.evidence is not None and c.evidence.about}
    if made:
        return f"{' and '.join(sorted(made))}, not about the model alone"
    executions = [c.evidence.executions for c in kinds if c.evidence is not None and c.guarantee.alpha is None]
    covered = bool(executions) and all(executions)
    about = next((c.evidence.proven_of for c in kinds if c.evidence is not None), Evidence().proven_of)
    return about + " and in every float32 execution" * covered


def statement(
    threat: Threat,
    n: int,
    guarantee: Guarantee,
    methods: Sequence[str],
    kinds: Sequence[Certificate],
    first: Certificate,
    delta: float,
) -> str:
    """What exactly is guaranteed, with what probability, over what randomness: one sentence."""
    if guarantee.alpha is None:
        return (
            f"Each certified input is proven ({' or '.join(methods)}) to {first.property.family} under every "
            f"{threat.change()} inside the input box, with certainty: no sampling is involved, the "
            f"proof is about {_subject(kinds)}, and the fractions are of these {n:,} inputs."
        )
    promise = (
        f"with probability at least {percent(1 - delta)} over the sampling noise, the SMOOTHED model, not the base "
        f"model, is truly right and robust on at least the fraction in the column '>=' of these {n:,} inputs, at all "
        f"radii at once, each certificate alone being false with probability at most {brief_up(guarantee.alpha)}"
    )
    if first.evidence is None or not first.evidence.published:
        return f"{promise[0].upper()}{promise[1:]}."
    return (
        "These are published claims, read from a log and not derived from evidence: if it was made with the noise, "
        f"sigma, n and alpha above, from separate noise for each input, then {promise}; that column leaves out "
        "printed radii that may have been rounded up to reach theirs."
    )


def head_of_table(
    certificates: CertificateColumns,
    first: Certificate,
    threat: Threat,
    n: int,
    methods: Sequence[str],
    given: Mapping[str, str],
    attacks: Sequence[Finding],
    unattacked: int,
) -> dict[str, str]:
    """Name and text of each line above a table.

    Args:
        certificates: all of the table.
        first: one whose computation did not fail.
        threat, n, methods: of the table.
        given: names of model and data, and further lines.
        attacks: the first finding of each attack.
        unattacked: how many inputs could not be attacked.
    """
    evidence = first.evidence
    published = evidence is not None and evidence.published
    digest = first.model_digest.removeprefix("published:")[:12]
    head = {
        "model": f"{given.get('model', 'model')}  {'log ' * published}sha256 {digest}",
        "data": f"{given.get('data', 'given inputs')}, n={n:,}",
        "threat": str(first.threat),
        **({} if first.property == TOP_CLASS else {"property": f"each input has to {first.property.family}"}),
    }
    if threat.radii != first.threat.radii:
        head["radii"] = "asked for afterwards; " + _afterwards(evidence)
    if evidence is None or evidence.sampling is None or first.alpha is None:
        head["method"] = " and ".join(methods)
        head["guarantee"] = f"deterministic: a proof about {_subject(certificates.kinds)}"
    else:
        head["smoothing"] = f"{evidence.sampling_in_words}, alpha={brief_up(first.alpha)} per input"
        head["guarantee"] = f"about the SMOOTHED model, not the base model: {first.property.under_noise}"
    if evidence is not None and evidence.n_most is not None:
        head["samples"] = _samples(certificates, evidence.n_most)
    if evidence is not None and evidence.trusted:
        head["noise"] = evidence.trusted
    if published:
        head["guarantee"] = "as published, about the SMOOTHED model: the counts behind the radii are not in the log"
    if attacks:
        head["attack"] = " and ".join(map(_attack, attacks))
        if not all(same_model(first, finding) for finding in attacks):
            head["attack"] += "; it attacked ANOTHER model than the one certified (base or smoothed): only a comparison"
    errors = int(np.count_nonzero(np.isin(certificates.verdict, FAILED_VERDICTS)))
    failed = f"{many(errors, 'computation')} failed: such inputs count as not certified"
    ended = f"attacks failed on {many(unattacked, 'input')}: such inputs count as not attacked"
    if errors or unattacked:
        head["errors"] = "; ".join([failed] * bool(errors) + [ended] * bool(unattacked))
    return head | {name: text for name, text in given.items() if name not in ("model", "data")}


def parts_of(certificates: Iterable[Certificate], findings: Iterable[Finding] = ()) -> tuple[str, ...]:
    """The laws, bounds, searches and statistics that made a table, which a bibliography looks up.

    Names are ``family:member``, without repeats, in order of appearance; one of each kind of record is enough.

    A family is ``certifier``, ``noise``, ``property``, ``attack`` or ``statistics``. An attack on a smoothed classifier
    brings ``attack:smoothed``, which is how it was aimed, besides its own name.

    >>> parts_of([])
    ()
    """
    names: dict[str, None] = {}
    for one in certificates:
        names[f"certifier:{one.method}"] = None
        names.update(dict.fromkeys(() if one.evidence is None else one.evidence.parts))
        if one.evidence is not None and one.evidence.sampling is not None:
            names.update(dict.fromkeys(one.property.cited))
    for found in findings:
        if f"certifier:{found.attack}" not in names:  # what a complete search finds was found by the certifier itself
            names[f"attack:{found.attack}"] = None
            if "noise" in found.settings:
                names["attack:smoothed"] = None
    return tuple(names)


def _attack(finding: Finding) -> str:
    hidden = ("property", "target", "threat")  # digests of what the table names above
    told = {name: value for name, value in finding.settings.items() if value is not None and name not in hidden}
    if isinstance(made := told.pop("defence", None), Mapping):
        told |= {name: value for name, value in made.items() if value is not None and name != "kind"}
    if isinstance(given := told.pop("options", None), Mapping):  # of somebody else's attack
        told = dict(given) | told
    settings = ", ".join(f"{name}={_brief(value)}" for name, value in told.items())
    return f"{finding.attack} ({settings})"


def _brief(value: object) -> str:
    """A setting; of many numbers, the first."""
    if not isinstance(value, list | tuple) or len(value) <= 3:
        return str(value)
    return f"{', '.join(map(str, value[:3]))}, .. ({len(value)} values)"


def _afterwards(evidence: Evidence | None) -> str:
    """What a certified share means at a radius that was not declared before the run."""
    if evidence is not None and evidence.stops_early:
        return "sampling stopped when the declared ones were decided, so at others the certified share is a lower limit"
    return "the guarantee is the same at any radius"


def _samples(certificates: CertificateColumns, most: int) -> str:
    """Mean samples per input, and how many times fewer that is than drawing the full n for every input."""
    drawn = certificates.forward_passes[~np.isin(certificates.verdict, FAILED_VERDICTS)]
    total = int(drawn.sum())
    times = most * len(drawn) // max(1, total)
    fewer = f" ({times}x fewer than n for every input)" if times >= 2 else ""
    return f"mean {-(-total // len(drawn)):,} per input{fewer}"
