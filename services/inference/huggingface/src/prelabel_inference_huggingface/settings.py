"""Settings of a transformers model, and what its operator allows of all of them."""

from typing import Annotated, Any, Literal, Self

from prelabel_contract.base import Name
from prelabel_provider.base import ProviderSettings
from prelabel_provider.uncertainty import Measure
from prelabel_runtime.settings import Frozen
from pydantic import Field, StringConstraints, model_validator
from pydantic_settings import SettingsConfigDict

Task = Literal["token-classification", "text-classification", "zero-shot", "text-generation"]
EngineName = Literal["torch", "onnx"]
Precision = Literal["fp32", "fp16", "bf16", "int8"]
Aggregation = Literal["simple", "first", "average", "max"]

_ONLY_WITH: dict[str, Task] = {
    "aggregation": "token-classification",
    "labels": "zero-shot",
    "hypothesis": "zero-shot",
    "prompt": "text-generation",
    "new_tokens": "text-generation",
}


class HuggingFaceSettings(ProviderSettings):
    """Which model, what it is for, and what it runs on. `path` or `hub` says which; neither: what is trained."""

    path: Annotated[str, StringConstraints(min_length=1)] | None = None
    """A folder with config.json, tokenizer.json and model.safetensors, model.onnx or model_int8.onnx."""
    hub: Annotated[str, StringConstraints(pattern=r"^[\w.-]+/[\w.-]+$")] | None = None
    """The id of a model on the Hugging Face hub, as owner/name; with `revision`."""
    revision: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")] | None = None
    """The commit: a branch would be another model tomorrow."""
    task: Task | None = None
    """Empty: token-classification or text-classification, whichever its config says that it was made for."""
    engine: Literal["auto"] | EngineName = "auto"
    """auto: ONNX Runtime where the model has an ONNX graph, else torch."""
    device: Annotated[str, StringConstraints(pattern=r"^(auto|cpu|cuda(:\d{1,2})?)$")] = "auto"
    """auto: the first GPU that the engine can use, else the CPU."""
    precision: Literal["auto"] | Precision = "auto"
    """What the model computes in. auto: on a GPU bf16 where it is able to, else fp16; on a CPU fp32; int8 where
    there is no other graph. fp16 and bf16 are torch's, int8 is an ONNX graph that was made by `export --int8`."""
    aggregation: Aggregation = "simple"
    """How a word's tokens become its label. simple: each token has its own; first: the word has its first token's;
    average: that of the mean of their scores; max: that of the token that is surest."""
    choices: Literal["auto", "one", "many"] = "auto"
    """one: the best label; many: each whose own score reaches `least`. auto: as the model's config says, else one."""
    least: Annotated[float, Field(ge=0, le=1)] = 0.5
    """The least score of a label, where there may be many. The project's threshold only marks."""
    uncertainty: Measure = Measure.MARGIN
    """What makes an answer unsure: margin: the two likeliest labels are close; least_confidence: the likeliest one's
    probability is low; entropy: it is spread over all labels. Of a text's tokens, or of labels beside each other,
    the most doubtful one's counts. Not with text-generation."""
    labels: tuple[Name, ...] = ()
    """What may be chosen; zero-shot only."""
    hypothesis: Annotated[str, StringConstraints(pattern=r"\{\}")] = "This example is {}."
    """What a label claims about the text, with {} for the label; zero-shot only."""
    prompt: Annotated[str, StringConstraints(pattern=r"\{text\}")] = "{text}"
    """What the model is given, with {text} for the text; text-generation only."""
    new_tokens: Annotated[int, Field(ge=1, le=4096)] = 128
    """The most tokens that are written; text-generation only."""
    max_tokens: Annotated[int, Field(ge=16, le=131_072)] | None = None
    """The most tokens that the model reads at once, its own special ones included; its config's unless set."""
    overlap: Annotated[int, Field(ge=0)] | None = None
    """Tokens that two windows of a long text share; a quarter of a window unless set."""
    long_texts: Literal["windows", "truncate", "fail"] = "windows"
    """What is too long for the model: windows read it piece by piece, and what they say is merged; truncate leaves out
    what does not fit; fail says too_long."""
    batch_tokens: Annotated[int, Field(ge=1, le=1_048_576)] | None = None
    """Tokens that the model computes at once, padding included; unless set 256 on a CPU, whose caches hold no more, and
    16384 on a GPU. 1: each text alone, so that no int8 score depends on a neighbour."""
    max_length: Annotated[int, Field(ge=1)] = 1_000_000
    """Characters. A longer text fails as too_long."""

    @model_validator(mode="before")
    @classmethod
    def _no_code(cls, data: Any) -> Any:
        if isinstance(data, dict) and "trust_remote_code" in data:
            raise ValueError("trust_remote_code: code that comes with a model is never run")
        return data

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.path is not None and self.hub is not None:
            raise ValueError("path and hub each say which model: one of them is enough")
        if (self.hub is None) != (self.revision is None):
            raise ValueError("hub and revision have an effect together only: name the commit")
        for name, task in _ONLY_WITH.items():
            if name in self.model_fields_set and self.task not in (task, None):
                raise ValueError(f"{name} has an effect with {task} only")
        if (self.task == "zero-shot") != bool(self.labels):
            raise ValueError("zero-shot needs labels to choose from")
        if self.task == "text-generation" and "uncertainty" in self.model_fields_set:
            raise ValueError("uncertainty has no effect with text-generation")
        if self.task not in {"text-classification", "zero-shot", None}:
            for name in sorted({"choices", "least"} & self.model_fields_set):
                raise ValueError(f"{name} has an effect with text-classification and zero-shot only")
        return self


class HuggingFaceLimits(Frozen):
    """What whoever runs the provider allows, whatever a project asks for."""

    model_config = SettingsConfigDict(env_prefix="PRELABEL_HUGGINGFACE_")

    downloads: bool = False
    """Whether models that a project names by `hub` and `revision` may be fetched from the Hugging Face hub, which does
    not go through the egress guard. Else they are read from the hub's cache (HF_HOME), or refused."""
