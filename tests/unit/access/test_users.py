import subprocess
import sys

import pytest
from pydantic import SecretStr

from scoreline.access import bootstrap, service_token, tokens, users
from scoreline.errors import Conflict, InvalidRequest, NotAuthenticated, NotFound, SetupError
from scoreline.settings import Settings
from tests.support.fixtures import one_database


def test_users_are_made_found_and_listed(store):
    made = users.create(store, "ann", rights=["code"], full_name="Ann Other")
    other = users.create(store, "eve", organisation="theirs", role="observer")
    assert users.get(store, "ann") == users.get(store, made.id) == made
    assert (made.role, made.rights, made.organisation, made.full_name) == ("user", {"code"}, "default", "Ann Other")
    assert [user.username for user in users.list_users(store)] == ["ann", "eve"]
    assert users.list_users(store, org_id=other.org_id) == [other]
    assert users.caller_of(store, other.id).role == "observer"


@one_database
@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        ({"username": "ann"}, Conflict, "already"),
        ({"username": "a b"}, InvalidRequest, "user name"),
        ({"username": ""}, InvalidRequest, "user name"),
        ({"role": "king"}, InvalidRequest, "admin, user, observer"),
        ({"rights": ["predictor"]}, InvalidRequest, "'predictor'"),
        ({"organisation": ""}, InvalidRequest, "organisation"),
    ],
)
def test_impossible_users_are_refused(store, values, error, words):
    users.create(store, "ann")
    with pytest.raises(error, match=words):
        users.create(store, **({"username": "bob"} | values))


def test_unknown_and_disabled_users(store):
    with pytest.raises(NotFound):
        users.get(store, "nobody")
    ann = users.create(store, "ann")
    assert users.disable(store, "ann").disabled_at is not None
    with pytest.raises(NotFound, match="disabled"):
        users.caller_of(store, ann.id)
    assert users.enable(store, ann.id).disabled_at is None


def test_the_last_admin_stays(store):
    users.create(store, "ann", role="admin")
    with pytest.raises(Conflict, match="last admin"):
        users.disable(store, "ann")
    with pytest.raises(Conflict, match="last admin"):
        users.update(store, "ann", role="user")
    assert users.get(store, "ann").role == "admin"
    users.create(store, "bob", role="admin")
    assert users.update(store, "ann", role="user", rights=["code"]).rights == {"code"}


def test_first_start_shows_a_secret_once(store):
    secret = bootstrap(store, Settings())
    caller = tokens.authenticate(store, secret)
    assert (caller.username, caller.role, caller.rights) == ("admin", "admin", {"code", "servers"})
    assert bootstrap(store, Settings()) is None


def test_the_first_secret_may_come_from_the_environment(store):
    first, second = Settings(admin_token=SecretStr("a" * 24)), Settings(admin_token=SecretStr("b" * 24))
    assert bootstrap(store, first) is None
    assert bootstrap(store, first) is None
    assert tokens.authenticate(store, "a" * 24).role == "admin"
    assert bootstrap(store, second) is None
    assert tokens.authenticate(store, "b" * 24).role == "admin"
    with pytest.raises(NotAuthenticated):
        tokens.authenticate(store, "a" * 24)
    with pytest.raises(SetupError, match="revoked"):
        bootstrap(store, first)


@one_database
@pytest.mark.parametrize("weak", ["", "short", " " + "a" * 24, "a" * 24 + "\n"])
def test_a_weak_secret_is_refused(store, weak):
    with pytest.raises(SetupError, match="SCORELINE_ADMIN_TOKEN") as caught:
        bootstrap(store, Settings(admin_token=SecretStr(weak)))
    assert not weak or weak not in caught.value.message


def test_processes_that_start_together_make_one_admin(store, store_url):
    program = (
        "import sys; from scoreline.access import bootstrap; from scoreline.settings import Settings\n"
        "from scoreline.store import Store; print(bootstrap(Store(sys.argv[1]), Settings()) or '')"
    )
    command = [sys.executable, "-c", program, store_url]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    shown = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert len([secret for secret in shown if secret]) == 1
    assert [user.username for user in users.list_users(store)] == ["admin"]


def test_a_service_token_replaces_its_predecessor(store):
    with pytest.raises(SetupError, match="no admin yet"):
        service_token(store, "predictor of here", ["predictor"])
    bootstrap(store, Settings())
    first = service_token(store, "predictor of here", ["predictor"])
    elsewhere = service_token(store, "predictor of there", ["predictor"])
    second = service_token(store, "predictor of here", ["predictor"])
    assert tokens.authenticate(store, second).is_predictor
    assert tokens.authenticate(store, elsewhere).is_predictor
    with pytest.raises(NotAuthenticated):
        tokens.authenticate(store, first)
