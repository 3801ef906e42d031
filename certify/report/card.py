"""A model card for model hubs: Markdown with metadata that huggingface_hub reads back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from certify.core.legible import legible
from certify.core.properties.top_class import TOP_CLASS
from certify.core.rounding import brief_up, percent_down, percent_up
from certify.core.run import Run
from certify.errors import BadInput, needs
from certify.report.claims import limits, threat_in_words
from certify.report.lifecycle.told import life_cycle
from certify.report.markdown import below, escape, life_cycle_in_words, protocol_and_digests, results, verdict
from certify.report.summary_table import ROUNDING
from certify.summary.words import percent

__all__ = ["model_card"]


def model_card(runs: Sequence[Run]) -> str:
    """The card of one model from all runs that certified it: YAML metadata with a model-index, then the text.

    Each metric is named with its norm, radius and kind of guarantee. Certified values are percent rounded down, values
    under attack and clean accuracy percent rounded up. Nothing is read from or sent to a network.

    Raises:
        BadInput: for no run, or runs about different models.
        MissingExtra: without huggingface_hub.
    """
    name = _one_model(runs)
    with needs("huggingface_hub", "card", "a model card"):
        from huggingface_hub import EvalResult, ModelCardData
    data = ModelCardData(
        model_name=name,
        tags=["certified-robustness", *dict.fromkeys(method for run in runs for method in run.summary.methods)],
        eval_results=[EvalResult(**metric) for run in runs for metric in _metrics(run)],
    )
    return legible(f"---\n{data.to_yaml()}\n---\n\n{_text(name, runs)}\n")


def _one_model(runs: Sequence[Run]) -> str:
    """The name of the model that all runs are about."""
    if not runs:
        raise BadInput("nothing to report: name at least one run")
    first = runs[0].settings["model"]
    for run in runs[1:]:
        if (model := run.settings["model"])["digest"] != first["digest"]:
            raise BadInput(
                f"a card is about one model, but {runs[0].name} is about {_said(first)} and {run.name} about "
                f"{_said(model)}: write a card for each"
            )
    return str(first["name"])


def _said(model: Mapping[str, str]) -> str:
    return f"{model['name']} (sha256 {model['digest'].removeprefix('published:')[:12]})"


def _metrics(run: Run) -> Iterator[dict[str, Any]]:
    """The metrics of the model-index: clean accuracy, then at each radius certified and attacked accuracy."""
    summary, data = run.summary, run.settings["data"]
    threat, alpha, sure = summary.threat, summary.guarantee.alpha, percent(summary.confidence)
    about = {
        "task_type": "image-" * threat.units.startswith("pixel") + summary.property.task,
        "dataset_type": data["name"],
        "dataset_name": data["name"],
        "dataset_args": {"sha256": data["digest"], "inputs": summary.n, "of": data["of"]},
    }
    settings = {"run": run.name, "method": ", ".join(summary.methods), "units": threat.units}
    settings["property"] = str(summary.property)
    model = "the smoothed model" if summary.smoothed else "the model"
    promise = "proven" if alpha is None else f"each false with probability at most {brief_up(alpha)}"
    attacks = [part.removeprefix("attack:") for part in summary.parts if part.startswith("attack:")]
    found = " and ".join(name for name in attacks if name != "smoothed") or "attacks"

    def metric(kind: str, value: str, name: str, **further: Any) -> dict[str, Any]:
        if summary.property != TOP_CLASS:  # accuracy is about classes
            kind, name = kind.replace("accuracy", "share"), name.replace("accuracy", "share of right answers")
            name += f"; right is to {summary.property}"
        called = {"metric_type": kind, "metric_value": float(value), "metric_name": name}
        return about | called | {"metric_args": settings | further}

    yield metric("accuracy", percent_up(summary.clean), f"clean accuracy of {model}, %")
    for row in summary.rows:
        at, radius = threat.amount(row.radius), {"norm": threat.measure, "radius": row.radius}
        certified = f"certified accuracy of {model} at {at}, % ({promise})"
        yield metric("certified_accuracy", percent_down(row.certified), certified, **radius)
        if alpha is not None:
            truly = f"truly right and robust share at {at}, at least, % ({sure} sure, at all radii at once)"
            yield metric("certified_accuracy_lower", percent_down(row.certified_lower), truly, **radius)
        if row.empirical is not None:
            left = f"accuracy of {model} under {found} within {at}, % (empirical, no promise)"
            yield metric("accuracy_under_attack", percent_up(row.empirical), left, **radius)


def _text(name: str, runs: Sequence[Run]) -> str:
    def each(of: Callable[[Run], Iterable[str]]) -> list[str]:
        return [part for run in runs for part in (f"**{escape(run.name)}**", *of(run))]

    return "\n\n".join(
        [
            f"# {escape(name)}: certified robustness",
            verdict(runs),
            "## What is claimed",
            *each(lambda run: below(run.summary)),
            "## Threat model",
            *each(lambda run: [escape(threat_in_words(run.summary))]),
            "## Results",
            ROUNDING,
            results(runs),
            "## Limits",
            *each(lambda run: ["\n".join(f"- {escape(text)}" for text in limits(run.summary))]),
            "## Life cycle",
            life_cycle_in_words(life_cycle(runs)),
            "## Reproduce",
            "`certify check RUN` derives every claim again from its evidence.",
            protocol_and_digests(runs),
        ]
    )
