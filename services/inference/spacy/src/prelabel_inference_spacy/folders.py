"""A folder that spaCy saved a pipeline in: what may be in it, decided before spaCy reads it.

spaCy builds what a folder's config.cfg names: functions of registries, which installed packages fill; some of them
read other files, load other models, import code or unpickle. So names are looked at first, and a folder with one that
is not listed here is refused whole. What is listed builds layers and components out of numbers and texts, or is never
called when a pipeline is loaded. Files are the other way in: only those that spaCy writes, no links, no pickles.
"""

import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import spacy.lang
from prelabel_provider.models.contents import Unpacked, check_content
from prelabel_provider.models.manifest import ArtifactRefused
from thinc.api import Config

FILES = frozenset(
    {".json", ".cfg", ".jsonl", ".bin", "model", "cfg", "moves", "tokenizer", "vectors", "key2row", "patterns"}
)
"""Files that spaCy writes: suffixes and whole last names."""
_FOR_PEOPLE = frozenset({".md", ".txt", "LICENSE", "LICENSES_SOURCES"})
"""Files that nobody loads."""
CONFIG = "config.cfg"
_MOST_FILES = 1000
_MAX_CONFIG = 1 << 20
"""Bytes. Those of spaCy's own pipelines have some thousand."""
_MAX_UNPACKED = 1 << 30
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}")
"""Of a component: it becomes a part of paths."""
_REFERENCE = re.compile(r"\$\{(\w+(?:[.:]\w+)*)\}")

_FACTORIES = (
    *("attribute_ruler", "beam_ner", "beam_parser", "doc_cleaner", "entity_ruler", "future_entity_ruler", "lemmatizer"),
    *("merge_entities", "merge_noun_chunks", "merge_subtokens", "morphologizer", "ner", "parser", "sentencizer"),
    *("senter", "span_finder", "span_ruler", "spancat", "spancat_singlelabel", "tagger", "textcat"),
    *("textcat_multilabel", "tok2vec", "token_splitter", "trainable_lemmatizer"),
)
_ARCHITECTURES = (
    *("CharacterEmbed.v2", "HashEmbedCNN.v2", "MaxoutWindowEncoder.v2", "MishWindowEncoder.v2"),
    *("MultiHashEmbed.v1", "MultiHashEmbed.v2"),  # the older one is what spancat_singlelabel is made of
    *("SpanCategorizer.v1", "SpanFinder.v1", "Tagger.v2", "TextCatBOW.v2", "TextCatBOW.v3", "TextCatCNN.v2"),
    *("TextCatEnsemble.v2", "TextCatLowData.v1", "TextCatParametricAttention.v1", "TextCatReduce.v1", "Tok2Vec.v2"),
    *("Tok2VecListener.v1", "TransitionBasedParser.v2"),
)
_SCORERS = (
    *("attribute_ruler_scorer.v1", "entity_ruler_scorer.v1", "lemmatizer_scorer.v1", "morphologizer_scorer.v1"),
    *("ner_scorer.v1", "overlapping_labeled_spans_scorer.v1", "parser_scorer.v1", "senter_scorer.v1"),
    *("span_finder_scorer.v1", "spancat_scorer.v1", "tagger_scorer.v1", "textcat_multilabel_scorer.v1"),
    *("textcat_multilabel_scorer.v2", "textcat_scorer.v1", "textcat_scorer.v2"),
)
_MISC = (
    *("first_longest_spans_filter.v1", "levenshtein_compare.v1", "ngram_range_suggester.v1", "ngram_suggester.v1"),
    *("preset_spans_suggester.v1", "prioritize_existing_ents_filter.v1", "prioritize_new_ents_filter.v1"),
    "LookupsDataLoader.v1",
)
_IN_TRAINING = (  # sections of how a pipeline was trained stay in its config, and nothing of them is called
    *("augmenters:spacy.combined_augmenter.v1", "augmenters:spacy.lower_case.v1", "augmenters:spacy.orth_variants.v1"),
    *("batchers:spacy.batch_by_padded.v1", "batchers:spacy.batch_by_sequence.v1", "batchers:spacy.batch_by_words.v1"),
    *("loggers:spacy.ConsoleLogger.v1", "loggers:spacy.ConsoleLogger.v2", "loggers:spacy.ConsoleLogger.v3"),
    *("optimizers:Adam.v1", "optimizers:RAdam.v1", "optimizers:SGD.v1"),
    *("readers:spacy.Corpus.v1", "readers:spacy.JsonlCorpus.v1", "readers:spacy.read_labels.v1"),
    *("readers:srsly.read_json.v1", "schedules:compounding.v1", "schedules:constant.v1", "schedules:constant_then.v1"),
    *("schedules:cyclic_triangular.v1", "schedules:decaying.v1", "schedules:slanted_triangular.v1"),
    "schedules:warmup_linear.v1",
)
ALLOWED = frozenset(
    {
        *(f"factories:{name}" for name in _FACTORIES),
        *(f"architectures:spacy.{name}" for name in _ARCHITECTURES),
        *(f"scorers:spacy.{name}" for name in _SCORERS),
        *(f"misc:spacy.{name}" for name in _MISC),
        *("tokenizers:spacy.Tokenizer.v1", "vectors:spacy.Vectors.v1"),
        *("layers:spacy.mean_max_reducer.v1", "layers:spacy.LinearLogistic.v1", "layers:Softmax.v2"),
        *("layers:reduce_first.v1", "layers:reduce_last.v1", "layers:reduce_max.v1", "layers:reduce_mean.v1"),
        *_IN_TRAINING,
    }
)
"""What a config may name: <registry>:<name>."""


class FolderRefused(Exception):
    """The folder is not loaded, and nothing of it was; the message is one line that says why."""


def check(folder: Path, trusted: Collection[str] = ()) -> None:
    """Let pass a folder that spaCy may load. Raises `FolderRefused`.

    `trusted`: further names, as `ALLOWED` has them.
    """
    unpacked = Unpacked(_MAX_UNPACKED)
    try:
        for path, name in _files(folder):
            check_content(path, name, unpacked)
    except ArtifactRefused as error:
        raise FolderRefused(error.detail) from error
    _check_config(_config(folder / CONFIG), ALLOWED.union(trusted))


def _files(folder: Path) -> Iterator[tuple[Path, str]]:
    waiting, count = [folder], 0
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                path = Path(entry.path)
                name = path.relative_to(folder).as_posix()
                mode = entry.stat(follow_symlinks=False).st_mode
                count += 1
                if count > _MOST_FILES:
                    raise FolderRefused(f"it holds more than {_MOST_FILES} files")
                if stat.S_ISDIR(mode):
                    waiting.append(path)
                elif not stat.S_ISREG(mode):
                    raise FolderRefused(f"{name[:100]!r} is a link, or no file")
                elif {path.name, path.suffix} & FILES:
                    yield path, name
                elif not {path.name, path.suffix} & _FOR_PEOPLE:
                    raise FolderRefused(f"{name[:100]!r} is no file that spaCy writes")


def _config(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        content = file.read(_MAX_CONFIG + 1)
    if len(content) > _MAX_CONFIG:
        raise FolderRefused(f"{CONFIG} has more than {_MAX_CONFIG} bytes")
    try:
        return dict(Config().from_str(content.decode(), interpolate=False))
    except MemoryError:
        raise
    except (Exception, RecursionError) as error:  # whatever the parsers below make of a text
        raise FolderRefused(f"{CONFIG} cannot be read ({type(error).__name__})") from error


def _check_config(config: Mapping[str, Any], allowed: Collection[str]) -> None:
    nlp, components = config.get("nlp"), config.get("components", {})
    if not isinstance(nlp, dict) or not isinstance(components, dict):
        raise FolderRefused(f"{CONFIG} describes no pipeline")
    if not isinstance(lang := nlp.get("lang"), str) or lang not in _languages():
        raise FolderRefused(f"{CONFIG} names a language that spaCy does not have: {_shown(lang)}")
    for name, component in components.items():
        _check_component(name, component, allowed)
    for value in _values(config, allowed):
        _check_value(value, config)


def _languages() -> frozenset[str]:
    """A language is a module that is imported: those that lie in spaCy's own folder."""
    return frozenset(p.name for place in spacy.lang.__path__ for p in Path(place).iterdir() if p.name.isalpha())


def _check_component(name: Any, component: Any, allowed: Collection[str]) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise FolderRefused(f"{CONFIG}: {_shown(name)} is no name for a component")
    if not isinstance(component, dict) or "source" in component:
        raise FolderRefused(f"{CONFIG}: the component {name} is to be taken from another pipeline")
    _check_named("factories", component.get("factory"), allowed)


def _values(config: Mapping[str, Any], allowed: Collection[str]) -> Iterator[str]:
    """Every text in a config, once what its blocks are made by has been looked at."""
    waiting: list[Any] = [config]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            for key, value in one.items():
                if isinstance(key, str) and key.startswith("@"):
                    _check_named(key[1:], value, allowed)
                yield str(key)
            waiting += one.values()
        elif isinstance(one, (list, tuple)):
            waiting += one
        elif isinstance(one, str):
            yield one


def _check_named(registry: str, name: Any, allowed: Collection[str]) -> None:
    if not isinstance(name, str) or f"{registry}:{name}" not in allowed:
        raise FolderRefused(
            f"{CONFIG} names {_shown(f'{registry}:{name}')}, which is not trusted; "
            "whoever runs this provider may trust it: PRELABEL_SPACY_TRUSTED"
        )


def _check_value(value: str, config: Mapping[str, Any]) -> None:
    """Let pass what is the same after spaCy has put the config's values into each other.

    So a reference stands alone and leads to a value: put together, texts could become a block with a name in it.
    """
    if '"@' in value or "'@" in value:
        raise FolderRefused(f"{CONFIG} holds a text that could become a block")
    if "${" not in value:
        return
    found = _REFERENCE.fullmatch(value)
    target: Any = config
    for part in re.split("[.:]", found[1]) if found else ():
        target = target.get(part, {}) if isinstance(target, dict) else {}
    if found is None or isinstance(target, (dict, list)):
        raise FolderRefused(f"{CONFIG}: {_shown(value)} refers to more than one value")


def _shown(value: object) -> str:
    return repr(str(value)[:100])
