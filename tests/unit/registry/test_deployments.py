import pytest

from scoreline.errors import Conflict, Forbidden, InvalidRequest, NotFound
from scoreline.registry import deployments, packages, registered, servers
from scoreline.registry.selection import Filters
from scoreline.registry.settings import DeploymentSettings
from tests.support.fixtures import one_database
from tests.unit.registry.conftest import body


@pytest.fixture
def package(store, people, inspected):
    return packages.create_from_json(store, people.ann, body(inspected(people.ann)))


def test_a_deployment_has_its_package_its_server_and_every_setting(store, people, package):
    made = deployments.create(
        store,
        people.bob,
        package.id,
        "flights",
        description="on time?",
        importance="HIGH",
        user_provided_id="git/1",
        additional_metadata=[{"key": "team", "value": "ops"}],
    )
    assert deployments.get(store, people.ann, made.id) == made
    assert (made.label, made.description, made.status, made.importance) == ("flights", "on time?", "active", "HIGH")
    assert (made.user_provided_id, made.additional_metadata) == ("git/1", ({"key": "team", "value": "ops"},))
    assert (made.package.id, made.package.owner.username, made.owner.username) == (package.id, "ann", "bob")
    assert made.package.active_deployments == 1
    assert made.server is None
    assert made.settings == DeploymentSettings()
    assert made.created_at == made.model_deployed_at == made.updated_at


def test_the_server_is_the_named_one_or_the_default_of_the_day(store, people, package):
    free = deployments.create(store, people.ann, package.id, "free")
    first = servers.upsert(store, people.predictor, "other", "http://a:1", 1, slots=1)
    assert deployments.get(store, people.ann, free.id).server == first
    default = servers.upsert(store, people.predictor, "default", "http://b:1", 1, slots=1)
    bound = deployments.create(store, people.ann, package.id, "bound", server_id=first.id)
    assert bound.server == first
    assert deployments.get(store, people.ann, free.id).server == default
    listed = deployments.list_deployments(store, people.ann, order_by="label").items
    assert [(each.label, each.server) for each in listed] == [("bound", first), ("free", default)]
    theirs = servers.upsert(store, people.eve, "hers", "http://c:1", 1, slots=1)
    with pytest.raises(NotFound, match="prediction server"):
        deployments.create(store, people.ann, package.id, "stolen", server_id=theirs.id)


def test_the_document_for_prediction_servers(store, people, package):
    made = deployments.create(store, people.ann, package.id, "flights")
    deployments.set_status(store, people.ann, made.id, "inactive")
    document = deployments.serving_document(deployments.get(store, people.predictor, made.id))
    own = {"deploymentId": made.id, "label": "flights", "status": "inactive"}
    assert document == packages.serving_document(package) | own


def test_what_cannot_be_deployed(store, people, package):
    external = body(target={"name": "late", "type": "Regression"}, name="elsewhere")
    elsewhere = packages.create_from_json(store, people.ann, external)
    with pytest.raises(InvalidRequest, match="lives elsewhere"):
        deployments.create(store, people.ann, elsewhere.id, "x")
    registered.archive(store, people.ann, package.registered_model_id)
    with pytest.raises(Conflict, match="archived"):
        deployments.create(store, people.ann, package.id, "x")
    with pytest.raises(NotFound):
        deployments.create(store, people.ann, "0" * 24, "x")


@one_database
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"label": " "}, "label"),
        ({"label": None}, "label"),
        ({"label": "x" * 513}, "label"),
        ({"description": 5}, "description"),
        ({"importance": "huge"}, "importance"),
        ({"user_provided_id": ""}, "userProvidedId"),
        ({"additional_metadata": [{"key": 1, "value": "x"}]}, "additionalMetadata"),
        ({"additional_metadata": {"key": "x"}}, "additionalMetadata"),
    ],
)
def test_wrong_fields_are_named(store, people, package, change, field):
    with pytest.raises(InvalidRequest) as caught:
        deployments.create(store, people.ann, package.id, **({"label": "x"} | change))
    assert caught.value.field == field


def test_user_provided_ids_are_unique_in_an_organisation(store, people, package):
    made = deployments.create(store, people.ann, package.id, "a", user_provided_id="git/1")
    with pytest.raises(Conflict, match="git/1"):
        deployments.create(store, people.bob, package.id, "b", user_provided_id="git/1")
    deployments.delete(store, people.ann, made.id)
    deployments.create(store, people.bob, package.id, "b", user_provided_id="git/1")


def test_changes(store, people, package):
    made = deployments.create(store, people.ann, package.id, "flights", description="d", importance="LOW")
    changed = deployments.update(store, people.ann, made.id, label="late", importance="CRITICAL")
    assert (changed.label, changed.description, changed.importance) == ("late", "d", "CRITICAL")
    assert changed.updated_at > made.updated_at
    assert deployments.update(store, people.boss, made.id, description="").description is None
    assert deployments.update(store, people.ann, made.id).label == "late"
    assert deployments.set_status(store, people.ann, made.id, "inactive").status == "inactive"
    assert packages.get(store, people.ann, package.id).active_deployments == 0
    with pytest.raises(InvalidRequest, match="active, inactive"):
        deployments.set_status(store, people.ann, made.id, "asleep")
    with pytest.raises(InvalidRequest):
        deployments.update(store, people.ann, made.id, label="")


def test_what_is_deleted_is_gone_for_everyone(store, people, package):
    made = deployments.create(store, people.ann, package.id, "flights")
    with pytest.raises(Conflict, match="deployed as 'flights'"):
        registered.archive(store, people.ann, package.registered_model_id)
    deployments.delete(store, people.ann, made.id)
    for caller in (people.ann, people.boss, people.predictor):
        with pytest.raises(NotFound):
            deployments.get(store, caller, made.id)
    with pytest.raises(NotFound):
        deployments.delete(store, people.ann, made.id)
    assert deployments.list_deployments(store, people.ann).total == 0
    assert packages.get(store, people.ann, package.id).active_deployments == 0
    registered.archive(store, people.ann, package.registered_model_id)


@pytest.mark.parametrize(
    "change",
    [
        lambda store, caller, made: deployments.update(store, caller, made.id, label="mine now"),
        lambda store, caller, made: deployments.set_status(store, caller, made.id, "inactive"),
        lambda store, caller, made: deployments.delete(store, caller, made.id),
        lambda store, caller, made: deployments.create(store, caller, made.package.id, "another"),
    ],
)
def test_who_may_change_what(store, people, package, change):
    made = deployments.create(store, people.ann, package.id, "flights")
    with pytest.raises(NotFound):
        change(store, people.eve, made)
    for caller in (people.watcher, people.predictor):
        with pytest.raises(Forbidden):
            change(store, caller, made)
    assert deployments.get(store, people.ann, made.id) == made
    change(store, people.boss, made)


def test_others_of_the_organisation_see_but_do_not_change(store, people, package):
    made = deployments.create(store, people.ann, package.id, "flights")
    assert deployments.get(store, people.watcher, made.id) == made
    with pytest.raises(Forbidden, match="'bob' does not own deployment 'flights'"):
        deployments.update(store, people.bob, made.id, label="x")
    with pytest.raises(NotFound):
        deployments.get(store, people.eve, made.id)


def test_lists_are_filtered_ordered_and_cut(store, people, package):
    other = packages.create_from_json(store, people.bob, body(package.artifact, name="other"))
    server = servers.upsert(store, people.predictor, "default", "http://a:1", 1, slots=1)
    far = servers.upsert(store, people.predictor, "far", "http://b:1", 1, slots=1)
    made = {
        label: deployments.create(store, caller, each.id, label, **values)
        for label, caller, each, values in (
            ("b", people.ann, package, {"importance": "LOW"}),
            ("a", people.bob, package, {"importance": "CRITICAL", "description": "Per cent: 5%"}),
            ("c", people.bob, other, {"server_id": server.id}),
        )
    }
    deployments.set_status(store, people.ann, made["b"].id, "inactive")

    def labels(order_by="label", caller=people.ann, offset=0, limit=None, **filters):
        page = deployments.list_deployments(
            store, caller, Filters(**filters), order_by=order_by, offset=offset, limit=limit
        )
        return "".join(each.label for each in page.items), page.total

    assert labels() == ("abc", 3)
    assert labels("-label", offset=1, limit=1) == ("b", 3)
    assert labels("createdAtTimestamp") == ("bac", 3)
    assert labels("-currentModelDeployedTimestamp") == ("cab", 3)
    assert labels("-importance") == ("abc", 3)
    assert labels(status="active") == ("ac", 2)
    assert labels(importance=("LOW", "HIGH")) == ("b", 1)
    assert labels(search="5%") == ("a", 1)
    assert labels(search="%") == ("a", 1)
    assert labels(server_id=server.id) == ("abc", 3)  # for the others it is the default one
    assert labels(server_id=far.id) == ("", 0)
    assert labels(created_by_me=True) == ("b", 1)
    assert labels(caller=people.eve) == ("", 0)
    with pytest.raises(InvalidRequest, match="`orderBy`"):
        labels("-id")
