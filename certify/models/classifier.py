"""The classifier: one wrapper around any module or function, in the user's input units."""

from __future__ import annotations

import copy
import hashlib
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from certify.core.input_box import BoxLike, check_box
from certify.core.properties.base import Property
from certify.core.properties.top_class import TOP_CLASS
from certify.device import available, exactly
from certify.errors import BadInput, CertifyError, DataError, ModelError, one_line
from certify.models.arithmetic import FLOAT32, Arithmetic, Passes
from certify.models.digest import all_tensors, function_digest, module_digest, weights_digest
from certify.models.estimator import Estimator, is_estimator
from certify.models.forms import Above, Output, described, in_train_mode, unwrapped, without_wrappers
from certify.models.normalization import Statistic, normalization
from certify.models.overrides import refuse_global_hooks
from certify.models.rows import check_rows, noisy, refuse_batch_statistics

__all__ = ["INVALID", "Classifier", "Normalize", "WithProperty", "check_targets", "need_classifier"]

ONE_NUMBER = "say above which it means class 1, Classifier(..., threshold=0.0) for a logit, 0.5 for a probability"

INVALID = -1
"""The label that stands for scores with a NaN or an infinity in them: a vote for no class."""


class Normalize(nn.Module):
    """``(x - mean) / std`` along axis 1 (channels, or the features of a table), so that radii keep the inputs' units.

    Args:
        mean, std: one number for each place on axis 1, or one for all.

    >>> Normalize([0.5], [0.25])(torch.full((1, 1, 2, 2), 0.75)).unique()
    tensor([1.])
    >>> Normalize([0.0, 1.0], [1.0, 2.0])(torch.tensor([[3.0, 3.0]]))
    tensor([[3., 1.]])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std) or not all(value > 0 for value in std):
            raise BadInput(f"normalization needs as many means as positive standard deviations, got {mean} and {std}")
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize a batch (B, C, ...).

        Raises:
            DataError: if there are several means, but not one for each place on axis 1.
        """
        if len(self.mean) not in (1, x.shape[1]):
            raise DataError(
                f"mean and std have {len(self.mean)} values each, and axis 1 of the inputs {x.shape[1]} places; "
                "give one value for each, or one for all"
            )
        shape = (-1,) + (1,) * (x.dim() - 2)
        return (x - self.mean.reshape(shape)) / self.std.reshape(shape)


class Classifier:
    """A frozen model with its input box: what every certifier and attack works on.

    Args:
        model: an ``nn.Module``, or any function of a batch: (B, ...) float32 tensor -> (B, K) scores or (B,) labels.
            A module is copied, so that later training cannot change what was certified; it must be in eval mode.
            Of what torch.compile, DataParallel or ``torch.export`` made, the model inside is taken. Or a fitted
            classifier of scikit-learn; see :class:`~certify.models.estimator.Estimator`.
        num_classes: K; scikit-learn's classifiers state it themselves.
        input_box: (lower, upper) bound of every feature in raw input units: two numbers, or two arrays with one number
            for each feature, as tables need them, see :func:`~certify.core.input_box.check_box`. None for no bound.
        mean, std: normalization to apply inside, so that inputs and radii stay in raw units: one number, one for
            each place on axis 1 (channels of images and series, features of tables), or a name for both,
            ``mean="imagenet"``; see :func:`~certify.models.normalization.normalization`.
        output: which are the scores, where the model returns several things: a key, an attribute or a place in a tuple.
        threshold: for a model of two classes that returns one number an input: it means class 1 above this, 0.0 for a
            logit, 0.5 for a probability.
        device: where the model runs: ``"cpu"``, ``"cuda"``, or ``"cuda:1"`` for one of several.
        precision, compile: of a module, in which arithmetic it is executed, and whether compiled; see
            :class:`~certify.models.arithmetic.Arithmetic`. Certificates are about that function, and the digest is its.
        name: what reports call it.
        digest: pins the model in records; computed from a module's structure and weights, or a function's source.

    Raises:
        ModelError: for a module in train mode or in half precision, or a model that is not callable.

    >>> clf = Classifier(nn.Linear(4, 3).eval(), num_classes=3, input_box=(0.0, 1.0))
    >>> clf.scores(torch.zeros(2, 4)).shape
    torch.Size([2, 3])
    """

    fewest = 2
    """Classes that there are at least."""

    def __init__(
        self,
        model: nn.Module | Callable[[Tensor], Any] | Any,
        num_classes: int | None = None,
        input_box: BoxLike = (0.0, 1.0),
        *,
        mean: Statistic | None = None,
        std: Statistic | None = None,
        output: str | int | None = None,
        threshold: float | None = None,
        device: str | torch.device = "cpu",
        precision: str = "float32",
        compile: bool = False,
        name: str | None = None,
        digest: str | None = None,
    ) -> None:
        model = unwrapped(model)
        if is_estimator(model):
            model = Estimator(model)
            if num_classes not in (None, len(model.classes)):
                raise BadInput(f"{model.__name__} has {len(model.classes)} classes, not {num_classes}")
            num_classes = len(model.classes)
        if not callable(model):
            raise ModelError(f"a model is an nn.Module or a function of a batch, not {type(model).__name__}")
        if not isinstance(num_classes, int) or num_classes < self.fewest:
            raise BadInput(
                f"num_classes must be at least 2, got {num_classes}; a model that returns one number for each input "
                "has 2 classes and a threshold, or is a certify.Regressor"
            )
        if threshold is not None and num_classes != 2:
            raise BadInput(f"a threshold makes two classes, got num_classes={num_classes}")
        self.normalization = normalization(mean, std)
        self.num_classes = num_classes
        self.input_box = check_box(input_box)
        self.device = available(device)
        self._elsewhere: dict[torch.device, Classifier] = {}
        self.name = name or getattr(model, "__name__", type(model).__name__)
        self.module: nn.Module | None = None
        self._function: Callable[[Tensor], Any] = model
        self._layout, self._dtype = torch.contiguous_format, torch.float32
        if isinstance(model, nn.Module):
            self._function = self.module = self._adopt(model, output, threshold)
        else:
            self._function = scores = _scores_of(model, output, threshold)
            if self.normalization is not None:
                normalize = Normalize(*self.normalization).to(self.device)
                self._function = lambda x: scores(normalize(x))
            around = {"": self.normalization, "output ": output, "threshold ": threshold}
            said = [f"{name}{one!r}" for name, one in around.items() if one is not None]
            if said:
                said = [digest or function_digest(model), *said]
                digest = hashlib.sha256(" ".join(said).encode()).hexdigest()
        self.property: Property = TOP_CLASS
        self.weights = None if self.module is None else weights_digest(self.module)
        self.digest = digest or (module_digest(self.module) if self.module is not None else function_digest(model))
        self.spec: str | None = None
        """The SPEC by which it was loaded; None where it was made from a module or a function."""
        self.maker: Callable[[], Classifier] | None = None
        """Makes the same model again, where a name says how; see :func:`~certify.models.loaders.load_model`."""
        self.arithmetic = FLOAT32
        self._execute(Arithmetic(precision, compile))

    def _adopt(self, model: nn.Module, output: str | int | None, threshold: float | None) -> nn.Module:
        refuse_global_hooks()
        refuse_batch_statistics(model)
        if (part := in_train_mode(model)) is not None:
            where = f"its part {part!r}" if part else "it"
            raise ModelError(f"the model is in train mode ({where}): call model.eval() before certifying")
        for name, tensor in all_tensors(model).items():
            if tensor.is_floating_point() and tensor.dtype not in (torch.float32, torch.float64):
                raise ModelError(f"{name} is {tensor.dtype}; certificates need float32: call model.float()")
            if not torch.isfinite(tensor).all():
                raise ModelError(f"{name} contains NaN or infinity; load weights that are finite")
        if {one.dtype for one in all_tensors(model).values() if one.is_floating_point()} == {torch.float64}:
            self._dtype = torch.float64
        # A weight that a hook computes from others (weight_norm) is no leaf, which deepcopy refuses.
        computed = {id(one): one.detach().clone() for one in all_tensors(model).values() if not one.is_leaf}
        try:
            with torch.inference_mode(False):  # or gradients could never be had
                module = without_wrappers(copy.deepcopy(model, computed))
        except (TypeError, pickle.PicklingError) as problem:
            raise ModelError(
                f"the model cannot be copied ({one_line(problem)}): leave out of its attributes what belongs to a "
                "process, such as a lock or an open file, or give a function, lambda x: net(x)"
            ) from problem
        for parameter in module.parameters():
            parameter.requires_grad_(False)
        module = _scores_of(module, output, threshold)
        if self.normalization is not None:
            module = nn.Sequential(Normalize(*self.normalization).eval(), module)
            module.training = False  # eval() would ask the inner module, and exported programs refuse
        # A fixed rule, not a timing: the layout changes the order of float sums, and answers must not depend on that.
        if any(isinstance(child, nn.Conv2d) for child in module.modules()):
            self._layout = torch.channels_last
        return module.to(device=self.device, memory_format=self._layout)  # type: ignore[call-overload]

    @property
    def differentiable(self) -> bool:
        """Whether gradient attacks and bound propagation can look inside: true for modules, not for functions."""
        return self.module is not None

    @property
    def function(self) -> Callable[[Tensor], Any]:
        """What answers about batches: the module, or the function that was given."""
        return self._function

    def executed(self, precision: str | None = None, compile: bool | None = None) -> Classifier:
        """The same network in another arithmetic, which is another function; None for what it states itself.

        Raises:
            BadInput: for a model that states another arithmetic already, a function, or what has no effect.

        >>> Classifier(nn.Linear(4, 3).eval(), num_classes=3).executed("bfloat16")
        Classifier(Linear (bfloat16), 3 classes, sha256 ...)
        """
        own = self.arithmetic
        asked = Arithmetic(
            own.precision if precision is None else precision, own.compile if compile is None else compile
        )
        if asked == own:
            return self
        if own != FLOAT32:
            raise BadInput(
                f"the model states that it is executed in {own}, not {asked}: leave precision and compile out"
            )
        made = copy.copy(self)
        made._elsewhere = {}
        made._execute(asked)
        return made

    def _execute(self, arithmetic: Arithmetic) -> None:
        if arithmetic == FLOAT32:
            return
        if self.module is None:
            raise BadInput("precision and compile are for modules; a function casts and compiles inside itself")
        arithmetic.check(self.device, self._dtype)
        self._execute_in(arithmetic)
        self.name = f"{self.name} ({arithmetic})"
        self.digest = hashlib.sha256(f"{self.digest} {arithmetic}".encode()).hexdigest()

    def _execute_in(self, arithmetic: Arithmetic) -> None:
        self.arithmetic = arithmetic
        if arithmetic != FLOAT32 and self.module is not None:
            self._function = Passes(self.module, arithmetic.compile)

    def on(self, device: torch.device) -> Classifier:
        """The same model on another device, copied once; a function runs where it was written to."""
        if device == self.device or self.module is None:
            return self
        if device not in self._elsewhere:
            there = self._elsewhere[device] = copy.copy(self)
            there.device, there._elsewhere = device, {self.device: self}
            there._function = there.module = copy.deepcopy(self.module).to(device)
            there._execute_in(self.arithmetic)
        return self._elsewhere[device]

    def to_layout(self, x: Tensor) -> Tensor:
        """``x`` on the model's device, as float32, in the memory layout in which the model is fastest."""
        x = x.to(device=self.device, dtype=torch.float32)
        return x.contiguous(memory_format=self._layout) if x.dim() == 4 else x.contiguous()

    def scores(self, x: Tensor, *, scratch: bool = False) -> Tensor:
        """Scores (B, K) of a batch (B, ...). Labels of a label-only function become one-hot rows.

        Gradients flow to ``x`` where the model is a module. The model works on a copy, because some write to their
        input; ``scratch`` says that ``x`` may be overwritten, which saves the copy.

        Raises:
            ModelError: if the output has another shape.
        """
        with exactly(self.device, self.arithmetic.precision):
            given = self.to_layout(x if scratch else x.clone())
            try:
                out = self._as_tensor(self._function(given.to(self._dtype)))
            except SystemExit as problem:  # or a run would end with the code of a run that is done
                raise RuntimeError(f"the model asked for the process to end ({one_line(problem)})") from problem
        return self._scored(out, len(x))

    def _scored(self, out: Tensor, count: int) -> Tensor:
        """What the model returned for so many inputs, as scores.

        Raises:
            ModelError: if it has another shape.
        """
        if out.shape == (count, self.num_classes):
            return out if out.dtype in (torch.float32, torch.float64) else out.float()
        if out.shape == (count, 1) and self.num_classes == 2:
            raise ModelError(f"the model returned one number for each input; {ONE_NUMBER}")
        if out.shape == (count,):
            return nn.functional.one_hot(self._checked_labels(out), self.num_classes).float()
        more = out.dim() == 2 and out.shape[1] > self.num_classes  # the labels of some data miss the last classes
        raise ModelError(
            f"the model returned shape {tuple(out.shape)} for a batch of {count}; "
            f"it must return scores ({count}, {self.num_classes}) or labels ({count},)"
            + (f": if there are {out.shape[1]} classes, return a certify.Classifier that says so" if more else "")
        )

    def _as_tensor(self, answer: Any) -> Tensor:
        try:
            return torch.as_tensor(answer, device=self.device)
        except (RuntimeError, TypeError, ValueError) as problem:
            raise ModelError(
                f"the model must return a tensor of scores (B, {self.num_classes}) or labels (B,), it returned "
                f"{described(answer)}"
            ) from problem

    def _checked_labels(self, out: Tensor) -> Tensor:
        labels = out.long()
        if bool((labels != out).any()) or int(labels.min()) < 0 or int(labels.max()) >= self.num_classes:
            binary = f"; if it is one number for each input, {ONE_NUMBER}" if self.num_classes == 2 else ""
            raise ModelError(
                f"the model returned a label that is not an integer from 0 to {self.num_classes - 1}{binary}"
            )
        return labels

    def predict(self, x: Tensor) -> Tensor:
        """Class (B,) of a batch, int64; ``-1`` where a score is NaN or infinite. The first class wins a tie.

        Of a classifier with a property, the answer to that.

        >>> Classifier(lambda x: x.sum(1) > 1, num_classes=2).predict(torch.tensor([[0.9, 0.9], [0.1, 0.1]]))
        tensor([1, 0])
        """
        with torch.inference_mode():
            return self.answers_at(self.base.scores(x))

    @property
    def base(self) -> Classifier:
        """The classifier itself, whatever is asked of it."""
        return self

    def answers(self, x: Tensor, kept: Tensor | None = None) -> Tensor:
        """What the classifier's property says of a batch, (B,) int64: the class, unless it keeps something else.

        Args:
            x: inputs (B, ...).
            kept: the answers (B,) that these points should have, for properties that are about one of them.
        """
        with torch.inference_mode():
            return self.answers_at(self.base.scores(x), kept)

    def answers_at(self, scores: Tensor, kept: Tensor | None = None) -> Tensor:
        """The same at scores (B, K) that the model itself returned; ``-1`` where one is NaN or infinite."""
        found = self.property.answer(scores, None if kept is None else kept.to(scores.device))
        return torch.where(torch.isfinite(scores).flatten(1).all(dim=1), found, INVALID)

    def votes_at(self, scores: Tensor) -> Tensor:
        """What samples with these scores (B, K) vote for, (B,) int64; ``-1`` where one is NaN or infinite."""
        return torch.where(torch.isfinite(scores).all(dim=1), self.property.vote(scores), INVALID)

    @property
    def ballots(self) -> int:
        """How many things samples may vote for: the classes, or what the property tells apart."""
        return self.property.ballots(self.base.num_classes)

    def with_property(self, property: Property) -> Classifier:
        """The same model, of which a property is asked instead of the top class: its answers are the classes then.

        Raises:
            BadInput: for a property that does not fit the classes.

        >>> from certify.core.properties.never import Never
        >>> clf = Classifier(lambda x: x, num_classes=3).with_property(Never(2))
        >>> clf.num_classes, clf.predict(torch.tensor([[0.1, 0.2, 0.9], [0.1, 0.3, 0.2]]))
        (2, tensor([1, 0]))
        """
        if property.by_pixel:
            from certify.models.segmenter import as_segmenter

            return as_segmenter(self.base).with_property(property)
        property.answers(self.base.num_classes)
        return self if property == self.property else WithProperty(self.base, property)

    def check(self, x: Tensor) -> None:
        """Refuse early: data outside the box, an output of the wrong shape, an output that changes between two calls.

        The model is asked only about three inputs and noisy copies of them, alone and together.

        Raises:
            DataError: NaN, infinity or values outside the input box; a shape that the model refuses.
            ModelError: the model's answer has the wrong shape, is random (an active dropout, for example), or depends
                on the batch that an input is in.
        """
        refuse_global_hooks()
        if self.module is not None and weights_digest(self.module) != self.weights:
            raise ModelError(
                "the model no longer computes what it did when wrapped: wrap the module in a new Classifier"
            )
        if not bool(torch.isfinite(x).all()):
            raise DataError("the data contain NaN or infinity; clean them before certifying")
        if self.input_box is not None and (fault := self.input_box.fault(x.detach().cpu().numpy())):
            raise DataError(f"the data: {fault}; rescale them or declare their box")
        rows = noisy(x, self.input_box)
        with torch.inference_mode():
            try:
                self.scores(rows[: len(rows) // 2])
            except CertifyError:
                raise
            except Exception as problem:  # somebody else's code may raise anything
                raise DataError(
                    f"the model refuses inputs of shape {tuple(x.shape[1:])}: {one_line(problem)}"
                ) from problem
            try:
                self.scores(rows)
            except Exception:  # it takes no numbers but those in the data
                rows = rows[: len(rows) // 2]
            check_rows(self.scores, rows)

    def __repr__(self) -> str:
        return f"Classifier({self.name}, {self.num_classes} classes, sha256 {self.digest[:12]})"


class WithProperty(Classifier):
    """A classifier whose scores and predictions are those of a property's answers."""

    def __init__(self, classifier: Classifier, property: Property) -> None:
        self.__dict__.update(vars(classifier))
        self._base, self.property = classifier, property
        self.num_classes = property.answers(classifier.num_classes)

    def __reduce__(self) -> tuple[Any, ...]:
        return WithProperty, (self._base, self.property)

    @property
    def base(self) -> Classifier:
        """The classifier without the property."""
        return self._base

    def scores(self, x: Tensor, *, scratch: bool = False) -> Tensor:
        """Those of the property's answers."""
        return self.property.scores(self.base.scores(x, scratch=scratch))

    def check(self, x: Tensor) -> None:
        """As for the classifier itself."""
        self.base.check(x)


def _scores_of(model: Any, output: str | int | None, threshold: float | None) -> Any:
    """A model behind the choice of one output and the threshold of one number, where they are asked for."""
    model = model if output is None else Output(model, output)
    return model if threshold is None else Above(model, threshold)


def check_targets(clf: Classifier, x: Tensor, targets: Sequence[float | str]) -> None:
    """Refuse targets of inputs (B, ...) that do not fit the classifier's property, or what the model returns.

    Raises:
        BadInput: for the first of them.
    """
    with torch.inference_mode():
        shape = tuple(clf.base.scores(x[:1]).shape[1:])
    for target in dict.fromkeys(targets):
        about = clf.property.at(target)
        about.answers(clf.base.num_classes)
        about.check_outputs(shape)


def need_classifier(clf: object) -> Classifier:
    """Return a classifier; refuse anything else, such as a bare module, with a word on what to do.

    Raises:
        BadInput: naming the type.
    """
    if not isinstance(clf, Classifier):
        name = type(clf).__name__
        raise BadInput(f"expected a certify.Classifier, got {name}: wrap it, Classifier(model, num_classes=...)")
    return clf
