"""Does what was asked for agree with what the model says about itself? What contradicts is refused, never guessed."""

from __future__ import annotations

import math
import sys

from scoreline.errors import InvalidRequest
from scoreline.models import ANY_COLUMNS
from scoreline.models.drum_folder import DESCRIPTION
from scoreline.registry.request import PackageRequest, required
from scoreline.types import Feature, FeatureType, ModelInfo, TargetType

_SCORED = (TargetType.REGRESSION, TargetType.BINARY, TargetType.MULTICLASS)
# These know whether a column is text; others, such as pipelines, take what they were trained on without saying it.
_TYPED = frozenset({"lightgbm", "xgboost", "catboost", "onnx"})
_CLASSES = (TargetType.BINARY, TargetType.MULTICLASS)


def target_type(request: PackageRequest, info: ModelInfo | None) -> TargetType:
    """Return what the model predicts. Raises InvalidRequest when nobody says it, both differ, or it is not built."""
    asked, said = request.target_type, None if info is None else info.target_type
    if asked is not None and said is not None and asked is not said:
        raise InvalidRequest(f"`target.type` is {asked}, but the model predicts {said}: leave it out.", "target.type")
    found = required(asked or said, "target.type", f"the model does not say what it predicts, give one of {_names()}")
    if info is None:
        return found
    if found not in _SCORED:
        raise InvalidRequest(f"Models of type {found} cannot be scored yet: possible are {_names()}.", "target.type")
    if info.outputs not in {TargetType.REGRESSION: (1,), TargetType.BINARY: (2,)}.get(found, range(2, sys.maxsize)):
        raise InvalidRequest(
            f"`target.type` is {found}, but the model gives {info.outputs} outputs for a row.", "target.type"
        )
    return found


def class_labels(request: PackageRequest, info: ModelInfo | None, kind: TargetType) -> tuple[str, ...] | None:
    """Return the class labels in the order of the model's outputs, None for targets without classes.

    Names that were asked for replace the model's own one by one. The same names in another order keep the model's
    order; a name that the model gives to another class is refused, because either reading could be meant.
    """
    asked, own = request.class_names, None if info is None else info.class_labels
    if kind not in _CLASSES:
        if asked is not None and kind is not TargetType.MULTILABEL:
            raise InvalidRequest(f"`target.classNames` is given, but a target of type {kind} has no classes.", _LABELS)
        return asked
    labels = asked or own
    if labels is None:
        raise InvalidRequest(
            f"The model does not name its classes: give `{_LABELS}` in the order of its outputs "
            "(`--class-labels` on the command line).",
            _LABELS,
        )
    wanted = 2 if kind is TargetType.BINARY else None if info is None else info.outputs
    wanted = len(own) if own is not None else wanted
    if (wanted is not None and len(labels) != wanted) or len(labels) < 2:
        count = "two or more" if wanted is None else str(wanted)
        raise InvalidRequest(f"`{_LABELS}` names {len(labels)} classes, but the model has {count}.", _LABELS)
    return labels if own is None or asked is None else _renamed(asked, own)


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
    return ", ".join(_SCORED)
