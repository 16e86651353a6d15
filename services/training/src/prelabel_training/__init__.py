"""Training: what people submit becomes examples, trainings, and versions that a gate lets serve.

A package per question: `examples` what is there to learn, `triggers` when to train, `gate` whether a version is good
enough, `registry` which one serves, `leases` what people are asked next, `quality` whether their answers are good.
"""
