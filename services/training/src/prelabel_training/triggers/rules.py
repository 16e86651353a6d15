"""From a model's settings to the rules of its trigger."""

from prelabel_contract.projects import ModelSpec, ModelTraining

from .triggers import TriggerRules


def training_of(model: ModelSpec) -> ModelTraining:
    """How a model is trained: as it says, or as usual when somebody asks."""
    return model.training or ModelTraining()


def rules_of(model: ModelSpec, grace_seconds: float) -> TriggerRules:
    """When a model is trained. One that says nothing about it never is, unless somebody asks."""
    said = training_of(model)
    by_itself = model.training is not None
    return TriggerRules(
        every_n=said.every_n if by_itself else None,
        quiet_seconds=said.quiet_seconds if by_itself else None,
        schedule_seconds=said.schedule_seconds if by_itself else None,
        minimum=said.minimum,
        grace_seconds=grace_seconds,
    )
