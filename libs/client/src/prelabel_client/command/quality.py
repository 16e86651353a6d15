"""`prelabel quality`: whether what people submit is good to learn from."""

from typing import TYPE_CHECKING, Any

from .options import Json, Profile
from .output import Out, clean, counted
from .session import meant, session
from .train import Named

if TYPE_CHECKING:
    from ..models_learning import Agreed, Quality


def quality(project: Named = None, profile: Profile = None, json: Json = False) -> None:
    """Say whether annotations are good to learn from.

    It counts labels and their balance, how far annotators agree, how many examples are merely accepted suggestions,
    and warns where models would learn what they said themselves.

    \b
    Example:
      prelabel quality mails
      prelabel quality mails --json
    """
    out = Out(json=json)
    with session(profile) as client:
        found = client.quality(meant(client, project))
    if json:
        out.value(found)
        return
    out.fields(_fields(found))
    out.line()
    rows: list[tuple[Any, ...]] = [
        (label.label, question.question, label.examples, label.regions, f"{label.share:.0%}")
        for question in found.questions
        for label in question.labels
    ]
    out.rows(("label", "question", "examples", "regions", "share"), rows, nothing="nothing is annotated yet")
    for warned in found.warnings:
        out.note(f"! {clean(warned.detail)}")


def _fields(found: "Quality") -> dict[str, Any]:
    told: dict[str, Any] = {
        "annotated": f"{counted(found.tasks, 'task')} by {_people(found.annotators)}, "
        f"{counted(found.annotations, 'annotation')}",
        "examples": f"{found.examples}, {found.held_out} of them held out",
    }
    if found.accepted_share is not None:
        source = ", ".join(f"{count} {name}" for name, count in found.sources.items() if count)
        told["learned from"] = f"{source}; {found.accepted_share:.0%} accepted as suggested"
    told["suggestions"] = ", ".join(f"{count} {name}" for name, count in found.suggestions.items())
    share = found.blind.get("annotated_share")
    told["shown blind"] = f"{found.blind.get('share', 0):.0%} of all tasks" + (
        f", {share:.0%} of the annotated ones" if share is not None else ""
    )
    for question in found.questions:
        if question.agreement is not None and question.agreement.tasks:
            told[f"agreement on {clean(question.question)}"] = _agreement(question.agreement)
        if question.balance is not None:
            told[f"balance of {clean(question.question)}"] = question.balance
    return told


def _agreement(agreed: "Agreed") -> str:
    value = "not defined: everybody always said the same" if agreed.value is None else f"{agreed.value:.2f}"
    return (
        f"{value} ({agreed.measure.replace('_', ' ')}, {counted(agreed.tasks, 'task')}, {_people(agreed.annotators)})"
    )


def _people(number: int) -> str:
    return counted(number, "person", "people")
