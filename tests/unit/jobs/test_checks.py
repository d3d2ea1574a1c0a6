from dataclasses import replace

import pytest

from scoreline import adapters
from scoreline.errors import InvalidRequest
from scoreline.jobs import checks, fitting, plans
from scoreline.jobs.spec import JobSpec
from scoreline.jobs.target import Target
from scoreline.settings import Settings
from scoreline.types import Boundaries, ErrorPlan, Feature, FeatureType, RunLimits, TargetType
from tests.unit.jobs.world import TARGET

REGRESSION = Target("price", TargetType.REGRESSION, (Feature("rooms", FeatureType.INTEGER),))
MULTICLASS = Target("kind", TargetType.MULTICLASS, (), ("a", "b", "c"))


def spec(**document):
    return JobSpec.from_document({"deploymentId": "d1", **document})


def refused(field, check, *arguments):
    with pytest.raises(InvalidRequest) as caught:
        check(*arguments)
    assert caught.value.field == field
    return caught.value.message


NOT_BUILT = {
    "secondaryDatasetsConfigId": "s",
    "resourceBundleId": "r",
    "maxExplanations": 3,
    "maxNgramExplanations": "all",
    "thresholdHigh": 0.8,
    "thresholdLow": 0,
    "explanationNumTopClasses": 1,
    "explanationClassNames": ["a"],
    "timeseriesSettings": {"type": "forecast"},
    "batchJobType": "monitoring",
    "monitoringBatchPrefix": "p",
    "monitoringColumns": {},
    "monitoringAggregation": {},
    "monitoringOutputSettings": {},
}


@pytest.mark.parametrize("field", NOT_BUILT)
def test_what_is_not_built_is_refused_by_name(field):
    message = refused(field, checks.check_built, spec(**{field: NOT_BUILT[field]}))
    assert message.startswith(field)


def test_defaults_written_out_are_no_request_for_anything():
    checks.check_built(spec(**{**spec().to_document(), "predictionWarningEnabled": False}))
    checks.check_built(spec(skipDriftTracking=True, explanationClassNames=[], explanationAlgorithm="xemp"))


NEEDS = {
    "filesystem": {"path": "a.csv"},
    "s3": {"url": "s3://bucket/a.csv"},
    "azure": {"url": "https://account.blob.core.windows.net/container/a.csv"},
    "gcp": {"url": "gs://bucket/a.csv"},
    "http": {"url": "https://host/a.csv"},
    "dataset": {"datasetId": "0" * 24},
}
MORE = {("http", "output"): {"method": "PUT"}}


@pytest.mark.parametrize("kind", adapters.REGISTRY)
def test_every_type_is_built_or_refused_by_name(kind):
    for side, field in (("intake", "intakeSettings"), ("output", "outputSettings")):
        if kind in adapters.names(side):
            checks.check_built(
                spec(**{field: {"type": kind, **NEEDS.get(kind, {}), **MORE.get((kind, side), {})}}), files_open=True
            )
        else:
            assert kind in refused(f"{field}.type", checks.check_built, spec(**{field: {"type": kind}}))


def test_local_files_have_few_settings():
    checks.check_built(spec(intakeSettings={"type": "localFile", "multipart": True, "async": False}))
    for key, value in (("multipart", "yes"), ("async", 0), ("url", "x"), ("contentLength", 5)):
        refused(f"intakeSettings.{key}", checks.check_built, spec(intakeSettings={"type": "localFile", key: value}))
    refused("outputSettings.path", checks.check_built, spec(outputSettings={"type": "localFile", "path": "x"}))


def test_files_of_the_server_need_an_open_folder_and_a_path_in_it():
    for side in ("intakeSettings", "outputSettings"):
        given = spec(**{side: {"type": "filesystem", "path": "a.csv"}})
        assert "SCORELINE_FILES_DIR" in refused(f"{side}.type", checks.check_built, given)
        for wrong in ({}, {"path": ""}, {"path": "../a"}, {"path": 1}, {"path": "a", "x": 1}):
            bad = spec(**{side: {"type": "filesystem", **wrong}})
            with pytest.raises(InvalidRequest) as caught:
                checks.check_built(bad, files_open=True)
            assert caught.value.field.startswith(f"{side}.")


def test_classes_must_be_the_deployments():
    fitting.check_target(spec(includeProbabilitiesClasses=["c", "a"]), MULTICLASS)
    fitting.check_target(spec(includeProbabilitiesClasses=["yes", "yes"]), TARGET)
    message = refused(
        "includeProbabilitiesClasses", fitting.check_target, spec(includeProbabilitiesClasses=["a", "d"]), MULTICLASS
    )
    assert "'d'" in message
    assert "'a', 'b', 'c'" in message


@pytest.mark.parametrize(
    ("target", "asked", "ignored"),
    [
        (TARGET, {"predictionThreshold": 0, "includeProbabilities": False}, []),
        (MULTICLASS, {"predictionThreshold": 0.5, "includeProbabilities": False}, ["predictionThreshold"]),
        (REGRESSION, {"predictionThreshold": 0.5}, ["predictionThreshold"]),
        (REGRESSION, {"includeProbabilities": False}, ["includeProbabilities"]),
        (REGRESSION, {"includeProbabilitiesClasses": ["a"]}, ["includeProbabilitiesClasses"]),
        (replace(MULTICLASS, type=TargetType.MULTILABEL), {"predictionThreshold": 1}, ["predictionThreshold"]),
    ],
)
def test_options_for_other_targets_are_ignored_and_the_job_log_says_so(target, asked, ignored):
    fitting.check_target(spec(**asked), target)
    notes = plans.scoring(spec(**asked), target).notes
    assert [note.split()[0] for note in notes] == ignored


@pytest.mark.parametrize("kind", [TargetType.UNSTRUCTURED, TargetType.AGENTIC_WORKFLOW])
def test_targets_without_output_columns_are_refused(kind):
    with pytest.raises(InvalidRequest, match=kind):
        fitting.check_target(spec(), Target("t", kind, ()))


USUAL = Boundaries(1.0, 9.0)


@pytest.mark.parametrize(
    ("asked", "warn", "boundaries", "outliers"),
    [
        (None, False, USUAL, None),
        (None, True, USUAL, USUAL),
        (None, True, None, None),
        (False, True, USUAL, None),
        (True, False, USUAL, USUAL),
    ],
)
def test_outliers_are_marked_where_the_job_or_else_the_deployment_says_so(asked, warn, boundaries, outliers):
    target = replace(REGRESSION, warn=warn, boundaries=boundaries)
    fitting.check_target(spec(predictionWarningEnabled=asked), target)
    plan = plans.scoring(spec(predictionWarningEnabled=asked), target)
    assert plan.outliers == outliers
    assert len(plan.notes) == (warn and boundaries is None)


def test_outliers_cannot_be_marked_without_boundaries_or_of_classes():
    message = refused("predictionWarningEnabled", fitting.check_target, spec(predictionWarningEnabled=True), REGRESSION)
    assert "customBoundaries" in message
    assert "--baseline" in message
    target = replace(MULTICLASS, boundaries=USUAL)
    message = refused("predictionWarningEnabled", fitting.check_target, spec(predictionWarningEnabled=True), target)
    assert "regression" in message


def test_the_plan_takes_the_models_side_from_the_target_and_the_rest_from_the_spec():
    made = plans.scoring(
        spec(
            passthroughColumns=["id"],
            includePredictionStatus=True,
            includeProbabilities=False,
            includeProbabilitiesClasses=["yes", "yes"],
            columnNamesRemapping={"id": "key"},
        ),
        TARGET,
    )
    assert (made.target_name, made.target_type, made.features) == ("late", TargetType.BINARY, TARGET.features)
    assert (made.class_labels, made.positive_class, made.threshold) == (("no", "yes"), "yes", 0.5)
    assert (made.passthrough, made.include_status, made.include_probabilities) == (("id",), True, False)
    assert (made.include_classes, made.remap) == (("yes",), (("id", "key"),))
    assert plans.scoring(spec(predictionThreshold=0), TARGET).threshold == 0


def test_pace_and_errors_follow_the_spec():
    pace = plans.pace(spec(chunkSize=20, numConcurrent=7))
    assert (pace.chunk_size, pace.concurrency) == (20, 7)
    plain = Settings()
    errors = plans.errors(spec(abortOnError=False, disableRowLevelErrorHandling=True), plain)
    assert (errors.abort_on_error, errors.row_level) == (False, False)
    assert plans.errors(spec(), plain) == ErrorPlan()
    assert plans.limits(plain, kept=True) == RunLimits()


def test_an_installation_has_its_own_limits():
    own = Settings(abort_failed_rows=5, abort_failed_share=0.5, abort_first_rows=7, refusal_calls=9, answer_seconds=11)
    errors = plans.errors(spec(), own)
    assert (errors.max_failed_rows, errors.max_failed_share, errors.all_failed_rows) == (5, 0.5, 7)
    assert plans.limits(own, kept=True) == RunLimits(answer_seconds=11, refusal_calls=9)
