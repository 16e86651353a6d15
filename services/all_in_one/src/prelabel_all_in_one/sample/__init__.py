"""The sample project: real text that is on every machine with Python, and a model trained on the spot.

`stdlib` reads the standard library's sources, `corpus` cuts its docstrings into passages, `gold` marks the
names in them, `areas` says what a passage is about, `train` makes a named-entity model. Only `train` needs
spaCy; nothing here imports a module of the standard library in order to look at it, and no docstring is
stored.
"""
