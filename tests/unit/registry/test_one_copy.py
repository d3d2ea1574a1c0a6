"""The files of a custom model with code are there once, before it is registered and after."""

from __future__ import annotations

import pytest

from scoreline.registry import artifacts, custom_models, custom_versions
from scoreline.registry.custom_versions import NewVersion
from scoreline.registry.records import info_to_json
from scoreline.spool import open_spool
from scoreline.types import Feature, FeatureType, ModelInfo, TargetType

MINE = b'{"features": {"age": "numeric"},\r\n "note": "mine"}'
CODE = {"custom.py": b"def score(data, model, **kwargs): return data\n", "deep/weights.bin": b"w" * 5000}
INFO = ModelInfo("drum", TargetType.REGRESSION, (Feature("age", FeatureType.NUMERIC),), outputs=1)


@pytest.fixture
def spool(tmp_path):
    return open_spool(tmp_path / "spool")


@pytest.fixture
def made(store, people):
    """The id of a custom model."""
    values = {"name": "m", "target_type": "Regression", "target_name": "y", "class_labels": None, "description": ""}
    values |= {"language": "", "threshold": 0.5, "resources": {}}
    return custom_models.create(store, people.ann, values).id


def version(store, spool, people, model_id, tmp_path, files):
    received = []
    for number, (path, content) in enumerate(files.items()):
        (tmp_path / f"received{number}").write_bytes(content)
        received.append((path, tmp_path / f"received{number}"))
    wanted = NewVersion(files=received)
    return custom_versions.create(
        store, spool, people.ann, model_id, wanted, max_bytes=1 << 20, scratch=tmp_path / "scratch"
    )


def read(spool, version):
    return {path: content.read() for path, content in custom_versions.contents(spool, version)}


def stored(spool):
    return sorted(key.rpartition("/")[2].removesuffix(".tar") for key in spool.blobs.list("artifacts"))


@pytest.mark.parametrize("files", [CODE, CODE | {"scoreline.json": MINE}], ids=["without", "with a description"])
def test_registering_keeps_one_copy(store, people, spool, predictor, made, tmp_path, files):
    predictor((200, {"info": info_to_json(INFO), "check": {"outputs": 1}}))
    first = version(store, spool, people, made, tmp_path, files)
    assert (read(spool, first), stored(spool)) == (files, [first.sha256])

    def register(**body):
        return custom_models.register(store, spool, people.ann, first.id, body, scratch=tmp_path / "scratch")

    package = register()
    assert stored(spool) == [package.artifact]
    again = custom_versions.get(store, people.ann, made, first.id)
    assert (again.sha256, again.files) == (first.sha256, first.files)  # versions never change
    assert read(spool, again) == files
    with artifacts.open_tar(store, spool, people.ann, package.artifact) as tar:
        assert b'"name": "y"' in tar.read()
    # Once more, with other columns: another artefact, whose description is made of the version's own.
    other = register(features={"age": "integer"})
    assert stored(spool) == sorted([package.artifact, other.artifact])
    assert register().artifact == package.artifact
    assert read(spool, custom_versions.get(store, people.ann, made, first.id)) == files
    unpacked = tmp_path / "unpacked"
    custom_versions.unpack(spool, custom_versions.get(store, people.ann, made, first.id), unpacked)
    assert {
        str(path.relative_to(unpacked)): path.read_bytes() for path in unpacked.rglob("*") if path.is_file()
    } == files
    # What others have is not taken from them.
    copied = custom_models.copy(store, people.ann, made)
    assert read(spool, copied.latest) == files


def test_what_another_version_or_artefact_needs_stays(store, people, spool, predictor, made, tmp_path):
    predictor((200, {"info": info_to_json(INFO), "check": {"outputs": 1}}))
    first = version(store, spool, people, made, tmp_path, CODE)
    second = version(store, spool, people, made, tmp_path, CODE)
    assert first.sha256 == second.sha256
    custom_models.register(store, spool, people.ann, first.id, {}, scratch=tmp_path / "scratch")
    assert first.sha256 in stored(spool)
    assert read(spool, second) == CODE
    custom_models.register(store, spool, people.ann, second.id, {}, scratch=tmp_path / "scratch")
    assert first.sha256 not in stored(spool)
    assert len(stored(spool)) == 1
    third = version(store, spool, people, made, tmp_path, CODE)
    assert read(spool, third) == CODE


def test_what_is_deleted_while_the_same_files_are_stored_is_stored_again(
    store, people, spool, made, tmp_path, monkeypatch
):
    insert = custom_versions._insert

    def late(*given, **named):
        for name in stored(spool):
            spool.delete_object(f"artifacts/{name}.tar")
        return insert(*given, **named)

    monkeypatch.setattr(custom_versions, "_insert", late)
    assert read(spool, version(store, spool, people, made, tmp_path, CODE)) == CODE
