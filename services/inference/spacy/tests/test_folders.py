"""A pipeline's folder is loaded where everything in it is known, and nothing of it runs before that is known."""

import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import spacy
from prelabel_contract.projects import Label, Question
from prelabel_contract.regions import Span
from prelabel_inference_spacy import folders
from prelabel_inference_spacy.provider import SpacyProvider
from prelabel_inference_spacy.trainer import SpacyTrainer
from prelabel_provider.base import BadSettings
from prelabel_provider.trainer import CannotTrain, Example, Job
from spacy.training import Example as Shown

Hostile = Callable[[Path], None]
"""Makes a folder one."""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline of spaCy's own parts."""
    folder = tmp_path_factory.mktemp("saved") / "good"
    nlp = spacy.blank("en")
    said = Shown.from_dict(nlp.make_doc("Ada is here"), {"entities": [(0, 3, "PERSON")], "cats": {"a": 1.0, "b": 0.0}})
    for name in ("ner", "textcat", "spancat", "textcat_multilabel"):
        nlp.add_pipe(name)
    for name in ("spancat", "textcat_multilabel"):
        nlp.get_pipe(name).add_label("a")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "PERSON", "pattern": [{"LOWER": "ada"}]}])
    nlp.initialize(lambda: [said])
    nlp.to_disk(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(saved, tmp_path / "pipeline"))


@pytest.fixture
def ran() -> list[str]:
    """What ran of functions that an installed package brought and no list of ours has."""
    calls: list[str] = []

    def own(name: str) -> Callable[..., object]:
        def run() -> Callable[..., object]:
            calls.append(name)
            return lambda *_: None

        return run

    registries = (
        spacy.registry.misc,
        spacy.registry.callbacks,
        spacy.registry.architectures,
        spacy.registry.tokenizers,
    )
    for registry in registries:
        registry.register("own.v1", func=own(registry.namespace[-1]))
    spacy.Language.factory("own_part", func=lambda nlp, name: calls.append("factory"))
    yield calls
    for registry in registries:
        del registry  # what is registered stays: nothing else names it


def _load(folder: Path) -> SpacyProvider:
    return SpacyProvider.load(SpacyProvider.Settings.model_validate({"path": str(folder)}))


def _config(old: str, new: str) -> Hostile:
    def hostile(folder: Path) -> None:
        path = folder / "config.cfg"
        said = path.read_text()
        assert old in said
        path.write_text(said.replace(old, new, 1))

    return hostile


def _added(text: str) -> Hostile:
    return lambda folder: (folder / "config.cfg").open("a").write(f"\n{text}\n") and None


def _written(name: str, content: bytes) -> Hostile:
    return lambda folder: (folder / name).write_bytes(content) and None


class _Ends:
    """Ends the process once it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (1,)


def _linked(folder: Path) -> None:
    (folder / "vocab" / "vectors").unlink()
    (folder / "vocab" / "vectors").symlink_to("/etc/passwd")


def _folder_linked(folder: Path) -> None:
    shutil.move(folder / "ner", folder.parent / "elsewhere")
    (folder / "ner").symlink_to(folder.parent / "elsewhere")


def _piped(folder: Path) -> None:
    (folder / "vocab" / "vectors").unlink()
    os.mkfifo(folder / "vocab" / "vectors")


def _many(folder: Path) -> None:
    for number in range(folders._MOST_FILES):
        (folder / f"{number}.json").touch()


def test_a_pipeline_of_spacys_own_parts_is_loaded(folder: Path) -> None:
    (folder / "README.md").write_text("for people")
    assert _load(folder).describe().kinds == {"span", "choice"}


@pytest.mark.parametrize(
    ("hostile", "says"),
    [
        pytest.param(
            _config('"spacy.TransitionBasedParser.v2"', '"own.v1"'), "architectures:own.v1", id="architecture"
        ),
        pytest.param(_config('"spacy.Tokenizer.v1"', '"own.v1"'), "tokenizers:own.v1", id="tokenizer"),
        pytest.param(
            _config('"spacy.Tokenizer.v1"', '"spacy.zh.ChineseTokenizer"'),
            "tokenizers:spacy.zh.ChineseTokenizer",
            id="tokenizer-that-unpickles",
        ),
        pytest.param(_config('factory = "ner"', 'factory = "own_part"'), "factories:own_part", id="factory"),
        pytest.param(_config('factory = "ner"', 'source = "/tmp/other"'), "another pipeline", id="source"),
        pytest.param(_config('factory = "ner"', ""), "factories:None", id="no-factory"),
        pytest.param(
            _config("before_creation = null", 'before_creation = {"@callbacks": "own.v1"}'),
            "callbacks:own.v1",
            id="callback",
        ),
        pytest.param(
            _config("after_creation = null", 'after_creation = {"@callbacks":"spacy.copy_from_base_model.v1"}'),
            "callbacks:spacy.copy_from_base_model.v1",
            id="callback-that-loads-another-model",
        ),
        pytest.param(_added('[extra]\n@misc = "own.v1"'), "misc:own.v1", id="a-section-of-its-own"),
        pytest.param(_added('[extra]\na = [{"b": {"@misc": "own.v1"}}]'), "misc:own.v1", id="deep-in-a-value"),
        pytest.param(_added('[extra]\na = ["@misc"]\nb = {"@misc": ["own.v1"]}'), "misc:", id="no-name"),
        pytest.param(
            _added('[extra]\na = "own"\n[more]\n@misc = "${extra.a}.v1"'), "${extra.a}.v1", id="a-name-in-parts"
        ),
        pytest.param(
            _added('[extra]\na = "x"\nb = ${extra.a}${extra.a}'), "more than one value", id="a-block-in-parts"
        ),
        pytest.param(
            _added('[extra]\na = "{\\"@misc\\": \\"own.v1\\"}"'), "could become a block", id="a-block-as-text"
        ),
        pytest.param(_added("[extra]\na = ${components}"), "more than one value", id="a-block-twice"),
        pytest.param(
            _config("[components]", '[components]\n/etc = {"factory": "ner"}'), "no name for a component", id="a-path"
        ),
        pytest.param(
            _config("[components]", '[components]\n../x = {"factory": "ner"}'), "no name for a component", id="a-way-up"
        ),
        pytest.param(_config('lang = "en"', 'lang = "..cli"'), "language", id="a-module-as-language"),
        pytest.param(_config('lang = "en"', 'lang = "punctuation.py"'), "language", id="a-file-as-language"),
        pytest.param(_config('lang = "en"', "lang = 7"), "language", id="no-language"),
        pytest.param(_written("config.cfg", b"[nlp"), "cannot be read", id="no-config"),
        pytest.param(_written("config.cfg", b"[nlp]\nlang = " + b"[" * 100_000), "language", id="deep-config"),
        pytest.param(_written("config.cfg", b"#" * (1 << 21)), "more than 1048576 bytes", id="long-config"),
        pytest.param(_written("config.cfg", b"\x80\x04\x95" + b"x" * 20), "pickle", id="pickled-config"),
        pytest.param(_written("own.py", b"import os"), "'own.py' is no file", id="code"),
        pytest.param(_written("ner/own.so", b"\x7fELF"), "'ner/own.so' is no file", id="compiled-code"),
        pytest.param(_written("ner/model.pkl", b""), "'ner/model.pkl' is no file", id="pickle-by-name"),
        pytest.param(_written("vocab/vectors", pickle.dumps(_Ends())), "pickle", id="pickle-by-content"),
        pytest.param(_written("ner/model", pickle.dumps(_Ends(), 0)), "pickle", id="pickled-weights"),
        pytest.param(_linked, "is a link", id="link"),
        pytest.param(_folder_linked, "is a link", id="linked-folder"),
        pytest.param(_piped, "is a link, or no file", id="pipe"),
        pytest.param(_many, "more than 1000 files", id="many-files"),
    ],
)
def test_a_hostile_folder_is_refused_in_one_line_before_anything_of_it_runs(
    folder: Path, ran: list[str], hostile: Hostile, says: str
) -> None:
    hostile(folder)
    with pytest.raises(BadSettings, match=rf"^path: .* cannot be loaded: [^\n]*{re.escape(says)}[^\n]*$"):
        _load(folder)
    assert ran == []


def test_what_a_hostile_folder_names_would_have_run(folder: Path, ran: list[str]) -> None:
    _config("before_creation = null", 'before_creation = {"@callbacks": "own.v1"}')(folder)
    with pytest.raises(ValueError, match="E943"):
        spacy.load(folder)
    assert ran == ["callbacks"]


def test_the_operator_may_trust_a_name_and_a_project_may_not(
    folder: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _added('[extra]\n@misc = "own.v1"')(folder)
    with pytest.raises(BadSettings, match="PRELABEL_SPACY_TRUSTED"):
        _load(folder)
    monkeypatch.setenv("PRELABEL_SPACY_TRUSTED", '["misc:own.v1"]')
    assert _load(folder).describe().kinds == {"span", "choice"}


def test_a_hostile_base_is_not_trained_further(folder: Path, ran: list[str], tmp_path: Path) -> None:
    _config("before_creation = null", 'before_creation = {"@callbacks": "own.v1"}')(folder)
    who = Question(name="who", kind="span", field="text", labels=(Label(value="PERSON"),))
    ada = Example("t", {"text": "Ada is here"}, (Span(start=0, end=3, labels=("PERSON",), question="who"),))
    (tmp_path / "out").mkdir()
    with pytest.raises(CannotTrain) as refused:
        SpacyTrainer().train(Job((ada,) * 20, (who,), tmp_path / "out", 1, base=folder), lambda _: None)
    assert refused.value.reason == "base"
    assert ran == []


@pytest.mark.parametrize("factory", sorted(folders._FACTORIES))
def test_what_spacy_makes_an_allowed_component_of_by_itself_is_allowed(factory: str, tmp_path: Path) -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe(factory)
    nlp.config.to_disk(tmp_path / folders.CONFIG)
    folders.check(tmp_path)


def test_everything_that_is_allowed_is_spacys_or_thincs_own() -> None:
    for named in folders.ALLOWED:
        registry, _, name = named.partition(":")
        found = spacy.registry.find(registry, name) if registry != "factories" else {"module": "spacy"}
        assert str(found["module"]).split(".")[0] in {"spacy", "spacy_legacy", "thinc", "srsly"}, named
