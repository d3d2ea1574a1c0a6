import threading
from dataclasses import replace

import pytest

from scoreline.errors import Conflict, Forbidden, InvalidRequest, NotFound
from scoreline.registry import packages, registered
from scoreline.types import Feature, FeatureType, TargetType
from tests.support.fixtures import one_database
from tests.unit.registry.conftest import BINARY, body


def test_a_package_says_what_the_artefact_says(store, people, inspected):
    sha256 = inspected(people.ann)
    package = packages.create_from_json(store, people.ann, body(sha256, target={"name": "late"}))
    assert (package.artifact, package.format, package.trusted) == (sha256, "lightgbm", False)
    assert (package.target_name, package.target_type) == ("late", TargetType.BINARY)
    assert (package.class_labels, package.positive_class, package.threshold) == (("no", "yes"), "yes", 0.5)
    assert package.features == BINARY.features
    assert (package.registered_model_name, package.version, package.active_deployments) == ("late flights", 1, 0)
    assert (package.owner.username, package.owner.org_id) == ("ann", people.ann.org_id)
    assert packages.get(store, people.bob, package.id) == package


def test_a_package_says_what_was_asked_for(store, people, inspected):
    package = packages.create_from_json(
        store,
        people.ann,
        body(
            inspected(people.ann, trusted=True),
            target={"name": "late", "type": "Binary", "classNames": ["on time", "late"], "predictionThreshold": 0.2},
            positiveClass="on time",
            features={"age": "integer"},
            modelId="my model",
            tags=[{"name": "stage", "value": "test"}],
        ),
    )
    assert (package.class_labels, package.positive_class, package.threshold) == (("on time", "late"), "on time", 0.2)
    assert package.features == (Feature("age", FeatureType.INTEGER), Feature("carrier", FeatureType.TEXT))
    assert (package.model_id, package.trusted) == ("my model", True)
    assert [(tag["name"], tag["value"], len(tag["id"])) for tag in package.tags] == [("stage", "test", 24)]
    assert package.description["location"].startswith("artifact:")


def test_the_document_for_prediction_servers(store, people, inspected):
    sha256 = inspected(people.ann)
    package = packages.create_from_json(store, people.ann, body(sha256))
    assert packages.serving_document(package) == {
        "deploymentId": None,
        "label": "late flights",
        "status": "active",
        "packageId": package.id,
        "artifact": sha256,
        "format": "lightgbm",
        "trusted": False,
        "targetName": "late",
        "targetType": "Binary",
        "classLabels": ["no", "yes"],
        "positiveClass": "yes",
        "threshold": 0.5,
        "labelThresholds": [],
        "extra": [],
        "features": [
            {"name": "age", "type": "numeric", "nullable": True, "optional": False},
            {"name": "carrier", "type": "text", "nullable": True, "optional": False},
        ],
        "associationId": [],
        "associationRequired": False,
        "boundaries": None,
        "warn": False,
        "approval": None,
    }


def test_a_model_elsewhere_is_kept_but_cannot_be_scored(store, people):
    external = body(target={"name": "y", "type": "Regression"}, modelDescription={"location": "s3://there"})
    package = packages.create_from_json(store, people.ann, external)
    assert (package.artifact, package.format, package.features, package.class_labels) == (None, None, (), None)
    assert package.description == {"location": "s3://there"}
    with pytest.raises(InvalidRequest, match="only describes a model that lives elsewhere"):
        packages.serving_document(package)
    with pytest.raises(InvalidRequest, match="does not name its classes"):
        packages.create_from_json(store, people.ann, body())


@one_database
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"target": {"name": "late", "type": "Regression"}}, "target.type"),
        ({"target": {"name": "late", "classNames": ["a", "b", "c"]}}, "target.classNames"),
        ({"target": {"type": "Binary"}}, "target.name"),
        ({"positiveClass": "maybe"}, "positiveClass"),
        ({"features": {"colour": "text"}}, "features"),
    ],
)
def test_contradictions_leave_nothing_behind(store, people, inspected, change, field):
    with pytest.raises(InvalidRequest) as caught:
        packages.create_from_json(store, people.ann, body(inspected(people.ann)) | change)
    assert caught.value.field == field
    assert registered.list_models(store, people.ann).total == 0


def test_the_models_own_target_name_will_do(store, people, inspected):
    sha256 = inspected(people.ann, replace(BINARY, target_name="own"))
    assert packages.create_from_json(store, people.ann, body(sha256, target=None)).target_name == "own"


def test_versions_of_the_same_name_count_up(store, people, inspected):
    sha256 = inspected(people.ann)
    first, second = (packages.create_from_json(store, people.ann, body(sha256)) for _ in range(2))
    by_id = packages.create_from_json(
        store, people.ann, body(sha256, name="third", registeredModelId=first.registered_model_id)
    )
    assert [(p.version, p.registered_model_id) for p in (second, by_id)] == [
        (2, first.registered_model_id),
        (3, first.registered_model_id),
    ]
    page = packages.list_packages(store, people.ann, registered_model_id=first.registered_model_id)
    assert ([p.version for p in page.items], page.total) == ([3, 2, 1], 3)
    page = packages.list_packages(store, people.ann, sort_key="name", descending=False, limit=1, offset=2)
    assert ([p.name for p in page.items], page.total) == (["third"], 3)
    assert packages.list_packages(store, people.ann, search="THIR").items == (by_id,)
    assert packages.list_packages(store, people.ann, model_id=second.model_id).items == (second,)
    model = registered.get(store, people.bob, first.registered_model_id)
    assert (model.last_version, model.name, model.target_type) == (3, "late flights", TargetType.BINARY)


def test_many_at_once_get_a_number_each(store, people, inspected):
    sha256, made = inspected(people.ann), []

    def create():
        made.extend(packages.create_from_json(store, people.ann, body(sha256)).version for _ in range(3))

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == list(range(1, 13))
    assert registered.list_models(store, people.ann).total == 1


def test_a_new_registered_model_needs_a_free_name(store, people, inspected):
    sha256 = inspected(people.ann)
    first = packages.create_from_json(store, people.ann, body(sha256, registeredModelName="flights"))
    assert first.registered_model_name == "flights"
    with pytest.raises(Conflict, match=f"`registeredModelId` {first.registered_model_id}"):
        packages.create_from_json(store, people.ann, body(sha256, registeredModelName="flights"))


def test_a_version_keeps_its_models_target(store, people, inspected):
    sha256 = inspected(people.ann)
    packages.create_from_json(store, people.ann, body(sha256))
    with pytest.raises(InvalidRequest, match="predicts 'late'"):
        packages.create_from_json(store, people.ann, body(sha256, target={"name": "later", "type": "Binary"}))


def test_who_may_register_what(store, people, inspected):
    sha256 = inspected(people.ann)
    package = packages.create_from_json(store, people.ann, body(sha256))
    with pytest.raises(Forbidden, match="observer"):
        packages.create_from_json(store, people.watcher, body(sha256, name="other"))
    with pytest.raises(Forbidden, match="does not own registered model 'late flights'"):
        packages.create_from_json(store, people.bob, body(sha256))
    assert packages.create_from_json(store, people.bob, body(sha256, name="mine")).version == 1
    assert packages.create_from_json(store, people.boss, body(sha256)).version == 2
    with pytest.raises(NotFound, match="artefact"):
        packages.create_from_json(store, people.eve, body(sha256))
    with pytest.raises(NotFound):
        packages.get(store, people.eve, package.id)
    with pytest.raises(NotFound):
        registered.get(store, people.eve, package.registered_model_id)
    external = body(target={"name": "late", "type": "Regression"}, registeredModelId=package.registered_model_id)
    with pytest.raises(NotFound, match="registered model"):
        packages.create_from_json(store, people.eve, external)
    assert packages.list_packages(store, people.eve).total == 0
    assert registered.list_models(store, people.eve).total == 0
    assert packages.get(store, people.predictor, package.id).id == package.id
    # The same name in another organisation is another model.
    assert packages.create_from_json(store, people.eve, body(inspected(people.eve, sha256=sha256))).version == 1


def test_registered_models_are_listed_renamed_and_archived(store, people, inspected):
    sha256 = inspected(people.ann)
    made = [packages.create_from_json(store, people.ann, body(sha256, name=name)) for name in ("b", "a", "c_%")]
    ids = [package.registered_model_id for package in made]

    def names(**options):
        return [model.name for model in registered.list_models(store, people.bob, **options).items]

    assert names(sort_key="name", descending=False) == ["a", "b", "c_%"]
    assert names(search="_%") == ["c_%"]
    assert names(target_name="late", target_type="Binary", sort_key="name", limit=1) == ["c_%"]
    assert names(target_type="Regression") == []
    with pytest.raises(InvalidRequest, match="createdAt, modifiedAt, name"):
        names(sort_key="size")
    assert registered.rename(store, people.ann, ids[0], "bb").name == "bb"
    with pytest.raises(Conflict, match="already"):
        registered.rename(store, people.ann, ids[0], "a")
    for caller, error in ((people.bob, Forbidden), (people.eve, NotFound), (people.watcher, Forbidden)):
        with pytest.raises(error):
            registered.rename(store, caller, ids[0], "z")
        with pytest.raises(error):
            registered.archive(store, caller, ids[0])
    registered.archive(store, people.boss, ids[0])
    assert registered.get(store, people.ann, ids[0]).archived_at is not None
    assert packages.get(store, people.ann, made[0].id).archived_at is not None
    assert "bb" not in names()
    assert made[0].id not in [package.id for package in packages.list_packages(store, people.ann).items]
    with pytest.raises(Conflict, match="archived"):
        packages.create_from_json(store, people.ann, body(sha256, registeredModelId=ids[0]))
