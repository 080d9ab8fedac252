"""Each rule finds a planted slip, passes what is right, and knows the borders of rounding."""

import pytest

from bench.audit.rules import (
    RULES,
    ap,
    backbones,
    claims,
    class_head,
    copies,
    deltas,
    means,
    mentions,
    parts,
    product,
    scales,
    totals,
)

PQ = {"pq": {}, "pq_things": {}, "pq_stuff": {}}


def test_every_rule_says_what_it_is():
    assert len({rule.NAME for rule in RULES}) == len(RULES)
    assert all(rule.TITLE and rule.SAYS.endswith(".") for rule in RULES)


def test_deltas(made_up, grades):
    def row(text, delta, base=1):
        return {"cells": {"miou": text}, "printed_delta": {"miou": delta}, "delta_from": base}

    record = made_up(
        {"miou": {}}, {"miou": "46.7"}, row("47.9", "+1.2"), row("47.9", "+0.9"), row("46.4", "-0.2")
    )
    assert grades(deltas, record) == ["right", "hard", "soft"]


def test_a_delta_without_a_base_is_not_checked(made_up, grades):
    lonely = {"cells": {"miou": "47.9"}, "printed_delta": {"miou": "+0.9"}}
    no_number = {**lonely, "delta_from": 1}
    assert grades(deltas, made_up({"miou": {}}, {"miou": "-"}, lonely, no_number)) == []


def test_claims(made_up, grades):
    said = {"where": "Section 1", "column": "miou", "row": 2, "minus": 1}
    told = [
        {**said, "value": "2.0"},
        {**said, "value": "1.6"},
        {**said, "value": "2", "relation": "more than"},
    ]
    record = made_up({"miou": {}}, {"miou": "46.7"}, {"miou": "48.7"}, claims=told)
    assert grades(claims, record) == ["right", "hard", "soft"]
    assert next(iter(claims.check([record]))).arithmetic.startswith("Section 1: 48.7 - 46.7 = 2")


def test_a_claim_across_columns(made_up, grades):
    said = {"where": "there", "column": "a", "minus_column": "b", "row": 1, "minus": 1, "value": "1.0"}
    columns = {"a": {"metric": "miou"}, "b": {"metric": "miou"}}
    assert grades(claims, made_up(columns, {"a": "48.3", "b": "47.3"}, claims=[said])) == ["right"]


@pytest.mark.parametrize(
    ("said", "grade"),
    [
        ("48.26", "right"),
        ("48.3", "right"),
        ("48", "right"),
        ("48.2", "explained"),
        ("49", "hard"),
        ("48.36", "hard"),
    ],
)
def test_mentions(made_up, grades, said, grade):
    told = {"where": "Abstract", "column": "miou", "row": 1, "value": said}
    table = "48.26" if said == "48.2" else "48.3"
    assert grades(mentions, made_up({"miou": {}}, {"miou": table}, mentions=[told])) == [grade]


@pytest.mark.parametrize(
    ("whole", "things", "stuff", "grade"),
    [
        ("49.6", "54.4", "42.4", "right"),
        ("49.7", "54.5", "42.2", "hard"),  # 49.5985, at most 49.6485, which is no 49.7
        ("49.6", "54.5", "42.2", "right"),
        ("47.1", "51.7", "40.3", "right"),  # 47.157, at least 47.107
        ("47.3", "52.6", "39.0", "hard"),
    ],
)
def test_parts_of_coco(made_up, grades, whole, things, stuff, grade):
    record = made_up(PQ, {"pq": whole, "pq_things": things, "pq_stuff": stuff})
    assert grades(parts, record) == [grade]


def test_parts_are_weighted_by_the_classes_of_the_data_set(made_up, grades):
    columns = {name: {"dataset": "ade20k", "split": "val"} for name in PQ}
    row = {"pq": "35.7", "pq_things": "34.5", "pq_stuff": "38.0"}
    assert grades(parts, made_up(columns, row)) == ["right"]
    assert grades(parts, made_up(PQ, row)) == ["hard"]
    unknown = {name: {"dataset": "somewhere"} for name in PQ}
    assert grades(parts, made_up(unknown, row)) == []


def test_parts_of_two_splits_are_not_mixed(made_up, grades):
    columns = {**PQ, "pq_stuff": {"split": "test-dev"}}
    assert grades(parts, made_up(columns, {"pq": "10.0", "pq_things": "54.4", "pq_stuff": "42.4"})) == []


def test_sq_and_rq_have_parts_too(made_up, grades):
    columns = {"sq": {}, "sq_things": {}, "sq_stuff": {}}
    right = {"sq": "81.6", "sq_things": "82.7", "sq_stuff": "79.9"}
    assert grades(parts, made_up(columns, right, {**right, "sq": "81.8"})) == ["right", "hard"]


def test_product_gives_bounds(made_up, grades):
    columns = {"pq": {}, "sq": {}, "rq": {}}
    rows = [
        {"pq": "49.6", "sq": "81.6", "rq": "59.9"},
        {"pq": "60.1", "sq": "81.6", "rq": "59.9"},  # more than RQ
        {"pq": "41.0", "sq": "81.6", "rq": "59.9"},  # less than SQ + RQ - 100
        {"pq": "29.8", "sq": "60.0", "rq": "59.9"},  # less than RQ / 2
    ]
    assert grades(product, made_up(columns, *rows)) == ["right", "hard", "hard", "hard"]


def test_product_far_from_all_others_is_unusual(made_up, grades):
    columns = {"pq": {}, "sq": {}, "rq": {}}
    rows = [{"pq": pq, "sq": "80.0", "rq": "60.0"} for pq in ("48.7", "48.8", "48.6", "48.7", "48.9", "52.0")]
    assert grades(product, made_up(columns, *rows)) == [*["right"] * 5, "soft"]


def test_means_by_protocol(made_up, grades):
    def column(kind):
        return {"metric": "pq", "label": kind.title(), "protocol": f"accuracy/pq-corrupted-{kind}-v1"}

    columns = {"clean": {"metric": "pq"}, **{kind: column(kind) for kind in ("mean", "blur", "noise", "fog")}}
    right = {"clean": "50.0", "mean": "20.1", "blur": "10.0", "noise": "20.0", "fog": "30.2"}
    wrong, border = {**right, "mean": "20.3"}, {**right, "mean": "20.2", "fog": "30.4"}  # 20.1333
    record = made_up(columns, right, wrong, border, {**right, "fog": "-"})
    assert grades(means, record) == ["right", "hard", "right"]
    assert next(iter(means.check([record]))).arithmetic.startswith("(10.0 + 20.0 + 30.2) / 3 = 20.0667")


def test_means_by_the_words_of_a_label(made_up, grades):
    fractions = {"a": "1/8 fg", "b": "1/4 fg", "c": "1/8 bg", "d": "average fg"}
    columns = {name: {"metric": "attention_fraction", "label": label} for name, label in fractions.items()}
    row = {"a": "0.20", "b": "0.30", "c": "0.80", "d": "0.25"}
    assert grades(means, made_up(columns, row, {**row, "d": "0.43"})) == ["right", "hard"]


def test_the_score_of_ade20k(made_up, grades):
    columns = {name: {"dataset": "ade20k"} for name in ("pixel_accuracy", "miou_ms", "score")}
    row = {"pixel_accuracy": "79.36", "miou_ms": "49.67", "score": "64.51"}  # 64.515
    assert grades(means, made_up(columns, row, {**row, "score": "64.53"})) == ["right", "hard"]


def test_totals_shares_and_precisions(made_up, grades):
    columns = {
        "tp": {"metric": "true_positives", "label": "Stuff: TP"},
        "all": {"metric": "predictions", "label": "Stuff: TP+FP"},
        "precision": {"label": "Stuff: Precision"},
    }
    rows = [
        {"tp": "73", "all": "100", "precision": "0.73"},
        {"tp": "64", "all": "101", "precision": "0.64"},  # 0.6337
        {"label": "Total", "cells": {"tp": "137", "all": "202", "precision": "0.68"}},
    ]
    assert grades(totals, made_up(columns, *rows)) == ["right", "hard", "right", "hard", "right"]
    shares = {name: {"metric": "attention_fraction", "label": f"1/8 {name}"} for name in ("fg", "bg")}
    record = made_up(
        shares, {"fg": "0.23", "bg": "0.77"}, {"fg": "0.23", "bg": "0.76"}, {"fg": "0.23", "bg": "0.75"}
    )
    assert grades(totals, record) == ["right", "right", "hard"]  # 0.235 + 0.765 is 1


def test_scales(made_up, grades):
    rows = [{"miou": "47.2", "miou_ms": text} for text in ("49.2", "47.2", "47.1", "46.9", "-")]
    assert grades(scales, made_up({"miou": {}, "miou_ms": {}}, *rows)) == ["right", "right", "right", "soft"]


def test_ap_lies_between_what_its_thresholds_allow(made_up, grades):
    columns = {"ap": {}, "ap50": {}, "ap75": {}}

    def bounds(text):
        return grades(ap, made_up(columns, {"ap": text, "ap50": "70.0", "ap75": "50.0"}))

    # AP at most AP50; AP75 at most AP50; AP at most 60; 32 at most AP.
    assert bounds("45.0") == bounds("60.0") == bounds("32.0") == ["right"] * 4
    assert bounds("60.1") == ["right", "right", "hard", "right"]
    assert bounds("31.9") == ["right", "right", "right", "hard"]
    assert bounds("71.0") == ["hard", "right", "hard", "right"]
    swapped = made_up(columns, {"ap": "60.0", "ap50": "50.0", "ap75": "70.0"})
    assert grades(ap, swapped)[1] == "hard"


def test_ap_by_size_and_at_the_boundary(made_up, grades):
    columns = {"ap": {}, "ap_s": {}, "ap_m": {}, "ap_l": {}, "ap_boundary": {}}
    row = {"ap": "43.7", "ap_s": "23.4", "ap_m": "47.2", "ap_l": "64.8", "ap_boundary": "30.6"}
    swapped = {**row, "ap_s": "64.8", "ap_l": "23.4"}
    record = made_up(columns, row, {**row, "ap": "65.0"}, swapped, {**row, "ap_boundary": "43.9"})
    assert grades(ap, record) == ["right", "right", "right", "soft", "right", "soft", "hard", "right"]


def test_copies(made_up, grades):
    columns = {"pixel_accuracy": {}, "miou_ms": {}, "score": {}}
    cells = {"pixel_accuracy": "79.36", "miou_ms": "49.67", "score": "64.51"}
    elsewhere = {name: {"split": "test"} for name in columns}

    def table(name, label, given=columns, **differs):
        return made_up(given, {"label": label, "cells": {**cells, **differs}}, table=name)

    first = table("1", "MaskFormer, Swin-L")
    assert grades(copies, first, table("2", "Mask2Former, Swin-L")) == ["soft"]
    assert grades(copies, first, table("2", "MaskFormer [3], Swin-L†")) == ["right"]
    assert grades(copies, first, table("2", "MaskFormer, Swin-L", elsewhere)) == ["soft"]
    assert grades(copies, first, table("2", "Mask2Former, Swin-L", score="64.52")) == []
    assert grades(copies, first, table("1", "Mask2Former, Swin-L")) == []


def test_class_head(made_up, grades):
    def table(name, dataset, params):
        row = {"cells": {"params": params}, "preset": {dataset: f"faseg_r50_{dataset}"}}
        return made_up({"params": {"dataset": dataset, "unit": "M"}}, row, table=name)

    here = table("1", "ade20k", "51")
    assert grades(class_head, here, table("2", "cityscapes", "67")) == ["soft"]
    assert grades(class_head, here, table("2", "cityscapes", "50")) == ["right"]
    assert grades(class_head, here, table("2", "cityscapes", "53")) == ["right"]  # 51.4 and 52.5
    assert grades(class_head, here) == []


def test_backbones(made_up, grades):
    columns = {"params": {"unit": "M"}, "flops": {"unit": "G"}}

    def row(label, params, flops):
        return {"label": label, "cells": {"params": params, "flops": flops}}

    rows = [
        row("SenFormer, R50", "144", "179"),
        row("SenFormer, Swin-T", "144", "179"),
        row("Other, R50", "144", "179"),
    ]
    assert grades(backbones, made_up(columns, *rows)) == ["soft"]
    assert grades(backbones, made_up(columns, rows[0], row("SenFormer, R101", "144", "180"))) == ["right"]
