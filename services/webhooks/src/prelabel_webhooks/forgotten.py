"""What is not told any more: what was said about tasks that have been deleted. The log still has it for a while."""

from collections.abc import Sequence

from prelabel_runtime.store.base import DELETED, Submissions

from .handlers import Outgoing

_SAY_NO_CONTENT = frozenset({"task.deleted", "task.rejected"})


async def still_told(events: Sequence[Outgoing], submissions: Submissions) -> list[Outgoing]:
    """The events without those that tell of a deleted task's content. Raises `Unavailable`."""
    tasks = {event.task for event in events if event.task is not None and event.type not in _SAY_NO_CONTENT}
    if not tasks:
        return list(events)
    known = await submissions.get_many(sorted(tasks))
    gone = {uid for uid, submission in known.items() if submission.content == DELETED}
    return [event for event in events if event.task not in gone or event.type in _SAY_NO_CONTENT]
