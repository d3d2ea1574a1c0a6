from __future__ import annotations

from dataclasses import replace

import pytest

from scoreline.errors import Conflict, InvalidRequest, NotFound
from scoreline.jobs import service
from scoreline.jobs.spec import JobSpec
from scoreline.registry import deployments, replacement
from scoreline.store import new_id, now
from scoreline.store.tables import registry as tables


def create(world, caller=None, **document):
    return service.create(world.store, caller or world.caller, JobSpec.from_document(document))


def replace_model(world, package_id, reason="OTHER"):
    replacement.replace(world.store, world.caller, world.deployment_id, package_id=package_id, reason=reason)


def change(world, table, row_id, **values):
    with world.store.begin() as connection:
        connection.execute(table.update().where(table.c.id == row_id).values(values))


def refused(world, field, words="", **document):
    with pytest.raises(InvalidRequest, match=words) as caught:
        create(world, **document)
    assert caught.value.field == field


def test_a_job_keeps_its_model_and_a_later_one_has_the_new_one(world):
    before = create(world, deploymentId=world.deployment_id)
    newer = world.package(artifact="cd" * 32, threshold=0.7)
    replace_model(world, newer)
    after = create(world, deploymentId=world.deployment_id)
    assert (after.package_id, after.package_hash, after.target.threshold) == (newer, "cd" * 32, 0.7)
    again = service.get(world.store, world.caller, before.id)
    assert (again.package_id, again.package_hash, again.target.threshold) == (world.package_id, "ab" * 32, 0.5)


def test_any_model_that_the_deployment_has_or_had_can_be_pinned(world):
    newer = world.package(artifact="cd" * 32)
    refused(world, "pinnedModelId", "has or had", deploymentId=world.deployment_id, pinnedModelId=newer)
    deployments.create(world.store, world.caller, newer, "another one")
    refused(world, "pinnedModelId", "has or had", deploymentId=world.deployment_id, pinnedModelId=newer)
    replace_model(world, newer)
    for name, wanted in (
        ("model-1", world.package_id),
        (world.package_id, world.package_id),
        ("model-2", newer),
        (newer, newer),
    ):
        job = create(world, deploymentId=world.deployment_id, pinnedModelId=name)
        assert (job.package_id, job.deployment_id, job.spec.pinned_model_id) == (wanted, world.deployment_id, name)
    # Also one that is archived since; and of one model id the version that was deployed last.
    change(world, tables.packages, world.package_id, archived_at=now())
    assert create(world, deploymentId=world.deployment_id, pinnedModelId="model-1").package_id == world.package_id
    third = world.package(model_id="model-1", archived_at=None)
    replace_model(world, third)
    assert create(world, deploymentId=world.deployment_id, pinnedModelId="model-1").package_id == third
    refused(world, "pinnedModelId", "goes with deploymentId", modelPackageId=newer, pinnedModelId=newer)


def test_a_model_alone_scores_without_a_deployment(world):
    for document, package_id in (
        ({"modelPackageId": world.package_id}, world.package_id),
        ({"modelId": "model-1"}, world.package_id),
    ):
        job = create(world, **document)
        assert (job.package_id, job.deployment_id, job.server_id) == (package_id, None, world.server_id)
    newest = world.package(model_id="model-1")
    assert create(world, modelId="model-1").package_id == newest
    change(world, tables.packages, newest, archived_at=now())
    assert create(world, modelId="model-1").package_id == world.package_id
    refused(world, "modelPackageId", "archived", modelPackageId=newest)
    refused(world, "modelPackageId", "lives elsewhere", modelPackageId=world.package(artifact=None))
    for document in ({"modelId": "nope"}, {"modelPackageId": "nope"}):
        with pytest.raises(NotFound):
            create(world, **document)
    with pytest.raises(NotFound):
        create(world, replace(world.caller, org_id=new_id()), modelPackageId=world.package_id)
    change(world, tables.prediction_servers, world.server_id, kind="drum")
    with pytest.raises(Conflict, match="scoreline predictor"):
        create(world, modelPackageId=world.package_id)


def test_one_thing_says_what_to_score_with(world):
    ids = {"deploymentId": world.deployment_id, "modelId": "model-1", "modelPackageId": world.package_id}
    refused(world, "deploymentId", "required")
    for first, second in (
        ("deploymentId", "modelId"),
        ("deploymentId", "modelPackageId"),
        ("modelId", "modelPackageId"),
    ):
        refused(world, second, f"{first} and {second}", **{first: ids[first], second: ids[second]})


def test_a_pinned_model_is_scored_where_it_is(world):
    far = world.server()
    change(world, tables.prediction_servers, far, kind="drum", url="http://far:1")
    remote = world.package(
        artifact=None, format="drum", server={"id": far, "kind": "drum", "url": "http://far:1", "options": {}}
    )
    replace_model(world, remote)
    assert create(world, deploymentId=world.deployment_id).server_id == far
    assert create(world, deploymentId=world.deployment_id, pinnedModelId="model-1").server_id == world.server_id
