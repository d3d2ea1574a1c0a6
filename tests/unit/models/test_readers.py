"""The small readers of foreign formats: whole messages are read, damaged ones refused, nothing else happens."""

import contextlib
import json

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from scoreline.errors import ModelBroken
from scoreline.models import onnx_file, protobuf, ubjson
from scoreline.models.lightgbm_file import describe


def ubj():
    booster = xgb.train({"max_depth": 2}, xgb.DMatrix(np.arange(20.0).reshape(10, 2), label=np.arange(10)), 2)
    return bytes(booster.save_raw("ubj"))


def test_every_cut_of_a_ubjson_file_is_noticed():
    whole = ubj()
    ubjson.check(whole)
    for size in range(len(whole)):
        with pytest.raises(ValueError):
            ubjson.check(whole[:size])
    with pytest.raises(ValueError, match="2 bytes lie behind"):
        ubjson.check(whole + b"xx")


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_taken(content):
    with contextlib.suppress(ValueError):
        ubjson.check(b"{" + content)
    with contextlib.suppress(ValueError):
        list(protobuf.fields(memoryview(content)))
    with contextlib.suppress(ValueError):
        onnx_file._read(content)


def test_deep_nesting_is_refused():
    with pytest.raises(ValueError, match="too deeply"):
        ubjson.check(b"{i\x01a" + b"[" * 5000)


@pytest.mark.parametrize("labels", [["no", "ü", ""], [3, -7, 2**40]])
def test_class_labels_of_onnx_nodes(labels):
    name = "classlabels_strings" if isinstance(labels[0], str) else "classlabels_int64s"
    node = helper.make_node("LinearClassifier", ["X"], ["L", "P"], domain="ai.onnx.ml", **{name: labels})
    value = helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 2])
    model = helper.make_model(helper.make_graph([node], "g", [value], []))
    assert onnx_file._read(model.SerializeToString()) == tuple(map(str, labels))


HEADER = "tree\nversion=v4\nnum_class=1\nobjective=binary sigmoid:1\nfeature_names={names}\nfeature_infos={infos}\n\n"
END = "end of trees\n\nparameters:\n{parameters}\nend of parameters\n\npandas_categorical:{categories}\n"


def described(columns, categories, declared="", text=None):
    names, infos = " ".join(columns), " ".join(columns.values())
    parameters = f"[categorical_feature: {declared}]"
    body = HEADER.format(names=names, infos=infos) + "Tree=0\n\n"
    body += END.format(parameters=parameters, categories=json.dumps(categories))
    found = describe(body, "m.txt", text)
    return {column.name: column.categories for column in found.columns if column.categories is not None}


AB, ABC = ["a", "b"], ["a", "b", "c"]


@pytest.mark.parametrize(
    ("columns", "categories", "declared", "expected"),
    [
        ({"x": "[0:1]", "c": "0:1"}, [AB], "", {"c": ("a", "b")}),
        ({"x": "[0:1]", "c": "none"}, [AB], "1", {"c": ("a", "b")}),
        ({"x": "none", "c": "none", "d": "-1:1:0"}, [AB, ABC], "1,2", {"c": ("a", "b"), "d": ("a", "b", "c")}),
        # c is ordered: only its range shows. x has other values, d is known.
        ({"x": "[0:7.5]", "c": "[0:2]", "d": "0:1"}, [ABC, AB], "2", {"c": ("a", "b", "c"), "d": ("a", "b")}),
        # whole numbers given as a category without pandas: more known columns than lists, and only one has such codes
        ({"k": "5:7:9", "c": "0:1"}, [AB], "0,1", {"c": ("a", "b")}),
        ({"x": "[0:1]"}, None, "", {}),
        ({"x": "[0:1]"}, [], "", {}),
    ],
)
def test_lightgbm_categories_find_their_columns(columns, categories, declared, expected):
    assert described(columns, categories, declared) == expected


@pytest.mark.parametrize(
    ("columns", "categories", "declared"),
    [
        ({"x": "[0:1]", "y": "[0:1]"}, [AB], ""),  # either may be an ordered category
        ({"k": "0:1", "c": "0:1"}, [AB], "0,1"),  # either may be the one from pandas
        ({"x": "[0:7]"}, [AB], ""),  # neither
    ],
)
def test_lightgbm_categories_are_never_guessed(columns, categories, declared):
    with pytest.raises(ModelBroken, match=r"'m.txt' cannot be used: the categories it stores .* fit"):
        described(columns, categories, declared)


def test_a_signature_settles_it():
    assert described({"x": "[0:1]", "y": "[0:1]"}, [AB], text=frozenset("y")) == {"y": ("a", "b")}


@pytest.mark.parametrize("categories", [{"a": 1}, ["a"], 3])
def test_damaged_lists_of_categories(categories):
    with pytest.raises(ModelBroken, match="list of categories is damaged"):
        described({"x": "[0:1]"}, categories)
