"""What `prelabel trace` shows of what the API answers."""

from prelabel_client.command.trace import steps
from prelabel_client.models_operations import Trace


def test_what_happened_in_one_millisecond_is_shown_in_the_order_in_which_it_is_told() -> None:
    way = ("submitted", "accepted", "created", "annotated")
    hops = [{"hop": hop, "at_ms": 5} for hop in way]
    found = Trace.of({"task": "t", "revision": 1, "now_ms": 9, "hops": hops, "waiting": []})
    sent = {"at_ms": 4, "state": "delivered", "type": "task.accepted", "url": "http://a"}
    assert [hop for _, hop, _ in steps(found, [], [sent])] == ["webhook delivered", *way]
