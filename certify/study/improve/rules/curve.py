"""What the curve of a training shows: it ended too early, or learned its inputs by heart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from certify.stats.binomial import clopper_pearson_lower, clopper_pearson_upper
from certify.study.improve.base import BALLS, RULES, Advice, Case
from certify.study.improve.origin import Origin
from certify.study.improve.prices import PRICES

__all__ = ["overfit", "short"]

_DELTA: Final = 0.05
"""How probable a fall of the curve held out may be where nothing fell."""

_FALLING: Final = 0.95
"""Of the loss a few epochs before: less is still falling."""


@RULES.register("short")
def short(case: Case) -> Iterator[Advice]:
    """Training ended while it was still getting better."""
    origin = case.origin
    usual = None if origin is None else PRICES.get(origin.recipe)
    if origin is None or usual is None or case.frozen or case.for_noise is False:
        return
    meant = case.votes is not None or origin.recipe in BALLS
    lost = case.mean("wrong", "abstained", *(("open", "broken") if meant else ()))
    if not case.worth(lost):
        return
    epochs, before = len(origin.curve), max(1, len(origin.curve) // 5)
    if epochs >= usual.epochs or epochs < 2:
        return
    now, then = origin.curve[-1][0], origin.curve[-1 - before][0]
    if not now < _FALLING * then or origin.chosen_epoch < epochs - before:
        return
    longer = max(usual.epochs, 2 * epochs)
    yield Advice(
        "short",
        f"train for {longer} epochs",
        f"{origin.recipe} was trained for {epochs} epochs, usual are {usual.epochs}; in the last "
        f"{before} of them the loss still fell from {then:.3f} to {now:.3f}",
        "the loss had not settled, and what the recipe is for comes last",
        "the training record of the model",
        case.commands.trained(origin.recipe, f"epochs{longer}", **{**_own(origin), "epochs": longer}),
        f"{longer / epochs:.1f} times the {origin.cpu_seconds:g} s that this model took; then {case.certifying()}",
        f"certified accuracy at {case.at(case.last.radius)} is not above {100 * case.last.certified:.1f} %",
        reach=lost,
        trains=True,
    )


@RULES.register("overfit")
def overfit(case: Case) -> Iterator[Advice]:
    """On inputs held out the model gets worse while its loss falls."""
    origin = case.origin
    if origin is None or case.frozen or len(origin.curve) < 2:
        return
    count, kept = origin.held_out[0], [one for _, one in origin.curve]
    if not count or None in kept:
        return
    shares = [one for one in kept if one is not None]
    best, end = max(shares), shares[-1]
    place = shares.index(best)
    # The intervals need not be joint: the same inputs are held out, so their noise mostly cancels.
    apart = clopper_pearson_lower(round(best * count), count, _DELTA) > clopper_pearson_upper(
        round(end * count), count, _DELTA
    )
    if not apart or not origin.curve[-1][0] < origin.curve[place][0]:
        return
    image = case.run.summary.dimensions is None or case.run.summary.dimensions > _IMAGE
    settings = _own(origin) | ({"shift": 2} if image and not origin.number("shift") else {}) | {"weight_decay": 0.05}
    yield Advice(
        "overfit",
        "train with more data, or with augmentation and weight decay",
        f"on {count:,} inputs held out {100 * best:.1f} % were kept after epoch {place + 1} and {100 * end:.1f} % "
        f"after epoch {len(shares)} (intervals at 95 % apart), while the loss fell from {origin.curve[place][0]:.3f} "
        f"to {origin.curve[-1][0]:.3f}",
        "the network learns its inputs by heart; robust training needs more data than ordinary training",
        "Rice, Wong and Kolter 2020; Schmidt et al. 2018",
        case.commands.trained(origin.recipe, "regularised", **settings),
        case.training(origin.recipe, **settings),
        f"no epoch of the new curve keeps more than {100 * best:.1f} % of the inputs held out",
        reach=min(best - end, case.mean("wrong", "abstained", "open", "broken")),
        trains=True,
    )


_IMAGE: Final = 49
"""Features above which inputs are taken for images, of 7 by 7 pixels and more, where records do not say."""


def _own(origin: Origin) -> dict[str, object]:
    """The settings of the recipe itself: of those that all recipes have, the commands keep what is not the default."""
    shared = ("epochs", "batch_size", "weight_decay", "shift", "flip")
    return {name: value for name, value in origin.settings.items() if name not in shared and value is not None}
