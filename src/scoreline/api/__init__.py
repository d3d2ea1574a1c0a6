"""HTTP in, JSON out: the Batch Prediction REST API. What requests mean is said in `jobs`, `registry` and `access`."""

from scoreline.api.app import create_app
from scoreline.api.server import serve

__all__ = ["create_app", "serve"]
