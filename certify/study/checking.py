"""``check_run``: every claim of a run derived again, by the kernel in ``checker``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from certify.checker.derivations.base import derivation_of, needs_network, statement
from certify.checker.prediction_sets import is_set_record
from certify.checker.result import CheckedClaim, CheckResult, Standing, judged, left_open, refuted, subject_of
from certify.checker.sample import data_claims, sample_of
from certify.core.certificate import Certificate
from certify.core.finding import Finding
from certify.core.input_box import BoxLike, check_box
from certify.core.threats.base import threat_from
from certify.errors import BadInput, StoreError
from certify.progress.observer import Observer, watching
from certify.store.exported import is_exported
from certify.store.life_log import is_life
from certify.study.at_hand import AtHand, arithmetic_of, at_hand
from certify.study.checking_life import check_life
from certify.study.checking_sets import check_sets
from certify.study.held import held_records, record_claims

if TYPE_CHECKING:
    from certify.checker.replay import Chosen
    from certify.engines.base import Engine

__all__ = ["check_run"]


def check_run(
    path: Path | str,
    *,
    replay: int = 0,
    seed: int | None = None,
    model: str | None = None,
    data: str | None = None,
    input_box: BoxLike = None,
    bundle: tuple[Path, Path] | None = None,
    progress: bool | Observer = False,
    engine: Engine | None = None,
) -> CheckResult:
    """Derive every claim of a run folder again, or of a file of its certificates that ``certify export`` wrote.

    Or of a record of prediction sets that ``certify conformal`` wrote: ``RUN/conformal.json``; or of the file of a
    monitor, ``RUN/monitor.jsonl``.

    From the records alone: each smoothing radius from its counts, each record against the manifest's settings, and the
    digest of the data from positions, labels and input digests. From model and data, which are loaded by the SPECs in
    the manifest, or the ones given: which inputs were drawn, their labels and values, proofs, and adversarial examples,
    which are executed. What cannot be loaded leaves its claims open, with the reason.

    Args:
        path: the run folder; or the file, with the manifest beside it. What attacks found is not in such a file, which
            ``absent`` of the result says.
        replay: how many blocks of noise to draw again, and about how many inputs to draw 1,000 fresh samples.
        seed: which blocks, and what fresh noise; derived from the records if None, so that a check can be repeated.
        model, data: SPECs to use in place of the manifest's; naming a Python function lets it run.
        input_box: the bounds of the features where the data state none: only you know which values they can take.
        bundle: a signed bundle of this run and the public key of whoever vouches for it: the folder has to hold what
            was signed.
        progress: True shows how far the check is.
        engine: where proofs, examples and noise are computed, see :mod:`certify.engines`; in this process if None.

    Raises:
        StoreError: for no run folder or file of certificates, a damaged one, or one without any record.
        BadInput: for a negative ``replay``, a file with a bundle, or one that takes too much memory.
        CertifyError: for a SPEC that was given and cannot be loaded.
        NotVerified: for a bundle that this key did not sign.
    """
    if replay < 0:
        raise BadInput(f"replay must be a number of noise blocks, 0 or more, got {replay}")
    if bundle is not None and is_exported(path):
        raise BadInput(f"a bundle is compared with a run folder, and {path} is a file; leave --bundle and --key out")
    progress = watching(progress)
    if is_life(path):
        if replay or bundle is not None or model is not None or data is not None:
            raise BadInput(f"{path} is the file of a monitor, from which alone all is derived: leave the options out")
        return check_life(path)
    if is_set_record(path):
        if replay or bundle is not None:
            raise BadInput(
                f"{path} is a record of prediction sets, of which all is made again: leave replay and bundle out"
            )
        return check_sets(path, model=model, data=data, progress=progress)
    held = held_records(path)
    # Nobody has the model and the data behind a published log.
    wanted = not all(one.evidence is not None and one.evidence.published for one in held.certificates)
    wanted = wanted or bool(replay or model or data or input_box)
    there = at_hand(held.settings, held.context, model, data, check_box(input_box)) if wanted else None
    sample = None if there is None else sample_of(held.settings["data"], there.dataset, there.no_data)
    claims = [] if bundle is None else _signed(*bundle, Path(path))
    claims += record_claims(held, None if sample is None else sample.positions, progress)
    if there is not None and sample is not None:
        claims.append(sample.claim)
        executed = _Executed(held.certificates, held.findings, held.settings, held.context, there)
        claims += _at_hand(executed, replay, seed, progress, engine)
    return CheckResult(tuple(claims), held.head, statement(held.certificates), held.unchecked, held.absent)


def _signed(bundle: Path, key: Path, run: Path) -> list[CheckedClaim]:
    """The run folder against what was signed."""
    from certify.store.bundle import bundle_differences, verify_bundle

    signed = verify_bundle(bundle, key)
    try:
        differences = bundle_differences(signed, run)
    except StoreError as problem:  # records that cannot be: nobody signed those
        differences = [f"records: {problem}"]
    named = (one.partition(": ") for one in differences)
    changed = [refuted(subject, "signed record", said) for subject, _, said in named]
    return [judged("bundle", "signature", ""), *changed]


@dataclass(frozen=True, slots=True, eq=False)
class _Executed:
    """The records of a run beside its model and data."""

    certificates: Sequence[Certificate]
    findings: Sequence[Finding]
    settings: Mapping[str, Any]
    context: Mapping[str, Any]
    there: AtHand

    def same_model(self) -> list[CheckedClaim]:
        """Whether the model at hand is the one in the manifest, executed as that says."""
        classifier, asked = self.there.classifier, self.settings["model"]["digest"]
        if classifier is None:
            return []
        said = ""
        if classifier.digest != asked:
            said = f"the manifest is about model {asked[:12]}, {classifier.name} is {classifier.digest[:12]}"
        elif arithmetic_of(self.settings["model"]) != classifier.arithmetic.stated:
            said = f"the model is executed in {classifier.arithmetic}, and the manifest does not say so"
        return [judged("manifest", "model digest", said)]

    def same_box(self) -> list[CheckedClaim]:
        """Whether the input box is the model's own, and leaves out nothing that the data at hand may be.

        A file without a box of its own takes the one in the manifest: then the data say, or whoever checks.
        """
        from certify.checker.networks import box_fault

        recorded, dataset = threat_from(self.settings["threat"]).input_box, self.there.dataset
        if self.there.classifier is None or dataset is None:
            return []
        said, box = box_fault(recorded, self.there.classifier.input_box), self.there.input_box
        if not said and recorded is not None:
            if box is None:
                unsaid = f"the data state no input box: if theirs is {recorded}, say so with --input-box"
                return [left_open("manifest", "input box", unsaid)]
            if not recorded.contains(box):
                said = f"the manifest is about inputs in {recorded}, the data lie in {box}"
        return [judged("manifest", "input box", said)]

    def enough_classes(self) -> list[CheckedClaim]:
        """Whether the manifest hides no class of the model: the worst group may be one without an input here."""
        classifier, said = self.there.classifier, self.context.get("num_classes")
        if classifier is None:
            return []
        if said is None:
            missing = "the manifest does not say how many classes there are"
            return [left_open("manifest", "classes", missing)]
        wrong = f"the manifest says {said!r:.40}, {classifier.name} has {classifier.num_classes}"
        hidden = not (type(said) is int and said >= classifier.num_classes)
        return [judged("manifest", "classes", wrong if hidden else "")]

    def unexecuted(self, why: str) -> list[CheckedClaim]:
        """What stays open where model or data are missing, or the model is another one."""
        missing = []
        if self.there.classifier is None:
            missing.append(("manifest", "model digest", self.there.no_model))
        if self.there.lacking:
            missing.append(("manifest", "input box", self.there.lacking))
        if self.there.dataset is None:
            missing += [("records", claim, self.there.no_data) for claim in ("label", "input digest")]
        derivations = filter(None, map(derivation_of, self.certificates))
        needed = dict.fromkeys(claim for derivation in derivations for claim in derivation.with_model)
        missing += [("records", claim, why) for claim in needed]
        claims = [left_open(subject, claim, said) for subject, claim, said in missing]
        claims += [
            left_open(subject_of(one), "prediction" if one.radius is None else "radius", why)
            for one in self.certificates
            if needs_network(one)
        ]
        return claims + [
            left_open(subject_of(one), "example" if one.succeeded else "prediction", why)
            for one in self.findings
            if not one.error
        ]


def _at_hand(
    records: _Executed, replay: int, seed: int | None, progress: Observer, engine: Engine | None
) -> list[CheckedClaim]:
    """What model and data show, as far as they are there."""
    there = records.there
    same = records.same_model()
    claims = same + records.enough_classes()
    if there.dataset is not None:
        claims = (
            claims
            + records.same_box()
            + data_claims([*records.certificates, *records.findings], there.dataset, there.rows)
        )
    if there.lacking or there.classifier is None:
        claims += records.unexecuted(there.lacking)
        return claims + [left_open("replay", "votes", there.lacking)] * bool(replay)
    if same[0].standing is Standing.REFUTED:
        return claims + records.unexecuted("the model at hand is another one")

    from certify.checker.replay import chosen, derived_seed
    from certify.engines.base import Lost, tried_twice
    from certify.engines.serial import Serial

    seed = derived_seed(records.certificates) if seed is None else seed
    by_input: dict[int, list[Certificate]] = {}
    for certificate in records.certificates:
        by_input.setdefault(certificate.index, []).append(certificate)
    work = _Work(records, by_input, chosen(records.certificates, replay, seed), seed)
    with (engine or Serial()).crew(work, there.classifier.device) as crew:
        for stage in _STAGES:
            subjects = work.subjects(stage)
            with progress.stage(stage, len(subjects)) as advance:
                found: dict[int, list[CheckedClaim]] = {}
                for part, made in tried_twice(crew, [_Part(stage, place) for place in range(len(subjects))]):
                    subject, claim = subjects[part.place]
                    found[part.place] = [left_open(subject, claim, made.reason)] if isinstance(made, Lost) else made
                    advance(1, "")
            claims += [claim for place in range(len(subjects)) for claim in found[place]]
    return claims


_STAGES: Final = ("deriving from the network", "executing examples", "drawing noise again")


@dataclass(frozen=True, slots=True)
class _Part:
    """One record, or one choice of noise, of a stage."""

    stage: str
    place: int


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """Derives the claims of one part, in whatever process; the claims do not depend on where.

    Args:
        records: the run beside its model and data.
        by_input: the certificates about each position.
        again: whose noise is drawn again.
        seed: of fresh noise.
    """

    records: _Executed
    by_input: Mapping[int, Sequence[Certificate]]
    again: Sequence[Chosen]
    seed: int

    def subjects(self, stage: str) -> list[tuple[str, str]]:
        """What each part of a stage is about, and the claim that stays open where it cannot be computed."""
        if stage == _STAGES[0]:
            return [(subject_of(one), "radius") for one in self.records.certificates]
        if stage == _STAGES[1]:
            return [(subject_of(one), "example") for one in self.records.findings]
        return [(subject_of(one.certificate), "votes") for one in self.again]

    def __call__(self, part: _Part) -> list[CheckedClaim]:
        from certify.checker.examples import example_claims
        from certify.checker.networks import network_claims
        from certify.checker.replay import replay_claims

        there = self.records.there
        assert there.classifier is not None
        if part.stage == _STAGES[0]:
            certificate = self.records.certificates[part.place]
            x = there.input(certificate.index)
            return [] if x is None else network_claims(certificate, there.classifier, x)
        if part.stage == _STAGES[1]:
            finding = self.records.findings[part.place]
            x = there.input(finding.index)
            if x is None:
                return []
            about = self.by_input.get(finding.index, [])
            threat = threat_from(self.records.settings["threat"])
            return example_claims(finding, about, there.asked(finding.index), x, threat, seed=self.seed)
        one = self.again[part.place]
        x = there.input(one.certificate.index)
        if x is None:
            return []
        asked = there.asked(one.certificate.index)
        return replay_claims(one.certificate, asked, x, blocks=one.blocks, level=one.level, seed=self.seed)
