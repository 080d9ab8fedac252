"""Panoptic quality from its definition, pair by pair, as panopticapi goes about it: np.unique sorts the
pixels of each image twice, and dictionaries hold the pairs."""

import numpy as np


def slow_quality(images, categories):
    """Per category (iou, tp, fp, fn) of images (truth ids, segments, predicted ids, segments)."""
    totals = {category: [0.0, 0, 0, 0] for category in categories}
    for truth, true, predicted, found in images:
        true = {s["id"]: s for s in true}
        kinds = {s["id"]: s["category_id"] for s in found}
        areas = dict(zip(*(a.tolist() for a in np.unique(predicted, return_counts=True)), strict=True))
        pairs = truth.astype(np.uint64) * (1 << 24) + predicted.astype(np.uint64)
        shared = {}
        for pair, count in zip(*np.unique(pairs, return_counts=True), strict=True):
            shared[int(pair) >> 24, int(pair) & 0xFFFFFF] = int(count)
        matched = _matches(true, kinds, areas, shared)
        for t, iou in matched.values():
            totals[true[t]["category_id"]][0] += iou
            totals[true[t]["category_id"]][1] += 1
        hit = {t for t, _ in matched.values()}
        crowds = {}
        for t, segment in true.items():
            if segment.get("iscrowd"):
                crowds[segment["category_id"]] = t
            elif t not in hit:
                totals[segment["category_id"]][3] += 1
        for p, kind in kinds.items():
            forgiven = shared.get((0, p), 0) + shared.get((crowds.get(kind, -1), p), 0)
            if p not in matched and forgiven / areas[p] <= 0.5:
                totals[kind][2] += 1
    return totals


def _matches(true, kinds, areas, shared):
    """Predicted id -> (true id, IoU)."""
    matched = {}
    for (t, p), common in shared.items():
        if t not in true or p not in kinds or true[t].get("iscrowd") or true[t]["category_id"] != kinds[p]:
            continue
        iou = common / (areas[p] + true[t]["area"] - common - shared.get((0, p), 0))
        if iou > 0.5:
            matched[p] = (t, iou)
    return matched


def scene(rng, size, segments, categories):
    """A truth with void and crowds, and a prediction that is the truth, shifted and partly relabelled."""
    height, width = size
    ids = rng.choice(np.arange(1, 1 << 24), segments + 1, replace=False)
    truth = np.zeros(size, dtype=np.uint32)
    for number in ids[:-1]:
        y, x = rng.integers(0, height), rng.integers(0, width)
        truth[y : y + rng.integers(8, height), x : x + rng.integers(8, width)] = number
    predicted = np.roll(truth, rng.integers(0, 6, 2), (0, 1))
    predicted[: height // 8] = ids[-1]
    kinds = dict(zip(ids.tolist(), rng.choice(list(categories), segments + 1).tolist(), strict=True))
    true = [
        {"id": i, "category_id": kinds[i], "area": int(n), "iscrowd": int(rng.random() < 0.1)}
        for i, n in zip(*(a.tolist() for a in np.unique(truth, return_counts=True)), strict=True)
        if i
    ]
    found = [
        {"id": i, "category_id": kinds[i] if rng.random() < 0.8 else int(rng.choice(list(categories)))}
        for i in np.unique(predicted).tolist()
        if i
    ]
    return truth, true, predicted, found
