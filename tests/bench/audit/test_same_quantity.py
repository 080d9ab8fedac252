"""Numbers that are printed more than once: what is compared with what, and what differs."""

import pytest

from bench.audit.rules import same_quantity

PRESET = {"coco": "faseg_r50_coco"}


@pytest.fixture
def table(made_up):
    """A table of one column, whose rows are of one preset unless they say otherwise."""

    def make(name, *texts, paper="paper", metric="pq", column=None, **row):
        rows = [
            {"preset": PRESET, **row, "cells": {metric: text}, "label": f"{name} {text}"} for text in texts
        ]
        return made_up({metric: column or {}}, *rows, paper=paper, table=name)

    return make


@pytest.mark.parametrize(
    ("texts", "paper", "grade"),
    [
        (("43.4", "43.4"), "paper", "right"),
        (("43.4", "43.5"), "paper", "hard"),
        (("43.4", "43.5"), "other", "explained"),  # one paper may have cut off 43.46, the other rounded it
        (("43.4", "43.6"), "other", "hard"),
        (("61.5", "61"), "paper", "right"),
        (("61.6", "61"), "paper", "explained"),
        (("61.6", "63"), "paper", "hard"),
    ],
)
def test_two_numbers(table, grades, texts, paper, grade):
    assert grades(same_quantity, table("1", texts[0]), table("2", texts[1], paper=paper)) == [grade]


def test_units_are_compared_in_base_units(table, grades):
    params = {"unit": "M"}
    records = [
        table("1", "42.9", metric="params", column=params),
        table("2", "43M", metric="params", column=params),
    ]
    assert grades(same_quantity, *records) == ["right"]


def test_a_multiply_add_may_count_twice(table, grades):
    giga = {"unit": "G"}
    one, other = (table(n, t, metric="flops", column=giga, paper=n) for n, t in (("1", "162"), ("2", "324G")))
    assert grades(same_quantity, one, other) == ["explained"]


def test_other_overrides_splits_and_protocols_are_other_quantities(table, grades):
    base = table("1", "43.4")
    assert grades(same_quantity, base, table("2", "44.0", overrides={"decoder.layers": 6})) == []
    assert grades(same_quantity, base, table("2", "44.0", column={"split": "test-dev"})) == []
    assert grades(same_quantity, base, table("2", "44.0", column={"protocol": "accuracy/other-v1"})) == []
    assert grades(same_quantity, base, table("2", "44.0", column={"dataset": "ade20k"}, preset={})) == []


def test_one_of_several_numbers_is_enough(table, grades):
    several = table("1", "51.1", "52.7")
    assert grades(same_quantity, several, table("2", "52.7")) == ["right"]
    assert grades(same_quantity, several, table("2", "52.7", "51.3")) == ["right", "hard"]
    assert grades(same_quantity, several, table("2", "52.9")) == ["hard"]


def test_conditions_that_are_printed_differently(made_up, grades):
    def table(name, epochs, **numbers):
        cells = {"epochs": epochs, **numbers}
        columns = {
            "epochs": {},
            **{metric: {"unit": "M"} if metric == "params" else {} for metric in numbers},
        }
        return made_up(columns, {"cells": cells, "preset": PRESET, "provenance": "re-run"}, table=name)

    assert grades(same_quantity, table("1", "36", pq="42.4"), table("2", "50", pq="43.7")) == []
    assert grades(same_quantity, table("1", "50", pq="42.4"), table("2", "50", pq="43.7")) == ["explained"]
    assert grades(same_quantity, table("1", "36", params="115"), table("2", "50", params="107")) == ["hard"]


def test_settings_of_a_quoted_row_are_a_quantity_themselves(table, grades):
    one, other = (table(n, t, metric="epochs", provenance="quoted") for n, t in (("1", "325"), ("2", "500")))
    assert grades(same_quantity, one, other) == ["hard"]
    again = table("2", "500", metric="epochs", provenance="re-run")
    assert grades(same_quantity, one, again) == []


def test_machine_numbers_are_compared_within_a_paper(table, grades):
    assert grades(same_quantity, table("1", "7.8", metric="fps"), table("2", "9.8", metric="fps")) == ["hard"]
    assert (
        grades(same_quantity, table("1", "7.8", metric="fps"), table("2", "9.8", metric="fps", paper="b"))
        == []
    )


def test_without_a_preset_the_words_of_the_label_count(made_up, grades):
    def table(name, label, text, **row):
        return made_up({"pq": {}}, {"label": label, "cells": {"pq": text}, **row}, table=name)

    one = table("1", "Max-DeepLab, Max-S†", "48.4")
    assert grades(same_quantity, one, table("2", "Max-Deeplab-S", "48.6")) == ["hard"]
    assert grades(same_quantity, one, table("2", "Max-Deeplab-L", "48.6")) == []
    assert grades(same_quantity, one, table("2", "Max-Deeplab-S", "48.6", preset=PRESET)) == ["hard"]


def test_two_presets_tell_more_than_words(made_up, grades):
    def table(name, text, **row):
        return made_up({"pq": {}}, {"label": "Ours, R50", "cells": {"pq": text}, **row}, table=name)

    one, other = table("1", "48.4", preset=PRESET), table("2", "49.0", preset={"coco": "another"})
    assert grades(same_quantity, one, other, table("3", "49.0")) == ["right", "hard"]


def test_rows_that_agree_in_nothing_are_of_two_versions(made_up, grades):
    columns = {"pq": {}, "sq": {}, "rq": {}}

    def table(paper, *texts):
        row = {"label": "System, R50", "cells": dict(zip(columns, texts, strict=True))}
        return made_up(columns, row, paper=paper)

    one = table("a", "54.4", "83.3", "64.6")
    assert grades(same_quantity, one, table("b", "55.8", "83.0", "66.5")) == ["soft"]
    assert sorted(grades(same_quantity, one, table("b", "55.8", "83.3", "66.5"))) == ["hard", "hard", "right"]


def test_one_finding_a_quantity_with_all_its_places(table):
    records = [
        table(name, text) for name, text in (("1", "43.4"), ("2", "43.4"), ("3", "43.6"), ("4", "43.4"))
    ]
    found = [check for check in same_quantity.check(records) if check.grade != "right"]
    assert len(found) == 1
    assert found[0].arithmetic == "43.4 in paper Table 1, Table 2, Table 4; 43.6 in paper Table 3"
    assert [place.table for place in found[0].disputed] == ["3"]


def test_a_papers_own_number_stands_against_that_of_another(table):
    own, quoted = table("1", "107"), table("2", "115", paper="other", provenance="quoted")
    (found,) = same_quantity.check([quoted, own])
    assert [place.paper for place in found.disputed] == ["other"]


def disputed(*records):
    """The places that the one finding about some tables speaks against."""
    (found,) = [check for check in same_quantity.check(records) if check.grade == "hard"]
    return sorted((place.paper, place.table) for place in found.disputed)


def test_of_quoted_numbers_the_one_that_most_papers_print_stands(table):
    def quoted(paper, name, text):
        return table(name, text, paper=paper, provenance="quoted")

    one, other, third = quoted("a", "1", "43.4"), quoted("b", "2", "43.9"), quoted("c", "3", "43.9")
    assert disputed(one, other) == [("a", "1"), ("b", "2")]
    assert disputed(one, other, third) == [("a", "1")]
    again = quoted("a", "4", "43.4")  # a copy in the same paper, which is no witness of its own
    assert disputed(one, other, again) == [("a", "1"), ("a", "4"), ("b", "2")]


def test_within_a_paper_the_one_that_most_tables_print_stands(table):
    one, other, third = (table(n, t) for n, t in (("1", "45.4"), ("2", "45.9"), ("3", "45.9")))
    assert disputed(one, other) == [("paper", "1"), ("paper", "2")]
    assert disputed(one, other, third) == [("paper", "1")]
