"""What a fitted scikit-learn estimator predicts, and how it is asked: one way for each kind of estimator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from scoreline.models.base import Values, broken, class_target, label, require
from scoreline.types import TargetType

Ask = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Answers:
    """`ask` takes rows as the estimator does and returns numbers, `outputs` of them for each row.

    labels: of the classes or clusters; None where the estimator has no names for what it predicts.
    """

    target_type: TargetType
    labels: tuple[str, ...] | None
    outputs: int
    ask: Ask


def answers(estimator: Any, name: str) -> Answers:
    """Find how an estimator is asked. Raises ModelBroken for what cannot be scored."""
    base = require("sklearn.base", "Loading a scikit-learn model")
    kind = type(estimator).__name__
    detector = hasattr(estimator, "get_params") and base.is_outlier_detector(estimator)
    if not hasattr(estimator, "predict") and not detector:
        raise broken(
            name,
            f"it holds an object of the type {kind!r}, which has no `predict` for rows it has not seen: save a fitted "
            "estimator that has",
        )
    if detector:
        return _anomaly(estimator, kind, name)
    if base.is_clusterer(estimator) or _is_mixture(estimator):
        return _clusters(estimator, kind, name)
    if base.is_classifier(estimator) or hasattr(estimator, "predict_proba"):
        return _classifier(estimator, kind, name)
    if not base.is_regressor(estimator):
        raise broken(
            name,
            f"{kind!r} is no regressor, classifier, clusterer or outlier detector, and only those are scored: save one "
            "of them",
        )
    return Answers(TargetType.REGRESSION, None, 1, estimator.predict)


def final(estimator: Any) -> Any:
    """Return the estimator that decides: the last step of a pipeline, the best one of a search."""
    while True:
        inner = estimator.steps[-1][1] if hasattr(estimator, "steps") else getattr(estimator, "best_estimator_", None)
        if inner is None:
            return estimator
        estimator = inner


def _anomaly(estimator: Any, kind: str, name: str) -> Answers:
    """The estimator's own score with its sign turned, so that more is more unusual; it is not scaled.

    `score_samples` has no offset that depends on the share of outliers guessed at training; for IsolationForest its
    negative is the score of the method's authors, from 0 to 1.
    """
    score = getattr(estimator, "score_samples", None) or getattr(estimator, "decision_function", None)
    if score is not None:
        return Answers(TargetType.ANOMALY, None, 1, lambda rows: -np.asarray(score(rows), np.float64))
    raise broken(
        name,
        f"{kind!r} scores no rows but those it was trained with: train it to score others (`novelty=True` of "
        "LocalOutlierFactor)",
    )


def _is_mixture(estimator: Any) -> bool:
    """Gaussian mixtures give probabilities of their components, and have no classes."""
    last = final(estimator)
    return hasattr(estimator, "predict_proba") and hasattr(last, "means_") and hasattr(last, "weights_")


def _clusters(estimator: Any, kind: str, name: str) -> Answers:
    last = final(estimator)
    count = _cluster_count(last)
    if count is None or count < 1:
        raise broken(name, f"{kind!r} is not fitted, or found no cluster: save it after `fit`")
    labels = tuple(f"Cluster {number}" for number in range(1, count + 1))
    if hasattr(estimator, "predict_proba"):
        return Answers(TargetType.CLUSTERING, labels, count, estimator.predict_proba)
    return Answers(TargetType.CLUSTERING, labels, count, _decided(estimator.predict, range(count)))


def _cluster_count(estimator: Any) -> int | None:
    for attribute in ("cluster_centers_", "means_"):
        centres = getattr(estimator, attribute, None)
        if centres is not None:
            return len(centres)
    for attribute in ("subcluster_labels_", "labels_"):
        found = getattr(estimator, attribute, None)
        if found is not None and len(found):
            return int(np.max(found)) + 1
    return None


def _classifier(estimator: Any, kind: str, name: str) -> Answers:
    known = getattr(estimator, "classes_", None)
    if known is None:
        raise broken(name, f"{kind!r} is not fitted: save it after `fit`")
    if isinstance(known, list) or getattr(known, "ndim", 1) != 1 or _is_multilabel(final(estimator)):
        return _labels(estimator, known, kind, name)
    labels = tuple(map(label, known))
    if len(labels) < 2:
        raise broken(name, f"{kind!r} knows the class {labels[0]!r} only: train it with rows of every class")
    if len(set(labels)) < len(labels):
        raise broken(name, f"{kind!r} has two classes that are written alike: give them distinct labels")
    ask = estimator.predict_proba if hasattr(estimator, "predict_proba") else _decided(estimator.predict, known)
    return Answers(class_target(len(labels)), labels, len(labels), ask)


def _is_multilabel(estimator: Any) -> bool:
    binarizer = getattr(estimator, "_label_binarizer", None)
    kind = str(getattr(binarizer, "y_type_", ""))
    return bool(getattr(estimator, "multilabel_", False)) or kind.startswith("multilabel")


def _labels(estimator: Any, known: Any, kind: str, name: str) -> Answers:
    """Several targets of two classes each: labels that are there or not. scikit-learn has no names for them."""
    several = isinstance(known, list)
    classes = [list(each) for each in known] if several else [[0, 1]] * len(known)
    for each in classes:
        if len(each) > 2 or (len(each) == 1 and isinstance(each[0], str)):
            noun = "class" if len(each) == 1 else "classes"
            raise broken(
                name,
                f"{kind!r} predicts several targets, one of them with {len(each)} {noun}: train one model for each, or "
                "labels that are there or not",
            )
    outputs = len(classes)
    if hasattr(estimator, "predict_proba"):
        return Answers(TargetType.MULTILABEL, None, outputs, lambda rows: _each(estimator.predict_proba(rows), classes))
    positive = [each[-1] if len(each) == 2 else 1 for each in classes]
    return Answers(TargetType.MULTILABEL, None, outputs, lambda rows: _equal(estimator.predict(rows), positive))


def _each(answer: Any, classes: list[list[Any]]) -> Values:
    """Return one probability for each label; of one that never changed in training there is a single column."""
    if not isinstance(answer, list):
        return np.asarray(answer, np.float64)
    columns = [
        part[:, 1] if part.shape[1] == 2 else np.full(len(part), float(bool(known[0])))
        for part, known in zip(answer, classes, strict=True)
    ]
    return np.column_stack(columns).astype(np.float64)


def _equal(answer: Any, positive: list[Any]) -> Values:
    found = answer.toarray() if hasattr(answer, "toarray") else np.asarray(answer)
    return np.column_stack([found[:, place] == value for place, value in enumerate(positive)]).astype(np.float64)


def _decided(predict: Ask, known: Any) -> Ask:
    """Return 1 for what the estimator decides and 0 for the rest; it gives no probabilities."""
    choices = np.asarray(known)

    def ask(rows: Any) -> Values:
        values: Values = (np.asarray(predict(rows))[:, np.newaxis] == choices).astype(np.float64)
        values[values.sum(axis=1) == 0] = np.nan
        return values

    return ask
