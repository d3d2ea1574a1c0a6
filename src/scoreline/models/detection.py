"""Which format an artefact has, told from names and content. Nothing of it is loaded and no library is imported."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import mmap
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scoreline.errors import ModelBroken
from scoreline.models import drum_folder, protobuf
from scoreline.models.base import broken, cause
from scoreline.models.mlflow_folder import MLMODEL, read

KNOWN = (
    "a LightGBM text file, XGBoost json or ubj, CatBoost cbm, scikit-learn in skops, joblib or pickle, ONNX, "
    "an MLflow model folder, or a DRUM folder with custom.py"
)
_HEAD = 4096
_NAMED = 5  # files that a message names
_LARGEST_SCHEMA = 256 << 20
_PICKLE_NAMES = (".pkl", ".pickle", ".joblib", ".jl", ".sav")
_ONNX_DATA_NAMES = (".data", ".bin", ".weight", ".weights")


@dataclass(frozen=True, slots=True)
class Detected:
    """What an artefact is. runs_code: loading it can run code that its author wrote."""

    format: str
    runs_code: bool


def locate(path: Path) -> Path:
    """Return what to load: the file, the folder of MLflow or DRUM, or the only model file in the folder.

    Raises ModelBroken when there is none, or several.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise broken(path.name, "there is no such file or folder: check the path")
    if (path / MLMODEL).is_file() or drum_folder.has_code(path):
        return path
    only_drums = drum_folder.artifacts(path)
    files = [child for child in sorted(path.iterdir()) if child.is_file() and _may_be_model(child)]
    files = [file for file in files if file not in only_drums]
    found = [*_models(files), *only_drums]
    if len(found) > 1:
        shown = _shown([file.name for file in found])
        raise broken(path.name, f"{len(found)} files of the folder could be the model ({shown}): keep the one to use")
    if not found and len(files) == 1:
        return files[0]  # what is wrong with it is told when it is looked into
    if not found:
        raise broken(path.name, f"{_nothing(path, files)}: give a folder with one model, which may be {KNOWN}")
    return path if only_drums else found[0]


def detect(path: Path) -> Detected:
    """Tell the format of a file or folder by names and content; cheap, nothing is loaded.

    Raises ModelBroken, naming the formats known, for anything else.
    """
    found = locate(path)
    if found.is_dir() and not (found / MLMODEL).is_file():
        return Detected("drum", runs_code=True)
    if found.is_dir():
        inner = read(found).file
        return Detected("mlflow", inner is None or detect(inner).runs_code)
    return _sniff(found)


def _may_be_model(file: Path) -> bool:
    return not file.name.startswith(".") and file.name.lower() not in drum_folder.COMPANIONS


def _models(files: list[Path]) -> list[Path]:
    """Return those files whose content is a model's, whole or damaged; the weights beside an ONNX graph are none."""
    named = [file for file in files if file.suffix.lower() not in _ONNX_DATA_NAMES]
    found = [file for file in named if _looks_like_a_model(file)]
    return found or [file for file in files if file not in named and _looks_like_a_model(file)]


def _looks_like_a_model(file: Path) -> bool:
    with file.open("rb") as content:
        head = content.read(_HEAD)
    if not head.strip():
        return False
    try:
        return any(matches(file, head) for matches, _detected in _SNIFFERS)
    except ModelBroken:
        return True


def _nothing(path: Path, files: list[Path]) -> str:
    """Say what a folder holds in which no model was found."""
    if files:
        return f"none of the folder's {len(files)} files is a model ({_shown([file.name for file in files])})"
    there = sorted(f"{child.name}/" if child.is_dir() else child.name for child in path.iterdir())
    return f"the folder holds no model, only {_shown(there)}" if there else "the folder is empty"


def _shown(names: list[str]) -> str:
    return ", ".join(map(repr, names[:_NAMED])) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _sniff(path: Path) -> Detected:
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head.strip():
        raise broken(path.name, "the file is empty: send it again")
    for matches, detected in _SNIFFERS:
        if matches(path, head):
            return detected(path) if callable(detected) else detected
    raise broken(path.name, f"its format is not known; it may be {KNOWN}")


def _is_lightgbm(_path: Path, head: bytes) -> bool:
    lines = head.split(b"\n", 2)
    return len(lines) > 2 and lines[0].strip() == b"tree" and lines[1].startswith(b"version=")


def _is_xgboost(_path: Path, head: bytes) -> bool:
    start = head.lstrip()[:64]
    return start.startswith(b"{") and (b'"learner"' in head[:1024] or b"learner" in start)


def _is_old_xgboost(path: Path) -> Detected:
    raise broken(
        path.name, "it is in XGBoost's old binary format, which no current version reads: save it as `.json` or `.ubj`"
    )


def _is_pickle(path: Path, head: bytes) -> bool:
    """Whether the content is a pickle, perhaps compressed as joblib does it; early protocols only by their names."""
    if _pickle_start(head):
        return True
    named = path.suffix.lower() in _PICKLE_NAMES
    return (named and head[:1] in b"(c]}lIN\x5d") or _pickle_start(_unpacked(head)) or (named and _packed(head))


def _pickle_start(head: bytes) -> bool:
    return len(head) > 2 and head[0] == 0x80 and 2 <= head[1] <= 5


def _packed(head: bytes) -> bool:
    return head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x5d\0\0", b"\x04\x22M\x18")) or head[:1] == b"\x78"


def _unpacked(head: bytes) -> bytes:
    """The first bytes of compressed content, or nothing."""
    try:
        if head.startswith(b"\x1f\x8b"):
            return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(head, 16)
        if head.startswith(b"BZh"):
            return bz2.BZ2Decompressor().decompress(head, 16)
        if head.startswith((b"\xfd7zXZ\0", b"\x5d\0\0")):
            return lzma.LZMADecompressor().decompress(head, 16)
        return zlib.decompressobj().decompress(head, 16) if head[:1] == b"\x78" else b""
    except (OSError, zlib.error, lzma.LZMAError, EOFError, gzip.BadGzipFile):
        return b""


def _is_skops(path: Path, head: bytes) -> bool:
    if not head.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return "schema.json" in archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError) as exc:
        if path.suffix.lower() == ".skops":
            raise broken(path.name, f"the file is damaged ({cause(exc)}): copy or save it again") from exc
        return False


def _detect_skops(path: Path) -> Detected:
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("schema.json").file_size > _LARGEST_SCHEMA:
                raise broken(path.name, "its schema is larger than any model's: save it again")
            schema = json.loads(archive.read("schema.json"))
        return Detected("sklearn", any(not _harmless(node) for node in _nodes(schema)))
    except ModelBroken:
        raise
    except (zipfile.BadZipFile, OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as exc:
        raise broken(path.name, f"the file is damaged ({cause(exc)}): copy or save it again") from exc


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every object that names a type."""
    waiting = [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.values())
            if "__class__" in value and "__loader__" in value:
                yield value
        elif isinstance(value, list):
            waiting.extend(value)


# Types beside skops' own list that are only data: boosters read their native format back.
TRUSTED_TYPES = (
    "collections.OrderedDict",
    "numpy.dtype",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRegressor",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
    "xgboost.sklearn.XGBRegressor",
)
_PLAIN_LOADERS = frozenset(
    (
        *("JsonNode", "DictNode", "DefaultDictNode", "ListNode", "TupleNode", "SetNode", "SliceNode", "BytesNode"),
        *(
            "BytearrayNode",
            "TypeNode",
            "ObjectNode",
            "TreeNode",
            "SGDNode",
            "LossNode",
            "CachedNode",
            "SparseMatrixNode",
        ),
        *("NdArrayNode", "MaskedArrayNode", "DTypeNode", "RandomStateNode", "RandomGeneratorNode"),
    )
)
_PLAIN_BUILTINS = frozenset(("int", "float", "str", "bool", "list", "set", "tuple", "dict", "slice", "bytes", "map"))
_LOSS = "sklearn._loss.loss."
_SKLEARN_INNER = ("sklearn._loss.link.", "sklearn._loss._loss.Cy", "sklearn.linear_model._sgd_fast.")
_BIN_MAPPER = "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper"
# Not known to skops as harmless: arrays in them are used as addresses unchecked, or they hold functions.
_SKLEARN_UNKNOWN = (
    "sklearn.tree._tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor",
    "sklearn.gaussian_process.kernels",
    "sklearn.neighbors._kd_tree",
    "sklearn.neighbors._ball_tree",
    "sklearn.neural_network._stochastic_optimizers",
    "sklearn.metrics",
    "sklearn.utils",
)


def _harmless(node: dict[str, Any]) -> bool:
    """Whether skops will take this type without being told to trust it.

    Looser than skops in nothing that is common: what slips through is refused when the model is loaded, since there
    skops itself decides.
    """
    module, name, loader = str(node["__module__"]), str(node["__class__"]), str(node["__loader__"])
    full = f"{module}.{name}"
    if loader == "FunctionNode":
        return module.partition(".")[0] == "numpy" and isinstance(getattr(np, name, None), np.ufunc)
    if full in TRUSTED_TYPES:
        return True
    if loader not in _PLAIN_LOADERS:
        return False
    root = module.partition(".")[0]
    if root == "sklearn":
        if full.startswith((*_SKLEARN_INNER, _LOSS)) or full == _BIN_MAPPER:
            return "Tweedie" not in name or not full.startswith(_LOSS)
        return name[:1].isupper() and not module.startswith(_SKLEARN_UNKNOWN)
    return (root == "builtins" and name in _PLAIN_BUILTINS) or root == "numpy" or full == "collections.defaultdict"


def _is_onnx(path: Path, _head: bytes) -> bool:
    """Whether the file is a protobuf message with the fields of an ONNX model: version, graph, operator sets."""
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        memoryview(content) as data,
    ):
        seen = {}
        try:
            for number, kind, value in protobuf.fields(data):
                seen[number] = (kind, value if isinstance(value, int) else 0)
                if isinstance(value, memoryview):
                    value.release()
        except ValueError:
            return path.suffix.lower() == ".onnx"
    version, graph = seen.get(1, (-1, 0)), seen.get(7, (-1, 0))
    return version[0] == 0 and 1 <= version[1] < 1000 and graph[0] == 2


_Found = Detected | Callable[[Path], Detected]
_SNIFFERS: tuple[tuple[Callable[[Path, bytes], bool], _Found], ...] = (
    (_is_lightgbm, Detected("lightgbm", runs_code=False)),
    (_is_xgboost, Detected("xgboost", runs_code=False)),
    (lambda _path, head: head.startswith(b"binf"), _is_old_xgboost),
    (lambda _path, head: head.startswith(b"CBM1"), Detected("catboost", runs_code=False)),
    (_is_skops, _detect_skops),
    (_is_pickle, Detected("sklearn", runs_code=True)),
    (_is_onnx, Detected("onnx", runs_code=False)),
)
