from dataclasses import replace as changed

import pytest

from scoreline.errors import Forbidden, InvalidRequest, NotFound
from scoreline.registry import deployments, packages, registered, replacement, servers, uses
from scoreline.types import Feature, FeatureType, ModelInfo, TargetType
from tests.support.fixtures import one_database
from tests.unit.registry.conftest import BINARY, body


def package(store, people, inspected, info=BINARY, *, target="late", **values):
    request = body(inspected(people.ann, info), **values)
    request["target"] = {"name": target, "type": info.target_type} | request.get("more", {})
    request.pop("more", None)
    return packages.create_from_json(store, people.ann, request)


@pytest.fixture
def scene(store, people, inspected):
    """A deployment, and a function that makes further packages."""
    count = iter(range(100))

    def make(info=BINARY, **values):
        return package(store, people, inspected, info, **({"name": f"model {next(count)}"} | values))

    first = make()
    made = deployments.create(store, people.ann, first.id, "flights")
    return made, make


def test_a_replacement_is_served_from_then_on_and_kept_in_the_history(store, people, scene):
    made, make = scene
    second, third = make(modelId="m2"), make()
    after, report = replacement.replace(store, people.ann, made.id, package_id=second.id, reason="ACCURACY")
    assert (report.status, after.package.id) == ("passing", second.id)
    assert after.model_deployed_at > made.model_deployed_at == made.created_at
    assert after.created_at == made.created_at
    replacement.replace(store, people.boss, made.id, package_id=third.id, reason="SCHEDULED_REFRESH")
    back, _ = replacement.replace(store, people.ann, made.id, model_id="m2", reason="ERRORS")
    assert deployments.get(store, people.bob, made.id) == back
    found = replacement.list_models(store, people.watcher, made.id)
    assert [(each.number, each.package_id, each.by.username, each.reason) for each in found] == [
        (4, second.id, "ann", "ERRORS"),
        (3, third.id, "boss", "SCHEDULED_REFRESH"),
        (2, second.id, "ann", "ACCURACY"),
        (1, made.package.id, "ann", None),
    ]
    assert [each.until for each in found] == [None, *(each.since for each in found[:-1])]
    assert found[0].since == back.model_deployed_at
    assert found[-1].since == made.created_at
    assert (found[0].model_id, found[0].package_name, found[0].version) == ("m2", second.name, 1)
    assert packages.get(store, people.ann, made.package.id).active_deployments == 0
    assert packages.get(store, people.ann, second.id).active_deployments == 1


def test_the_newest_package_of_a_model_id_is_taken(store, people, scene):
    made, make = scene
    older, newer = make(modelId="m"), make(modelId="m")
    after, _ = replacement.replace(store, people.ann, made.id, model_id="m", reason="OTHER")
    assert after.package.id == newer.id
    registered.archive(store, people.ann, make(modelId="m").registered_model_id)
    with pytest.raises(InvalidRequest, match="already"):
        replacement.replace(store, people.ann, made.id, model_id="m", reason="OTHER")
    assert older.id != newer.id


MULTI = ModelInfo("lightgbm", TargetType.MULTICLASS, BINARY.features, ("a", "b", "c"), outputs=3)
NUMBER = ModelInfo("lightgbm", TargetType.REGRESSION, BINARY.features)


@one_database
@pytest.mark.parametrize(
    ("info", "values", "status", "check", "words"),
    [
        (BINARY, {}, "passing", None, ""),
        (NUMBER, {}, "failing", "targetType", "Regression, not Binary"),
        (BINARY, {"target": "early"}, "failing", "target", "'early', not 'late'"),
        (changed(BINARY, class_labels=("no", "perhaps")), {}, "failing", "targetClasses", "'perhaps'"),
        (BINARY, {"positiveClass": "no"}, "failing", "targetClasses", "positive class"),
        (
            changed(BINARY, class_labels=("yes", "no")),
            {"positiveClass": "yes"},
            "warning",
            "targetClasses",
            "another order",
        ),
        (BINARY, {"more": {"predictionThreshold": 0.3}}, "warning", "predictionThreshold", "becomes 0.3; it was 0.5"),
        (
            changed(BINARY, features=(*BINARY.features, Feature("wind", FeatureType.NUMERIC))),
            {},
            "warning",
            "features",
            "'wind'",
        ),
        (changed(BINARY, features=BINARY.features[:1]), {}, "passing", None, ""),
        (
            changed(BINARY, features=tuple(changed(each, nullable=False) for each in BINARY.features)),
            {},
            "warning",
            "featureDataTypes",
            "may not be empty",
        ),
        (
            changed(BINARY, features=tuple(changed(each, type=FeatureType.TEXT) for each in BINARY.features)),
            {},
            "warning",
            "featureDataTypes",
            "is text, not",
        ),
    ],
    ids=[
        "same",
        "type",
        "target",
        "labels",
        "positive",
        "order",
        "threshold",
        "new column",
        "fewer columns",
        "gaps",
        "types",
    ],
)
def test_what_fits(store, people, scene, info, values, status, check, words):
    made, make = scene
    new = make(info, **values)
    report = replacement.validate(store, people.ann, made.id, package_id=new.id)
    assert report.status == status, report
    off = {name: each.status for name, each in report.checks.items() if each.status != "passing"}
    if check == "targetType":
        off.pop("targetClasses")  # a number has no classes
    assert off == ({} if check is None else {check: status})
    if check is not None:
        assert words in report.checks[check].message
        assert report.checks[check].message in report.message
    if status == "failing":
        with pytest.raises(InvalidRequest, match="cannot replace") as caught:
            replacement.replace(store, people.ann, made.id, package_id=new.id, reason="OTHER")
        assert caught.value.field == "modelPackageId"
        assert deployments.get(store, people.ann, made.id) == made
        assert len(replacement.list_models(store, people.ann, made.id)) == 1
    else:
        replacement.replace(store, people.ann, made.id, package_id=new.id, reason="OTHER")


def test_what_can_never_replace(store, people, scene):
    made, make = scene
    described = packages.create_from_json(
        store,
        people.ann,
        body(name="elsewhere", target={"name": "late", "type": "Binary", "classNames": ["no", "yes"]}),
    )
    archived = make()
    registered.archive(store, people.ann, archived.registered_model_id)
    for package_id, check in (
        (made.package.id, "notCurrentModel"),
        (described.id, "modelCanBeDeployed"),
        (archived.id, "modelStatus"),
    ):
        report = replacement.validate(store, people.ann, made.id, package_id=package_id)
        assert report.checks[check].status == report.status == "failing", check
        with pytest.raises(InvalidRequest):
            replacement.replace(store, people.ann, made.id, package_id=package_id, reason="OTHER")


def test_who_may_replace(store, people, scene):
    made, make = scene
    new = make()
    assert replacement.validate(store, people.bob, made.id, package_id=new.id).checks["permission"].status == "failing"
    for caller in (people.bob, people.watcher):
        with pytest.raises(Forbidden):
            replacement.replace(store, caller, made.id, package_id=new.id, reason="OTHER")
    for work in (
        lambda: replacement.replace(store, people.eve, made.id, package_id=new.id, reason="OTHER"),
        lambda: replacement.validate(store, people.eve, made.id, package_id=new.id),
        lambda: replacement.list_models(store, people.eve, made.id),
        lambda: replacement.validate(store, people.ann, made.id, package_id="0" * 24),
        lambda: replacement.validate(store, people.ann, made.id, model_id="nope"),
    ):
        with pytest.raises(NotFound):
            work()
    with pytest.raises(InvalidRequest, match="ACCURACY"):
        replacement.replace(store, people.ann, made.id, package_id=new.id, reason="why not")
    for both in ({}, {"package_id": new.id, "model_id": "m"}):
        with pytest.raises(InvalidRequest, match="one of them"):
            replacement.replace(store, people.ann, made.id, reason="OTHER", **both)
    assert deployments.get(store, people.ann, made.id) == made


def test_a_replaced_model_waits_for_approval(store, people, scene):
    made, make = scene
    deployments.change_settings(store, people.boss, made.id, {"approval": {"enabled": True}})
    by_ann, _ = replacement.replace(store, people.ann, made.id, package_id=make().id, reason="OTHER")
    assert by_ann.settings.approval_status == "PENDING"
    deployments.change_settings(store, people.boss, made.id, {"approval": {"status": "APPROVED"}})
    by_boss, _ = replacement.replace(store, people.boss, made.id, package_id=make().id, reason="OTHER")
    assert by_boss.settings.approval_status == "APPROVED"


def test_the_server_stays_and_a_gone_deployment_has_no_history(store, people, scene, inspected):
    _, make = scene
    server = servers.upsert(store, people.predictor, "other", "http://a:1", 1, slots=1)
    bound = deployments.create(store, people.ann, make().id, "bound", server_id=server.id)
    after, _ = replacement.replace(store, people.ann, bound.id, package_id=make().id, reason="OTHER")
    assert after.server == server
    deployments.delete(store, people.ann, bound.id)
    with pytest.raises(NotFound):
        replacement.list_models(store, people.ann, bound.id)


def test_where_versions_are_and_were_deployed(store, people, scene):
    made, make = scene
    first, second = made.package, make()
    other = deployments.create(store, people.boss, second.id, "weather")
    replacement.replace(store, people.boss, made.id, package_id=second.id, reason="OTHER")
    replacement.replace(store, people.boss, made.id, package_id=make().id, reason="OTHER")
    replacement.replace(store, people.ann, made.id, package_id=second.id, reason="OTHER")

    def shown(caller=people.bob, **which):
        found = uses.list_uses(store, caller, **which)
        return [(each.label, each.current, each.first_by.username) for each in found.items], found.total

    assert shown(package_id=first.id) == ([("flights", False, "ann")], 1)
    assert shown(registered_model_id=second.registered_model_id) == (
        [("weather", True, "boss"), ("flights", True, "boss")],
        2,
    )
    assert shown(package_id=second.id, sort_key="label", descending=False)[0][0][0] == "flights"
    assert shown(package_id=second.id, search="WEA") == ([("weather", True, "boss")], 1)
    assert shown(package_id=second.id, offset=1, limit=1) == ([("flights", True, "boss")], 2)
    assert shown(people.eve, package_id=second.id) == ([], 0)
    found = uses.list_uses(store, people.ann, package_id=second.id, search="flights").items[0]
    assert (found.first_at, found.owner.username, found.version) == (
        replacement.list_models(store, people.ann, made.id)[2].since,
        "ann",
        second.version,
    )
    deployments.delete(store, people.boss, other.id)
    assert shown(package_id=second.id) == ([("flights", True, "boss")], 1)
    with pytest.raises(InvalidRequest, match="sortKey"):
        uses.list_uses(store, people.ann, sort_key="id")
