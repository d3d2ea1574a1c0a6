import pytest

from scoreline.errors import Forbidden, InvalidRequest, NotFound
from scoreline.registry import deployments, packages, tags
from scoreline.registry.selection import Filters
from tests.unit.registry.conftest import body


@pytest.fixture
def made(store, people, inspected):
    package = packages.create_from_json(store, people.ann, body(inspected(people.ann)))
    return [deployments.create(store, people.ann, package.id, label) for label in ("a", "b", "c")]


def test_tags_are_added_changed_deleted_and_found(store, people, made):
    def labels(*names, values=()):
        wanted = Filters(tag_names=names, tag_values=values)
        return "".join(
            each.label for each in deployments.list_deployments(store, people.bob, wanted, order_by="label").items
        )

    a, b, _ = (each.id for each in made)
    team = tags.add(store, people.ann, a, "team", "ops")
    tags.add(store, people.boss, a, "stage", "test")
    tags.add(store, people.ann, b, "team", "data")
    shown = deployments.get(store, people.watcher, a).tags
    assert [(tag["name"], tag["value"]) for tag in shown] == [("stage", "test"), ("team", "ops")]
    assert shown[1] == team
    assert labels("team") == "ab"
    assert labels("stage", "nope") == "a"
    assert labels(values=("data", "test")) == "ab"
    assert labels("team", values=("ops",)) == "a"
    assert labels("tea") == ""
    assert tags.change(store, people.ann, a, team["id"], name="crew", value="ops") == {**team, "name": "crew"}
    assert labels("team") == "b"
    tags.remove(store, people.ann, a, team["id"])
    assert labels("crew") == ""
    for work in (tags.remove, lambda *args: tags.change(*args, name="n", value="v")):
        with pytest.raises(NotFound, match="tag"):
            work(store, people.ann, a, team["id"])
        with pytest.raises(NotFound, match="tag"):
            work(store, people.ann, a, deployments.get(store, people.ann, b).tags[0]["id"])


def test_who_may_tag(store, people, made):
    tag = tags.add(store, people.ann, made[0].id, "n", "v")
    for caller, error in ((people.bob, Forbidden), (people.watcher, Forbidden), (people.eve, NotFound)):
        for work in (
            lambda: tags.add(store, caller, made[0].id, "n", "v"),  # noqa: B023 -- called at once
            lambda: tags.change(store, caller, made[0].id, tag["id"], name="n", value="v"),  # noqa: B023 -- as above
            lambda: tags.remove(store, caller, made[0].id, tag["id"]),  # noqa: B023 -- as above
        ):
            with pytest.raises(error):
                work()
    assert deployments.get(store, people.ann, made[0].id).tags == (tag,)
    for name, value in (("", "v"), ("n", " "), ("n" * 513, "v")):
        with pytest.raises(InvalidRequest):
            tags.add(store, people.ann, made[0].id, name, value)


def test_there_is_a_most(store, people, made, monkeypatch):
    monkeypatch.setattr(tags, "MOST", 2)
    for number in range(2):
        tags.add(store, people.ann, made[0].id, f"{number}", "v")
    with pytest.raises(InvalidRequest, match="at most 2"):
        tags.add(store, people.ann, made[0].id, "2", "v")
