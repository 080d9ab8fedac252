"""Specs: overrides by dotted paths, their errors, and the plain form that results are keyed by."""

import json
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import pytest

from models.spec import Spec, SpecError, from_dict, override, parts, paths, to_dict


@dataclass(frozen=True, kw_only=True)
class Wheel(Spec):
    pass


@dataclass(frozen=True, kw_only=True)
class Round(Wheel):
    part: ClassVar[str] = "round"
    radius: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Square(Wheel):
    part: ClassVar[str] = "square"
    side: int
    corners: tuple[int, ...] = (1, 2, 3, 4)


@dataclass(frozen=True, kw_only=True)
class Car(Spec):
    part: ClassVar[str] = "car"
    front: Wheel = field(default_factory=Round)
    spare: Wheel | None = None
    doors: int = 4
    colour: Literal["red", "blue"] = "red"
    name: str | None = None


def test_scalars_are_replaced_in_a_copy():
    car = Car()
    changed = override(car, {"doors": 2, "front.radius": 3, "name": "x", "colour": "blue"})
    assert changed == Car(doors=2, front=Round(radius=3.0), name="x", colour="blue")
    assert isinstance(changed.front.radius, float)
    assert car == Car()


@pytest.mark.parametrize(
    "changes",
    [
        {"front": "square", "front.side": 7},
        {"front.side": 7, "front": "square"},
        {"front": {"part": "square", "side": 7}},
        {"front": Square(side=7)},
    ],
)
def test_parts_are_chosen_by_name_in_any_order(changes):
    assert override(Car(), changes).front == Square(side=7)


def test_the_same_part_keeps_its_values():
    car = Car(front=Square(side=7, corners=(9,)))
    assert override(car, {"front": "square"}) == car
    assert override(car, {"front": {"part": "square", "side": 8}}).front == Square(side=8, corners=(9,))


def test_optional_parts_come_and_go():
    car = override(Car(), {"spare": "round", "spare.radius": 2.0})
    assert car.spare == Round(radius=2.0)
    assert override(car, {"spare": None}).spare is None


def test_lists_become_tuples():
    assert override(Car(front=Square(side=1)), {"front.corners": [5, 6]}).front.corners == (5, 6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dors": 2}, "no field 'dors'; nearest: doors"),
        ({"front.radios": 2}, "no field 'front.radios'; nearest: front.radius"),
        ({"front": "sqare"}, "front: no part 'sqare'; nearest: square"),
        ({"front": "square"}, "part 'square' of front also needs: side"),
        ({"doors": "two"}, "doors = 'two': expected int, got str"),
        ({"doors": True}, "doors = True: expected int, got bool"),
        ({"colour": "green"}, "colour = 'green': choose from 'red', 'blue'"),
        ({"front": 3}, "front = 3: expected the name of a part"),
        ({"front": {"part": "square", "side": 1, "corners": [1, "a"]}}, r"front.corners\[1\] = 'a'"),
        ({"doors.handle": 1}, "doors"),
        ({"spare.radius": 1.0}, "spare"),
    ],
)
def test_mistakes_are_named(changes, message):
    with pytest.raises(SpecError, match=message):
        override(Car(), changes)


def test_plain_form_is_json_and_comes_back():
    car = Car(front=Square(side=7), spare=Round())
    plain = to_dict(car)
    assert plain == {
        "part": "car",
        "front": {"part": "square", "side": 7, "corners": [1, 2, 3, 4]},
        "spare": {"part": "round", "radius": 1.0},
        "doors": 4,
        "colour": "red",
        "name": None,
    }
    assert from_dict(Car, json.loads(json.dumps(plain))) == car
    assert car.to_dict() == plain


def test_paths_and_parts():
    assert list(paths(Car())) == ["front", "front.radius", "spare", "doors", "colour", "name"]
    assert parts(Wheel) == {"round": Round, "square": Square}


def test_numbers_below_their_least_value_are_refused():
    @dataclass(frozen=True, kw_only=True)
    class Train(Spec):
        part: ClassVar[str] = "train_of_cars"
        least: ClassVar[dict[str, int]] = {"cars": 1, "spares": 0, "seats": 1}
        cars: int = 1
        spares: int = 0
        seats: tuple[int, ...] | None = None

    assert Train(cars=3) == override(Train(), {"cars": 3})
    with pytest.raises(SpecError, match="^train_of_cars: cars must be at least 1, not 0$"):
        override(Train(), {"cars": 0})
    with pytest.raises(SpecError, match="spares must be at least 0, not -2"):
        Train(spares=-2)
    assert Train(seats=(1, 2)).seats == (1, 2)
    with pytest.raises(SpecError, match=r"seats must be at least 1, not \(4, 0\)"):
        Train(seats=(4, 0))
