import errno
import gzip
import hashlib
import io
import os
import tarfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scoreline.errors import InvalidRequest, SpoolError, SpoolFull
from scoreline.registry import tree


def tar_of(files, *, prefix="", packing="w", reverse=False, **entry):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=packing) as archive:
        for name in sorted(files, reverse=reverse):
            info = tarfile.TarInfo(prefix + name)
            info.size = len(files[name])
            for key, value in entry.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(files[name]))
    return buffer.getvalue()


def receive(folder, data, filename="model.tar", limit=1 << 20):
    folder.mkdir(exist_ok=True)
    return tree.receive(io.BytesIO(data), filename, folder, limit)


def expected_hash(files):
    """The hash as the documentation of `scan` says it, computed anew."""
    text = b"scoreline tree 1\n"
    for name in sorted(files, key=str.encode):
        text += f"{len(name.encode())} {name} {len(files[name])}\n".encode() + files[name]
    return hashlib.sha256(text).hexdigest()


FILES = {"MLmodel": b"flavors", "data/model.txt": b"tree\n" * 100, "ü.bin": b"\0\1"}


def test_a_file_and_a_folder(tmp_path):
    single = receive(tmp_path / "a", b"tree\n", "C:\\models\\model.txt")
    assert (single.names, single.size, single.sha256) == (("model.txt",), 5, expected_hash({"model.txt": b"tree\n"}))
    folder = receive(tmp_path / "b", tar_of(FILES))
    assert folder.names == ("MLmodel", "data/model.txt", "ü.bin")
    assert folder.sha256 == expected_hash(FILES)
    assert {name: (folder.root / name).read_bytes() for name in folder.names} == FILES


def test_the_same_content_has_the_same_hash_however_it_was_packed(tmp_path):
    packings = [
        (tar_of(FILES), "model.tar"),
        (tar_of(FILES, reverse=True, mtime=1234567, uid=7, uname="me", mode=0o777), "x.tar"),
        (tar_of(FILES, prefix="./"), "model"),
        (tar_of(FILES, prefix="outer/inner/"), "upload.bin"),
        (tar_of(FILES, packing="w:gz"), "model.tar.gz"),
        (tar_of(FILES, packing="w:gz", prefix="model/"), "MODEL.TGZ"),
    ]
    trees = [receive(tmp_path / str(index), *packing) for index, packing in enumerate(packings)]
    assert {each.sha256 for each in trees} == {expected_hash(FILES)}
    packed = []
    for index, each in enumerate(trees):
        tree.pack(each, tmp_path / f"{index}.tar")
        packed.append((tmp_path / f"{index}.tar").read_bytes())
    assert len(set(packed)) == 1
    assert receive(tmp_path / "again", packed[0]).sha256 == expected_hash(FILES)


def test_other_content_has_another_hash(tmp_path):
    others = [
        FILES | {"MLmodel": b"flavorz"},
        {name: data for name, data in FILES.items() if name != "ü.bin"},
        {"MLmodel2" if name == "MLmodel" else name: data for name, data in FILES.items()},
        {"a": b"1", "b": b"2"},
        {"a": b"1b 1\n2"},
    ]
    hashes = {receive(tmp_path / str(index), tar_of(files)).sha256 for index, files in enumerate(others)}
    assert len(hashes | {expected_hash(FILES)}) == len(others) + 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(st.dictionaries(st.text("abcü ", min_size=1, max_size=8), st.binary(max_size=50), min_size=1, max_size=6))
def test_any_files_come_back_from_what_was_packed(tmp_path_factory, files):
    folder = tmp_path_factory.mktemp("tree")
    received = receive(folder / "in", tar_of(files))
    assert received.sha256 == expected_hash(files)
    tree.pack(received, folder / "packed.tar")
    with tarfile.open(folder / "packed.tar") as archive:
        assert {m.name: archive.extractfile(m).read() for m in archive} == files


def link(kind, name="link", target="/etc/passwd"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        archive.addfile(info)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (tar_of({"../evil": b"x"}), "not safe"),
        (tar_of({"a/../../../evil": b"x"}), "not safe"),
        (link(tarfile.SYMTYPE), "not a plain file"),
        (link(tarfile.LNKTYPE), "not a plain file"),
        (link(tarfile.CHRTYPE), "not a plain file"),
        (link(tarfile.FIFOTYPE), "not a plain file"),
        (tar_of({"a\\b": b"x"}), "not portable"),
        (tar_of({"a": b"x"})[:1024] + tar_of({"a": b"y"}), "twice"),
        (tar_of({"a": b"x"})[:1024] + tar_of({"a/b": b"y"}), "as a file and as a folder"),
        (tar_of({"a": b"x" * 5000})[:2000], "cannot be read|ends within"),
        (tar_of({"a" * 300: b"x"}), "too long"),
        (tar_of({"/".join(["d" * 200] * 30): b"x"}), "too long"),
        (tar_of({}), "holds no file"),
        (b"", "is empty"),
        (b"not a tar", "cannot be read as a tar"),
        (gzip.compress(tar_of(FILES), mtime=0)[:-20], "damaged"),
        (b"\x1f\x8bnonsense", "damaged"),
        (tar_of({"a": b"x" * (2 << 20)}), "SCORELINE_MAX_MODEL_BYTES"),
        (tar_of({"a": b"x" * (2 << 20)}, packing="w:gz"), "SCORELINE_MAX_MODEL_BYTES"),
    ],
)
def test_what_is_not_safe_or_not_whole_is_refused(tmp_path, data, words):
    with pytest.raises(InvalidRequest, match=words) as caught:
        receive(tmp_path / "in", data)
    assert caught.value.field == "file"
    assert str(tmp_path) not in caught.value.message
    assert not (tmp_path.parent / "evil").exists()
    assert not (tmp_path / "evil").exists()


def test_a_leading_slash_stays_inside(tmp_path):
    assert receive(tmp_path / "in", tar_of({"/etc/x": b"1", "y": b"2"})).names == ("etc/x", "y")


def test_a_header_cannot_fill_the_memory(tmp_path):
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 512 << 20
    with pytest.raises(InvalidRequest, match="header is too large"):
        receive(tmp_path / "in", header.tobuf() + b"\0" * 1024)


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tree, "_MOST_FILES", 3)
    with pytest.raises(InvalidRequest, match="more than 3 files"):
        receive(tmp_path / "in", tar_of({str(number): b"x" for number in range(4)}))


@pytest.mark.parametrize("filename", ["", "..", "x\0y", "n" * 300])
def test_a_single_file_needs_a_plain_name(tmp_path, filename):
    with pytest.raises(InvalidRequest, match="plain name"):
        receive(tmp_path / "in", b"data", filename)


@pytest.mark.parametrize(
    ("number", "kind", "words"), [(errno.ENOSPC, SpoolFull, "disk is full"), (errno.EACCES, SpoolError, "denied")]
)
def test_trouble_with_the_disk_is_told_in_words(tmp_path, monkeypatch, number, kind, words):
    def fail(*_args, **_options):
        raise OSError(number, os.strerror(number), str(tmp_path))

    monkeypatch.setattr(tree, "_copy", fail)
    with pytest.raises(kind, match=words) as caught:
        receive(tmp_path / "in", b"data", "model.txt")
    assert str(tmp_path) not in caught.value.message
