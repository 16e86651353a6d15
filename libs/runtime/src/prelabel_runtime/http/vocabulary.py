"""The words of the OpenAPI documents: what subjects, parameters, headers and problems mean, each said once."""

from collections.abc import Mapping
from typing import Any

from .browser import SESSION_COOKIE

PROBLEM: dict[str, Any] = {
    "title": "Problem",
    "description": "Problem details (RFC 9457). `errors` says what is wrong where, by JSON pointer.",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "examples": ["urn:prelabel:problem:unknown_project"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}


ABOUT = (
    "Prelabel pre-labels data for annotation teams. Errors are problem details (RFC 9457). Lists are read page by "
    "page: hand `next` back as `cursor`. What takes long answers 202 with its `Location`."
)

SUBJECTS: Mapping[str, tuple[str, str]] = {
    "project": ("projects", "Label sets with the models that label for them."),
    "provider": ("providers", "Kinds of model hosts that are running."),
    "task": ("tasks", "Data to label, and what was said about it."),
    "run": ("runs", "Bulk submissions and how far they are."),
    "prediction": ("predictions", "What models say about tasks."),
    "annotation": ("annotations", "What people say about tasks."),
    "suggestion": ("predictions", "What models say about tasks."),
    "quality": ("examples", "What a model could learn from."),
    "example": ("examples", "What a model could learn from."),
    "model": ("models", "What answers a project's tasks, and which version of it."),
    "version": ("models", "What answers a project's tasks, and which version of it."),
    "training": ("trainings", "Making versions of models out of what people said."),
    "lease": ("leases", "Open tasks in annotators' hands, and whether there is need for more."),
    "stopping": ("leases", "Open tasks in annotators' hands, and whether there is need for more."),
    "inbound": ("inbound", "Events of upstream systems, as they would send them over Kafka."),
    "subscription": ("subscriptions", "Webhook endpoints: who is told what."),
    "delivery": ("deliveries", "Events sent to an endpoint, and its answers."),
    "recovery": ("recoveries", "Sending again what happened in a time."),
    "key": ("keys", "Who may call, and how far they reach."),
    "me": ("keys", "Who may call, and how far they reach."),
    "link": ("sessions", "Browsers that have been let in."),
    "session": ("sessions", "Browsers that have been let in."),
    "audit": ("audit", "Who changed what."),
    "deadletter": ("dead letters", "Records that could not be handled."),
    "replay": ("dead letters", "Records that could not be handled."),
    "rebuild": ("rebuilds", "Making a store anew from the log."),
    "overview": ("overview", "Everything at a glance."),
}
"""The tag of each noun of an action, with a sentence on it."""

PARAMETERS: Mapping[str, str] = {
    "project": "The project's id.",
    "task": "The task's uid, or the caller's own id of it.",
    "run": "The run's id.",
    "request": "The id of a prediction's request, as its task shows it.",
    "model": "The name of a model of the project; needs a state as well.",
    "state": "Only those in this state.",
    "version": "A version's name, as the list shows it; `settings` is the model as its settings say.",
    "limit": "How many at most.",
    "cursor": "Where to go on: `next` of the page before.",
    "after": "Lines after this one.",
    "predictions": "With what the models said.",
    "lane": "How urgent it is.",
    "annotation": "The annotation's uid.",
    "annotator": "Who says so; the key's own name unless said, and no other with a labeler's key.",
    "key": "The key's id, as its list shows it; not the key itself.",
    "kind": "Of which kind.",
    "token": "The one-time token of a link.",
    "letter": "The dead letter's id.",
    "group": "The consumer group that gave the record up.",
    "reason": "The word that says why it was given up.",
    "source": "The inbound source, which is bound to projects by configuration.",
    "replay": "The replay's id.",
    "rebuild": "The rebuild's id.",
    "subscription": "The subscription's id.",
    "delivery": "The delivery's id, which is the event's `webhook-id`.",
    "recovery": "The recovery's id.",
    "since": "From this moment on, in milliseconds since 1970.",
    "type": "Only events of this type.",
    "actor": "Only what this key did.",
    "action": "Only this action.",
    "idempotency-key": "The same key again, with the same body, has no second effect.",
    "if-match": "The `ETag` that was read; 412 if it is not the newest any more.",
    "prefer": "`wait=N`: wait at most so many seconds.",
    "expires": "Seconds after which no model is to be asked any more: the outcome is `expired` then.",
    "last-event-id": "The id of the last event that was received: what follows it comes.",
}
"""What a parameter of a name means, wherever it has no description of its own."""


def _header(sentence: str, kind: str = "string") -> dict[str, Any]:
    return {"description": sentence, "schema": {"type": kind}}


HEADERS: Mapping[str, dict[str, Any]] = {
    "Location": _header("Where it is."),
    "ETag": _header("Its version, for `If-Match`."),
    "Retry-After": _header("Seconds to wait.", "integer"),
    "Set-Cookie": _header("The session."),
    "WWW-Authenticate": _header("What to send."),
    "RateLimit": _header("What is left of the key's allowance, and for how long."),
    "RateLimit-Policy": _header("The key's allowance."),
}
"""Headers of answers that callers are to read."""


def _problem(sentence: str, *headers: str) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    told = {"headers": {name: HEADERS[name] for name in headers}} if headers else {}
    return {"description": sentence, **told, "content": content}


PROBLEMS: dict[str, Any] = {
    "Problem": _problem("What went wrong, and where."),
    "NoKey": _problem("No key that is known here.", "WWW-Authenticate"),
    "Forbidden": _problem("The key is known, and may not do this."),
    "NotFound": _problem("There is no such thing, or not for this key."),
    "TooMany": _problem("More than this key may send.", "Retry-After", "RateLimit", "RateLimit-Policy"),
    "Unavailable": _problem("Something it needs does not answer; nothing was taken.", "Retry-After"),
}

SECURITY: dict[str, Any] = {
    "key": {"type": "http", "scheme": "bearer", "description": "An API key: `Authorization: Bearer pl_…`."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": SESSION_COOKIE,
        "description": "A browser's session, opened by a link that works once.",
    },
}
