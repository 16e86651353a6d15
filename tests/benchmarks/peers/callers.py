"""HTTP callers as light as Python has them, since they share the processors with what they call."""

import http.client
import threading
import time
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from urllib.parse import urlsplit

from tests.benchmarks.case import Lost
from tests.benchmarks.peers.peer import JSON


def seconds(address: str, bodies: Sequence[bytes], callers: int) -> float:
    """How long it takes so many callers, a connection each, to have every body answered. Raises Lost."""
    left: SimpleQueue[bytes] = SimpleQueue()
    for body in bodies:
        left.put(body)
    lost: list[str] = []
    threads = [threading.Thread(target=_call, args=(address, left, lost), daemon=True) for _ in range(callers)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if lost:
        raise Lost(lost[0])
    return time.perf_counter() - began


def _call(address: str, left: "SimpleQueue[bytes]", lost: list[str]) -> None:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=120)
    try:
        while not lost:
            connection.request("POST", "/predict", left.get_nowait(), JSON)
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != http.client.OK:
                raise OSError(f"answered {answer.status}: {said[:200]!r}")
    except Empty:
        return
    except (OSError, http.client.HTTPException) as error:
        lost.append(f"{address} {error}")
    finally:
        connection.close()
