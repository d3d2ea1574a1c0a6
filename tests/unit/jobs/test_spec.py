import codecs
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.errors import InvalidRequest
from scoreline.jobs.spec import CsvSettings, JobSpec

# rest-api.md, appendix A.16: what the official client accepted, fields in its order.
COMPLETE = json.loads("""
{"abortOnError": true, "batchJobType": "prediction", "chunkSize": "auto", "columnNamesRemapping": null,
 "csvSettings": {"delimiter": ",", "encoding": "utf-8", "quotechar": "\\""},
 "disableRowLevelErrorHandling": false, "explanationAlgorithm": null, "includePredictionStatus": false,
 "includeProbabilities": true, "includeProbabilitiesClasses": [], "intakeSettings": {"type": "localFile"},
 "outputSettings": {"type": "localFile"}, "maxExplanations": 0, "numConcurrent": 1, "skipDriftTracking": false,
 "passthroughColumns": null, "passthroughColumnsSet": null, "thresholdHigh": null, "thresholdLow": null,
 "predictionThreshold": null, "predictionWarningEnabled": null, "deploymentId": "d1"}
""")


def refused(document, field):
    with pytest.raises(InvalidRequest) as caught:
        JobSpec.from_document(document)
    assert caught.value.field == field
    assert "\n" not in caught.value.message
    return caught.value.message


def test_defaults_are_those_of_the_complete_document():
    assert JobSpec.from_document({"deploymentId": "d1", "numConcurrent": 1}).to_document() == COMPLETE
    assert JobSpec.from_document(COMPLETE).to_document() == COMPLETE


def test_null_and_absent_are_the_same():
    spec = JobSpec.from_document(dict.fromkeys(COMPLETE))
    assert spec == JobSpec()


names = st.text(min_size=1, max_size=8)
objects = st.dictionaries(names, st.none() | st.integers() | st.text() | st.booleans(), max_size=3)
delimiters = st.sampled_from([*";|\t \x01:", "tab"])
remaps = st.none() | st.one_of(
    st.dictionaries(names, st.none() | names, max_size=4).filter(
        lambda found: len({new for new in found.values() if new}) == sum(new is not None for new in found.values())
    ),
    st.lists(st.tuples(names, names), max_size=4, unique_by=(lambda pair: pair[0], lambda pair: pair[1])).map(
        lambda pairs: [{"inputName": old, "outputName": new} for old, new in pairs]
    ),
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "deploymentId": names,
        "modelId": names,
        "modelPackageId": names,
        "pinnedModelId": names,
        "predictionInstance": objects,
        "secondaryDatasetsConfigId": names,
        "resourceBundleId": names,
        "numConcurrent": st.integers(1, 256),
        "chunkSize": st.sampled_from(["auto", "fixed", "dynamic"]) | st.integers(1, 41_943_040),
        "abortOnError": st.booleans(),
        "disableRowLevelErrorHandling": st.booleans(),
        "skipDriftTracking": st.booleans(),
        "passthroughColumns": st.lists(st.text(max_size=5), max_size=4),
        "passthroughColumnsSet": st.just("all"),
        "includePredictionStatus": st.booleans(),
        "includeProbabilities": st.booleans(),
        "includeProbabilitiesClasses": st.lists(names, max_size=3),
        "predictionThreshold": st.floats(0, 1) | st.sampled_from([0, 1]),
        "predictionWarningEnabled": st.booleans(),
        "columnNamesRemapping": remaps,
        "maxExplanations": st.integers(0, 100),
        "maxNgramExplanations": st.integers(0, 1000) | st.just("all"),
        "explanationAlgorithm": st.sampled_from(["shap", "xemp"]),
        "thresholdHigh": st.floats(allow_nan=False, allow_infinity=False),
        "thresholdLow": st.integers(-(10**6), 10**6),
        "explanationNumTopClasses": st.integers(1, 10),
        "explanationClassNames": st.lists(names, max_size=3),
        "timeseriesSettings": objects,
        "batchJobType": st.sampled_from(["prediction", "monitoring"]),
        "monitoringBatchPrefix": names,
        "monitoringColumns": objects,
        "monitoringAggregation": objects,
        "monitoringOutputSettings": objects,
        "intakeSettings": objects.map(lambda found: {**found, "type": "localFile"}),
        "outputSettings": objects.map(lambda found: {**found, "type": "s3"}),
        "csvSettings": st.fixed_dictionaries({}, optional={"delimiter": delimiters, "encoding": st.just("Latin-1")}),
    },
)


@given(documents)
def test_a_document_survives_the_way_through_the_spec_and_the_store(document):
    spec = JobSpec.from_document(document)
    shown = spec.to_document()
    assert JobSpec.from_document(json.loads(json.dumps(shown))) == spec
    assert list(shown)[: len(COMPLETE)] == list(COMPLETE)
    for name, value in document.items():
        wanted = COMPLETE[name] | value if name == "csvSettings" else value
        assert shown[name] == wanted or value is None
        assert type(shown[name]) is type(wanted) or value is None
    # A document that is shown is not the spec's own: changing it changes nothing.
    for value in shown.values():
        if isinstance(value, dict):
            value["new"] = 1
    assert JobSpec.from_document(json.loads(json.dumps(spec.to_document()))) == spec


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@given(st.sampled_from([*COMPLETE, "maxNGramExplanations", "timeseriesSettings", "modelId"]), junk)
def test_whatever_a_field_holds_it_is_read_or_refused_by_name(name, value):
    fields = []
    try:
        spec = JobSpec.from_document({name: value})
        assert JobSpec.from_document(spec.to_document()) == spec
    except InvalidRequest as exc:
        fields.append(str(exc.field).split(".")[0])
    assert fields in ([], [name])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("deploymentId", ""),
        ("deploymentId", 7),
        ("numConcurrent", 0),
        ("numConcurrent", 257),
        ("numConcurrent", 2.0),
        ("numConcurrent", True),
        ("chunkSize", "big"),
        ("chunkSize", 0),
        ("chunkSize", True),
        ("chunkSize", 41_943_041),
        ("abortOnError", "true"),
        ("includeProbabilities", 1),
        ("predictionThreshold", 1.01),
        ("predictionThreshold", float("nan")),
        ("predictionThreshold", True),
        ("passthroughColumns", "id"),
        ("passthroughColumns", [1]),
        ("passthroughColumnsSet", "some"),
        ("maxExplanations", "all"),
        ("maxExplanations", 101),
        ("batchJobType", "other"),
        ("timeseriesSettings", []),
        ("columnNamesRemapping", "a"),
        ("columnNamesRemapping", {"a": ""}),
        ("columnNamesRemapping", {"a": 1}),
        ("columnNamesRemapping", {"a": "x", "b": "x"}),
        ("columnNamesRemapping", [{"inputName": "a"}, {"inputName": "a", "outputName": "b"}]),
        ("columnNamesRemapping", [{"outputName": "a"}]),
        ("columnNamesRemapping", [{"inputName": "a", "to": "b"}]),
    ],
)
def test_a_wrong_value_is_refused_by_its_field(field, value):
    assert field in refused({field: value}, field)


def test_an_unknown_field_is_refused_with_the_nearest_name():
    assert "did you mean 'chunkSize'" in refused({"chunksize": 5}, "chunksize")
    assert "did you mean 'quotechar'" in refused({"csvSettings": {"quoteChar": "'"}}, "csvSettings.quoteChar")
    assert "'zzzzzz'" in refused({"zzzzzz": 5}, "zzzzzz")


def test_both_forms_of_renaming_mean_the_same_and_are_shown_as_given():
    as_map = {"a": "b", "c": None}
    as_list = [{"inputName": "a", "outputName": "b"}, {"inputName": "c"}]
    for given_form in (as_map, as_list):
        spec = JobSpec.from_document({"columnNamesRemapping": given_form})
        assert spec.remap == (("a", "b"), ("c", None))
        assert spec.to_document()["columnNamesRemapping"] == given_form


def test_all_columns_win_over_a_list_and_a_list_counts_each_once():
    spec = JobSpec.from_document({"passthroughColumns": ["b", "a", "b", ""]})
    assert spec.passthrough == ("b", "a", "")
    both = JobSpec.from_document({"passthroughColumns": ["b"], "passthroughColumnsSet": "all"})
    assert both.passthrough == "all"
    assert JobSpec().passthrough == ()


def test_types_of_adapters_are_stored_in_their_own_spelling():
    spec = JobSpec.from_document({"intakeSettings": {"type": "LOCAL_FILE", "async": False, "multipart": True}})
    assert spec.intake == {"type": "localFile", "async": False, "multipart": True}
    assert (spec.multipart, spec.waits_for_all_data) == (True, True)
    assert JobSpec().multipart is False
    assert JobSpec().waits_for_all_data is False
    refused({"intakeSettings": {"type": "locallFile"}}, "intakeSettings.type")
    refused({"outputSettings": {"type": 5}}, "outputSettings.type")
    assert JobSpec.from_document({"outputSettings": {}}).output == {"type": "localFile"}


def test_tab_is_a_word_and_is_shown_as_given():
    spec = JobSpec.from_document({"csvSettings": {"delimiter": "tab"}})
    assert spec.csv.dialect.delimiter == "\t"
    assert spec.to_document()["csvSettings"]["delimiter"] == "tab"


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"delimiter": ""}, "delimiter"),
        ({"delimiter": ";;"}, "delimiter"),
        ({"delimiter": "é"}, "delimiter"),
        ({"delimiter": "\n"}, "delimiter"),
        ({"delimiter": "\0"}, "delimiter"),
        ({"delimiter": 5}, "delimiter"),
        ({"quotechar": "\r"}, "quotechar"),
        ({"quotechar": "''"}, "quotechar"),
        ({"quotechar": "tab"}, "quotechar"),
        ({"delimiter": '"'}, "quotechar"),
        ({"delimiter": "tab", "quotechar": "\t"}, "quotechar"),
        ({"encoding": "utf-9"}, "encoding"),
        ({"encoding": "no\0such"}, "encoding"),
        ({"encoding": "../../os"}, "encoding"),
        ({"encoding": "x" * 5000}, "encoding"),
        ({"delimiter": "%", "encoding": "cp864"}, "delimiter"),  # that code page has no percent sign
    ],
)
def test_csv_settings_are_refused_by_field(settings, field):
    refused({"csvSettings": settings}, f"csvSettings.{field}")


@pytest.mark.parametrize(
    "name",
    [
        *("hex", "base64", "zlib", "bz2", "quopri", "uu", "rot13", "rot_13", "idna", "punycode", "undefined", "mbcs"),
        *("unicode_escape", "unicode-escape", "raw_unicode_escape", "charmap", "oem", "aliases", "this", "os.path"),
    ],
)
def test_codecs_that_are_no_text_encodings_are_refused(name):
    refused({"csvSettings": {"encoding": name}}, "csvSettings.encoding")


@pytest.mark.parametrize(
    "name",
    [
        *("utf-8", "UTF8", "utf_8_sig", "utf-16", "UTF-16LE", "latin-1", "latin_1", "ISO-8859-1", "iso8859-15"),
        *("windows-1252", "ascii", "us-ascii", "shift_jis", "mskanji", "ms_kanji", "gb18030", "big5", "euc-kr"),
        *("mac_roman", "cp037", "utf-32", "hz", "iso2022_jp", "utf_7", "cp720", "koi8_u", "koi8-r", "cp1252"),
    ],
)
def test_text_encodings_are_known_by_all_their_names(name):
    dialect = JobSpec.from_document({"csvSettings": {"encoding": name}}).csv.dialect
    assert codecs.lookup(dialect.encoding).name == codecs.lookup(name).name
    assert JobSpec.from_document({"csvSettings": {"encoding": name}}).to_document()["csvSettings"]["encoding"] == name


def test_the_default_dialect_is_plain_csv():
    dialect = CsvSettings().dialect
    assert (dialect.delimiter, dialect.quotechar, dialect.encoding) == (",", '"', "utf_8")


def test_both_spellings_of_ngrams_are_read():
    for name in ("maxNgramExplanations", "maxNGramExplanations"):
        assert JobSpec.from_document({name: "all"}).max_ngram_explanations == "all"
        assert JobSpec.from_document({name: 3}).max_ngram_explanations == 3
        refused({name: "some"}, name)
