"""What radius can you promise for this model, and how sure are you?

>>> import certify, torch
>>> clf = certify.Classifier(torch.nn.Linear(4, 3).eval(), num_classes=3, input_box=(0.0, 1.0))
>>> threat = certify.ThreatModel(norm="l2", radii=(0.0, 0.25))
>>> certificates = certify.smooth(clf, torch.rand(2, 4), [0, 1], threat=threat, sigma=0.25, n=1000)
>>> certify.summarize(certificates).n
2

Names are imported when they are first used, so that the reporting side never waits for torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from certify.lazy import lazy

if TYPE_CHECKING:
    from certify.attacks.autoattack import AutoAttack as AutoAttack
    from certify.attacks.fgsm import FGSM as FGSM
    from certify.attacks.hopskipjump import HopSkipJump as HopSkipJump
    from certify.attacks.pgd import PGD as PGD
    from certify.bounds.linear import LinearBounds as LinearBounds
    from certify.bounds.output import ball_bounds as ball_bounds
    from certify.bounds.output import output_bounds as output_bounds
    from certify.bounds.tensors import Interval as Interval
    from certify.certifiers.attack import attack as attack
    from certify.certifiers.bounds import Bounds as Bounds
    from certify.certifiers.bounds import bound as bound
    from certify.certifiers.certify import certify as certify
    from certify.certifiers.complete import Complete as Complete
    from certify.certifiers.complete import verify as verify
    from certify.certifiers.derandomized import Derandomized as Derandomized
    from certify.certifiers.enumeration import Enumeration as Enumeration
    from certify.certifiers.erasing import EraseAndCheck as EraseAndCheck
    from certify.certifiers.lipschitz import Lipschitz as Lipschitz
    from certify.certifiers.masking import Masking as Masking
    from certify.certifiers.smooth import predict as predict
    from certify.certifiers.smooth import smooth as smooth
    from certify.certifiers.smoothing import Smoothing as Smoothing
    from certify.checker.check import check as check
    from certify.core.certificate import BoundEvidence as BoundEvidence
    from certify.core.certificate import Certificate as Certificate
    from certify.core.certificate import CompleteEvidence as CompleteEvidence
    from certify.core.certificate import LipschitzEvidence as LipschitzEvidence
    from certify.core.certificate import SmoothingEvidence as SmoothingEvidence
    from certify.core.corrupted import Corrupted as Corrupted
    from certify.core.evidence import ErasedEvidence as ErasedEvidence
    from certify.core.evidence import MasksEvidence as MasksEvidence
    from certify.core.evidence import VotesEvidence as VotesEvidence
    from certify.core.evidence.ablation import AblationEvidence as AblationEvidence
    from certify.core.evidence.enumeration import EnumerationEvidence as EnumerationEvidence
    from certify.core.finding import Finding as Finding
    from certify.core.guarantee import Guarantee as Guarantee
    from certify.core.prediction_sets import PredictionSets as PredictionSets
    from certify.core.properties.labels import Labels as Labels
    from certify.core.properties.never import Never as Never
    from certify.core.properties.rows import LinearRows as LinearRows
    from certify.core.properties.superclass import Superclass as Superclass
    from certify.core.properties.top_class import TopClass as TopClass
    from certify.core.properties.top_k import TopK as TopK
    from certify.core.properties.within import Within as Within
    from certify.core.run import Run as Run
    from certify.core.stressed import Stressed as Stressed
    from certify.core.summary import Summary as Summary
    from certify.core.threats.blur import Blur as Blur
    from certify.core.threats.brightness import Brightness as Brightness
    from certify.core.threats.categories import Categories as Categories
    from certify.core.threats.contrast import Contrast as Contrast
    from certify.core.threats.fade import Fade as Fade
    from certify.core.threats.features import Features as Features
    from certify.core.threats.gain import Gain as Gain
    from certify.core.threats.gamma import Gamma as Gamma
    from certify.core.threats.insertions import Insertions as Insertions
    from certify.core.threats.lp import ThreatModel as ThreatModel
    from certify.core.threats.noise_floor import NoiseFloor as NoiseFloor
    from certify.core.threats.own import Own as Own
    from certify.core.threats.patch import Patch as Patch
    from certify.core.threats.product import Product as Product
    from certify.core.threats.rotation import Rotation as Rotation
    from certify.core.threats.scaling import Scaling as Scaling
    from certify.core.threats.shear import Shear as Shear
    from certify.core.threats.substitutions import Substitutions as Substitutions
    from certify.core.threats.time_shift import TimeShift as TimeShift
    from certify.core.threats.translation import Translation as Translation
    from certify.core.verdict import Verdict as Verdict
    from certify.data.dataset import Dataset as Dataset
    from certify.data.loaders import load_data as load_data
    from certify.deployment.corrupt import corrupt_run as corrupt_run
    from certify.deployment.stress.run import stress_run as stress_run
    from certify.errors import CertifyError as CertifyError
    from certify.gate.judge import judge_run as judge_run
    from certify.gate.policy import read_policy as read_policy
    from certify.models.classifier import Classifier as Classifier
    from certify.models.loaders import load_model as load_model
    from certify.models.regressor import Regressor as Regressor
    from certify.process import tune_process as tune_process
    from certify.sets.conformal import conformal as conformal
    from certify.smoothing.noise.ablation import Ablation as Ablation
    from certify.smoothing.noise.gaussian import Gaussian as Gaussian
    from certify.smoothing.noise.gaussian_grid import GaussianGrid as GaussianGrid
    from certify.smoothing.noise.laplace import Laplace as Laplace
    from certify.smoothing.noise.uniform import Uniform as Uniform
    from certify.study.checking import check_run as check_run
    from certify.study.evaluate import evaluate as evaluate
    from certify.study.read import read_run as read_run
    from certify.study.read import read_runs as read_runs
    from certify.summary.comparison import compare as compare
    from certify.summary.distributions import distributions as distributions
    from certify.summary.groups import grouped as grouped
    from certify.summary.summarize import summarize as summarize
    from certify.training.train import train as train
    from certify.version import __version__ as __version__
else:
    __getattr__, __dir__, __all__ = lazy(__name__)
