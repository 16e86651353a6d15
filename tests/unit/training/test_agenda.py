"""Which project is looked at when."""

import asyncio

from prelabel_training.triggers.agenda import Agenda


def test_the_earliest_wish_holds_and_a_look_takes_it_away() -> None:
    agenda = Agenda()
    agenda.want("p", 5.0)
    agenda.want("p", 3.0)
    agenda.want("p", 9.0)
    assert agenda.next() == 3.0
    assert agenda.due(2.9) == []
    assert agenda.due(3.0) == ["p"]
    assert agenda.next() is None


def test_a_project_that_was_looked_at_rests_however_often_it_is_wanted() -> None:
    agenda = Agenda()
    agenda.want("p", 0.0)
    agenda.due(0.0)
    agenda.looked("p", 1.0, None)
    for _ in range(1000):
        agenda.want("p", 0.1)
    assert agenda.due(0.9) == []
    assert agenda.due(1.0) == ["p"]


def test_what_comes_while_it_is_looked_at_is_looked_at_after() -> None:
    agenda = Agenda()
    agenda.want("p", 0.0)
    agenda.due(0.0)
    agenda.want("p", 0.2)
    assert agenda.due(10.0) == [], "one look at a time"
    agenda.looked("p", 1.0, None)
    assert agenda.next() == 1.0


def test_who_is_in_a_hurry_does_not_wait_for_the_rest() -> None:
    agenda = Agenda()
    agenda.want("p", 0.0)
    agenda.due(0.0)
    agenda.looked("p", 60.0, None)
    agenda.hurry("p", 2.0)
    assert agenda.due(2.0) == ["p"]


async def test_who_is_in_a_hurry_wakes_whoever_sleeps_until_the_rest_is_over() -> None:
    agenda = Agenda()
    agenda.want("p", 0.0)
    agenda.due(0.0)
    agenda.looked("p", 60.0, 1.0)
    await agenda.added()
    agenda.hurry("p", 2.0)  # later than it is wanted already, and that wish rests
    await asyncio.wait_for(agenda.added(), 10)
    assert agenda.due(2.0) == ["p"]


def test_a_hurry_that_comes_during_a_look_is_heeded_straight_after_it() -> None:
    agenda = Agenda()
    agenda.want("p", 0.0)
    agenda.due(0.0)
    agenda.hurry("p", 0.5)
    agenda.looked("p", 60.0, None)
    assert agenda.due(0.5) == ["p"]
    agenda.looked("p", 60.0, 0.6)
    assert agenda.due(59.0) == [], "once"


def test_a_look_names_the_next_and_one_project_does_not_wait_for_another() -> None:
    agenda = Agenda()
    for project in ("p", "q"):
        agenda.want(project, 0.0)
    assert sorted(agenda.due(0.0)) == ["p", "q"]
    agenda.looked("p", 1.0, 30.0)
    assert agenda.next() == 30.0
    agenda.looked("q", 50.0, 10.0)
    assert agenda.next() == 30.0
    agenda.forget_rests(40.0)
    assert sorted(agenda.due(50.0)) == ["p", "q"]


async def test_who_waits_hears_of_a_wish_that_came_before_they_did() -> None:
    agenda = Agenda()
    agenda.want("p", 0.0)
    await asyncio.wait_for(agenda.added(), 60)
