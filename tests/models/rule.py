"""The weights of the golden runs: each follows from its released key and its shape alone."""

import zlib

import numpy as np


def weight_by_rule(key, shape):
    """The weight that the golden runs had under a released key."""
    source = np.random.RandomState(zlib.crc32(key.encode()) & 0x7FFFFFFF)
    normal = source.standard_normal(shape)
    leaf = key.rsplit(".", 1)[-1]
    if leaf == "running_var":
        return 0.5 + source.random_sample(shape)
    for ending, factor in (
        ("running_mean", 0.2),
        ("sampling_offsets.weight", 0.02),
        ("sampling_offsets.bias", 2.0),
        ("attention_weights.weight", 0.06),
        ("relative_position_bias_table", 0.5),
    ):
        if key.endswith(ending):
            return factor * normal
    if len(shape) == 1:
        if leaf != "weight":
            return 0.1 * normal
        low, width = (0.1, 0.3) if "conv3.norm" in key or "bn3." in key else (0.5, 1.0)
        return low + width * source.random_sample(shape)
    if any(name in key for name in ("query_feat", "query_embed", "level_embed", "stuff_query")):
        return normal
    if len(shape) == 4 and shape[1] == 1:
        return 0.4 * normal
    gain = 2.0 if len(shape) == 4 and key.startswith("backbone") else 1.0
    weight = normal * np.sqrt(gain / np.prod(shape[1:]))
    if leaf == "in_proj_weight":
        weight[: 2 * shape[0] // 3] *= 2
    return weight
