"""How often Python looks for garbage that points in circles: seldom, and not among what a process is made of.

What the batches of a loop are made of lives for a second, points in no circles and goes by itself. Python's own rule
looks through all of it every 700 objects, and through everything every so often: a third of what inference costs
(docs/decisions/0027).
"""

import gc

OBJECTS = 50_000
"""Containers that may come without going until somebody looks: more than the batches under way consist of."""


def look_seldom() -> None:
    """Set what is there apart for good, and look at the rest every OBJECTS. For a process that is about to serve."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS, *gc.get_threshold()[1:])
