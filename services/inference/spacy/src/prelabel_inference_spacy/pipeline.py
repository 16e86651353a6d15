"""Loading a spaCy pipeline, switching off what nobody asked for, and naming what was loaded."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import spacy
from prelabel_contract.names import content_hash
from prelabel_provider.base import BadSettings

from .folders import CONFIG, FolderRefused, check
from .settings import Emit, SpacyLimits, SpacySettings

MAKES: dict[Emit, frozenset[str]] = {
    "ner": frozenset({"ner", "beam_ner"}),
    "entity_ruler": frozenset({"entity_ruler", "span_ruler", "future_entity_ruler"}),
    "spancat": frozenset({"spancat", "spancat_singlelabel"}),
    "textcat": frozenset({"textcat", "textcat_multilabel"}),
    "pos": frozenset({"tagger", "morphologizer"}),
    "dep": frozenset({"parser", "beam_parser"}),
}
"""The factories of the components that make what can be emitted."""

_HELPS = {"pos": frozenset({"attribute_ruler"}), "spancat": frozenset({"span_finder"})}
_NEVER = frozenset({"lemmatizer", "trainable_lemmatizer", "senter", "entity_linker"})
_OPTIONAL = frozenset().union(_NEVER, *MAKES.values(), *_HELPS.values())
_BY_DEFAULT: tuple[Emit, ...] = ("ner", "entity_ruler", "spancat", "textcat")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A pipeline with only those components on that are needed."""

    nlp: Any
    emit: tuple[Emit, ...]
    version: str
    labels: dict[Emit, tuple[str, ...]]
    """What each emitted part may say."""
    spans_key: str


def load(settings: SpacySettings) -> Loaded:
    """Load what the settings name. Raises `BadSettings`."""
    if settings.blank is not None:
        nlp, content = _blank(settings), content_hash([p.model_dump(mode="json") for p in settings.patterns])
    else:
        nlp = _saved(settings)
        content = _content(Path(nlp.path)) if nlp.path else ""
    factories = {name: nlp.get_pipe_meta(name).factory for name in nlp.pipe_names}
    emit = _emitted(settings, frozenset(factories.values()))
    _check_uncertainty(settings, emit)
    _switch_off(nlp, factories, emit)
    nlp.max_length = max(nlp.max_length, settings.max_length)
    meta = nlp.meta
    return Loaded(
        nlp=nlp,
        emit=emit,
        version=f"{meta['lang']}_{meta['name']}-{meta['version']}+{_answering(content, settings)[:16]}",
        labels={part: _labels(nlp, factories, part) for part in emit},
        spans_key=settings.spans_key or _spans_key(nlp, factories),
    )


def _blank(settings: SpacySettings) -> Any:
    try:
        nlp = spacy.blank(settings.blank or "")
        ruler = nlp.add_pipe("entity_ruler", config={"validate": True})
        ruler.add_patterns([pattern.model_dump(mode="json") for pattern in settings.patterns])
    except (ImportError, ValueError) as error:  # spaCy's MatchPatternError is a ValueError
        raise BadSettings(f"patterns: {_line(error)}") from error
    return nlp


def _saved(settings: SpacySettings) -> Any:
    name = settings.pipeline or settings.path or ""
    if not name:
        raise BadSettings("path: there is no model yet: train one, or name a pipeline")
    if settings.path is not None:
        _check_folder(settings.path)
    try:
        return spacy.load(name if settings.path is None else Path(settings.path))
    except MemoryError:
        raise
    except Exception as error:  # spaCy and its parts raise whatever a half-written folder makes them raise
        what = "pipeline" if settings.path is None else "path"
        raise BadSettings(f"{what}: {name!r} cannot be loaded by spaCy {spacy.__version__}: {_line(error)}") from error


def _check_folder(path: str) -> None:
    if not (Path(path) / CONFIG).is_file():
        raise BadSettings(f"path: {path!r} is no folder of a spaCy pipeline: it has no {CONFIG}")
    try:
        check(Path(path), SpacyLimits().trusted)
    except FolderRefused as error:
        raise BadSettings(f"path: {path!r} cannot be loaded: {error}") from error
    except OSError as error:
        raise BadSettings(f"path: {path!r} cannot be read: {error.strerror}") from error


def _emitted(settings: SpacySettings, factories: frozenset[str]) -> tuple[Emit, ...]:
    has = [part for part, makers in MAKES.items() if makers & factories]
    if missing := [part for part in settings.emit if part not in has]:
        raise BadSettings(f"emit: this pipeline has no {', '.join(missing)}; it has {', '.join(has) or 'none of them'}")
    emit = settings.emit or tuple(part for part in _BY_DEFAULT if part in has)
    if not emit:
        raise BadSettings(f"emit: this pipeline has {', '.join(has) or 'nothing to emit'}: name what is wanted")
    return tuple(dict.fromkeys(emit))


def _check_uncertainty(settings: SpacySettings, emit: tuple[Emit, ...]) -> None:
    """Refuse what would tell nothing."""
    gives = f"this pipeline gives {', '.join(emit)}"
    if settings.beam is not None and "ner" not in emit:
        raise BadSettings(f"beam: it has an effect with ner only, and {gives}")
    if "uncertainty" in settings.model_fields_set and settings.beam is None and not {"textcat", "spancat"} & set(emit):
        raise BadSettings(f"uncertainty: it has an effect with textcat, spancat, and ner with a beam; {gives}")


def _switch_off(nlp: Any, factories: dict[str, str], emit: tuple[Emit, ...]) -> None:
    # Components of unknown factories stay on: somebody may read what they write. A ruler may ask for tags and
    # lemmas: what runs before it stays on too.
    needed = frozenset().union(*(MAKES[part] | _HELPS.get(part, frozenset()) for part in emit))
    rulers = [i for i, name in enumerate(factories) if factories[name] in MAKES["entity_ruler"]]
    before = max(rulers, default=0) if "entity_ruler" in emit else 0
    for index, (name, factory) in enumerate(list(factories.items())):
        feeds_ruler = index < before and factory not in MAKES["ner"]
        if factory in _OPTIONAL and factory not in needed and not feeds_ruler:
            nlp.disable_pipe(name)


def _labels(nlp: Any, factories: dict[str, str], part: Emit) -> tuple[str, ...]:
    makers = [nlp.get_pipe(name) for name in nlp.pipe_names if factories[name] in MAKES[part]]
    return tuple(dict.fromkeys(label for maker in makers for label in maker.labels))


def _spans_key(nlp: Any, factories: dict[str, str]) -> str:
    for name in nlp.pipe_names:
        if factories[name] in MAKES["spancat"]:
            return str(nlp.get_pipe(name).key)
    return "sc"


def _answering(content: str, settings: SpacySettings) -> str:
    """A hash of the content, and of how unsure answers are told to be where that is not as usual."""
    told = settings.model_dump(mode="json", include={"uncertainty", "beam"}, exclude_defaults=True)
    return content_hash({"content": content, **told}) if told else content


def _content(folder: Path) -> str:
    """SHA-256 over a folder's files: names and contents in a fixed order."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        name = path.relative_to(folder).as_posix().encode()
        digest.update(len(name).to_bytes(4, "big") + name)
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
