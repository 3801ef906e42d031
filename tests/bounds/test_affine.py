"""Affine operators as torch spells them: the same function, the exact range, executions inside the claim."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from certify.bounds.graph import Graph
from certify.bounds.ibp import interval_bounds
from certify.bounds.importers.torch_import import import_module
from certify.bounds.methods import METHODS
from certify.bounds.region import Region
from certify.bounds.rules.select import Select
from certify.bounds.tensors import Interval
from certify.data.dataset import seeded_generator
from certify.errors import UnsupportedOperator

LINE, TOKENS, IMAGE, VOLUME = (6,), (4, 6), (2, 5, 4), (2, 3, 4, 3)


def constant(x: torch.Tensor, *shape: int) -> torch.Tensor:
    values = torch.as_tensor(seeded_generator("constant", shape).normal(size=shape), dtype=torch.float32)
    return values.to(x.dtype)


ROWS, MASK = torch.tensor([0, 3, 3, 1]), torch.tensor([True, False, True, True, False, True])

FORMS = {
    "linear": (LINE, nn.Linear(6, 3)),
    "linear on tokens": (TOKENS, nn.Linear(6, 3, bias=False)),
    "matmul right": (TOKENS, lambda x: x @ constant(x, 6, 3)),
    "matmul left": (TOKENS, lambda x: constant(x, 3, 4) @ x),
    "matmul vector": (TOKENS, lambda x: x @ constant(x, 6)),
    "matmul from vector": (TOKENS, lambda x: constant(x, 4) @ x),
    "matmul per head": (IMAGE, lambda x: x @ constant(x, 2, 4, 3)),
    "matmul per head left": (IMAGE, lambda x: constant(x, 1, 2, 3, 5) @ x),
    "matmul enlarging": (IMAGE, lambda x: x[:, :1] @ constant(x, 3, 4, 2)),
    "bmm": (TOKENS, lambda x: torch.bmm(x, constant(x, 6, 2).expand(x.shape[0], 6, 2))),
    "addmm": (LINE, lambda x: torch.addmm(constant(x, 3), x, constant(x, 6, 3))),
    "addmm scaled": (LINE, lambda x: torch.addmm(constant(x, 1, 3), x, constant(x, 6, 3), beta=0.5, alpha=-2)),
    "baddbmm": (TOKENS, lambda x: torch.baddbmm(x, constant(x, 4, 4).expand(x.shape[0], 4, 4), x, beta=2.0)),
    "einsum per sample": (
        TOKENS,
        lambda x: torch.einsum("bnk,bkm->bmn", x, constant(x, 6, 2).expand(x.shape[0], 6, 2)),
    ),
    "einsum": (IMAGE, lambda x: torch.einsum("bchw,kch->bwk", x, constant(x, 3, 2, 5))),
    "tensordot": (TOKENS, lambda x: torch.einsum("nk,btk->btn", constant(x, 3, 6), x)),
    "conv1d": (TOKENS, nn.Conv1d(4, 2, 3, stride=2, padding=1, dilation=2)),
    "conv2d": (IMAGE, nn.Conv2d(2, 4, (3, 2), padding=(1, 0), groups=2)),
    "conv2d same": (IMAGE, nn.Conv2d(2, 3, (2, 3), padding="same", dilation=(1, 2))),
    "conv2d valid": (IMAGE, nn.Conv2d(2, 3, 2, padding="valid")),
    "conv2d circular": (IMAGE, nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular")),
    "conv2d reflect": (IMAGE, nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect")),
    "conv3d": (VOLUME, nn.Conv3d(2, 2, 2, stride=(1, 2, 1), padding=(0, 1, 1))),
    "conv_transpose1d": (TOKENS, nn.ConvTranspose1d(4, 2, 3, stride=2, padding=1, output_padding=1)),
    "conv_transpose2d": (IMAGE, nn.ConvTranspose2d(2, 4, (2, 3), stride=(3, 2), padding=(0, 1), groups=2)),
    "conv_transpose2d far": (IMAGE, nn.ConvTranspose2d(2, 1, 2, stride=1, dilation=3, output_padding=2)),
    "conv_transpose3d": (VOLUME, nn.ConvTranspose3d(2, 1, 2, bias=False)),
    "avg_pool1d": (TOKENS, nn.AvgPool1d(3, 2, 1)),
    "avg_pool2d": (IMAGE, nn.AvgPool2d(2, 1, 1)),
    "avg_pool2d partial": (IMAGE, nn.AvgPool2d(2, 2, ceil_mode=True)),
    "avg_pool2d uncounted": (IMAGE, nn.AvgPool2d((3, 2), 2, 1, count_include_pad=False)),
    "avg_pool2d divisor": (IMAGE, nn.AvgPool2d(2, divisor_override=3)),
    "avg_pool3d": (VOLUME, nn.AvgPool3d((2, 2, 3))),
    "adaptive_avg_pool1d": (TOKENS, nn.AdaptiveAvgPool1d(3)),
    "adaptive_avg_pool2d uneven": (IMAGE, nn.AdaptiveAvgPool2d((3, None))),
    "adaptive_avg_pool3d": (VOLUME, nn.AdaptiveAvgPool3d(1)),
    "batch_norm1d": (LINE, nn.BatchNorm1d(6)),
    "batch_norm2d": (IMAGE, nn.BatchNorm2d(2)),
    "batch_norm3d": (VOLUME, nn.BatchNorm3d(2, affine=False)),
    "instance_norm2d": (IMAGE, nn.InstanceNorm2d(2, affine=True, track_running_stats=True)),
    "add number": (LINE, lambda x: torch.add(x, 0.3, alpha=2) - 1),
    "add enlarging": (LINE, lambda x: x.unsqueeze(1) * constant(x, 3, 1) + constant(x, 1, 2, 3, 6)[:, 1]),
    "add of two": (TOKENS, lambda x: torch.sub(x, x[:, :1], alpha=0.5) + x[:, :, :1]),
    "rsub": (LINE, lambda x: torch.rsub(x, constant(x, 6), alpha=3)),
    "positions": (TOKENS, lambda x: x + constant(x, 1, 4, 6).expand(x.shape[0], -1, -1)),
    "integers": (LINE, lambda x: x * torch.arange(6) / torch.tensor([1, 2, 3, 4, 5, 6])),
    "mask": (LINE, lambda x: x * MASK),
    "where": (LINE, lambda x: torch.where(MASK, x, 0.25) + torch.where(MASK, -x, x[:, :1])),
    "masked_fill of images": (IMAGE, lambda x: x.masked_fill(constant(x, 5, 4) > 0, -0.5)),
    "masked_fill": (LINE, lambda x: x.masked_fill(MASK, 0.1)),
    "slices": (IMAGE, lambda x: x[:, :, 1:, ::2]),
    "select": (IMAGE, lambda x: x[:, 1, ..., -1]),
    "index": (TOKENS, lambda x: x[:, ROWS, ROWS]),
    "index_select": (TOKENS, lambda x: x.index_select(1, ROWS)),
    "gather": (TOKENS, lambda x: x.gather(2, ROWS.reshape(1, 4, 1).expand(x.shape[0], 4, 2))),
    "permute": (IMAGE, lambda x: x.permute(0, 2, 3, 1)),
    "transposed square": (IMAGE, lambda x: x[:, :, :4].mT),
    "movedim": (IMAGE, lambda x: x.movedim(1, -1).swapaxes(1, 2)),
    "flip": (IMAGE, lambda x: x.flip(2)),
    "roll": (IMAGE, lambda x: x.roll((1, -1), (2, 3))),
    "rot90": (IMAGE, lambda x: torch.rot90(x, 1, (2, 3))),
    "expand": (TOKENS, lambda x: x[:, :1].expand(-1, 3, -1)),
    "repeat": (TOKENS, lambda x: x.repeat(1, 2, 1).repeat_interleave(2, 2)),
    "tile": (TOKENS, lambda x: x.tile(1, 1, 2)),
    "pad": (IMAGE, lambda x: F.pad(x, (1, 0, 2, 1), value=0.1)),
    "cut": (IMAGE, lambda x: F.pad(x, (-1, 1, 0, -2))),
    "pad channels": (IMAGE, lambda x: F.pad(x, (0, 0, 0, 0, 1, 0))),
    "pad reflect": (IMAGE, lambda x: F.pad(x, (1, 1, 2, 1), mode="reflect")),
    "pad replicate": (TOKENS, lambda x: F.pad(x, (2, 1), mode="replicate")),
    "nearest": (IMAGE, nn.Upsample(scale_factor=2)),
    "nearest to a size": (IMAGE, lambda x: F.interpolate(x, size=(7, 3), mode="nearest-exact")),
    "bilinear": (IMAGE, nn.Upsample(scale_factor=2, mode="bilinear")),
    "bilinear aligned": (IMAGE, nn.Upsample(size=(9, 7), mode="bilinear", align_corners=True)),
    "pixel_shuffle": (IMAGE, lambda x: F.pixel_shuffle(x[:, :, :4].reshape(-1, 8, 4, 1), 2)),
    "unfold": (IMAGE, lambda x: F.unfold(x, 2, padding=1)),
    "windows": (TOKENS, lambda x: x.unfold(2, 3, 2)),
    "split": (TOKENS, lambda x: x.split([1, 3], 1)[1] - x.chunk(2, 1)[0][:, :1]),
    "unbind": (TOKENS, lambda x: torch.stack(x.unbind(1)[::2], -1)),
    "cat": (TOKENS, lambda x: torch.cat([x[:, 2:], x.flip(1)], 1)),
    "class token": (TOKENS, lambda x: torch.cat([constant(x, 1, 1, 6).expand(x.shape[0], -1, -1), x], dim=-2)),
    "stack": (TOKENS, lambda x: torch.stack([x, 2 * x, constant(x, 4, 6).expand_as(x)], 1)),
    "cat of zeros": (TOKENS, lambda x: torch.cat([torch.zeros_like(x), x + torch.full_like(x, 0.5)], 2)),
    "sum": (IMAGE, lambda x: x.sum((1, -1))),
    "mean": (IMAGE, lambda x: x - x.mean(1, keepdim=True)),
    "cumsum": (IMAGE, lambda x: x.cumsum(2)),
    "tril": (TOKENS, lambda x: x.tril(1)),
    "shapes": (IMAGE, lambda x: x.flatten(2).unflatten(2, (4, 5)).unsqueeze(1).squeeze(1).view(-1, 40)),
}


class After(nn.Module):
    """ReLUs of the form, of a mix of the input's entries."""

    def __init__(self, form, shape):
        super().__init__()
        self.form = form
        self.mix = nn.Conv2d(2, 2, 3, padding=1) if shape == IMAGE else nn.Linear(shape[-1], shape[-1])

    def forward(self, x):
        return torch.relu(self.form(self.mix(x)))


def after(name: str) -> After:
    shape, form = FORMS[name]
    module, generator = After(form, shape), seeded_generator("forms", name)
    with torch.no_grad():
        for key, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                values = torch.as_tensor(generator.normal(size=tuple(tensor.shape)))
                tensor.copy_(values.abs() + 0.5 if key.endswith("running_var") else values)
    return module.eval().requires_grad_(False)


@pytest.mark.parametrize("name", FORMS)
def test_bounds_of_affine_forms_are_exact(name):
    module, generator = after(name), seeded_generator("affine", name)
    # In 64ths, which float32 holds, corners too.
    center, radius = (
        torch.as_tensor(generator.integers(*ends, (2, *FORMS[name][0]))) / 64 for ends in ((-99, 99), (0, 64))
    )
    center, radius = center.double(), radius.double()
    graph = import_module(module, center.float()).to(torch.float64)  # compares the two
    [end] = [place for place, node in enumerate(graph.nodes) if node.operator.kind == "relu"]
    affine = Graph(graph.input, graph.shape, graph.nodes[:end], graph.dtype)
    units = torch.eye(center[0].numel()).double().reshape(-1, *graph.shape)
    W = (affine.forward(units) - affine.forward(torch.zeros_like(units))).flatten(1)
    reach, y = radius.flatten(1) @ W.abs(), affine.forward(center).flatten(1)
    region = Region(Interval(center - radius, center + radius))
    rows = torch.eye(y.shape[1]).double().expand(2, -1, -1)
    C = torch.cat([rows, -rows], dim=1)

    lower, upper = METHODS["crown"](affine, region, C).lower.chunk(2, dim=1)
    for found, exact in ((lower, y - reach), (-upper, y + reach)):
        assert torch.allclose(found, exact, rtol=1e-9, atol=1e-9)
    box = interval_bounds(affine, region.box, outward=True)
    assert (box.lower.flatten(1) <= y - reach).all()
    assert (box.upper.flatten(1) >= y + reach).all()

    # The chord of a ReLU ends at the upper end of its input's box, so a box that is not exact shows in the bound.
    lower, upper = METHODS["crown"](graph, region, C, claim=None).lower.chunk(2, dim=1)
    assert torch.allclose(-upper, (y + reach).clamp(min=0), rtol=1e-9, atol=1e-9)
    loose = METHODS["ibp"](graph, region, C, claim=None).lower
    assert (loose <= torch.cat([lower, upper], dim=1) + 1e-9).all()

    lower, upper = METHODS["crown"](graph, region, C, claim="float32").lower.chunk(2, dim=1)
    corners = torch.as_tensor(generator.choice([-1.0, 1.0], size=(200, *center.shape)))
    executed = module((center + radius * corners).float().flatten(0, 1)).double().reshape(200, *y.shape)
    assert (executed >= lower).all()
    assert (executed <= -upper).all()


def kinds(name: str) -> list[str]:
    graph = import_module(after(name), torch.zeros(1, *FORMS[name][0]))
    return [node.operator.kind for node in graph.nodes[1:-1]]


def test_what_moves_nothing_leaves_no_trace():
    assert kinds("shapes") == ["reshape", "reshape", "reshape", "reshape", "reshape"]
    assert kinds("permute") == kinds("flip") == kinds("pad") == ["select"]
    assert kinds("linear") == kinds("addmm") == ["linear"]


def test_borders_of_images_are_windows_and_boxes_stay_boxes():
    graph = import_module(after("pad"), torch.zeros(1, *IMAGE))
    border = graph.nodes[1].operator
    assert isinstance(border, Select)
    assert border.corner == (2, 1)
    assert border.separable
    flip, repeat = (import_module(after(name), torch.zeros(1, *FORMS[name][0])).nodes[1] for name in ("flip", "repeat"))
    assert not flip.operator.separable
    assert not repeat.operator.separable
    assert repeat.operator.adjoint_terms == 2


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (lambda x: x.flip(0), "mixes the samples of a batch"),
        (lambda x: x - x.mean(0, keepdim=True), "mixes the samples of a batch"),
        (lambda x: x + x.sum(), "mixes the samples of a batch|shapes"),
        (lambda x: x.gather(1, x.long()), r"gather.*depends on the input|has no rule"),
        (lambda x: F.interpolate(x.unsqueeze(1), size=7, mode="linear"), "weights that floats round"),
        (lambda x: torch.where(x.isnan(), 0.0, x), "has no rule"),
        (lambda x: torch.div(x, 2.0, rounding_mode="floor"), "rounding"),
        (lambda x: F.conv1d(x.unsqueeze(1), x[:1, :2].reshape(1, 1, 2)), "mixes|depend on the input"),
        (
            lambda x: torch.einsum("bk,cm->cm", x, torch.ones(2, 3)),
            "mixes the samples|that only the result has",
        ),
        (lambda x: torch.einsum("bk,mk->bm", x, torch.ones(2, 1)), "do not go together"),
        (lambda x: torch.ones(3, 2) @ x, "mixes the samples"),
        (lambda x: x + torch.tensor([[1.0], [2.0]]), "differs between the samples"),
    ],
)
def test_other_forms_are_refused_with_the_line_that_has_them(form, words):
    module = nn.Sequential(nn.Linear(6, 6), After(form, LINE)).requires_grad_(False)
    with pytest.raises(UnsupportedOperator, match=words) as caught:
        import_module(module, torch.zeros(1, 6))
    assert "test_affine.py" in str(caught.value)
    assert "\n" not in str(caught.value)
