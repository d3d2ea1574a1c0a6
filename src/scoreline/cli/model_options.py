"""What a person says about a model, for `deploy` and for `score --model`: the same options, the same meaning."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from scoreline.cli import options
from scoreline.types import JsonObject

_PANEL = "About the model"

Target = Annotated[
    str | None,
    typer.Option("--target", help="Name of what is predicted; output columns carry it.", rich_help_panel=_PANEL),
]
TargetKind = Annotated[
    str | None,
    typer.Option(
        "--target-type",
        metavar="TYPE",
        help="What the model predicts, where it does not say so itself: regression, binary, multiclass, multilabel, "
        "anomaly, clustering or textgeneration.",
        rich_help_panel=_PANEL,
    ),
]
PositiveClass = Annotated[
    str | None,
    typer.Option(
        "--positive-class", help="Positive class of a binary target. [default: the last]", rich_help_panel=_PANEL
    ),
]
ClassLabels = Annotated[
    str | None,
    typer.Option(
        "--class-labels",
        metavar="A,B,...",
        help="Names of the classes, labels or clusters in the order of the model's outputs.",
        rich_help_panel=_PANEL,
    ),
]
FeatureTypes = Annotated[
    list[str] | None,
    typer.Option(
        "--feature-type",
        "--feature",
        metavar="COLUMN=TYPE",
        help="Type of an input column: numeric, integer, boolean or text. May be given again.",
        rich_help_panel=_PANEL,
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Allow a format that runs code when it is loaded (pickle, joblib, most MLflow folders, custom.py).",
        rich_help_panel=_PANEL,
    ),
]


LabelThresholds = Annotated[
    list[str] | None,
    typer.Option(
        "--label-threshold",
        metavar="LABEL=NUMBER",
        help="Threshold of one label of a multilabel target. May be given again. [default: that of all labels, 0.5]",
        rich_help_panel=_PANEL,
    ),
]
ExtraOutputs = Annotated[
    list[str] | None,
    typer.Option(
        "--extra-output",
        metavar="COLUMN=TYPE",
        help="Column that the model gives beside its predictions: numeric, integer, boolean or text. Only a model on a "
        "server has to be asked for them. May be given again.",
        rich_help_panel=_PANEL,
    ),
]


@dataclass(frozen=True, slots=True)
class ModelWords:
    """The options as given; None where nothing was said."""

    target: str | None = None
    target_type: str | None = None
    positive_class: str | None = None
    class_labels: str | None = None
    threshold: float | None = None
    feature_types: list[str] | None = None
    label_thresholds: list[str] | None = None
    extra_outputs: list[str] | None = None

    def document(self, name: str, location: str | None = None, server: JsonObject | None = None) -> JsonObject:
        """Return the body that registers a model so: that of `modelPackages/fromJSON/`."""
        target = {
            "name": self.target,
            "type": self.target_type,
            "classNames": options.names(self.class_labels) or None,
            "predictionThreshold": self.threshold,
        }
        body: JsonObject = {"name": name, "target": {key: value for key, value in target.items() if value is not None}}
        if location is not None:
            body["modelDescription"] = {"location": location}
        if server is not None:
            body["server"] = server
        if self.positive_class is not None:
            body["positiveClass"] = self.positive_class
        if self.feature_types:
            body["features"] = dict(options.pairs(self.feature_types, "--feature-type"))
        if self.label_thresholds:
            body["labelThresholds"] = dict(options.numbers(self.label_thresholds, "--label-threshold"))
        if self.extra_outputs:
            body["extraOutputs"] = dict(options.pairs(self.extra_outputs, "--extra-output"))
        return body


def described(folder: Path, body: JsonObject) -> bytes | None:
    """Return what is said of a custom model's folder, by its own file and by a body that registers it, which wins.

    None for models that say themselves what they are. Raises ModelBroken.
    """
    from scoreline.models import drum_folder  # noqa: PLC0415 -- start-up time of the other commands

    if not folder.is_dir() or not drum_folder.is_custom(folder):
        return None
    said = drum_folder.read_description(folder)
    said["target"] = {**said.get("target", {}), **body["target"]}
    said |= {name: body[name] for name in ("positiveClass", "features", "extraOutputs") if body.get(name)}
    return json.dumps(said, indent=1, sort_keys=True).encode() + b"\n"
