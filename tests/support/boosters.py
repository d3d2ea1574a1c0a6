"""Small LightGBM models, deployed, with their predictions computed by LightGBM itself."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.support.server import Server

COLUMNS = ("age", "distance", "delay")


@dataclass(frozen=True)
class Booster:
    """A deployed model."""

    deployment_id: str
    target: str
    labels: tuple[str, ...]
    booster: object

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Return the model's own output: [rows], or [rows, classes] for several classes."""
        return self.booster.predict(rows, num_threads=1)


@dataclass(frozen=True)
class Boosters:
    binary: Booster
    regression: Booster
    multiclass: Booster


def train(server: Server, folder: Path) -> Boosters:
    """Train one model of each kind and deploy it."""
    import lightgbm

    rng = np.random.default_rng(7)
    rows = rng.normal(size=(3000, len(COLUMNS)))
    score = rows[:, 0] + 0.5 * rows[:, 1] + 0.2 * rng.normal(size=3000)
    kinds = {
        "binary": (score > 0, {"objective": "binary"}, ("no", "yes")),
        "regression": (score, {"objective": "regression"}, ()),
        "multiclass": (
            np.digitize(score, [-0.5, 0.5]),
            {"objective": "multiclass", "num_class": 3},
            ("low", "mid", "high"),
        ),
    }
    made = {}
    for kind, (target, options, labels) in kinds.items():
        data = lightgbm.Dataset(rows, target.astype(float), feature_name=list(COLUMNS))
        params = options | {"verbose": -1, "num_leaves": 7, "num_threads": 1, "seed": 1, "deterministic": True}
        booster = lightgbm.train(params, data, 15)
        file = folder / f"{kind}.txt"
        booster.save_model(file)
        fields = {"classNames": list(labels)} if labels else {}
        made[kind] = Booster(server.deploy(file, kind, "late", **fields), "late", labels, booster)
    return Boosters(**made)


def sample(count: int, seed: int = 1) -> np.ndarray:
    """Return rows to score."""
    return np.round(np.random.default_rng(seed).normal(size=(count, len(COLUMNS))), 4)


def as_csv(
    rows: np.ndarray, ids: list[str] | None = None, *, delimiter: str = ",", encoding: str = "utf-8", end: str = "\n"
) -> bytes:
    """Return rows of the first columns as a CSV, with a column `id` of texts in front if there are any."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end)
    writer.writerow([*(["id"] if ids else []), *COLUMNS[: rows.shape[1]]])
    for number, row in enumerate(rows.tolist()):
        writer.writerow([*([ids[number]] if ids else []), *map(repr, row)])
    return out.getvalue().encode(encoding)


def read_csv(data: bytes, *, delimiter: str = ",", encoding: str = "utf-8") -> dict[str, list[str]]:
    """Return a CSV's columns as texts."""
    header, *rows = csv.reader(io.StringIO(data.decode(encoding), newline=""), delimiter=delimiter)
    assert all(len(row) == len(header) for row in rows)
    return {name: [row[place] for row in rows] for place, name in enumerate(header)}
