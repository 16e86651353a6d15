"""Projects: checked, then published under their content hash and as the current one."""

from collections.abc import Iterator, Mapping

from jsonschema import Draft202012Validator
from prelabel_contract import names
from prelabel_contract.errors import FieldError, InvalidEvent, pointer
from prelabel_contract.events import AnyEvent, ConfigPublished, ProjectChanged, ProviderAnnounced, event
from prelabel_contract.projects import ModelSpec, Project


def check_models(project: Project, providers: Mapping[str, ProviderAnnounced]) -> None:
    """Whether the models can run: known providers, settings by their schema, questions they can answer.

    Raises `InvalidEvent` with the field and what would be right.
    """
    errors = [
        FieldError(pointer=pointer(("models", index, *steps)), detail=detail)
        for index, model in enumerate(project.models)
        for steps, detail in _wrong(project, model, providers)
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
    for error in Draft202012Validator(provider.settings_schema).iter_errors(model.settings):
        yield ("settings", *error.absolute_path), _without_input(error.message)
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
