"""How many pixels of an image keep their right class under attack: the other side of what is certified of them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from certify.attacks.base import Attack, Search
from certify.attacks.smoothed import SmoothedPixels
from certify.attacks.target import Target
from certify.core.properties.pixels import Pixels
from certify.core.threats.base import Threat
from certify.data.batch import Batch
from certify.device import on_one_thread
from certify.errors import BadInput

__all__ = ["kept_shares"]


@on_one_thread()
def kept_shares(target: Target, batch: Batch, threat: Threat, attack: Attack, seed: int) -> NDArray[np.float64]:
    """The share of judged pixels that an attack leaves right, (images, radii); it can only fall with the radius.

    At each declared radius the attack moves every image; what it returns is brought into the threat, and the smoothed
    segmentation is examined there on fresh noise. A pixel counts as lost where another class is shown to be more
    probable than its right one; all pixels and radii of an image together are so wrongly with probability at most the
    target's alpha. So a share certified at the same radius is not above the one returned here, but for that and the
    certificate's own alpha.

    Args:
        target: the smoothed segmentation, ``certify.Pixelwise(...).target(clf, threat)``.
        batch: images with their label maps.
        threat: what the adversary may change.
        attack: such as ``certify.PGD()``.
        seed: of the search and of the noise.

    Raises:
        BadInput: for another target.
    """
    if not isinstance(target, SmoothedPixels) or batch.targets is None:
        raise BadInput("shares of pixels are of a smoothed segmentation and images with label maps")
    threat = threat.within(target.input_box)
    attack.check_scope(threat, target.classifier.property)
    attack.check(target, threat)
    rows = [
        _of_image(target.about(label_map), batch.rows(slice(row, row + 1)), threat, attack, seed)
        for row, label_map in enumerate(batch.targets)
    ]
    return np.minimum.accumulate(np.array(rows), axis=1)


def _of_image(target: SmoothedPixels, image: Batch, threat: Threat, attack: Attack, seed: int) -> list[float]:
    property, shares = target.classifier.property, []
    assert isinstance(property, Pixels)
    judged = int(property.judged.sum())
    level = target.alpha / (judged * len(threat.radii))
    for radius in threat.radii:
        moved, key = image.x, f"{seed}:{image.digests[0]}:{attack.name}:{radius!r}"
        if radius > 0:
            search = Search(
                target=target,
                x=image.x.clone().to(target.device),
                labels=torch.zeros(1, dtype=torch.int64, device=target.device),
                threat=threat,
                radius=radius,
                keys=(key,),
                passes=[0],
            )
            moved = search.moves.project(image.x, attack.perturb(search).detach().cpu(), radius)
        reached = threat.contains(image.x[0].numpy(), moved[0].double().numpy(), radius)
        lost = target.pixels(moved[0], f"{key}:examine").lost(level) if reached else np.zeros(1)
        shares.append(1.0 - int(lost.sum()) / judged)
    return shares
