"""One rule a file.

A rule is a module with `NAME` (for files), `TITLE` (for people), `SAYS` (the rule in a sentence), and
`check(records)`, which yields a `Check` for every relation it could test, right or not.
"""

from bench.audit.rules import (
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
    same_quantity,
    scales,
    totals,
)

RULES = (
    deltas, claims, mentions, parts, product, means, totals, same_quantity, copies, class_head,
    backbones, ap, scales,
)  # fmt: skip
