"""The images that FLOPs are averaged over."""

from collections import Counter
from statistics import fmean

from bench.protocol.images import Picture, coco, first_100, fixed, shortest_edge, square


def test_the_first_hundred_images_of_val2017():
    sizes = first_100()
    assert len(sizes) == 100
    assert sizes[:3] == ((426, 640), (640, 586), (483, 640)) and sizes[-1] == (480, 640)
    assert fmean(height * width for height, width in sizes) == 273_652.76


def test_the_shorter_side_becomes_800_and_the_longer_at_most_1333():
    assert shortest_edge((426, 640)) == (800, 1202)  # 1201.88
    assert shortest_edge((640, 428)) == (1196, 800)
    assert shortest_edge((612, 612)) == (800, 800)
    assert shortest_edge((315, 640)) == (656, 1333)
    assert shortest_edge((640, 315)) == (1333, 656)


def test_resized_and_padded_they_have_the_areas_that_were_measured():
    pictures = coco()
    assert fmean(p.size[0] * p.size[1] for p in pictures) == 888_905.88
    padded = Counter((-(-p.size[0] // 32) * 32, -(-p.size[1] // 32) * 32) for p in pictures)
    assert len(padded) == 20
    assert padded.most_common(2) == [((800, 1216), 28), ((800, 1088), 26)]
    assert sum(height * width * count for (height, width), count in padded.items()) / 100 == 903_802.88
    assert [p.output_size for p in pictures] == list(first_100())


def test_single_images():
    assert square(512) == (Picture((512, 512), (512, 512)),)
    assert square(512, (512, 683)) == (Picture((512, 512), (512, 683)),)
    assert fixed(1024, 2048)[0].size == (1024, 2048)
