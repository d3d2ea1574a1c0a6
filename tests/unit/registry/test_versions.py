from dataclasses import replace
from datetime import timedelta

from scoreline.registry import environments, packages, registered
from scoreline.registry.versions import VersionFilters
from scoreline.store import now
from scoreline.types import TargetType
from tests.unit.registry.conftest import BINARY, body


def test_versions_and_models_are_found_by_what_they_are(store, people, inspected):
    def make(name, info=BINARY, **values):
        request = body(inspected(people.ann, info), name=name) | values
        return packages.create_from_json(store, people.ann, request)

    def tag(name, value):
        return {"name": name, "value": value}

    plain = make("plain", tags=[tag("team", "50 % é"), tag("x", "1")])
    strict = make("strict", target={"name": "late", "type": "Binary", "predictionThreshold": 0.25})
    labels = make("labels", replace(BINARY, class_labels=("a", "b")), tags=[tag("y", "team")])
    number = make(
        "number",
        replace(BINARY, target_type=TargetType.REGRESSION, class_labels=None, outputs=1),
        target={"name": "delay", "type": "Regression"},
        registeredModelDescription="minutes",
    )
    far = make("far", modelDescription={}, target={"name": "delay", "type": "Regression"})
    everything = {"plain", "strict", "labels", "number", "far"}

    def found(**wanted):
        """Names that the filter finds: of versions, and of the models that have them, which must be the same."""
        filters = VersionFilters(**wanted)
        listed = {each.name for each in packages.list_packages(store, people.bob, filters=filters).items}
        models = {each.name for each in registered.list_models(store, people.bob, versions=filters).items}
        assert models == listed
        return listed

    assert found() == everything
    assert found(target_name="delay") == {"number", "far"}
    assert found(target_type="Binary") == {"plain", "strict", "labels"}
    assert found(like=plain) == {"plain", "strict"}
    assert found(like=labels) == {"labels"}
    assert found(like=number) == {"number", "far"}
    assert found(threshold=0.25) == {"strict"}
    assert found(threshold=0.5) == {"plain", "labels"}
    assert found(tags=("team",)) == {"plain", "labels"}
    assert found(tags=("50 % é", "nope")) == {"plain"}
    assert found(tags=("50%",)) == set()
    assert found(nothing=True) == set()
    for formats, wanted in (
        (["externalModel"], {"far"}),
        (["datarobot", "customModel"], everything - {"far"}),
        (["datarobotScoringCode"], set()),
        ([], everything),
    ):
        place = environments.create(store, people.ann, "place", "aws", formats=formats)
        assert found(environment=place) == wanted
    assert packages.list_packages(store, people.bob, sort_key="modelType").total == 5
    assert strict.threshold == 0.25
    assert far.artifact is None


def test_models_are_found_by_who_made_them_and_when(store, people, inspected):
    before = now()
    first = packages.create_from_json(store, people.ann, body(inspected(people.ann), name="first"))
    between = now()
    packages.create_from_json(
        store, people.bob, body(first.artifact, name="second", registeredModelDescription="of Bob's 100%")
    )
    after = now() + timedelta(seconds=1)
    packages.create_from_json(store, people.ann, body(first.artifact, registeredModelId=first.registered_model_id))

    def names(**wanted):
        return "".join(each.name[0] for each in registered.list_models(store, people.ann, **wanted).items)

    assert names(sort_key="name") == "sf"
    assert names(created_by="bob") == "s"
    assert names(created_by="b") == ""
    assert names(created=(between, None)) == "s"
    assert names(created=(None, between)) == "f"
    assert names(created=(before, after)) == "sf"
    assert names(modified=(None, between)) == ""
    assert names(search="100%") == "s"
    assert names(search="LATE") == "sf"
