import io
import pickle
import tarfile

import pytest

from scoreline.access import users
from scoreline.errors import Forbidden, InvalidRequest, NotFound
from scoreline.registry import artifacts
from scoreline.spool import open_spool
from tests.support.fixtures import one_database

# What detection goes by is the beginning of the file; nothing here is ever loaded.
LIGHTGBM = b"tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nmax_feature_idx=0\nobjective=regression\n"
PICKLE = pickle.dumps({"anything": 1})


@pytest.fixture
def spool(tmp_path):
    return open_spool(tmp_path / "spool")


@pytest.fixture
def register(store, spool, tmp_path):
    def call(caller, data=LIGHTGBM, filename="model.txt", *, trusted=False, max_bytes=1 << 20):
        scratch = tmp_path / "scratch"
        try:
            return artifacts.register(
                store, spool, caller, io.BytesIO(data), filename, trusted=trusted, max_bytes=max_bytes, scratch=scratch
            )
        finally:
            assert list(scratch.glob("*")) == []  # nothing is left behind

    return call


def test_a_model_is_stored_under_the_hash_of_its_content(store, spool, people, register):
    made = register(people.ann)
    assert (made.filename, made.size, made.format, made.info) == ("model.txt", len(LIGHTGBM), "lightgbm", None)
    assert (made.runs_code, made.trusted, made.owner.username) == (False, False, "ann")
    assert artifacts.get(store, people.bob, made.sha256) == made
    with artifacts.open_tar(store, spool, people.predictor, made.sha256) as file, tarfile.open(fileobj=file) as tar:
        assert {member.name: tar.extractfile(member).read() for member in tar} == {"model.txt": LIGHTGBM}


def test_the_same_content_is_one_artefact_of_the_organisation(store, spool, people, register):
    made = register(people.ann)
    assert register(people.ann) == register(people.bob, trusted=True) == made
    theirs = register(people.eve)
    assert (theirs.sha256, theirs.owner.username) == (made.sha256, "eve")
    assert theirs.id != made.id


def test_trust_is_kept_for_what_only_loading_can_tell(people, register):
    made = register(people.ann)
    assert not register(people.bob, trusted=True).trusted  # he has no right to say so
    again = register(people.ann, trusted=True)
    assert (again.id, again.runs_code, again.trusted) == (made.id, False, True)
    assert register(people.bob).trusted  # one artefact of the organisation


def test_others_do_not_know_it(store, spool, people, register):
    made = register(people.ann)
    for call in (
        lambda: artifacts.get(store, people.eve, made.sha256),
        lambda: artifacts.open_tar(store, spool, people.eve, made.sha256),
        lambda: artifacts.get(store, people.ann, "0" * 64),
        lambda: artifacts.get(store, people.ann, "../../etc/passwd"),
    ):
        with pytest.raises(NotFound):
            call()


def test_code_needs_the_right_and_the_word(store, people, register):
    with pytest.raises(Forbidden, match="lacks the right 'code'"):
        register(people.bob, PICKLE, "model.pkl", trusted=True)
    with pytest.raises(Forbidden, match="lacks the right 'code'"):
        register(people.boss, PICKLE, "model.pkl", trusted=True)
    with pytest.raises(InvalidRequest, match="--trust") as caught:
        register(people.ann, PICKLE, "model.pkl")
    assert caught.value.field == "trusted"
    made = register(people.ann, PICKLE, "model.pkl", trusted=True)
    assert (made.runs_code, made.trusted) == (True, True)


def test_a_right_that_is_taken_away_is_gone(store, people, register):
    users.update(store, "ann", rights=[])
    with pytest.raises(Forbidden):
        register(users.caller_of(store, people.ann.user_id), PICKLE, "model.pkl", trusted=True)


def test_observers_and_prediction_servers_store_nothing(people, register, spool):
    for caller in (people.watcher, people.predictor):
        with pytest.raises(Forbidden):
            register(caller)


@one_database
@pytest.mark.parametrize(("data", "filename"), [(b"hello", "readme.md"), (b"", "model.txt"), (b"x" * 100, "model.tar")])
def test_what_is_no_model_is_refused(people, register, data, filename):
    with pytest.raises(InvalidRequest) as caught:
        register(people.ann, data, filename)
    assert caught.value.field == "file"


def test_what_is_too_large_is_refused(people, register):
    with pytest.raises(InvalidRequest, match="100 bytes that SCORELINE_MAX_MODEL_BYTES allows"):
        register(people.ann, LIGHTGBM * 2, max_bytes=100)
