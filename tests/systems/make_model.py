"""Fits a model, saves it for one server, and writes rows and the model's own predictions of them.

Run by the Python of that server's environment: `make_model.py drum|mlflow|mlserver FOLDER`. Nothing of Scoreline is
imported.
"""

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

CITIES = ["Köln", 'quo"te', "com,ma", "back\\slash", "tab\tbed", "New\nYork", "007"]


def data(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": rng.uniform(18, 90, rows),
            "visits": rng.integers(0, 40, rows),
            "city": rng.choice(CITIES, rows),
        }
    )


def fitted(frame: pd.DataFrame, model):
    score = frame["age"] / 10 + frame["visits"] / 8 + frame["city"].str.len() - 10
    labels = np.where(score > 1, "yes", "no") if isinstance(model, LogisticRegression) else score.to_numpy()
    columns = ColumnTransformer(
        [
            ("number", StandardScaler(), ["age", "visits"]),
            ("word", OneHotEncoder(handle_unknown="ignore"), ["city"]),
        ]
    )
    return make_pipeline(columns, model).fit(frame, labels)


def tellers(folder: Path) -> None:
    """Save two MLflow models that give texts: alone, and in a table with other columns."""
    import mlflow
    from mlflow.models import infer_signature

    def told(rows):
        return [f"{city} is {age:g},\nthey say" for city, age in zip(rows["city"], rows["age"], strict=True)]

    class Teller(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return told(model_input)

    class Table(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            texts = told(model_input)
            beside = {"tokens": [len(text) for text in texts], "doubt": model_input["age"] / 100}
            return pd.DataFrame({"doubt": beside["doubt"], "answer": texts, "tokens": beside["tokens"]})

    signature = infer_signature(data(2, 0)[["age", "city"]])
    for name, each in (("text", Teller()), ("table", Table())):
        mlflow.pyfunc.save_model(folder / name, python_model=each, signature=signature)


def main(system: str, folder: Path) -> None:
    train, rows = data(400, 0), data(300, 1)
    model = fitted(train, LogisticRegression(max_iter=1000))
    if system == "drum":
        for name, each in (("binary", model), ("regression", fitted(train, LinearRegression()))):
            (folder / name).mkdir()
            (folder / name / "model.pkl").write_bytes(pickle.dumps(each))
            if name == "regression":
                (folder / "regression.json").write_text(json.dumps(each.predict(rows).tolist()))
    elif system == "mlflow":
        import mlflow
        from mlflow.models import infer_signature

        signature = infer_signature(rows, model.predict_proba(rows))
        options = {"signature": signature, "pyfunc_predict_fn": "predict_proba"}
        mlflow.sklearn.save_model(model, folder / "binary", serialization_format="cloudpickle", **options)
        tellers(folder)
    else:
        import joblib

        (folder / "binary").mkdir()
        joblib.dump(model, folder / "binary" / "model.joblib")
        matrix = LogisticRegression(max_iter=1000).fit(train[["age", "visits"]].to_numpy(), model.predict(train))
        (folder / "matrix").mkdir()
        joblib.dump(matrix, folder / "matrix" / "model.joblib")
        (folder / "matrix.json").write_text(
            json.dumps(matrix.predict_proba(rows[["age", "visits"]].to_numpy()).tolist())
        )
    rows.to_csv(folder / "rows.csv", index=False)
    (folder / "binary.json").write_text(json.dumps(model.predict_proba(rows).tolist()))


main(sys.argv[1], Path(sys.argv[2]))
