"""scikit-learn's classifiers: what they say is what is certified and attacked."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from certify.certifiers.attack import attack
from certify.certifiers.certify import certify
from certify.certifiers.smooth import smooth
from certify.certifiers.smoothing import Smoothing
from certify.core.properties.rows import LinearRows
from certify.core.properties.within import Within
from certify.core.threats.lp import ThreatModel
from certify.core.verdict import Verdict
from certify.errors import BadInput, CertifyError, ModelError
from certify.models.classifier import Classifier
from certify.models.loaders import load_model
from certify.models.regressor import Regressor

G = np.random.default_rng(0)
X = G.uniform(size=(80, 4)).astype(np.float32)
Y = (X[:, 0] > 0.5).astype(int) + (X[:, 1] > 0.7)
NAMES = np.array(["low", "middle", "top"])


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(StandardScaler(), LogisticRegression()),
        DecisionTreeClassifier(max_depth=4, random_state=0),
        RidgeClassifier(),
        LinearSVC(random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_an_estimator_is_asked_as_it_answers(model):
    clf = Classifier(model.fit(X, NAMES[Y]))
    assert clf.num_classes == 3
    assert not clf.differentiable
    assert NAMES[clf.predict(torch.from_numpy(X)).numpy()].tolist() == model.predict(X).tolist()


def test_two_classes_by_their_margin():
    model = LinearSVC(random_state=0).fit(X, Y > 0)
    assert Classifier(model).predict(torch.from_numpy(X)).tolist() == model.predict(X).astype(int).tolist()


@pytest.mark.parametrize("model", [LinearRegression(), DecisionTreeRegressor(random_state=0)], ids=str)
def test_a_regressor_is_asked_by_its_predict(model):
    clf = Regressor(model.fit(pd.DataFrame(X, columns=list("abcd")), Y))
    table = pd.DataFrame(X, columns=list("abcd"))
    np.testing.assert_allclose(clf.scores(torch.from_numpy(X)).ravel(), model.predict(table))
    asked = {"threat": ThreatModel("linf", (0.1,)), "property": Within(0.5)}
    with pytest.raises(ModelError, match="needs an nn.Module, or an ONNX file"):
        certify(clf, X[:2], Y[:2], certifier="crown", **asked)
    with pytest.raises(ModelError, match=r"none: use random-search instead, or wrap an nn\.Module"):
        attack(clf, X[:2], Y[:2], attack="pgd", **asked)
    votes = {"threat": ThreatModel("l2", (0.1,)), "property": LinearRows([[1]], [10])}
    [one] = certify(clf, X[:1], certifier=Smoothing(sigma=0.25, n=1000), **votes)
    assert one.holds_at(0.1)  # no prediction is near -10
    assert not attack(clf, X[:1], [0], attack="hopskipjump", steps=2, **votes)[0].succeeded


def test_columns_have_the_names_that_the_estimator_knows():
    table = pd.DataFrame(X, columns=list("abcd"))
    clf = Classifier(LogisticRegression().fit(table, Y))  # a warning about missing names would be an error
    assert clf.scores(torch.from_numpy(X)).shape == (80, 3)


def test_certified_and_attacked_without_gradients():
    clf, threat = Classifier(DecisionTreeClassifier(random_state=0).fit(X, Y)), ThreatModel("l2", (0.1, 0.6))
    x, y = X[:3], Y[:3]
    certified = smooth(clf, x, y, threat=threat, sigma=0.25, n=1000)
    assert {one.verdict for one in certified} <= {Verdict.CERTIFIED, Verdict.UNKNOWN, Verdict.ABSTAIN}
    found = attack(clf, x, y, threat=threat, attack="hopskipjump", steps=5)
    assert any(one.succeeded for one in found)


def test_the_digest_sees_what_was_fitted():
    one, other = (LogisticRegression().fit(X, Y if same else Y[::-1]) for same in (True, False))
    assert Classifier(one).digest != Classifier(other).digest
    again = LogisticRegression().fit(X, Y)
    assert Classifier(one).digest == Classifier(again).digest


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: Classifier(LogisticRegression()), ModelError, "LogisticRegression states no classes (classes_): fit"),
        (lambda: Classifier(LinearRegression().fit(X, Y)), ModelError, "a regressor goes with certify.Regressor"),
        (lambda: Regressor(LogisticRegression().fit(X, Y)), ModelError, "give it to certify.Classifier"),
        (lambda: Classifier(LogisticRegression().fit(X, Y), num_classes=4), BadInput, "has 3 classes, not 4"),
        (lambda: Classifier(len), BadInput, "num_classes"),
    ],
)
def test_what_is_no_classifier_is_refused_in_one_line(build, error, message):
    with pytest.raises(error) as refusal:
        build()
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_function_named_on_the_command_line_may_return_one(tmp_path, monkeypatch):
    (tmp_path / "fitted_for_a_test.py").write_text(
        "from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor\n"
        "def tree():\n    return DecisionTreeClassifier().fit([[0.0, 0], [1, 0], [1, 1]], [0, 1, 2])\n"
    )
    monkeypatch.chdir(tmp_path)
    clf = load_model("fitted_for_a_test:tree")
    assert clf.num_classes == 3
    assert clf.predict(torch.tensor([[1.0, 1.0]])).item() == 2


def test_inputs_of_another_width_are_refused_in_one_line():
    clf = Classifier(LogisticRegression().fit(X, Y))
    with pytest.raises(CertifyError) as refusal:
        smooth(clf, X[:1, :3], Y[:1], threat=ThreatModel("l2", (0.1,)), sigma=0.25, n=100)
    assert "3 features" in str(refusal.value)
    assert "\n" not in str(refusal.value)
