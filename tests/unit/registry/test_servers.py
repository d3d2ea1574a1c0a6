import pytest

from scoreline.errors import Forbidden, InvalidRequest, NotFound
from scoreline.registry import servers
from tests.support.fixtures import one_database


def test_a_predictor_announces_itself_and_moves(store, people):
    first = servers.upsert(store, people.predictor, "default", "http://127.0.0.1:5000/", 2, slots=1)
    assert (first.name, first.url, first.slots, first.concurrency, first.everyone) == (
        "default",
        "http://127.0.0.1:5000",
        1,
        2,
        True,
    )
    assert len(first.datarobot_key) == 32
    again = servers.upsert(store, people.predictor, "default", "https://host.example/base", 8, slots=5)
    assert (again.id, again.url, again.slots, again.concurrency) == (first.id, "https://host.example/base", 1, 8)
    assert (again.datarobot_key, again.created_at) == (first.datarobot_key, first.created_at)
    assert again.seen_at >= first.seen_at
    assert servers.list_servers(store, people.predictor) == [again]


def test_the_installations_servers_are_for_everyone_and_an_admins_for_the_organisation(store, people):
    own = servers.upsert(store, people.predictor, "gpu", "http://a:1", 1, slots=1)
    ours = servers.upsert(store, people.boss, "default", "http://b:1", 1, slots=1)
    theirs = servers.upsert(store, people.eve, "default", "http://c:1", 1, slots=1)
    assert servers.list_servers(store, people.ann) == [ours, own]
    assert servers.list_servers(store, people.watcher) == [ours, own]
    assert servers.list_servers(store, people.eve) == [theirs, own]
    assert servers.get(store, people.eve, own.id) == servers.resolve(store, own.id) == own
    with pytest.raises(NotFound):
        servers.get(store, people.eve, ours.id)
    with pytest.raises(NotFound):
        servers.resolve(store, "0" * 24)


def test_others_add_no_servers(store, people):
    for caller in (people.ann, people.watcher):
        with pytest.raises(Forbidden):
            servers.upsert(store, caller, "mine", "http://a:1", 1, slots=1)


@one_database
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"url": "ftp://host"}, "url"),
        ({"url": "http://"}, "url"),
        ({"url": "http://host:99999"}, "url"),
        ({"url": "http://user:secret@host"}, "url"),
        ({"url": "http://host/?x=1"}, "url"),
        ({"url": "host:80"}, "url"),
        ({"name": " "}, "name"),
        ({"concurrency": 0}, "concurrency"),
    ],
)
def test_impossible_servers_are_refused(store, people, change, field):
    values = {"name": "default", "url": "http://host:1", "concurrency": 1} | change
    with pytest.raises(InvalidRequest) as caught:
        servers.upsert(store, people.predictor, slots=1, **values)
    assert caught.value.field == field
    assert "secret" not in caught.value.message
