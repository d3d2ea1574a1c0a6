"""Every parameter that the official client sends with its lists is taken."""

from __future__ import annotations

import inspect
import warnings
from datetime import UTC, datetime

import pytest

VALUES = {
    "tags": ["a", "b"],
    "tag_keys": ["a"],
    "tag_values": ["b"],
    "target_type": "Binary",
    "prediction_threshold": 0.5,
    "role": "OWNER",
    "importance": ["HIGH", "LOW"],
    "is_a2a_agent": True,
    "service_health": ["failing"],
    "model_health": ["passing"],
    "accuracy_health": ["unknown"],
    "fairness_health": ["unknown"],
    "execution_environment_type": ["datarobot", "external"],
}


@pytest.fixture
def client(api):
    """The official client against the API alone."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using an empty collection for 'allowed_methods'", FutureWarning)
        datarobot = pytest.importorskip("datarobot")
        datarobot.Client(token=api.token, endpoint=api.endpoint)
        yield datarobot


def each_filter(kind):
    """Filters of a kind, each with one field set."""
    for name in inspect.signature(kind).parameters:
        value = VALUES.get(name, "x")
        if name.endswith(("_start", "_end")):
            value = datetime(2026, 1, 1, tzinfo=UTC)
        if name in {"imported", "for_challenger"}:
            value = True
        yield name, kind(**{name: value})


def taken(call, name, refused):
    """Call; note a parameter that is unknown. One that names what does not exist may be told so."""
    from datarobot.errors import ClientError

    try:
        call()
    except ClientError as error:
        if "There is no parameter" in str(error) or error.status_code not in {404, 422}:
            refused[name] = str(error)


def test_lists_of_registered_models(client, api):
    from datarobot.models.model_registry.registered_model import RegisteredModelListFilters

    refused = {}
    for name, filters in each_filter(RegisteredModelListFilters):
        taken(lambda filters=filters: client.RegisteredModel.list(filters=filters), name, refused)
    assert refused == {}
    options = {"search": "flights", "limit": 1, "offset": 0}
    for key in client.enums.RegisteredModelSortKey:
        client.RegisteredModel.list(
            sort_key=key, sort_direction=client.enums.RegisteredModelSortDirection.ASC, **options
        )


def test_lists_of_versions_and_their_deployments(client, api):
    from datarobot.models.model_registry.registered_model import RegisteredModelVersionsListFilters

    model = client.RegisteredModel.list()[0]
    refused = {}
    for name, filters in each_filter(RegisteredModelVersionsListFilters):
        taken(lambda filters=filters: model.list_versions(filters=filters), name, refused)
    assert refused == {}
    version = model.list_versions(search="flights", limit=1)[0]
    for key in client.enums.RegisteredModelDeploymentSortKey:
        options = {"sort_key": key, "sort_direction": client.enums.RegisteredModelSortDirection.DESC, "search": "a"}
        model.list_associated_deployments(**options, limit=1)
        version.list_associated_deployments(**options, limit=1)


def test_lists_of_deployments(client, api):
    from datarobot.models.deployment.deployment import DeploymentListFilters

    refused = {}
    for name, filters in each_filter(DeploymentListFilters):
        taken(lambda filters=filters: client.Deployment.list(filters=filters), name, refused)
    for key in (
        "label",
        "-serviceHealth",
        "modelHealth",
        "-accuracyHealth",
        "fairnessHealth",
        "recentPredictions",
        "-lastPredictionTimestamp",
        "currentModelDeployedTimestamp",
        "-createdAtTimestamp",
        "importance",
    ):
        taken(lambda key=key: client.Deployment.list(order_by=key, search="a", limit=1, offset=0), key, refused)
    assert refused == {}


def test_lists_of_jobs_servers_and_environments(client, api):
    for status in ("INITIALIZING", "RUNNING", "COMPLETED", "ABORTED", "FAILED"):
        client.BatchPredictionJob.list_by_status([status])
    client.BatchPredictionJob.list_by_status()
    client.PredictionServer.list()
    client.PredictionEnvironment.list()


def test_pages_are_followed(client, api):
    made = {api.deploy(f"paged {number}")[1] for number in range(3)}
    assert made <= {each.id for each in client.Deployment.list(limit=0)}
