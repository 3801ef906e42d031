"""Published logs as records: a certificate for each row, with the line it was read from as its evidence."""

from __future__ import annotations

from certify.core.certificate import Certificate, PublishedEvidence
from certify.core.guarantee import Guarantee
from certify.core.norms import Norm
from certify.core.reported import Reported
from certify.core.threats.base import Threat
from certify.core.verdict import Verdict
from certify.store.log_rows import ABSTAIN
from certify.store.logs import AttackLog, CertificationLog

__all__ = ["certificates_of_log", "reported_of_log"]


def certificates_of_log(
    log: CertificationLog, threat: Threat, *, sigma: float, n: int, alpha: float, inferred: bool
) -> list[Certificate]:
    """One certificate a row: certified with the printed radius, or abstained where no class is named.

    Args:
        log: the log.
        threat: norm and declared radii; the smallest is 0, so that every row with a class is certified.
        sigma, n, alpha: of the gaussian smoothing behind the log.
        inferred: whether n or alpha was read off the radii.
    """
    guarantee, model = Guarantee.probabilistic(alpha), f"published:{log.digest}"
    columns = zip(
        log.source.tolist(),
        log.line.tolist(),
        log.index.tolist(),
        log.label.tolist(),
        log.predict.tolist(),
        log.radii,
        log.seconds.tolist(),
        strict=True,
    )
    certificates = []
    for source, line, index, label, predict, printed, seconds in columns:
        named, file = predict != ABSTAIN, log.sources[source]
        certificates.append(
            Certificate(
                index=index,
                input_digest=f"published:{log.digest[:16]}:{index}",
                label=label,
                prediction=predict if named else None,
                verdict=Verdict.CERTIFIED if named else Verdict.ABSTAIN,
                radius=printed.value if named else None,
                threat=threat,
                guarantee=guarantee,
                method="published",
                evidence=PublishedEvidence(
                    source=file.name,
                    source_digest=file.digest,
                    line=line,
                    printed=printed.text,
                    lowest=printed.lowest if named else 0.0,
                    noise="gaussian",
                    sigma=sigma,
                    n=n,
                    inferred=inferred,
                ),
                model_digest=model,
                seconds=seconds,
                forward_passes=n,
            )
        )
    return certificates


def reported_of_log(log: AttackLog, norm: Norm, radius: float) -> list[Reported]:
    """One record a row of an attack log; ``radius`` is the size that was allowed to the attack."""
    return [
        Reported(
            index=index,
            label=label,
            prediction=None if predict == ABSTAIN else predict,
            base_prediction=None if base == ABSTAIN else base,
            norm=norm,
            radius=radius,
            source=log.source.name,
            source_digest=log.source.digest,
        )
        for index, label, predict, base in zip(
            log.index.tolist(), log.label.tolist(), log.predict.tolist(), log.base_predict.tolist(), strict=True
        )
    ]
