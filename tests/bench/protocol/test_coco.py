"""The mean over COCO images of a whole model, as the released Mask2Former counts it."""

import models
from bench.protocol import flops
from bench.protocol.systems import setting


def test_mask2former_over_a_hundred_images():
    """The released code, counted at some sizes and extrapolated, gives 226,209,740,846 (printed: 226 G);
    here einsums are rounded at each size."""
    how = setting("mask2former_r50_coco_instance")
    spec = models.preset("mask2former_r50_coco_instance")
    found = flops.average(spec, how.pictures, how.protocol, how.end)
    assert found.total == 226_210_442_877
    assert round(found.deviation) == 24_800_969_655
    assert (found.images, found.size, found.uncounted) == (100, None, {})
    # 20 padded sizes; every mask is resized to the padded image and to the photo
    assert flops._call.cache_info().currsize >= 20
    assert found.by_part["postprocess"] == 4 * (90_380_288 + 27_365_276)
    # only what the ends add: the scores of 80 classes at the size of the photos
    exact = [
        flops.average(spec, how.pictures, "flops/exact-v1", e).total for e in ("masks", "masks_and_scores")
    ]
    assert exact[1] - exact[0] == 80 * 27_365_276
