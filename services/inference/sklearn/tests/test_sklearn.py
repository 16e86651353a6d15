"""What models say, which inputs fail, and which files are refused."""

import base64
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from prelabel_contract.regions import REGIONS, Choice, Number, Rating, Region
from prelabel_inference_sklearn import provider as of_provider
from prelabel_inference_sklearn.files import estimators, load
from prelabel_inference_sklearn.provider import SklearnProvider
from prelabel_inference_sklearn.settings import SklearnLimits
from prelabel_provider.base import BadSettings, Failed, Input, PredictedJson, Prediction
from pydantic import JsonValue, ValidationError
from sklearn.cluster import KMeans
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

Save = Callable[..., Path]
Models = Mapping[str, Path]


def _load(path: Path, **settings: Any) -> SklearnProvider:
    return SklearnProvider.load(SklearnProvider.Settings.model_validate({"path": str(path), **settings}))


def _said(model: SklearnProvider, *values: JsonValue) -> list[tuple[Region, ...] | Failed]:
    return [_read(one) for one in model.predict([Input("task", {"field": value}, "field") for value in values])]


def _read(said: Prediction) -> tuple[Region, ...] | Failed:
    if isinstance(said, Failed):
        return said
    assert isinstance(said, PredictedJson)
    return REGIONS.validate_json(said.regions)


def _regions(model: SklearnProvider, value: JsonValue) -> tuple[Region, ...]:
    (said,) = _said(model, value)
    assert not isinstance(said, Failed)
    return said


# ---------------------------------------------------------------------------------------------------- what models say


def test_a_class_comes_with_the_probability_that_the_model_gives_it(models: Models) -> None:
    (choice,) = _regions(_load(models["sentiment"]), "good and fine")
    bare = skops.io.load(models["sentiment"])
    assert isinstance(choice, Choice)
    assert choice.labels == ("good",)
    assert choice.score == bare.predict_proba(["good and fine"])[0, 1]


def test_a_model_without_probabilities_gives_null(models: Models) -> None:
    (choice,) = _regions(_load(models["unsure"]), "bad and ugly")
    assert (choice.labels, choice.score) == (("bad",), None)


def test_what_a_model_predicts_counts_where_its_likeliest_class_is_another(models: Models) -> None:
    (choice,) = _regions(_load(models["careful"]), "good and fine")
    assert choice.labels == ("bad",)
    assert choice.score is not None
    assert choice.score < 0.5


@pytest.mark.parametrize("file", ["several", "outputs"])
def test_several_classes_may_be_true_and_none(models: Models, file: str) -> None:
    model = _load(models[file], labels=["good", "bad"])
    assert [one.labels for one in _regions(model, "good, nice")] == [("good",), ("bad",)]
    assert [one.labels for one in _regions(model, "fine")] == [("good",)]
    assert _regions(_load(models[file], least=1.0), "fine") == ()


def test_several_classes_without_probabilities_are_those_that_are_predicted(models: Models) -> None:
    said = _regions(_load(models["several-unsure"], labels=["good", "bad"]), "bad and foul")
    assert [(one.labels, one.score) for one in said] == [(("bad",), None)]


def test_columns_without_names_are_called_by_their_numbers(models: Models) -> None:
    assert _load(models["several"]).describe().labels == {"choice": ("0", "1")}


def test_numbers_and_ratings(models: Models) -> None:
    (number,) = _regions(_load(models["length"]), "good and fine")
    assert isinstance(number, Number)
    (rating,) = _regions(_load(models["stars"], emit="rating"), "good and fine")
    assert isinstance(rating, Rating)
    assert (rating.rating, rating.score is None) == (5, False)
    (rounded,) = _regions(_load(models["price"], input="vector", emit="rating"), [1, 1, 1.4])
    assert isinstance(rounded, Rating)
    assert (rounded.rating, rounded.score) == (round(skops.io.load(models["price"]).predict([[1, 1, 1.4]])[0]), None)
    (least,) = _regions(_load(models["price"], input="vector", emit="rating"), [-9, 0, 0])
    assert isinstance(least, Rating)
    assert least.rating == 0


def test_a_model_that_says_no_number_fails_that_input(save: Save) -> None:
    model = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
    model.coef_ = np.array([np.nan])
    (said,) = _said(_load(save(model), input="vector"), [2.0])
    assert said == Failed("output", "the model said a number that is not finite")


def test_a_class_of_probabilities_that_are_no_numbers_is_none(save: Save) -> None:
    model = LogisticRegression().fit([[0.0], [1.0], [2.0]], [0, 1, 2])
    model.coef_ = model.coef_ * np.nan
    several = MultiOutputClassifier(model).fit([[0.0], [1.0]], [[0, 1], [1, 0]])
    several.estimators_[0].coef_ = several.estimators_[0].coef_ * np.nan
    asked_twice = QuadraticDiscriminantAnalysis().fit([[0.0], [1.0], [2.0], [4.0]], [0, 0, 1, 1])
    asked_twice.means_ = asked_twice.means_ * np.nan
    for broken in (model, several, asked_twice):
        (said,) = _said(_load(save(broken), input="vector"), [2.0])
        assert said == Failed("output", "the model said a number that is not finite")


def test_the_same_file_read_otherwise_is_another_version(models: Models) -> None:
    one, other = _load(models["several"]), _load(models["several"], least=0.9)
    assert one.describe().version.startswith("several-")
    assert one.describe().version != other.describe().version
    assert one.describe().version == _load(models["several"], max_length=7).describe().version


def test_a_batch_that_is_large_is_answered_in_portions(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _load(models["sentiment"])
    texts = ["good and fine", "bad", "ugly and foul", "nice"] * 5
    whole = _said(model, *texts)
    monkeypatch.setattr(of_provider, "HELD", 20)
    assert _said(model, *texts) == whole


# -------------------------------------------------------------------------------------------------------- what is read


def _packed(*numbers: float, type_: str) -> str:
    return base64.b64encode(np.array(numbers, dtype=type_).tobytes()).decode()


@pytest.mark.parametrize(
    ("value", "settings"),
    [
        ([6, 4, 3], {}),
        ([6.0, 4, 3.0], {}),
        ([6, 4, True], {}),
        ([[6, 4], [3]], None),
        ([[6], [4], [3]], {}),
        (_packed(6, 4, 3, type_="<f4"), {}),
        (_packed(6, 4, 3, type_="<f8"), {"encoding": "float64"}),
        (_packed(6, 4, 3, type_="u1"), {"encoding": "uint8"}),
        ("data:application/octet-stream;base64," + _packed(6, 4, 3, type_="u1"), {"encoding": "uint8"}),
    ],
)
def test_numbers_are_read_from_lists_and_from_base64(
    models: Models, value: JsonValue, settings: dict[str, Any] | None
) -> None:
    (said,) = _said(_load(models["rows"], input="vector", **(settings or {})), value)
    if settings is None:
        assert said == Failed("input", "field 'field': lists of numbers must be equally long")
    else:
        assert not isinstance(said, Failed)
        assert said[0].labels == ("high",)


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        ([6, 4], "the model takes 3 numbers, these are 2"),
        ([], "the model takes 3 numbers, these are 0"),
        (["6", "4", "3"], "it holds something that is no number"),
        ([6, None, 3], "it holds something that is no number"),
        ([6, 4, {}], "it holds something that is no number"),
        ({"a": 1}, "it is no list of numbers"),
        (None, "it is no list of numbers"),
        ("no base64!", "it is a text, and not Base64"),
        ("AAAAAA==", "the model takes 3 numbers, these are 1"),
        ("AAAA", "3 bytes are no whole number of float32"),
        (_packed(1, 2, float("nan"), type_="<f4"), "it holds a number that is not finite"),
        ([6, 4, float("inf")], "it holds a number that is not finite"),
        ("data:image/png;base64,AAAA", "it is a picture in a format of its own: give its pixels"),
    ],
)
def test_what_is_no_vector_fails_alone(models: Models, value: JsonValue, detail: str) -> None:
    model = _load(models["rows"], input="vector")
    first, bad, last = _said(model, [6, 4, 3], value, [0, 1, 2])
    assert bad == Failed("input", f"field 'field': {detail}")
    assert [first, last] == _said(model, [6, 4, 3], [0, 1, 2])


def test_columns_are_fields_with_one_number_each(models: Models) -> None:
    model = _load(models["rows"], input="vector", columns=["a", "b", "c"])
    good, bad = model.predict(
        [Input("x", {"a": 6, "b": 4, "c": 3.0, "text": "t"}, "text"), Input("y", {"a": 6, "b": 4}, "text")]
    )
    read = _read(good)
    assert not isinstance(read, Failed)
    assert read[0].labels == ("high",)
    assert bad == Failed("input", "the columns: it holds something that is no number")


def test_a_text_that_is_too_long_fails_alone(models: Models) -> None:
    short, long, none = _said(_load(models["sentiment"], max_length=10), "good", "good" * 10, 7)
    assert not isinstance(short, Failed)
    assert long == Failed("too_long", "40 characters, the limit is 10")
    assert none == Failed("input", "field 'field' is not a text")


# ------------------------------------------------------------------------------------------ settings that are wrong


@pytest.mark.parametrize(
    "settings",
    [
        {"path": ""},
        {"path": "x", "columns": ["a"]},
        {"path": "x", "encoding": "uint8"},
        {"path": "x", "input": "vector", "max_length": 3},
        {"path": "x", "input": "vector", "columns": ["a", "a"]},
        {"path": "x", "labels": ["a", "a"]},
        {"path": "x", "labels": ["a"], "emit": "rating"},
        {"path": "x", "least": 2},
        {"path": "x", "trusted": ["os.system"]},
    ],
)
def test_settings_that_have_no_effect_or_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SklearnProvider.Settings.model_validate(settings)


@pytest.mark.parametrize(
    ("file", "settings", "message"),
    [
        ("sentiment", {"input": "vector"}, "^input: .*texts"),
        ("rows", {}, "^input: the model cannot predict a text"),
        ("rows", {"input": "vector", "columns": ["a", "b"]}, "^columns: the model takes 3 numbers"),
        ("sentiment", {"labels": ["a", "b", "c"]}, "^labels: the model has 2 classes, these are 3"),
        ("sentiment", {"emit": "rating"}, "^emit: ratings are whole numbers"),
        ("sentiment", {"emit": "number"}, "^emit: the model is a classifier"),
        ("several", {"emit": "rating"}, "^emit: the model says several things"),
        ("length", {"emit": "choice"}, "^emit: the model is a regressor"),
        ("length", {"labels": ["a"]}, "^labels: the model is a regressor"),
    ],
)
def test_settings_that_do_not_fit_the_model_name_the_field(
    models: Models, file: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadSettings, match=message):
        _load(models[file], **settings)


def test_models_that_answer_something_else_are_refused(save: Save) -> None:
    rows = np.array([[0.0, 0], [1, 1], [0, 1], [1, 0]])
    for model, message in (
        (KMeans(2, n_init=1).fit(rows), "a KMeans is neither a classifier nor a regressor"),
        (LinearRegression().fit(rows, rows), "says 2 numbers at once"),
        (
            MultiOutputClassifier(LogisticRegression()).fit(rows, [["a", "x"], ["b", "y"], ["a", "y"], ["b", "x"]]),
            "several questions at once",
        ),
        ({"not": "a model"}, "a dict is neither"),
    ):
        with pytest.raises(BadSettings, match=message):
            _load(save(model), input="vector") if not isinstance(model, dict) else _load(save(model))


# ------------------------------------------------------------------------------------------ files that are refused


class _Bomb:
    """What a pickle runs when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)

    path = ""


def test_a_pickle_is_never_read(tmp_path: Path) -> None:
    bomb = _Bomb()
    bomb.path = str(tmp_path / "ran")
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(bomb))
    with pytest.raises(BadSettings, match="pickle, which can run anything and is never read"):
        _load(tmp_path / "model.pkl")
    assert not (tmp_path / "ran").exists()


def _hostile(tmp_path: Path, node: dict[str, Any], *, protocol: object = 2, **more: bytes) -> Path:
    path = tmp_path / "hostile.skops"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", json.dumps({**node, "protocol": protocol, "_skops_version": "0.16.0"}))
        for name, content in more.items():
            archive.writestr(name.replace("_", "."), content)
    return path


_ids = count(1)


def _node(module: str, name: str, loader: str, **rest: Any) -> dict[str, Any]:
    return {"__module__": module, "__class__": name, "__loader__": loader, "__id__": next(_ids), **rest}


def _runs(target: Path) -> list[dict[str, Any]]:
    """Trees that would make a folder, if they were built without a check."""
    text = _node("builtins", "str", "JsonNode", content=json.dumps(str(target)), is_json=True)
    arguments = _node("builtins", "tuple", "TupleNode", content=[text])
    nothing = _node("builtins", "str", "JsonNode", content="null", is_json=True)
    empty = _node(
        "builtins", "dict", "DictNode", content={}, key_types=_node("builtins", "list", "ListNode", content=[])
    )
    function = _node("os", "mkdir", "FunctionNode")
    return [
        _node("pathlib", "Path", "ConstructorFromReduceNode", content=arguments),
        _node(
            *("functools", "partial", "PartialNode"),
            content={"func": function, "args": arguments, "kwds": empty, "namespace": nothing},
        ),
        _node("operator", "methodcaller", "OperatorFuncNode", attrs=arguments),
        _node("os", "mkdir", "TypeNode"),
        _node("sklearn.preprocessing._function_transformer", "FunctionTransformer", "ObjectNode", content=function),
        _node("os", "mkdir", "ConstructorFromReduceNode", content=arguments),
    ]


@pytest.mark.parametrize("which", range(6))
def test_a_file_with_what_nobody_trusts_is_refused_before_any_of_it_runs(tmp_path: Path, which: int) -> None:
    target = tmp_path / "ran"
    with pytest.raises(
        BadSettings, match=r"^path: .*holds types that are not trusted.*(os|pathlib|operator|functools)\."
    ):
        _load(_hostile(tmp_path, _runs(target)[which]))
    assert not target.exists()


@pytest.mark.parametrize("protocol", [0, 1, None, "2", True, -1])
def test_a_file_cannot_ask_to_be_checked_as_in_older_days(tmp_path: Path, protocol: object) -> None:
    old = _node("x", "y", "FunctionNode", content={"module_path": "os", "function": "mkdir"})
    with pytest.raises(BadSettings, match="oldest that is read is 2"):
        _load(_hostile(tmp_path, old, protocol=protocol))


def test_a_type_is_trusted_by_the_operator_only(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    forest = save(RandomForestClassifier(2, n_jobs=-1, random_state=1).fit([[0.0], [1.0]], ["a", "b"]))
    with pytest.raises(BadSettings, match=r"sklearn\.tree\._tree\.Tree; .*PRELABEL_SKLEARN_TRUSTED"):
        _load(forest, input="vector")
    monkeypatch.setenv("PRELABEL_SKLEARN_TRUSTED", '["sklearn.tree._tree.Tree"]')
    (choice,) = _regions(_load(forest, input="vector"), [1.0])
    assert isinstance(choice, Choice)


def test_a_file_that_unpacks_to_more_than_it_may_is_refused(tmp_path: Path) -> None:
    def empty(size: int, name: str) -> bytes:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, bytes(size))
        return packed.getvalue()

    limits = SklearnLimits(max_mib=1)
    for more in ({"array_npy": bytes(2 << 20)}, {"array_npz": empty(2 << 20, "data.npy")}):
        path = _hostile(tmp_path, {}, **more)
        assert path.stat().st_size < 1 << 20
        with pytest.raises(BadSettings, match="unpacks to more than 1 MiB"):
            load(str(path), limits)
    (tmp_path / "large.skops").write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(BadSettings, match="larger than 1 MiB"):
        load(str(tmp_path / "large.skops"), limits)


@pytest.mark.parametrize("keep", [0, 3, 50, -30])
def test_a_damaged_file_is_refused_in_one_line(models: Models, tmp_path: Path, keep: int) -> None:
    (tmp_path / "half.skops").write_bytes(models["sentiment"].read_bytes()[:keep])
    with pytest.raises(BadSettings, match=r"^path: .*half\.skops' is no (skops )?file.*$") as refused:
        _load(tmp_path / "half.skops")
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="cannot be read: No such file"):
        _load(tmp_path / "none.skops")


def test_a_model_that_takes_texts_for_files_is_refused(save: Save, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("good")
    model = make_pipeline(CountVectorizer(input="filename"), LogisticRegression())
    model.fit([str(tmp_path / "a")] * 2, ["a", "b"])
    with pytest.raises(BadSettings, match="takes texts for names of files"):
        _load(save(model))


def test_a_model_starts_no_processes_of_its_own(save: Save) -> None:
    model = make_pipeline(TfidfVectorizer(), MultiOutputClassifier(LogisticRegression())).fit(
        ["good", "bad", "good", "bad"], [[1, 0], [0, 1], [1, 1], [0, 1]]
    )
    model[-1].n_jobs = -1
    model[-1].estimators_[0].n_jobs = -1
    loaded = _load(save(model))
    assert {getattr(part, "n_jobs", None) for part in estimators(loaded._loaded.model)} <= {None, 1}


def test_a_list_that_is_named_very_often_is_walked_once() -> None:
    shared: list[Any] = []
    for _ in range(80):
        shared = [shared, shared]
    model = FunctionTransformer(kw_args={"a": shared})
    assert list(estimators(model)) == [model]


# ------------------------------------------------------------------------------------------------ how unsure they are


def _doubts(model: SklearnProvider, *values: JsonValue) -> list[float | None]:
    said = model.predict([Input("task", {"field": value}, "field") for value in values])
    assert all(isinstance(one, PredictedJson) for one in said)
    return [one.uncertainty for one in said if isinstance(one, PredictedJson)]


def test_an_answer_is_as_unsure_as_its_probabilities_are(models: Models) -> None:
    bare = skops.io.load(models["sentiment"])
    shares = bare.predict_proba(["good and fine"])[0]
    best, second = sorted(shares, reverse=True)[:2]
    for measure, figure in (
        ("margin", 1 - (best - second)),
        ("least_confidence", (1 - best) * len(shares) / (len(shares) - 1)),
        ("entropy", -sum(share * np.log(share) for share in shares) / np.log(len(shares))),
    ):
        assert _doubts(_load(models["sentiment"], uncertainty=measure), "good and fine") == [pytest.approx(figure)]
    assert _doubts(_load(models["sentiment"]), "good and fine") == [pytest.approx(1 - (best - second))]


@pytest.mark.parametrize("file", ["several", "outputs"])
def test_of_several_labels_the_most_doubtful_counts(models: Models, file: str) -> None:
    model = _load(models[file], labels=["good", "bad"], least=0.0)
    scores = [one.score or 0.0 for one in _regions(model, "fine")]
    assert _doubts(model, "fine") == [pytest.approx(max(1 - abs(2 * score - 1) for score in scores))]
    assert _doubts(_load(models[file], least=1.0), "fine") == _doubts(model, "fine")  # what was not said counts too


def test_a_model_without_probabilities_does_not_say_how_unsure_it_is(models: Models) -> None:
    assert _doubts(_load(models["unsure"]), "bad and ugly") == [None]
    assert _doubts(_load(models["price"], input="vector"), [1, 1, 1.4]) == [None]


def test_another_measure_is_another_version(models: Models) -> None:
    usual = _load(models["sentiment"]).describe().version
    assert _load(models["sentiment"], uncertainty="margin").describe().version == usual
    assert _load(models["sentiment"], uncertainty="entropy").describe().version != usual
