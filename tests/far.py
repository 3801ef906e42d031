"""A device that is not there: tensors that say they lie elsewhere, are computed with here, and do not mix with ours.

What runs on it without an error moves every tensor to where the model is, as an accelerator demands, on a machine that
has none. It is called ``meta``, the one device of torch that needs no hardware, and that nothing else may use inside.
"""

from contextlib import contextmanager
from types import SimpleNamespace

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

FAR = torch.device("meta")
_HERE = torch.device("cpu")
_MOVES = {"aten::_to_copy", "aten::copy_", "aten::to"}
_ANSWERS = {"aten::_local_scalar_dense", "aten::equal"}


class Far(torch.Tensor):
    __module__ = "torch"  # digests name the source of tensors that somebody else wrote

    @staticmethod
    def __new__(cls, here):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            here.shape,
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=FAR,
        )

    def __init__(self, here):
        self.here = here

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is torch.Tensor.tolist:
            return args[0].here.tolist()
        if func is torch.Tensor.new_tensor:
            return torch.tensor(args[1], **{"dtype": args[0].dtype, **(kwargs or {})}).to(FAR)
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):  # or torch makes an index on the real meta
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            index = tuple(torch.tensor(one) if isinstance(one, list) else one for one in index)
            args = args[0], index, *args[2:]
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _call(func, args, kwargs or {})


class _Constants(TorchFunctionMode):
    """``torch.tensor(..., device=FAR)`` would make an empty tensor of torch's own, which holds no numbers."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (torch.tensor, torch.as_tensor) and torch.device(kwargs.get("device") or _HERE) == FAR:
            return func(*args, **{**kwargs, "device": _HERE}).to(FAR)
        return func(*args, **kwargs)


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _call(func, args, kwargs or {})


def _call(func, args, kwargs):
    flat = tree_flatten((args, kwargs))[0]
    given = [one for one in flat if isinstance(one, torch.Tensor)]
    devices = [one for one in flat if isinstance(one, torch.device)]
    name, far = func._schema.name, [one for one in given if isinstance(one, Far)]
    # Like CUDA: take numbers and indices from here, and nothing else.
    mixed = far and any(not isinstance(one, Far) and one.dim() for one in given)
    if mixed and name not in _MOVES and not (name.startswith("aten::index") and isinstance(given[0], Far)):
        raise RuntimeError(f"{func}: tensors on two devices")
    args, kwargs = tree_map(_here, (args, kwargs))
    made = func(*args, **kwargs)
    if name == "aten::copy_":
        return given[0]
    if name in _ANSWERS or (devices[0].type != FAR.type if devices else not far):
        return made
    same = {id(one.here): one for one in far}
    return tree_map(lambda one: _there(one, same) if isinstance(one, torch.Tensor) else one, made)


def _there(one, same):
    return same[id(one)] if id(one) in same else Far(one)


def _here(one):
    return one.here if isinstance(one, Far) else _HERE if isinstance(one, torch.device) else one


@contextmanager
def far_away(monkeypatch):
    """Inside, a classifier may be given :data:`FAR` as its device; noise is drawn here and moved there."""
    import certify.device as device

    monkeypatch.setattr(device, "KINDS", ("cpu", "meta"))
    monkeypatch.setitem(device._SWITCHES, "meta", device._SWITCHES["cpu"])
    monkeypatch.setattr("certify.study.study.described", lambda chosen: chosen.type)
    monkeypatch.setattr("certify.bounds.memory.free_memory", lambda chosen: 2**30)
    patient = SimpleNamespace(**{**vars(torch), "inference_mode": torch.no_grad})  # ours have no place in that mode
    for user in ("certify.smoothing.sampler", "certify.checker.replay"):
        monkeypatch.setattr(f"{user}.torch", patient)
    for user in ("certify.smoothing.streams", "certify.data.generators"):
        monkeypatch.setattr(f"{user}.random_generator", lambda chosen=_HERE: torch.Generator())
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # assigning .data would leave the old one behind
    try:
        with _Mode(), _Constants():
            yield FAR
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)
