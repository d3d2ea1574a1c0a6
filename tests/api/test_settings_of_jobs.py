"""Every setting that the public API has for a job: it is taken and shown, or refused by its name. None is ignored."""

from __future__ import annotations

import jsonschema_rs
import pytest

from scoreline import adapters
from scoreline.jobs import described, described_places, ticket
from scoreline.jobs import store as rows
from scoreline.jobs.checks import not_built
from scoreline.jobs.spec import JobSpec
from scoreline.types import Feature, FeatureType, ModelInfo, TargetType

CUSTOMER_KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
REGRESSION = ModelInfo("lightgbm", TargetType.REGRESSION, (Feature("x", FeatureType.NUMERIC),))

# The public API's fields and our own, each with a value that asks for something; `...` stands for a real id.
FIELDS = {
    "deploymentId": ...,
    "modelId": "m",
    "modelPackageId": ...,
    "pinnedModelId": ...,
    "predictionInstance": {"hostName": "h", "sslEnabled": False, "apiKey": "k", "datarobotKey": "d"},
    "secondaryDatasetsConfigId": "s",
    "resourceBundleId": "r",
    "numConcurrent": 3,
    "chunkSize": 1 << 20,
    "abortOnError": False,
    "disableRowLevelErrorHandling": True,
    "skipDriftTracking": True,
    "priority": 3,
    "retentionHours": 24,
    "webhooks": [{"url": "https://1.1.1.1/hook", "events": ["started", "aborted"]}],
    "passthroughColumns": ["id", ""],
    "passthroughColumnsSet": "all",
    "includePredictionStatus": True,
    "includeProbabilities": False,
    "includeProbabilitiesClasses": ["yes"],
    "predictionThreshold": 0.25,
    "predictionWarningEnabled": True,
    "columnNamesRemapping": {"late_PREDICTION": "p", "THRESHOLD": None},
    "maxExplanations": 3,
    "maxNgramExplanations": "all",
    "maxNGramExplanations": 2,
    "explanationAlgorithm": "shap",
    "thresholdHigh": 0.8,
    "thresholdLow": 0.2,
    "explanationNumTopClasses": 2,
    "explanationClassNames": ["yes"],
    "csvSettings": {"delimiter": "tab", "quotechar": "'", "encoding": "latin-1"},
    "timeseriesSettings": {"type": "forecast", "forecastPoint": "2026-01-01T00:00:00Z"},
    "batchJobType": "monitoring",
    "monitoringBatchPrefix": "b",
    "monitoringColumns": {"predictionsColumns": "p"},
    "monitoringAggregation": {"retentionPolicy": "samples", "retentionValue": 10},
    "monitoringOutputSettings": {"uniqueRowIdentifierColumns": ["id"], "monitoredStatusColumn": "st"},
    "intakeSettings": {"type": "localFile", "multipart": True, "async": False},
    "outputSettings": {"type": "localFile"},
}
STORE = {"dataStoreId": "d", "credentialId": "c", "schema": "s", "catalog": "k"}
CLOUD = {"cloudStorageType": "s3", "cloudStorageCredentialId": "c", "externalStage": "e"}
INTAKES = [
    {"type": "s3", "url": "s3://b/k.csv", "credentialId": "c", "endpointUrl": "http://e", "format": "csv"},
    {"type": "azure", "url": "https://a.blob.core.windows.net/c/b.csv", "credentialId": "c", "format": "parquet"},
    {"type": "gcp", "url": "gs://b/k.csv", "credentialId": "c", "format": "csv"},
    {"type": "http", "url": "https://example.com/x.csv"},
    {"type": "jdbc", **STORE, "query": "select 1", "fetchSize": 1000},
    {"type": "snowflake", **STORE, **CLOUD, "table": "t"},
    {"type": "synapse", **STORE, "externalDataSource": "e", "table": "t", "cloudStorageCredentialId": "c"},
    {"type": "bigquery", "dataset": "d", "table": "t", "bucket": "b", "credentialId": "c"},
    {"type": "datasphere", **STORE, "table": "t"},
    {"type": "dataset", "datasetId": "d", "datasetVersionId": "v"},
    {"type": "dss", "projectId": "p", "datasetId": "d", "partition": "holdout"},
    {"type": "dataStage", "dataStageId": "d"},
    {"type": "databricks", **STORE, "table": "t"},
    {"type": "trino", **STORE, "table": "t"},
    {"type": "recipe", "recipeId": "r"},
    {"type": "filesystem", "path": "in.csv"},
]
TABLE = {"table": "t", "statementType": "insert_update", "updateColumns": ["a"], "whereColumns": ["id"]}
OUTPUTS = [
    {"type": "s3", "url": "s3://b/o/", "partitionColumns": ["a"], "serverSideEncryption": {"algorithm": "AES256"}},
    {"type": "azure", "url": "https://a.blob.core.windows.net/c/o", "partitionColumns": ["a"]},
    {"type": "gcp", "url": "gs://b/o", "credentialId": "c"},
    {"type": "http", "url": "https://example.com/x", "method": "PUT", "headers": {"a": "b"}},
    {"type": "jdbc", **STORE, **TABLE, "createTableIfNotExists": True, "commitInterval": 600},
    {"type": "snowflake", **STORE, **CLOUD, **TABLE},
    {"type": "synapse", **STORE, **TABLE, "externalDataSource": "e"},
    {"type": "bigquery", "dataset": "d", "table": "t", "bucket": "b", "credentialId": "c"},
    {"type": "datasphere", **STORE, "table": "t"},
    {"type": "databricks", **STORE, **TABLE},
    {"type": "trino", **STORE, **TABLE},
    {"type": "tableau", "url": "http://t", "dataSourceId": "d", "overwrite": True, "credentialId": "c"},
    {"type": "filesystem", "path": "out.csv"},
]


def ask(api, body, deployment_id=None):
    if not {"modelId", "modelPackageId"} & set(body):
        body = {"deploymentId": deployment_id or api.deployment_id} | body
    with api.client() as client:
        return client.post("batchPredictions/", json=body)


@pytest.fixture(scope="module")
def regression(module_api):
    _, deployment_id = module_api.deploy("numbers", REGRESSION)
    with module_api.client() as client:
        warning = {"predictionWarning": {"enabled": True, "customBoundaries": {"upper": 1, "lower": 0}}}
        assert client.patch(f"deployments/{deployment_id}/settings/", json=warning).status_code == 202
    return deployment_id


@pytest.mark.parametrize("name", FIELDS)
def test_a_setting_is_shown_or_refused(api, regression, name):
    value = FIELDS[name]
    if value is ...:
        value = api.deployment_id if name == "deploymentId" else api.package_id
    response = ask(api, {name: value}, regression if name == "predictionWarningEnabled" else None)
    own = described.OTHER_SPELLINGS.get(name, name)
    if own in not_built():
        assert response.status_code == 422
        assert own in response.json()["errors"]
        assert "not supported yet" in response.json()["message"]
    elif name == "modelId":
        assert response.status_code == 404  # there is no such model
        assert "'m'" in response.json()["message"]
    elif name == "predictionInstance":
        assert response.status_code == 403  # it takes the right `servers`
    else:
        assert response.status_code == 202, response.text
        assert response.json()["jobSpec"][own] == value


@pytest.mark.parametrize("name", sorted(not_built()))
def test_what_asks_for_nothing_is_taken(api, name):
    for value in described.asked_schema()["properties"][name]["enum"]:
        assert ask(api, {name: value}).status_code == 202, value


@pytest.mark.parametrize(
    ("side", "given"),
    [
        (side, each)
        for side, every in (("intake", INTAKES), ("output", OUTPUTS))
        for each in every
        if each["type"] == "filesystem" or each["type"] not in adapters.names(side)
    ],
)
def test_a_type_that_is_not_built_or_open_is_refused(api, side, given):
    response = ask(api, {f"{side}Settings": given})
    assert response.status_code == 422
    assert f"{side}Settings.type" in response.json()["errors"]
    assert given["type"] in response.json()["message"]


def test_the_lists_are_whole():
    assert {name for name in FIELDS if name not in described.OTHER_SPELLINGS} == set(described.ALL)
    assert set(described.ALL) >= set(JobSpec().to_document())
    readable = {name for name, entry in adapters.REGISTRY.items() if entry.read}
    writable = {name for name, entry in adapters.REGISTRY.items() if entry.write}
    assert {each["type"] for each in INTAKES} | {"localFile"} == readable
    assert {each["type"] for each in OUTPUTS} | {"localFile"} == writable
    assert set(described_places.INTAKES) == set(adapters.names("intake"))
    assert set(described_places.OUTPUTS) == set(adapters.names("output"))


WRONG_OBJECTS = [
    {},
    {"url": "b/k"},
    {"url": "s3://b"},
    {"url": "s3:///k"},
    {"url": "s3://user@b/k"},
    {"url": "s3://b/k", "format": "xml"},
    {"url": "s3://b/k", "endpointUrl": "ftp://e"},
    {"url": "s3://b/k", "ifExists": "error"},
]
WRONG_ENCRYPTION = [{"algorithm": "rot13"}, {"customerAlgorithm": "DES"}, {"customerKey": 1}, {"more": "x"}]
WRONG = [
    ("numConcurrent", [0, 257, 1.5, "2", True]),
    ("chunkSize", [0, "huge", True, (40 << 20) + 1, 1.5]),
    ("abortOnError", [1, "true", 0]),
    ("passthroughColumns", ["a", [1], {"a": "b"}]),
    ("passthroughColumnsSet", ["some", 1, ["all"]]),
    ("includeProbabilitiesClasses", ["yes", [1]]),
    ("predictionThreshold", [-0.1, 1.1, "0.5", True]),
    ("columnNamesRemapping", ["a", {"a": ""}, {"a": 1}, [{"outputName": "b"}], [{"inputName": "a", "to": "b"}]]),
    ("maxExplanations", [-1, 101, "all", 1.5, True]),
    ("explanationNumTopClasses", [0, 11]),
    ("csvSettings", [[], {"delimiter": ""}, {"delimiter": ";;"}, {"delimiter": "\n"}, {"quotechar": "é"}, {"a": 1}]),
    ("batchJobType", ["other", 1]),
    ("intakeSettings", ["localFile", {"type": 1}, {"multipart": 1}, {"async": "false"}, {"type": "nothing"}]),
    ("outputSettings", [[], {"path": "x"}]),
    ("intakeSettings", [{"type": "s3", **each} for each in WRONG_OBJECTS]),
    ("outputSettings", [{"type": "s3", "url": "s3://b/k", "serverSideEncryption": each} for each in WRONG_ENCRYPTION]),
    ("deploymentId", ["", 1, ["a"]]),
    ("webhooks", ["http://h/", [{}], [{"url": "ftp://h/"}], [{"url": "http://h/", "events": []}], [["url"]]]),
    ("webhooks", [[{"url": "http://h/", "events": ["over"]}], [{"url": "http://h/", "secret": 1}]]),
    ("webhooks", [[{"url": "http://h/", "headers": {}}], [{"url": "http://1.1.1.1/"}] * 11]),
]


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG for value in values])
def test_wrong_values_are_refused_and_described_as_wrong(api, name, value):
    response = ask(api, {name: value})
    assert response.status_code == 422
    assert all(field == name or field.startswith(f"{name}.") for field in response.json()["errors"])
    validator = jsonschema_rs.Draft202012Validator(described.asked_schema())
    assert not validator.is_valid({"deploymentId": "d", name: value})


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in not_built() and FIELDS[name] is not ...])
def test_good_values_are_described_as_good(name):
    if described.OTHER_SPELLINGS.get(name) not in not_built():
        validator = jsonschema_rs.Draft202012Validator(described.asked_schema())
        assert validator.is_valid({"deploymentId": "d", name: FIELDS[name]})


@pytest.mark.parametrize(
    "settings",
    [
        {"serverSideEncryption": {"algorithm": "AES256", "kmsKeyId": "k"}},
        {"serverSideEncryption": {"customerKey": "c2hvcnQ="}},
        {"serverSideEncryption": {"customerAlgorithm": "AES256"}},
        {"serverSideEncryption": {"algorithm": "AES256", "customerKey": CUSTOMER_KEY}},
        {"serverSideEncryption": {"algorithm": "aws:kms", "kmsEncryptionContext": "no base64"}},
        {"serverSideEncryption": {"customerKey": "[redacted]"}},
        {"url": "s3://b/folder/"},
        {"partitionColumns": ["a"]},
    ],
)
def test_settings_of_an_object_that_go_together_badly(api, settings):
    response = ask(api, {"outputSettings": {"type": "s3", "url": "s3://b/k", **settings}})
    assert response.status_code == 422
    assert all(field.startswith("outputSettings.") for field in response.json()["errors"])


@pytest.mark.parametrize(
    ("kind", "url", "said"),
    [
        ("gcp", "gs:/bucket/k", "gs://bucket/object"),
        ("gcp", "https://example.com/b/k", "gs://bucket/object"),
        ("azure", "https://a.blob.core.windows.net/c", "CONTAINER/BLOB"),
        (
            "azure",
            "https://a.blob.core.windows.net/c/b?sv=1&sig=abc",
            "store a shared access signature as a credential",
        ),
        ("azure", "http://[::1/c/b", "cannot be read"),
    ],
)
def test_urls_that_name_no_object(api, kind, url, said):
    response = ask(api, {"intakeSettings": {"type": kind, "url": url}})
    assert response.status_code == 422
    assert said in response.json()["message"]
    assert list(response.json()["errors"]) == ["intakeSettings.url"]


def test_a_customers_key_is_sealed_and_shown_to_nobody(api):
    body = {"outputSettings": {"type": "s3", "url": "s3://b/k", "serverSideEncryption": {"customerKey": CUSTOMER_KEY}}}
    made = ask(api, {"intakeSettings": {"type": "s3", "url": "s3://b/k"}, **body})
    assert made.status_code == 202, made.text
    spec = made.json()["jobSpec"]
    assert spec["outputSettings"]["serverSideEncryption"]["customerKey"] == "[redacted]"
    assert "outputSettings.serverSideEncryption.customerKey" in spec["redactedFields"]
    with api.store.read() as connection:
        stored = rows.find(connection, made.json()["id"])
    assert CUSTOMER_KEY not in repr(stored)
    built = ticket.for_removal(api.store, api.spool.url, stored, api.settings)
    assert built.output["serverSideEncryption"]["customerKey"] == CUSTOMER_KEY
    with api.client() as client:
        again = client.post("batchPredictions/fromExisting/", json={"predictionJobId": made.json()["id"]})
    with api.store.read() as connection:
        copied = rows.find(connection, again.json()["id"])
    built = ticket.for_removal(api.store, api.spool.url, copied, api.settings)
    assert built.output["serverSideEncryption"]["customerKey"] == CUSTOMER_KEY
