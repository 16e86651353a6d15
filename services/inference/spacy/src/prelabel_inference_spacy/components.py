"""The pipeline that is trained: empty or a base's, and its components: new or a base's."""

from pathlib import Path
from typing import Any

import spacy
from prelabel_provider.trainer import CannotTrain
from thinc.api import Config

from .folders import CONFIG, FolderRefused, check
from .lessons import SPANS_KEY, Lessons
from .settings import SpacyLimits
from .trainer_settings import SpacyTrainerSettings

_CONTINUED = frozenset({"ner", "spancat", "textcat", "textcat_multilabel"})
_SHARED = "tok2vec"
_ROWS = {"NORM": 2000, "PREFIX": 500, "SUFFIX": 1000, "SHAPE": 500, "IS_TITLE": 10, "IS_LOWER": 10}
"""Features of a token, and how many rows each has: small tables, for some thousand texts."""
_WORDS = 1 << 14
"""Rows for words of a text, counted: a power of two."""


def pipeline(base: Path | None, settings: SpacyTrainerSettings) -> Any:
    """An empty pipeline, or a base's with those components only that may be trained further. Raises `CannotTrain`."""
    if base is not None:
        return _continued(base)
    try:
        nlp = spacy.blank(settings.lang)
    except (ImportError, ValueError) as error:
        raise CannotTrain("language", f"lang: spaCy {spacy.__version__} cannot cut {settings.lang!r} here") from error
    nlp.meta["name"] = "prelabel"
    return nlp


def component(nlp: Any, lessons: Lessons, settings: SpacyTrainerSettings) -> tuple[str, bool]:
    """The name of the component that learns these lessons, and whether it knows something already."""
    for name in nlp.pipe_names:
        if nlp.get_pipe_meta(name).factory == lessons.component and _fits(nlp.get_pipe(name), lessons):
            return name, True
    name = lessons.component
    if name in nlp.pipe_names:
        nlp.remove_pipe(name)
    pipe = nlp.add_pipe(name, config=_config(lessons, settings))
    for label in lessons.labels:
        pipe.add_label(label)
    return name, False


def _continued(base: Path) -> Any:
    try:
        check(base, SpacyLimits().trusted)
    except (FolderRefused, OSError) as error:
        raise CannotTrain("base", f"the base cannot be loaded: {error}") from error
    # What is excluded is not even built: a base's other components would say what the label set does not have.
    try:
        parts = Config().from_disk(base / CONFIG, interpolate=False)["components"]
        factories = {name: part["factory"] for name, part in parts.items()}
        others = [name for name, factory in factories.items() if factory not in _CONTINUED | {_SHARED}]
        nlp = spacy.load(base, exclude=others)
        for name, shared in list(nlp.pipeline):
            if factories[name] == _SHARED:
                for listener in shared.listening_components:
                    nlp.replace_listeners(name, listener, ["model.tok2vec"])
                nlp.remove_pipe(name)
    except MemoryError:
        raise
    except Exception as error:  # spaCy and its parts raise whatever a half-written folder makes them raise
        raise CannotTrain("base", f"the base cannot be loaded by spaCy {spacy.__version__}") from error
    return nlp


def _fits(pipe: Any, lessons: Lessons) -> bool:
    # One that may say what the label set does not have is no good, and most take no further labels later.
    if set(pipe.labels) != set(lessons.labels):
        return False
    if lessons.component == "spancat":
        sizes = pipe.suggester([spacy.blank("en").make_doc("a " * lessons.longest)]).dataXd
        return bool(((sizes[:, 1] - sizes[:, 0]) == lessons.longest).any())
    return True


def _config(lessons: Lessons, settings: SpacyTrainerSettings) -> dict[str, Any]:
    tok2vec = _tok2vec(settings.width)
    match lessons.component:
        case "ner":
            model = {
                "@architectures": "spacy.TransitionBasedParser.v2",
                "state_type": "ner",
                "extra_state_tokens": False,
                "hidden_width": 32,
                "maxout_pieces": 2,
                "use_upper": True,
                "nO": None,
                "tok2vec": tok2vec,
            }
            return {"model": model}
        case "spancat":
            sizes = list(range(1, lessons.longest + 1))
            return {
                "spans_key": SPANS_KEY,
                "suggester": {"@misc": "spacy.ngram_suggester.v1", "sizes": sizes},
                "model": {"tok2vec": tok2vec},
            }
        case _:
            words = {
                "@architectures": "spacy.TextCatBOW.v3",
                "exclusive_classes": lessons.component == "textcat",
                "length": _WORDS,
                "ngram_size": 1,
                "no_output_layer": False,
            }
            return {"model": {"tok2vec": tok2vec, "linear_model": words}}


def _tok2vec(width: int) -> dict[str, Any]:
    return {
        "@architectures": "spacy.Tok2Vec.v2",
        "embed": {
            "@architectures": "spacy.MultiHashEmbed.v2",
            "width": width,
            "attrs": list(_ROWS),
            "rows": list(_ROWS.values()),
            "include_static_vectors": False,
        },
        "encode": {
            "@architectures": "spacy.MaxoutWindowEncoder.v2",
            "width": width,
            "depth": 2,
            "window_size": 1,
            "maxout_pieces": 2,
        },
    }
