"""Does what was asked for agree with what the model says about itself? What contradicts is refused, never guessed."""

from __future__ import annotations

import math
import sys

from scoreline.errors import InvalidRequest
from scoreline.models import ANY_COLUMNS
from scoreline.models.drum_folder import DESCRIPTION
from scoreline.registry.request import PackageRequest, required
from scoreline.types import ExtraOutput, Feature, FeatureType, ModelInfo, TargetType

# These know whether a column is text; others, such as pipelines, take what they were trained on without saying it.
_TYPED = frozenset({"lightgbm", "xgboost", "catboost", "onnx"})
_ONE = (TargetType.REGRESSION, TargetType.ANOMALY)
_CLASSES = (TargetType.BINARY, TargetType.MULTICLASS)
# How many outputs a model of each kind has, at least and at most; other kinds are not scored.
_OUTPUTS = {
    TargetType.REGRESSION: (1, 1),
    TargetType.BINARY: (2, 2),
    TargetType.MULTICLASS: (2, sys.maxsize),
    TargetType.MULTILABEL: (1, sys.maxsize),
    TargetType.ANOMALY: (1, 1),
    TargetType.CLUSTERING: (1, sys.maxsize),
    TargetType.TEXT_GENERATION: (0, 0),
}
_LABELLED = (*_CLASSES, TargetType.MULTILABEL, TargetType.CLUSTERING)
_NAMELESS = (TargetType.ANOMALY, TargetType.CLUSTERING, TargetType.MULTILABEL)


def target_type(request: PackageRequest, info: ModelInfo | None) -> TargetType:
    """Return what the model predicts. Raises InvalidRequest when nobody says it, both differ, or it is not built."""
    asked, said = request.target_type, None if info is None else info.target_type
    if info is not None and (unscored := next((kind for kind in (asked, said) if kind and kind not in _OUTPUTS), None)):
        raise InvalidRequest(f"Models of type {unscored} cannot be scored: possible are {_names()}.", "target.type")
    if asked is not None and said is not None and info is not None and not _compatible(asked, said, info):
        raise InvalidRequest(f"`target.type` is {asked}, but the model predicts {said}: leave it out.", "target.type")
    if (asked or said) is None and info is not None and info.outputs == 0:
        raise InvalidRequest(
            f"The model gives texts: if it generates them, `target.type` is {TargetType.TEXT_GENERATION}; if they are "
            "class labels, let it return one probability for each class.",
            "target.type",
        )
    found = required(asked or said, "target.type", f"the model does not say what it predicts, give one of {_names()}")
    if said is TargetType.CLUSTERING and request.target_name is None:
        found = said  # the API has no other word for it than Multiclass
    if found is TargetType.CLUSTERING and request.target_name is not None:
        if asked is found:
            raise InvalidRequest("Clusters have no `target.name`: leave it out, or ask for Multiclass.", "target.name")
        found = TargetType.MULTICLASS
    if info is None:
        return found
    least, most = _OUTPUTS[found]
    if not least <= info.outputs <= most:
        gives = f"{info.outputs} outputs" if info.outputs else "a text"
        raise InvalidRequest(f"`target.type` is {found}, but the model gives {gives} for a row.", "target.type")
    return found


def _compatible(asked: TargetType, said: TargetType, info: ModelInfo) -> bool:
    """Whether a model may be taken as another kind than it says: the numbers are the same, their meaning is not."""
    if asked is said or {asked, said} <= set(_ONE):
        return True
    if said is TargetType.CLUSTERING:
        return asked is TargetType.MULTICLASS
    # Of custom models it was guessed from the numbers of one row.
    guessed = asked is TargetType.MULTILABEL and info.format == "mlflow"
    return said in _CLASSES and (asked is TargetType.CLUSTERING or guessed)


def stored_type(kind: TargetType) -> TargetType:
    """Return the type that is kept and shown: clusters are classes without a target name."""
    return TargetType.MULTICLASS if kind is TargetType.CLUSTERING else kind


def target_name(request: PackageRequest, info: ModelInfo | None, kind: TargetType) -> str:
    """Return the name of what is predicted, which some kinds of target need not have: then it is empty."""
    name = request.target_name or (None if info is None else info.target_name)
    if name is None and kind in _NAMELESS:
        return ""
    return required(name, "target.name", "name the column that the model predicts (`--target`)")


def class_labels(request: PackageRequest, info: ModelInfo | None, kind: TargetType) -> tuple[str, ...] | None:
    """Return the labels of classes or clusters in the order of the model's outputs, None for targets without.

    Names that were asked for replace the model's own one by one. The same names in another order keep the model's
    order; a name that the model gives to another class is refused, because either reading could be meant.
    """
    asked, own = request.class_names, None if info is None else info.class_labels
    if kind not in _LABELLED:
        if asked is not None:
            raise InvalidRequest(f"`target.classNames` is given, but a target of type {kind} has no classes.", _LABELS)
        return asked
    labels = asked or own
    if labels is None:
        noun = "labels" if kind is TargetType.MULTILABEL else "classes"
        raise InvalidRequest(
            f"The model does not name its {noun}: give `{_LABELS}` in the order of its outputs "
            "(`--class-labels` on the command line).",
            _LABELS,
        )
    if twice := next((label for place, label in enumerate(labels) if label in labels[:place]), None):
        raise InvalidRequest(f"The model names the class {twice!r} twice: start it with names that differ.", _LABELS)
    least = _OUTPUTS[kind][0]
    wanted = 2 if kind is TargetType.BINARY else None if info is None else info.outputs
    wanted = len(own) if own is not None else wanted
    if (wanted is not None and len(labels) != wanted) or len(labels) < least:
        count = f"{'two' if least == 2 else 'one'} or more" if wanted is None else str(wanted)
        raise InvalidRequest(f"`{_LABELS}` names {len(labels)} classes, but the model has {count}.", _LABELS)
    return labels if own is None or asked is None else _renamed(asked, own)


def label_thresholds(
    request: PackageRequest, labels: tuple[str, ...] | None, kind: TargetType, usual: float
) -> list[float] | None:
    """Return a threshold for each label of a multilabel target; None where none has its own."""
    asked, field = request.label_thresholds, "labelThresholds"
    if not asked:
        return None
    if kind is not TargetType.MULTILABEL:
        raise InvalidRequest(f"`{field}` is given, but a target of type {kind} has no labels.", field)
    if unknown := [label for label in asked if label not in (labels or ())]:
        raise InvalidRequest(
            f"`{field}` names {unknown[0]!r}, which is no label: the labels are {_quoted(labels or ())}.", field
        )
    return [asked.get(label, usual) for label in labels or ()]


def extra_outputs(request: PackageRequest, info: ModelInfo | None) -> tuple[ExtraOutput, ...]:
    """Return the columns that a model gives beside its predictions: its own, with the types asked for.

    Of a model on another maker's server, what is asked for is taken: such servers do not tell.
    """
    asked, own = request.extra, () if info is None else info.extra
    if request.server is not None or info is None:
        return tuple(asked.values())
    names = {each.name: None for each in own}
    if unknown := [name for name in asked if name not in names]:
        known = f"it gives {_quoted(tuple(names))}" if names else "it gives none"
        raise InvalidRequest(
            f"`extraOutputs` names {unknown[0]!r}, which the model does not give beside its predictions: {known}.",
            "extraOutputs",
        )
    return tuple(asked.get(each.name, each) for each in own)


def positive_class(request: PackageRequest, labels: tuple[str, ...] | None, kind: TargetType) -> str | None:
    """Return the positive class of a binary target: the one asked for, else the last."""
    asked = request.positive_class
    if kind is not TargetType.BINARY or labels is None:
        if asked is not None:
            raise InvalidRequest(f"`positiveClass` is given, but a target of type {kind} has none.", "positiveClass")
        return None
    if asked is not None and asked not in labels:
        raise InvalidRequest(f"`positiveClass` is {asked!r}, but the classes are {_quoted(labels)}.", "positiveClass")
    return asked or labels[-1]


def features(request: PackageRequest, info: ModelInfo | None) -> tuple[Feature, ...]:
    """Return the model's input columns: its own, with the types asked for; all as asked for when it names none."""
    asked = request.features
    if info is None or not info.features:
        if info is not None and info.format in ANY_COLUMNS:
            return _as_in_the_folder(asked)
        if info is not None and not asked:
            raise InvalidRequest(
                "The model does not name its input columns: give `features` in their order.", "features"
            )
        return tuple(asked.values())
    own = {feature.name: feature for feature in info.features}
    if unknown := [name for name in asked if name not in own]:
        raise InvalidRequest(
            f"`features` names {unknown[0]!r}, which is not an input of the model: its inputs are {_quoted(own)}.",
            "features",
        )
    for name, feature in asked.items():
        if info.format in _TYPED and (feature.type is FeatureType.TEXT) != (own[name].type is FeatureType.TEXT):
            raise InvalidRequest(
                f"`features` calls {name!r} {feature.type}, but the model says {own[name].type}: leave it out.",
                "features",
            )
    return tuple(asked.get(name, feature) for name, feature in own.items())


def _as_in_the_folder(asked: dict[str, Feature]) -> tuple[Feature, ...]:
    """A model's code reads its tables with the types that the folder states, and any columns when it states none."""
    if asked:
        raise InvalidRequest(
            "The input columns of a custom model are part of its folder: name them in `features` of its file "
            f"`{DESCRIPTION}`, which `scoreline deploy` writes from `--feature-type`.",
            "features",
        )
    return ()


_LABELS = "target.classNames"


def _renamed(asked: tuple[str, ...], own: tuple[str, ...]) -> tuple[str, ...]:
    places = {_meaning(label): place for place, label in enumerate(own)}
    given = {_meaning(label): label for label in asked}
    if len(places) < len(own) or len(given) < len(asked):  # `1` and `1.0` are two classes here
        places, given = {label: place for place, label in enumerate(own)}, {label: label for label in asked}
    if places.keys() == given.keys():
        return tuple(given[meaning] for meaning in places)
    for place, (meaning, label) in enumerate(given.items()):
        if places.get(meaning, place) != place:
            raise InvalidRequest(
                f"`{_LABELS}` gives the name {label!r} to another class than the model, which says {_quoted(own)} in "
                "this order: give the same names, or a new name for each in the model's order.",
                _LABELS,
            )
    return asked


def _meaning(label: str) -> str | float:
    """Return what two spellings of a class have in common: `1` and `1.0` are the same class."""
    try:
        number = float(label)
    except ValueError:
        return label
    return number if math.isfinite(number) else label


def _quoted(names: tuple[str, ...] | dict[str, Feature]) -> str:
    shown = [repr(name) for name in list(names)[:20]]
    return ", ".join(shown) + (", ..." if len(names) > len(shown) else "")


def _names() -> str:
    return ", ".join(_OUTPUTS)
