"""What the front and the model processes tell each other and the API about packages, models and callers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scoreline.errors import ServerUnavailable
from scoreline.types import (
    Boundaries,
    ExtraOutput,
    Feature,
    FeatureType,
    JsonObject,
    ModelInfo,
    ScoringPlan,
    TargetType,
)

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Artifact:
    """An unpacked model artefact on this machine. `trusted`: it may run code when it is loaded."""

    sha256: str
    trusted: bool
    path: Path

    @property
    def key(self) -> str:
        """Names the loaded model; the same artefact trusted and not is two."""
        return f"{self.sha256}{'+' if self.trusted else ''}"


@dataclass(frozen=True, slots=True)
class Package:
    """A model package as the API describes it to prediction servers.

    boundaries: of usual predictions, for requests that ask for warnings.
    """

    package_id: str
    artifact: str
    trusted: bool
    plan: ScoringPlan
    label: str = ""
    active: bool = True
    boundaries: Boundaries | None = None

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Package:
        """Read a serving document. Raises ServerUnavailable when the API's answer is not one."""
        try:
            plan = ScoringPlan(
                target_type=TargetType(document["targetType"]),
                target_name=document["targetName"],
                features=tuple(feature_from_json(item) for item in document["features"]),
                class_labels=tuple(document.get("classLabels") or ()),
                positive_class=document.get("positiveClass"),
                threshold=float(0.5 if document.get("threshold") is None else document["threshold"]),
                label_thresholds=tuple(map(float, document.get("labelThresholds") or ())),
                extra=tuple(
                    ExtraOutput(str(item["name"]), FeatureType(item["type"])) for item in document.get("extra") or ()
                ),
                association_id=tuple(document.get("associationId") or ()),
                association_required=bool(document.get("associationRequired")),
                outliers=_boundaries(document) if document.get("warn") else None,
                approval=document.get("approval"),
            )
            return cls(
                package_id=str(document["packageId"]),
                artifact=checked_sha256(document["artifact"]),
                trusted=bool(document["trusted"]),
                plan=plan,
                label=str(document.get("label") or document.get("deploymentId") or ""),
                active=str(document.get("status") or "active").lower() == "active",
                boundaries=_boundaries(document),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ServerUnavailable(
                f"The prediction server cannot read the API's description of a model package ({error!r}); "
                "run the same version of both."
            ) from None


def _boundaries(document: Mapping[str, Any]) -> Boundaries | None:
    found = document.get("boundaries")
    return None if found is None else Boundaries(found.get("lower"), found.get("upper"))


@dataclass(frozen=True, slots=True)
class Introspection:
    """Who a token belongs to. `package_ids` limits a run's token; None means no such limit."""

    user_id: str
    kind: str
    package_ids: frozenset[str] | None
    rights: frozenset[str]
    seconds: float | None

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Introspection | None:
        """Read the API's answer; None when the token is not valid."""
        if document.get("active") is not True:
            return None
        packages = document.get("packageIds")
        seconds = document.get("expiresIn")
        return cls(
            user_id=str(document.get("userId") or ""),
            kind=str(document.get("kind") or "user"),
            package_ids=None if packages is None else frozenset(map(str, packages)),
            rights=frozenset(map(str, document.get("rights") or ())),
            seconds=None if seconds is None else float(seconds),
        )


def checked_sha256(text: object) -> str:
    """`text` when it is a SHA-256 in lower-case hex; raises ValueError. It becomes a folder name."""
    if not isinstance(text, str) or _SHA256.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a SHA-256 in lower-case hex")
    return text


def feature_from_json(item: Mapping[str, Any]) -> Feature:
    """A feature from its JSON form. Raises KeyError or ValueError."""
    nullable, optional = bool(item.get("nullable", True)), bool(item.get("optional", False))
    return Feature(str(item["name"]), FeatureType(item["type"]), nullable, optional)


def info_to_json(info: ModelInfo) -> JsonObject:
    """What a model says about itself, with the API's camelCase keys."""
    return {
        "format": info.format,
        "targetType": info.target_type.value if info.target_type else None,
        "features": [
            {
                "name": feature.name,
                "type": feature.type.value,
                "nullable": feature.nullable,
                "optional": feature.optional,
            }
            for feature in info.features
        ],
        "classLabels": None if info.class_labels is None else list(info.class_labels),
        "targetName": info.target_name,
        "outputs": info.outputs,
        "extra": [{"name": extra.name, "type": extra.type.value} for extra in info.extra],
    }
