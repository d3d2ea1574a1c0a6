"""Custom MLflow models as users write them. MLflow warns of each while this file is imported."""

import mlflow.pyfunc
import numpy as np
import pandas as pd


class Doubled(mlflow.pyfunc.PythonModel):
    """A number for each row."""

    def predict(self, context, model_input, params=None):
        assert model_input["rooms"].dtype == np.int64
        assert model_input["age"].dtype == np.float64
        return model_input["age"].fillna(0) * 2 + model_input["rooms"] + model_input["city"].str.len()


class Shares(mlflow.pyfunc.PythonModel):
    """Probabilities under the names of the classes."""

    def predict(self, context, model_input, params=None):
        share = 1 / (1 + np.exp(-model_input["rooms"] / 3))
        return pd.DataFrame({"no": 1 - share, "yes": share})


class Labels(mlflow.pyfunc.PythonModel):
    """Labels only."""

    def predict(self, context, model_input, params=None):
        return np.where(model_input["rooms"] > 3, "yes", "no")


class Explained(mlflow.pyfunc.PythonModel):
    """A prediction, and what else there is to say."""

    def predict(self, context, model_input, params=None):
        rooms = model_input["rooms"]
        note = [None if count == 1 else f"{count} rooms" for count in rooms]
        columns = {"low": rooms - 0.5, "Prediction": rooms * 1.5, "count": rooms, "large": rooms > 3, "note": note}
        return pd.DataFrame(columns)


class Counted(mlflow.pyfunc.PythonModel):
    """Whole numbers: classes or counts, who knows."""

    def predict(self, context, model_input, params=None):
        return (model_input["rooms"] > 3).astype(int)


class Picky(mlflow.pyfunc.PythonModel):
    """Refuses what it does not know."""

    def predict(self, context, model_input, params=None):
        if not model_input["city"].isin(["Bern", "Oslo", "Lima", "Köln"]).all():
            raise ValueError("unknown\ncity")
        return np.ones(len(model_input))


class Narrow(mlflow.pyfunc.PythonModel):
    """Sees the types of its signature, which MLflow insists on."""

    def predict(self, context, model_input, params=None):
        kinds = [str(kind) for kind in model_input.dtypes]
        assert kinds[:3] == ["int32", "float32", "bool"]
        assert kinds[3].startswith("datetime64")
        return model_input["n"] + model_input["day"].dt.day


class Array(mlflow.pyfunc.PythonModel):
    """Takes an array instead of a table."""

    def predict(self, context, model_input, params=None):
        assert isinstance(model_input, np.ndarray)
        return model_input.sum(axis=1)
