"""Operators that contract nothing. They count 0 under every protocol, as they did in the papers' tool.

An operator in neither this list nor `formulas.FORMULAS`, and not made of such, is reported as uncounted.
"""

from __future__ import annotations

# made from nothing, copied, rearranged
_MOVED = """
    arange empty empty_like empty_permuted new_empty full full_like new_full zeros zeros_like new_zeros ones
    ones_like new_ones eye linspace scalar_tensor rand rand_like randn randn_like randint randperm normal
    uniform bernoulli lift_fresh clone copy contiguous to _to_copy type_as detach fill zero cat concat
    concatenate stack hstack vstack meshgrid pad constant_pad_nd reflection_pad2d replication_pad2d repeat
    repeat_interleave roll flip rot90 tile reshape flatten unfold im2col col2im pixel_shuffle
    pixel_unshuffle tril triu one_hot embedding
"""
# chosen by index, order or mask
_CHOSEN = """
    index index_put index_select index_add index_copy gather take take_along_dim scatter scatter_add
    masked_fill masked_select where topk sort argsort argmax argmin max min amax amin nonzero searchsorted
    bucketize unique
"""
# one result per element
_ELEMENTWISE = """
    add sub rsub mul div true_divide floor_divide remainder fmod pow square sqrt rsqrt reciprocal exp exp2
    expm1 log log2 log10 log1p sin cos tan asin acos atan atan2 sinh cosh tanh erf neg abs sign sgn floor
    ceil round trunc frac clamp clamp_min clamp_max clip maximum minimum fmax fmin lerp addcmul addcdiv
    sigmoid logit relu relu6 leaky_relu elu celu selu gelu silu mish softplus hardtanh hardsigmoid hardswish
    prelu glu dropout nan_to_num isnan isinf isfinite eq ne lt le gt ge less less_equal greater
    greater_equal logical_and logical_or logical_xor logical_not bitwise_and bitwise_or bitwise_xor
    bitwise_not __and__ __or__ __xor__ __lshift__ __rshift__ __iand__ __ior__
"""
# one result per row or window
_REDUCED = """
    sum mean prod var std var_mean std_mean norm linalg_vector_norm cumsum cumprod logsumexp softmax
    _softmax log_softmax _log_softmax all any count_nonzero max_pool1d max_pool2d max_pool2d_with_indices
    max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_max_pool2d upsample_nearest1d upsample_nearest3d
"""

FREE: frozenset[str] = frozenset(
    f"aten::{name}{in_place}"
    for group in (_MOVED, _CHOSEN, _ELEMENTWISE, _REDUCED)
    for name in group.split()
    for in_place in ("", "_")
)
