"""How `prelabel webhook listen` ends."""

import subprocess
import sys

WAITING = """
import queue, signal, threading, time
from prelabel_client.command.listen import next_of

def strike():
    time.sleep(0.3)  # it waits by then; were it earlier, this would prove less and not fail
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)

threading.Thread(target=strike, daemon=True).start()
try:
    next_of(queue.SimpleQueue())
except KeyboardInterrupt:
    print("ended")
"""


def test_a_signal_that_wakes_nobody_ends_it_all_the_same() -> None:
    done = subprocess.run([sys.executable, "-c", WAITING], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "ended\n", done.stderr
