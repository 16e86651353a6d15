"""Projects: checked, then published under their content hash and as the current one."""

from collections.abc import Collection, Iterator, Mapping

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError as SchemaError
from prelabel_contract import names
from prelabel_contract.errors import FieldError, InvalidEvent, pointer
from prelabel_contract.events import AnyEvent, ConfigPublished, ProjectChanged, ProviderAnnounced, event
from prelabel_contract.projects import ModelSpec, Project

from .formats import FORMATS, FormatError


def check_models(project: Project, providers: Mapping[str, ProviderAnnounced], trainers: Collection[str] = ()) -> None:
    """Whether the models can run, and learn if they are to: providers, settings by their schema, questions, trainers.

    `trainers`: the providers whose trainers were heard of, whatever is said of their packages.

    Raises `InvalidEvent` with the field and what would be right.
    """
    errors = [
        FieldError(pointer=pointer(("models", index, *steps)), detail=detail)
        for index, model in enumerate(project.models)
        for steps, detail in (*_wrong(project, model, providers), *_untrained(model, providers, trainers))
    ]
    if errors:
        raise InvalidEvent("invalid", f"{errors[0].pointer}: {errors[0].detail}", errors)


def _wrong(
    project: Project, model: ModelSpec, providers: Mapping[str, ProviderAnnounced]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    provider = providers.get(model.provider)
    if provider is None:
        known = ", ".join(sorted(providers)) or "none is running"
        yield ("provider",), f"no provider {model.provider!r} is running; known: {known}"
        return
    schema = Draft202012Validator(provider.settings_schema, format_checker=FORMATS)
    for error in map(_plainest, schema.iter_errors(model.settings)):
        cause = str(error.cause) if isinstance(error.cause, FormatError) else error.message
        yield ("settings", *error.absolute_path), _without_input(cause)
    answered = project.questions_of(model)
    if model.questions:
        for question in answered:
            if question.kind not in provider.kinds:
                can = ", ".join(sorted(provider.kinds))
                yield ("questions",), f"{question.name!r} asks for {question.kind}; {provider.provider} gives {can}"
    elif not any(question.kind in provider.kinds for question in answered):
        yield (
            ("provider",),
            f"{provider.provider} answers no question of the label set; it gives {', '.join(provider.kinds)}",
        )


def _untrained(
    model: ModelSpec, providers: Mapping[str, ProviderAnnounced], trainers: Collection[str]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """A model that is to learn by itself, and never would. Of a provider that does not say so, nobody knows yet."""
    provider = providers.get(model.provider)
    if model.training is None or provider is None or provider.trains is not False or model.provider in trainers:
        return
    learning = sorted({name for name, one in providers.items() if one.trains} | set(trainers))
    others = f"; of the providers here these learn: {', '.join(learning)}" if learning else ""
    yield ("training",), f"{model.provider} has no trainer: leave training out, or take another provider{others}"


def _plainest(error: SchemaError) -> SchemaError:
    """Of the ways that were all wrong, what is wrong with the one that was meant: "or null" never is."""
    while error.context:
        meant = [other for other in error.context if other.validator != "type"] or error.context
        error = max(meant, key=lambda other: len(other.absolute_path))
    return error


def _without_input(message: str) -> str:
    return message if len(message) <= 200 else message[:200] + "…"


def publication(project: Project, version: int, *, now_ms: int, new_id: str) -> list[AnyEvent]:
    """The events that make a project the current one: its configuration by hash first, so that it can be found."""
    config = project.config_hash
    source = "/ingestion/projects"
    return [
        event(
            ConfigPublished(hash=config, project=project),
            id=names.derived("config", config), source=source, time_ms=now_ms,
        ),
        event(
            ProjectChanged(project=project, config=config, version=version),
            id=new_id, source=source, time_ms=now_ms,
        ),
    ]  # fmt: skip
