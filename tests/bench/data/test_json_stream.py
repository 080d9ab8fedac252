from __future__ import annotations

import json

import pytest

from bench.data import json_stream
from bench.data.json_stream import JsonFile
from bench.errors import UserError

CONTENT = {
    "info": {"note": 'a ] and a } in "text", \\', "list": [1, [2, {"x": []}]]},
    "empty": [],
    "images": [{"id": 1, "name": "Straße ☃"}, {"id": 22, "name": "\n\t\u0001"}, {}],
    "number": -1.5e3,
    "numbers": [1, 23, -4.5, None, True, "x", [[]], 678901234567],
    "flag": False,
}


@pytest.mark.parametrize("chunk", [1, 2, 5, 13, 1 << 22])
@pytest.mark.parametrize("style", [{}, {"indent": 3}, {"separators": (",", ":"), "ensure_ascii": False}])
def test_elements_are_those_of_the_whole_file(tmp_path, monkeypatch, chunk, style):
    """Whatever the size of the window is that goes over the file."""
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    path = tmp_path / "list.json"
    path.write_text(json.dumps(CONTENT, **style) + "\n", encoding="utf-8")
    file = JsonFile(path)
    found = list(file.elements(("numbers", "images", "empty")))
    assert [e.value for e in found if e.key == "images"] == CONTENT["images"]
    assert [e.value for e in found if e.key == "numbers"] == CONTENT["numbers"]
    assert len(found) == 11 and [e.key for e in found[:3]] == ["images"] * 3
    assert file.values((e.start, e.length) for e in found) == [e.value for e in found]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at byte 0: expected '{'"),
        ("[1]", "at byte 0: expected '{'"),
        ('{"a": [1, 2', "at byte 11: expected ',' or ']'"),
        ('{"a": [1, ]}', "at byte 10: "),
        ('{"a": [1 2]}', "at byte 9: expected ',' or ']'"),
        ('{"a" [1]}', "at byte 5: expected ':'"),
        ('{"a": [1] "b"}', "at byte 10: expected ',' or '}'"),
        ('{"a": [{"b": ]}', "at byte 7: "),
        ('{"b": [1]}', "has no array 'a'"),
        ('{"a": 3}', "has no array 'a'"),
    ],
)
def test_what_is_not_json_is_told_with_its_place(tmp_path, text, message):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(UserError, match="bad.json: ") as raised:
        list(JsonFile(path).elements(("a",)))
    assert message in str(raised.value)


def test_a_file_that_is_missing_or_changes(tmp_path):
    with pytest.raises(UserError, match="none.json: no such file"):
        list(JsonFile(tmp_path / "none.json").elements(("a",)))
    path = tmp_path / "list.json"
    path.write_text('{"a": ["first", "second"]}')
    file = JsonFile(path)
    _, second = file.elements(("a",))
    path.write_text('{"a": []}')
    with pytest.raises(UserError, match="list.json: changed since it was opened"):
        file.values([(second.start, second.length)])
