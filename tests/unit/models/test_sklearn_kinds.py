"""Estimators other than regressors and probabilistic classifiers: scores and decisions as the estimators give them."""

from __future__ import annotations

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.cluster import Birch, BisectingKMeans, KMeans, MeanShift, MiniBatchKMeans
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import ExtraTreesClassifier, IsolationForest, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Perceptron, RidgeClassifier
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier, LocalOutlierFactor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC, OneClassSVM

from scoreline import models
from scoreline.errors import ModelBroken
from scoreline.types import TargetType
from tests.unit.models.support import batch

RNG = np.random.default_rng(5)
FRAME = pd.DataFrame(RNG.normal(size=(90, 3)), columns=["a", "b", "c"])
LABELS = np.column_stack([FRAME.a + FRAME.b > 0.3, FRAME.c > -0.2]).astype(int)
WORDS = np.where(FRAME.a > 0.5, "high", np.where(FRAME.a < -0.5, "low", "mid"))


def loaded(estimator, folder):
    joblib.dump(estimator, folder / "model.joblib")
    return models.load(folder / "model.joblib", trusted=True)


def name(value):
    return type(value).__name__ if hasattr(value, "fit") else None


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")  # by LocalOutlierFactor, of its own doing
@pytest.mark.parametrize(
    "detector",
    [
        IsolationForest(n_estimators=20, random_state=0),
        LocalOutlierFactor(novelty=True),
        OneClassSVM(),
        EllipticEnvelope(random_state=0),
        make_pipeline(StandardScaler(), IsolationForest(n_estimators=5, random_state=0)),
    ],
    ids=name,
)
def test_anomaly_detectors_give_their_own_score_with_more_for_the_unusual(tmp_path, detector):
    own = detector.fit(FRAME)
    model = loaded(own, tmp_path)
    assert (model.info.target_type, model.info.class_labels, model.info.outputs) == (TargetType.ANOMALY, None, 1)
    rows = pd.concat([FRAME.head(20), pd.DataFrame([[9.0, -9.0, 9.0]], columns=["a", "b", "c"])])
    found = model.predict(batch(rows, model.info))[:, 0]
    np.testing.assert_allclose(found, -own.score_samples(rows), rtol=0, atol=1e-12)
    assert found[-1] == found.max()
    if isinstance(own, IsolationForest):  # the score of the method's authors
        assert 0 < found.min() < 0.5 < found[-1] < 1


def test_a_detector_that_knows_its_training_rows_only(tmp_path):
    with pytest.raises(ModelBroken, match="novelty=True"):
        loaded(LocalOutlierFactor().fit(FRAME), tmp_path)


@pytest.mark.parametrize(
    ("clusterer", "count"),
    [
        (KMeans(3, n_init=1, random_state=0), 3),
        (MiniBatchKMeans(4, n_init=1, random_state=0), 4),
        (BisectingKMeans(2, random_state=0), 2),
        (Birch(n_clusters=3), 3),
        (make_pipeline(StandardScaler(), KMeans(3, n_init=1, random_state=0)), 3),
    ],
    ids=name,
)
def test_clusterers_without_probabilities_give_one_to_their_choice(tmp_path, clusterer, count):
    own = clusterer.fit(FRAME)
    model = loaded(own, tmp_path)
    assert model.info.target_type is TargetType.CLUSTERING
    assert model.info.class_labels == tuple(f"Cluster {number}" for number in range(1, count + 1))
    found = model.predict(batch(FRAME, model.info))
    assert found.shape == (len(FRAME), count)
    assert found.argmax(axis=1).tolist() == own.predict(FRAME).tolist()
    assert set(found.ravel()) == {0.0, 1.0}
    assert found.sum(axis=1).tolist() == [1.0] * len(FRAME)


def test_a_clusterer_that_finds_its_number_of_clusters(tmp_path):
    own = MeanShift(bandwidth=1.5).fit(FRAME)
    assert loaded(own, tmp_path).info.outputs == len(own.cluster_centers_)
    with pytest.raises(ModelBroken, match="not fitted"):
        loaded(KMeans(2), tmp_path)


@pytest.mark.parametrize(
    "mixture",
    [
        GaussianMixture(3, random_state=0),
        BayesianGaussianMixture(n_components=2, random_state=0),
        make_pipeline(StandardScaler(), GaussianMixture(2, random_state=0)),
    ],
    ids=name,
)
def test_mixtures_give_the_probabilities_of_their_components(tmp_path, mixture):
    own = mixture.fit(FRAME)
    model = loaded(own, tmp_path)
    expected = own.predict_proba(FRAME)
    assert (model.info.target_type, model.info.outputs) == (TargetType.CLUSTERING, expected.shape[1])
    np.testing.assert_allclose(model.predict(batch(FRAME, model.info)), expected, rtol=0, atol=1e-12)


def test_a_clusterer_in_skops_needs_no_trust(tmp_path):
    skops.io.dump(KMeans(2, n_init=1, random_state=0).fit(FRAME), tmp_path / "model.skops")
    assert models.load(tmp_path / "model.skops", trusted=False).info.target_type is TargetType.CLUSTERING


@pytest.mark.parametrize(
    "classifier",
    [
        MultiOutputClassifier(LogisticRegression()),
        RandomForestClassifier(7, random_state=0),
        ExtraTreesClassifier(7, random_state=0),
        KNeighborsClassifier(7),
        GridSearchCV(RandomForestClassifier(5, random_state=0), {"max_depth": [2, 3]}, cv=2),
    ],
    ids=name,
)
def test_labels_with_a_table_each(tmp_path, classifier):
    own = classifier.fit(FRAME, LABELS)
    model = loaded(own, tmp_path)
    assert (model.info.target_type, model.info.class_labels, model.info.outputs) == (TargetType.MULTILABEL, None, 2)
    expected = np.column_stack([table[:, 1] for table in own.predict_proba(FRAME)])
    np.testing.assert_allclose(model.predict(batch(FRAME, model.info)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "classifier",
    [
        OneVsRestClassifier(LogisticRegression()),
        ClassifierChain(LogisticRegression()),
        MLPClassifier([4], max_iter=2000, tol=1e-2, random_state=0),
        make_pipeline(StandardScaler(), OneVsRestClassifier(LogisticRegression())),
    ],
    ids=name,
)
def test_labels_in_one_table(tmp_path, classifier):
    own = classifier.fit(FRAME, LABELS)
    model = loaded(own, tmp_path)
    assert (model.info.target_type, model.info.outputs) == (TargetType.MULTILABEL, 2)
    np.testing.assert_allclose(model.predict(batch(FRAME, model.info)), own.predict_proba(FRAME), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "classifier",
    [MultiOutputClassifier(LinearSVC()), OneVsRestClassifier(LinearSVC()), RidgeClassifier()],
    ids=name,
)
def test_labels_that_are_only_decided(tmp_path, classifier):
    own = classifier.fit(FRAME, LABELS)
    model = loaded(own, tmp_path)
    assert model.info.target_type is TargetType.MULTILABEL
    assert model.predict(batch(FRAME, model.info)).tolist() == own.predict(FRAME).astype(float).tolist()


def test_labels_in_words_and_labels_that_never_change(tmp_path):
    words = np.column_stack([np.where(LABELS[:, 0] == 1, "yes", "no"), np.where(LABELS[:, 1] == 1, "yes", "no")])
    own = MultiOutputClassifier(LogisticRegression()).fit(FRAME, words)
    assert [list(classes) for classes in own.classes_] == [["no", "yes"]] * 2
    expected = np.column_stack([table[:, 1] for table in own.predict_proba(FRAME)])
    model = loaded(own, tmp_path)
    np.testing.assert_allclose(model.predict(batch(FRAME, model.info)), expected, rtol=0, atol=1e-12)
    constant = np.column_stack([LABELS[:, 0], np.zeros(len(FRAME), int), np.ones(len(FRAME), int)])
    model = loaded(RandomForestClassifier(3, random_state=0).fit(FRAME, constant), tmp_path)
    assert model.info.outputs == 3
    assert model.predict(batch(FRAME, model.info))[:, 1:].tolist() == [[0.0, 1.0]] * len(FRAME)


@pytest.mark.parametrize(
    "classifier", [LinearSVC(), RidgeClassifier(), Perceptron(random_state=0), SVC(kernel="linear")], ids=name
)
@pytest.mark.parametrize("classes", [2, 3])
def test_classifiers_without_probabilities_give_one_to_their_choice(tmp_path, classifier, classes):
    wanted = WORDS if classes == 3 else np.where(WORDS == "low", "low", "high")
    own = classifier.fit(FRAME, wanted)
    model = loaded(own, tmp_path)
    assert model.info.target_type is (TargetType.BINARY if classes == 2 else TargetType.MULTICLASS)
    found = model.predict(batch(FRAME, model.info))
    assert [model.info.class_labels[place] for place in found.argmax(axis=1)] == own.predict(FRAME).tolist()
    assert found.sum(axis=1).tolist() == [1.0] * len(FRAME)


def test_a_network_of_three_classes_is_no_multilabel_model(tmp_path):
    own = MLPClassifier([4], max_iter=2000, tol=1e-2, random_state=0).fit(FRAME, WORDS)
    model = loaded(own, tmp_path)
    assert (model.info.target_type, model.info.class_labels) == (TargetType.MULTICLASS, ("high", "low", "mid"))
