"""The suite of trainers, of the ledger's trainer; and that it catches one that breaks its promises."""

from prelabel_contract.projects import Question
from prelabel_inference_ledger.provider import LedgerProvider
from prelabel_inference_ledger.trainer import LedgerTrainer
from prelabel_provider.testing_trainers import TrainerTests

from tests.rig import trainings as rig


class TestLedger(TrainerTests):
    trainer = LedgerTrainer
    provider = LedgerProvider
    label_set = (
        Question.model_validate(
            {"name": "what", "kind": "choice", "field": "text", "labels": list(rig.WORDS.values()), "multiple": False}
        ),
    )
    examples = tuple(one.example for one in rig.lines(9))
