"""Label Studio's results become regions and come back; the rest is refused at the place that is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
from prelabel_contract.errors import InvalidEvent
from prelabel_contract.label_studio import parse_config, regions_from_results, results_from_regions
from prelabel_contract.projects import Label
from prelabel_contract.regions import KINDS, REGIONS, Choice, Span, UnknownRegion

CASES: dict[str, list[dict[str, Any]]] = json.loads(
    Path(__file__).with_name("label_studio_cases.json").read_text(encoding="utf-8")
)


def _named(cases: list[dict[str, Any]]) -> list[Any]:
    return [pytest.param(case, id=case["promise"].replace(" ", "_")) for case in cases]


@pytest.mark.parametrize("case", _named(CASES["carried"]))
def test_results_become_these_regions(case: dict[str, Any]) -> None:
    found = regions_from_results(case["results"], parse_config(case["config"]))
    assert found == REGIONS.validate_python(case["regions"])


@pytest.mark.parametrize("case", _named(CASES["carried"]))
def test_regions_that_travelled_as_json_become_the_results_again(case: dict[str, Any]) -> None:
    config = parse_config(case["config"])
    travelled = REGIONS.dump_json(regions_from_results(case["results"], config), exclude_none=True)
    assert results_from_regions(REGIONS.validate_json(travelled), config) == case["results"]


@pytest.mark.parametrize("case", _named(CASES["refused"]))
def test_what_is_wrong_is_refused_at_its_place(case: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvent) as refused:
        regions_from_results(case["results"], parse_config(case["config"]))
    assert [error.pointer for error in refused.value.errors] == [case["at"]]
    assert refused.value.errors[0].detail


def test_the_cases_cover_every_kind_of_region() -> None:
    assert {region["kind"] for case in CASES["carried"] for region in case["regions"]} == KINDS


def test_every_wrong_result_is_told_at_once() -> None:
    config = parse_config(_view('<Choices name="c" toName="t"><Choice value="a"/></Choices>'))
    wrong = [{"from_name": "c", "to_name": "t", "type": "choices", "value": {}}, None, {"from_name": "c"}]
    with pytest.raises(InvalidEvent) as refused:
        regions_from_results(wrong, config)
    assert [e.pointer for e in refused.value.errors] == ["/0/value/choices", "/1", "/2/to_name"]


def test_refusals_are_told_up_to_twenty() -> None:
    config = parse_config(_view('<Choices name="c" toName="t"><Choice value="a"/></Choices>'))
    with pytest.raises(InvalidEvent) as refused:
        regions_from_results([None] * 1000, config)
    assert len(refused.value.errors) == 20


def test_both_spellings_of_labels_are_read() -> None:
    config = parse_config(_boxes())
    value = {"x": 1, "y": 2, "width": 3, "height": 4}
    item = {"from_name": "b", "to_name": "i", "type": "rectanglelabels"}
    for said in ({"labels": ["car"]}, {"rectanglelabels": ["car"], "labels": ["car"]}):
        (region,) = regions_from_results([{**item, "value": {**value, **said}}], config)
        assert region.labels == ("car",)
    with pytest.raises(InvalidEvent, match="/0/value/labels"):
        regions_from_results([{**item, "value": {**value, "rectanglelabels": ["car"], "labels": []}}], config)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 10**400, "1", None, True, [1], {}])
def test_a_coordinate_is_a_finite_number(number: object) -> None:
    value = {"x": number, "y": 2, "width": 3, "height": 4, "labels": ["car"]}
    with pytest.raises(InvalidEvent, match="/0/value"):
        regions_from_results(
            [{"from_name": "b", "to_name": "i", "type": "rectanglelabels", "value": value}],
            parse_config(_boxes()),
        )


def test_a_lone_surrogate_is_refused() -> None:
    config = parse_config(_view('<TextArea name="s" toName="t"/>'))
    item = {"from_name": "s", "to_name": "t", "type": "textarea", "value": {"text": ["\ud800"]}}
    with pytest.raises(InvalidEvent):
        regions_from_results([item], config)


@pytest.mark.parametrize(
    ("region", "at"),
    [
        (Span(field="text", question="nobody", start=0, end=1), "/0/question"),
        (Span(field="text", question="c", start=0, end=1, labels=("a",)), "/0/kind"),
        (Choice(field="page", question="c", labels=("a",)), "/0/field"),
        (Choice(field="text", question="c", labels=("b",)), "/0/labels"),
        (UnknownRegion(field="text", question="c", kind="cuboid"), "/0/kind"),
    ],
)
def test_a_region_that_the_configuration_does_not_ask_for_is_refused(region: Any, at: str) -> None:
    config = parse_config(_view('<Choices name="c" toName="t"><Choice value="a"/></Choices>'))
    with pytest.raises(InvalidEvent) as refused:
        results_from_regions([region], config)
    assert refused.value.errors[0].pointer == at


# --------------------------------------------------------------------------------------------- configurations


def _view(*tags: str) -> str:
    return f'<View><Text name="t" value="$text"/>{"".join(tags)}</View>'


def _boxes() -> str:
    return (
        '<View><Image name="i" value="$image"/>'
        '<RectangleLabels name="b" toName="i"><Label value="car"/></RectangleLabels></View>'
    )


def test_a_control_becomes_a_question_about_its_objects_field() -> None:
    config = parse_config(
        _view(
            '<Header value="Read"/>',
            '<Choices name="c" toName="t" choice="multiple">',
            '<View><Choice value="Yes" alias="y"/></View></Choices>',
            '<Choices name="d" toName="t"><Choice value="a"/></Choices>',
            '<Rating name="r" toName="t"/>',
            '<Filter name="f" toName="c"/>',
        )
    )
    many, one, rating = config.label_set.questions
    assert (many.name, many.kind, many.field, many.multiple) == ("c", "choice", "text", True)
    assert many.labels == (Label(value="y", title="Yes"),)
    assert (one.multiple, rating.max_rating) == (False, 5)


def test_labels_beside_shapes_take_every_shape_that_can_be_drawn() -> None:
    config = parse_config(
        '<View><Image name="i" value="$image"/><Polygon name="p" toName="i"/><Rectangle name="r" toName="i"/>'
        '<Labels name="l" toName="i"><Label value="word"/></Labels></View>'
    )
    question = config.label_set.question("l")
    assert question is not None
    assert question.kinds == ("polygon", "rectangle")


def test_a_comparison_names_both_fields() -> None:
    config = parse_config(
        '<View><Pairwise name="p" toName="a, b"/><Text name="a" value="$one"/><Text name="b" value="$two"/></View>'
    )
    assert config.label_set.questions[0].fields == ("one", "two")


def test_relations_keep_clear_of_a_control_with_their_name() -> None:
    config = parse_config(_view('<Number name="relations" toName="t"/>', "<Relations/>"))
    assert config.relations == "relations_"
    assert [q.name for q in config.label_set.questions] == ["relations", "relations_"]


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        ("", "not XML"),
        ("plain", "not XML"),
        ("<View>", "not XML"),
        ("<View></View>", "no control"),
        ('<!DOCTYPE x SYSTEM "file:///etc/hostname"><View/>', "DOCTYPE"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><View>&a;</View>', "DOCTYPE"),
        ("<View>&undefined;</View>", "not XML"),
        ("<View>" * 101 + "</View>" * 101, "deeper than 100"),
        ("<View>" + " " * 256 * 1024 + "</View>", "over 262144 bytes"),
        ("<View name='\ud800'/>", "Unicode"),
        (_view('<Choices name="c" toName="u"><Choice value="a"/></Choices>'), "'u'"),
        (_view('<Choices name="c" toName="t"/>'), "gives no labels"),
        (_view('<Choices name="c" toName="t"><Choice/></Choices>'), "neither value nor alias"),
        (_view('<Choices name="c" toName="t" value="$options"/>'), "list them"),
        (_view('<Choices name="c" toName="t"><Choice value="a"/><Choice value="a"/></Choices>'), "twice"),
        (_view('<Number name="n" toName="t"/><Number name="n" toName="t"/>'), "'n'"),
        (_view('<Number name="n" toName="t,t"/>'), "Pairwise only"),
        (_view('<Number name="n{{idx}}" toName="t"/>'), "Repeater"),
        (_view('<Rating name="r" toName="t" maxRating="many"/>'), "maxRating"),
        (_view('<Cube name="k" toName="t"/>'), "Cube 'k'"),
        ('<View><Text name="t" value="Fixed"/><Number name="n" toName="t"/></View>', 'value="$field"'),
        ('<View><Table name="t" value="$rows"/><Labels name="l" toName="t"/></View>', "on Table"),
    ],
)
def test_a_configuration_that_cannot_be_carried_is_refused_in_one_sentence(xml: str, said: str) -> None:
    with pytest.raises(InvalidEvent) as refused:
        parse_config(xml)
    assert said in refused.value.detail


def test_entities_do_not_grow() -> None:
    bomb = '<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">' + "".join(
        f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(8)
    )
    with pytest.raises(InvalidEvent, match="DOCTYPE"):
        parse_config(bomb + "]><View>&i;</View>")
