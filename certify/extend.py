"""What extensions are made of: the base of every family, its registry, and what members are written with.

A package that registers members names its module in the entry-point group ``certify.plugins``; then the command line
knows them too, wherever it is installed. In pyproject.toml::

    [project.entry-points."certify.plugins"]
    anything = "my_package.my_module"

>>> from certify.extend import THREATS, Threat
>>> all(issubclass(one, Threat) for one in THREATS.values())
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from certify.lazy import lazy

if TYPE_CHECKING:
    from certify.attacks.base import ATTACKS as ATTACKS
    from certify.attacks.base import Attack as Attack
    from certify.attacks.base import Search as Search
    from certify.attacks.pgd import LOSSES as LOSSES
    from certify.attacks.target import Target as Target
    from certify.bounds.backward import RowBounds as RowBounds
    from certify.bounds.contract import Example as Example
    from certify.bounds.crown import crown as crown
    from certify.bounds.deadline import NEVER as NEVER
    from certify.bounds.deadline import Deadline as Deadline
    from certify.bounds.graph import Graph as Graph
    from certify.bounds.methods import METHODS as METHODS
    from certify.bounds.radii.margins import MarginBounds as MarginBounds
    from certify.bounds.region import Region as Region
    from certify.bounds.region import region_of as region_of
    from certify.bounds.rounding import down as down
    from certify.bounds.rounding import unit as unit
    from certify.bounds.rounding import up as up
    from certify.bounds.rules.base import ATEN as ATEN
    from certify.bounds.rules.base import ONNX as ONNX
    from certify.bounds.rules.base import RULES as RULES
    from certify.bounds.rules.base import Affine as Affine
    from certify.bounds.rules.base import Call as Call
    from certify.bounds.rules.base import Nonlinear as Nonlinear
    from certify.bounds.rules.base import Operator as Operator
    from certify.bounds.rules.curve import Curve as Curve
    from certify.bounds.tensors import Interval as Interval
    from certify.bounds.tensors import Relaxation as Relaxation
    from certify.certifiers.base import CERTIFIERS as CERTIFIERS
    from certify.certifiers.base import Certifier as Certifier
    from certify.certifiers.base import settle as settle
    from certify.certifiers.deterministic import ProofAttempt as ProofAttempt
    from certify.certifiers.deterministic import certificates as certificates
    from certify.certifiers.deterministic import check_network as check_network
    from certify.certifiers.deterministic import graph_of as graph_of
    from certify.checker.derivations.base import DERIVATIONS as DERIVATIONS
    from certify.checker.derivations.base import Derivation as Derivation
    from certify.checker.derivations.base import RunSettings as RunSettings
    from certify.checker.derivations.base import evidence_of as evidence_of
    from certify.checker.result import CheckedClaim as CheckedClaim
    from certify.checker.result import judged as judged
    from certify.checker.result import left_open as left_open
    from certify.checker.result import refuted as refuted
    from certify.checker.result import subject_of as subject_of
    from certify.core.evidence.base import EVIDENCE as EVIDENCE
    from certify.core.evidence.base import Evidence as Evidence
    from certify.core.input_box import BoxLike as BoxLike
    from certify.core.properties.base import PROPERTIES as PROPERTIES
    from certify.core.properties.base import Clauses as Clauses
    from certify.core.properties.base import Property as Property
    from certify.core.rounding import percent_down as percent_down
    from certify.core.rounding import percent_up as percent_up
    from certify.core.rounding import round_down as round_down
    from certify.core.rounding import round_up as round_up
    from certify.core.summary import FORMATS as FORMATS
    from certify.core.summary import PLOTS as PLOTS
    from certify.core.threats.base import THREATS as THREATS
    from certify.core.threats.base import Threat as Threat
    from certify.core.threats.budget import Budget as Budget
    from certify.core.threats.budget import Groups as Groups
    from certify.core.threats.budget import groups_of as groups_of
    from certify.core.values import number as number
    from certify.core.values import one_of as one_of
    from certify.core.values import whole as whole
    from certify.corruptions.base import CORRUPTIONS as CORRUPTIONS
    from certify.corruptions.base import Corruption as Corruption
    from certify.corruptions.base import Draws as Draws
    from certify.corruptions.base import Form as Form
    from certify.corruptions.base import corrupted as corrupted
    from certify.data.batch import Batch as Batch
    from certify.data.dataset import Dataset as Dataset
    from certify.data.loaders import LOADERS as LOADERS
    from certify.data.loaders import loader as loader
    from certify.engines.base import ENGINES as ENGINES
    from certify.engines.base import Crew as Crew
    from certify.engines.base import Engine as Engine
    from certify.engines.base import Lost as Lost
    from certify.engines.base import Work as Work
    from certify.errors import BadInput as BadInput
    from certify.errors import DataError as DataError
    from certify.errors import ModelError as ModelError
    from certify.errors import needs as needs
    from certify.gate.conditions.base import CONDITIONS as CONDITIONS
    from certify.gate.conditions.base import Condition as Condition
    from certify.gate.conditions.base import Trial as Trial
    from certify.gate.outcome import ConditionOutcome as ConditionOutcome
    from certify.gate.outcome import Result as Result
    from certify.models.loaders import MODEL_FILES as MODEL_FILES
    from certify.registry import Reader as Reader
    from certify.registry import Registry as Registry
    from certify.smoothing.noise.base import NOISES as NOISES
    from certify.smoothing.noise.base import Noise as Noise
    from certify.store.export import EXPORTS as EXPORTS
    from certify.store.export import Export as Export
    from certify.trackers.base import TRACKERS as TRACKERS
    from certify.training.recipe import RECIPES as RECIPES
    from certify.training.recipe import Recipe as Recipe
else:
    __getattr__, __dir__, __all__ = lazy(__name__)
