"""One model of each kind of target, made so that its predictions can be worked out by hand, and deployed."""

from __future__ import annotations

import importlib
import io
import logging
import tarfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import httpx2
import joblib
import numpy as np
import pandas as pd

from tests.support.server import Server

GOLDEN = Path(__file__).parent.parent / "golden"


@dataclass(frozen=True)
class Kind:
    """A deployed model. passthrough: the columns that its golden files carry over."""

    name: str
    deployment_id: str
    package: dict
    passthrough: tuple[str, ...] = ("id",)

    def golden(self, what: str) -> bytes:
        return (GOLDEN / f"{self.name}.{what}").read_bytes()


def regression():
    """Rent: 1000, 2.5 for each unit of area, 100 for each room."""
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit(pd.DataFrame({"area": [0.0, 1.0], "rooms": [0.0, 1.0]}), [0.0, 1.0])
    model.coef_, model.intercept_ = np.array([2.5, 100.0]), 1000.0
    return model


def tree(column, counts):
    """A tree whose leaves have the classes so many times: `counts` is a dict of labels for each value 0, 1, ..."""
    from sklearn.tree import DecisionTreeClassifier

    rows = [(value, label) for value, some in enumerate(counts) for label, times in some.items() for _ in range(times)]
    frame = pd.DataFrame({column: [float(value) for value, _ in rows]})
    labels = [label for _, label in rows]
    return DecisionTreeClassifier(random_state=0).fit(frame, labels if isinstance(labels[0], str) else np.array(labels))


def binary():
    yes = 'yes, "now"'
    return tree("income", [{yes: 3, "no": 1}, {yes: 2, "no": 2}, {yes: 1, "no": 3}])


def multiclass():
    return tree("weight", [{"007": 2, "Köter": 7, "hen": 1}, {"007": 4, "Köter": 4, "hen": 2}])


def multilabel():
    """Red nine times and big twice in ten; red five times and big always."""
    return tree("size", [{(1, 1): 2, (1, 0): 7, (0, 0): 1}, {(1, 1): 5, (0, 1): 5}])


def anomaly():
    """The square of x: the distance from 0 with a variance of 1."""
    from sklearn.covariance import EllipticEnvelope

    model = EllipticEnvelope(random_state=0).fit(pd.DataFrame({"x": np.linspace(-1, 1, 30)}))
    model.location_, model.precision_ = np.zeros(1), np.ones((1, 1))
    return model


def clustering():
    """Two clusters, around 0 and around 10."""
    from sklearn.cluster import KMeans

    model = KMeans(2, n_init=1, random_state=0).fit(pd.DataFrame({"x": [0.0, 10.0]}))
    model.cluster_centers_ = np.array([[0.0], [10.0]])
    return model


def textgeneration(folder: Path) -> Path:
    import mlflow.pyfunc

    class Teller(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input: pd.DataFrame, params=None):
            pairs = zip(model_input["city"], model_input["rooms"], strict=True)
            return [f"{city} has {rooms} rooms,\nthey say." for city, rooms in pairs]

    return pyfunc(folder / "teller", Teller(), pd.DataFrame({"city": ["Rome"], "rooms": [2]}))


def extra(folder: Path) -> Path:
    import mlflow.pyfunc

    class Explained(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input: pd.DataFrame, params=None):
            rooms = model_input["rooms"]
            note = [None if count == 1 else f"{count} rooms" for count in rooms]
            columns = {"low": rooms - 0.5, "prediction": rooms * 1.5, "count": rooms, "large": rooms > 3}
            return pd.DataFrame(columns | {"note": note})

    return pyfunc(folder / "explained", Explained(), pd.DataFrame({"rooms": [2]}))


def pyfunc(path: Path, model, example: pd.DataFrame) -> Path:
    """Save a custom MLflow model with a signature. Without requirements of its own, MLflow loads it to find them."""
    import mlflow
    from mlflow.models import infer_signature

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    mlflow.pyfunc.save_model(path, python_model=model, signature=infer_signature(example), pip_requirements=[])
    return path


# What each is deployed with, beside its name.
BODIES = {
    "regression": {"target": {"name": "rent"}},
    "binary": {"target": {"name": "churn"}},
    "multiclass": {"target": {"name": "pet"}},
    "multilabel": {"target": {"name": "tags", "classNames": ["red", "big"]}, "labelThresholds": {"big": 0.1}},
    "anomaly": {},
    "clustering": {},
    "textgeneration": {"target": {"name": "resultText", "type": "TextGeneration"}},
    "extra": {"target": {"name": "price"}},
}
ESTIMATORS = (regression, binary, multiclass, multilabel, anomaly, clustering)


def deploy_all(server: Server, folder: Path) -> dict[str, Kind]:
    """Make and deploy one model of each kind."""
    files = {}
    for make in ESTIMATORS:
        files[make.__name__] = folder / f"{make.__name__}.joblib"
        joblib.dump(make(), files[make.__name__])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns of its own types, and of each model in a way of its own
        importlib.import_module("mlflow.pyfunc")
        warnings.simplefilter("ignore")
        files |= {"textgeneration": textgeneration(folder), "extra": extra(folder)}
    with server.http() as http:
        return {name: _deployed(http, name, file) for name, file in files.items()}


def _deployed(http: httpx2.Client, name: str, file: Path) -> Kind:
    query = {"filename": file.name, "trusted": "true"}
    uploaded = http.post("modelArtifacts/", params=query, content=_content(file))
    assert uploaded.status_code == 201, uploaded.text
    body = {"name": name, "modelDescription": {"location": uploaded.json()["location"]}, **BODIES[name]}
    package = http.post("modelPackages/fromJSON/", json=body)
    assert package.status_code == 201, package.text
    made = http.post("deployments/fromModelPackage/", json={"modelPackageId": package.json()["id"], "label": name})
    assert made.status_code == 202, made.text
    return Kind(name, made.json()["id"], package.json(), ("id", "note") if name == "extra" else ("id",))


def _content(file: Path) -> bytes:
    if file.is_file():
        return file.read_bytes()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.add(file, arcname=".")
    return out.getvalue()
