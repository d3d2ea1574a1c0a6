import pytest

from scoreline.errors import Forbidden, InvalidRequest, NotFound
from scoreline.registry import deployments, packages, settings
from scoreline.registry.settings import DeploymentSettings
from scoreline.types import Boundaries, Feature, FeatureType, ModelInfo, TargetType
from tests.support.fixtures import one_database
from tests.unit.registry.conftest import body

REGRESSION = ModelInfo("lightgbm", TargetType.REGRESSION, (Feature("x", FeatureType.NUMERIC),))
PLAIN = {
    "associationId": {"columnNames": [], "requiredInPredictionRequests": False},
    "targetDrift": {"enabled": False},
    "featureDrift": {"enabled": False},
    "predictionsDataCollection": {"enabled": False},
    "predictionIntervals": {"enabled": False, "percentiles": []},
    "predictionWarning": {"enabled": False, "customBoundaries": None},
    "segmentAnalysis": {"enabled": False, "attributes": []},
    "challengerModels": {"enabled": False},
    "predictionsByForecastDate": {"enabled": False, "columnName": None, "datetimeFormat": None},
    "biasAndFairness": None,
    "humility": {"enabled": False},
    "approval": {"enabled": False, "status": "APPROVED"},
}


@pytest.fixture
def deployment(store, people, inspected):
    request = body(inspected(people.ann, REGRESSION), target={"name": "late", "type": "Regression"})
    package = packages.create_from_json(store, people.ann, request)
    return deployments.create(store, people.ann, package.id, "flights")


def test_a_new_deployment_has_the_settings_of_one_that_nobody_has_changed(store, deployment):
    assert deployment.settings == DeploymentSettings()
    assert settings.document(deployment.settings) == PLAIN


def test_drift_is_switched_on_and_off_by_itself(store, people, deployment):
    def change(**wanted):
        deployments.change_settings(store, people.ann, deployment.id, wanted)
        shown = settings.document(deployments.get(store, people.bob, deployment.id).settings)
        return shown["targetDrift"]["enabled"], shown["featureDrift"]["enabled"]

    assert change(targetDrift={"enabled": True}) == (True, False)
    assert change(featureDrift={"enabled": True}, targetDrift={}) == (True, True)
    assert change(associationId={"columnNames": ["k"]}) == (True, True)
    assert change(targetDrift={"enabled": False}) == (False, True)


def test_changes_are_kept_section_by_section(store, people, deployment):
    def change(**wanted):
        return deployments.change_settings(store, people.ann, deployment.id, wanted).settings

    assert change(associationId={"columnNames": ["flight id"]}) == DeploymentSettings(association_id=("flight id",))
    change(associationId={"requiredInPredictionRequests": True})
    change(predictionWarning={"enabled": True, "customBoundaries": {"upper": 10, "lower": -2.5}})
    wanted = DeploymentSettings(("flight id",), True, True, 10.0, -2.5)
    with store.read() as connection:
        assert settings.get_in(connection, deployment.id) == wanted
    shown = settings.document(deployments.get(store, people.bob, deployment.id).settings)
    assert shown == PLAIN | {
        "associationId": {"columnNames": ["flight id"], "requiredInPredictionRequests": True},
        "predictionWarning": {"enabled": True, "customBoundaries": {"upper": 10.0, "lower": -2.5}},
    }
    off = change(predictionWarning={"enabled": False})
    assert (off.warning_enabled, off.warning_upper, off.warning_lower) == (False, 10.0, -2.5)
    assert change(predictionWarning={"customBoundaries": None}).warning_upper is None
    assert change(associationId={"columnNames": [], "requiredInPredictionRequests": False}) == DeploymentSettings()
    assert change(associationId=None) == DeploymentSettings()


@one_database
@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"asociationId": {}}, "asociationId"),
        ({"associationId": []}, "associationId"),
        ({"associationId": {"columns": ["x"]}}, "associationId.columns"),
        ({"associationId": {"columnNames": "x"}}, "associationId.columnNames"),
        ({"associationId": {"columnNames": [""]}}, "associationId.columnNames"),
        ({"associationId": {"columnNames": ["a", "b"]}}, "associationId.columnNames"),
        (
            {"associationId": {"requiredInPredictionRequests": True}},
            "associationId.requiredInPredictionRequests",
        ),
        (
            {"associationId": {"columnNames": ["a"], "requiredInPredictionRequests": "yes"}},
            "associationId.requiredInPredictionRequests",
        ),
        ({"predictionWarning": {"enabled": 1}}, "predictionWarning.enabled"),
        ({"predictionWarning": {"enabled": True}}, "predictionWarning.customBoundaries"),
        (
            {"predictionWarning": {"enabled": True, "customBoundaries": {"upper": "9"}}},
            "predictionWarning.customBoundaries.upper",
        ),
        (
            {"predictionWarning": {"customBoundaries": {"upper": True}}},
            "predictionWarning.customBoundaries.upper",
        ),
        (
            {"predictionWarning": {"customBoundaries": {"upper": 1, "lower": 2}}},
            "predictionWarning.customBoundaries",
        ),
        ({"approval": {"status": "MAYBE"}}, "approval.status"),
        ({"approval": {"status": "PENDING"}}, "approval.status"),
        ({"targetDrift": {"enabled": 1}}, "targetDrift.enabled"),
        ({"featureDrift": {"enabled": 0}}, "featureDrift.enabled"),
        ({"featureDrift": {"on": True}}, "featureDrift.on"),
        ({"featureDrift": True}, "featureDrift"),
        ({"predictionsDataCollection": {"enabled": True}}, "predictionsDataCollection"),
        ({"predictionIntervals": {"enabled": False, "percentiles": [80]}}, "predictionIntervals"),
        ({"segmentAnalysis": {"enabled": True, "attributes": ["a"]}}, "segmentAnalysis"),
        ({"challengerModels": {"enabled": True}}, "challengerModels"),
        ({"predictionsByForecastDate": {"enabled": True}}, "predictionsByForecastDate"),
        ({"biasAndFairness": {"fairnessThreshold": 0.8}}, "biasAndFairness"),
        ({"humility": {"enabled": True}}, "humility"),
    ],
)
def test_what_is_wrong_or_not_built_is_refused_by_name_and_nothing_changes(store, people, deployment, wanted, field):
    wanted = {"associationId": {"columnNames": ["k"]}} | wanted
    with pytest.raises(InvalidRequest) as caught:
        deployments.change_settings(store, people.ann, deployment.id, wanted)
    assert caught.value.field == field
    assert field in caught.value.message
    assert deployments.get(store, people.ann, deployment.id) == deployment


def test_what_is_off_may_be_turned_off(store, people, deployment):
    changed = deployments.change_settings(store, people.ann, deployment.id, PLAIN)
    assert settings.document(changed.settings) == PLAIN


def test_warnings_are_for_numbers(store, people, inspected):
    package = packages.create_from_json(store, people.ann, body(inspected(people.ann)))
    made = deployments.create(store, people.ann, package.id, "flights")
    warning = {"enabled": True, "customBoundaries": {"upper": 1, "lower": 0}}
    with pytest.raises(InvalidRequest, match="regression"):
        deployments.change_settings(store, people.ann, made.id, {"predictionWarning": warning})


def test_warnings_need_boundaries_of_the_deployment_or_a_baseline_of_its_model(store, people, deployment):
    package, enabled = deployment.package, {"predictionWarning": {"enabled": True}}
    with pytest.raises(InvalidRequest, match="--baseline"):
        deployments.change_settings(store, people.ann, deployment.id, enabled)
    quartiles = {"rows": 8, "lower_quartile": 1.0, "upper_quartile": 3.0}
    packages.set_baseline(store, people.ann, package.id, **quartiles)
    changed = deployments.change_settings(store, people.ann, deployment.id, enabled)
    assert (changed.package.usual, settings.document(changed.settings)["predictionWarning"]) == (
        Boundaries(-2.0, 6.0),
        {"enabled": True, "customBoundaries": None},
    )
    assert deployments.serving_document(changed)["boundaries"] == {"lower": -2.0, "upper": 6.0}
    custom = {"predictionWarning": {"customBoundaries": {"upper": 5}}}
    changed = deployments.change_settings(store, people.ann, deployment.id, custom)
    assert deployments.serving_document(changed)["boundaries"] == {"lower": None, "upper": 5.0}
    for wrong in ({"rows": 0}, {"lower_quartile": 4.0}, {"upper_quartile": float("inf")}):
        with pytest.raises(InvalidRequest):
            packages.set_baseline(store, people.ann, package.id, **quartiles | wrong)


def test_approval_is_an_admins(store, people, deployment):
    def change(caller, **approval):
        chosen = deployments.change_settings(store, caller, deployment.id, {"approval": approval}).settings
        return chosen.approval_enabled, chosen.approval_status

    assert change(people.ann, enabled=True) == (True, "PENDING")
    for wish in ({"status": "APPROVED"}, {"enabled": False}):
        with pytest.raises(Forbidden, match="admin"):
            change(people.ann, **wish)
    assert change(people.boss, status="APPROVED") == (True, "APPROVED")
    assert change(people.ann, enabled=True, status="APPROVED") == (True, "APPROVED")
    assert change(people.ann, status="PENDING") == (True, "PENDING")
    assert change(people.boss, enabled=True) == (True, "PENDING")
    assert change(people.boss, enabled=False) == (False, "APPROVED")
    assert change(people.boss, enabled=True) == (True, "APPROVED")


def test_a_model_that_somebody_replaces_waits_for_approval_again(people):
    approved = DeploymentSettings(approval_enabled=True)
    assert settings.after_replacement(approved, people.boss) == approved
    assert settings.after_replacement(approved, people.ann).approval_status == "PENDING"
    assert settings.after_replacement(DeploymentSettings(), people.ann) == DeploymentSettings()


def test_who_may_change_settings(store, people, deployment):
    wanted = {"associationId": {"columnNames": ["k"]}}
    with pytest.raises(NotFound):
        deployments.change_settings(store, people.eve, deployment.id, wanted)
    for caller in (people.bob, people.watcher):
        with pytest.raises(Forbidden):
            deployments.change_settings(store, caller, deployment.id, wanted)
    assert deployments.get(store, people.ann, deployment.id) == deployment
    deployments.change_settings(store, people.boss, deployment.id, wanted)


def test_settings_of_no_deployment(store, people, deployment):
    deployments.delete(store, people.ann, deployment.id)
    with store.read() as connection, pytest.raises(NotFound):
        settings.get_in(connection, deployment.id)
