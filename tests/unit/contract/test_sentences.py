"""The sentence under a field is its description in every schema, and costs a start nothing."""

from typing import Annotated, Any

from prelabel_contract.base import Model
from prelabel_contract.sentences import Described, sentences
from pydantic import Field, create_model


class Animal(Described):
    """Something that lives."""

    name: str
    """What it
    is called."""
    legs: int = 4
    """Those that
    it walks on."""
    silent: bool = False


class Bird(Animal):
    """One that flies."""

    legs: int = 2
    wings: Annotated[int, Field(alias="flaps")] = 2
    """What it flies with."""
    song: Annotated[str, Field(description="As it says itself.")] = ""
    """As people write it."""

    class Nest(Described):
        """Where it lives."""

        twigs: int
        """What it is made of."""


class Zoo(Model):
    """Many of them."""

    star: Bird
    """Whom people come for."""


def described(model: type[Described]) -> dict[str, Any]:
    """Descriptions in the schema, by property."""
    properties = model.model_json_schema()["properties"]
    return {name: shown["description"] for name, shown in properties.items() if "description" in shown}


def test_a_field_is_described_by_the_sentence_under_it() -> None:
    assert described(Animal) == {"name": "What it\nis called.", "legs": "Those that\nit walks on."}


def test_what_a_subclass_writes_again_is_described_anew_or_not_at_all() -> None:
    assert sentences(Bird).keys() == {"name", "wings", "song"}


def test_a_description_stands_at_the_name_that_others_see_and_an_outspoken_one_counts() -> None:
    assert described(Bird) == {
        "name": "What it\nis called.", "flaps": "What it flies with.", "song": "As it says itself."
    }  # fmt: skip


def test_a_field_that_is_a_model_has_a_description_of_its_own() -> None:
    schema = Zoo.model_json_schema()
    assert schema["properties"]["star"] == {"$ref": "#/$defs/Bird", "description": "Whom people come for."}
    assert schema["$defs"]["Bird"]["description"] == "One that flies."
    assert schema["$defs"]["Bird"]["properties"]["flaps"]["description"] == "What it flies with."


def test_classes_within_classes_functions_and_branches_are_described() -> None:
    class Egg(Described):
        """What comes of it."""

        days: int
        """Until it hatches."""

    try:
        raise LookupError
    except LookupError:

        class Shell(Described):
            """What is around it."""

            colour: str
            """As seen from outside."""

    match Egg.__name__:
        case _:

            class Yolk(Described):
                """What is in it."""

                grams: float
                """How heavy it is."""

    assert described(Bird.Nest) == {"twigs": "What it is made of."}
    assert described(Egg) == {"days": "Until it hatches."}
    assert described(Shell) == {"colour": "As seen from outside."}
    assert described(Yolk) == {"grams": "How heavy it is."}


def test_a_model_that_no_source_has_is_as_good_as_any() -> None:
    made = create_model("Made", __base__=Animal, age=(int, 0))
    assert described(made) == described(Animal)
