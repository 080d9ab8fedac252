"""The caching allocator, by hand: segments of 2, 20 and more MiB, best fit, cutting off and joining."""

import pytest

from bench.protocol.memory.allocator import BLOCK, MIB, CachingAllocator


@pytest.mark.parametrize(
    ("size", "reserved"),
    [
        (1, 2 * MIB),
        (MIB, 2 * MIB),
        (MIB + 1, 20 * MIB),
        (10 * MIB - BLOCK, 20 * MIB),
        (10 * MIB, 10 * MIB),
        (10 * MIB + 1, 12 * MIB),
        (33 * MIB, 34 * MIB),
    ],
)
def test_what_one_request_takes_from_the_device(size, reserved):
    allocator = CachingAllocator()
    allocator.allocate(size)
    assert allocator.reserved == reserved


def test_small_requests_share_a_segment():
    allocator = CachingAllocator()
    blocks = [allocator.allocate(100) for _ in range(2 * MIB // BLOCK)]
    assert allocator.reserved == 2 * MIB
    assert len({block.address for block in blocks}) == len(blocks)
    assert {block.size for block in blocks} == {BLOCK}
    allocator.allocate(1)
    assert allocator.reserved == 4 * MIB


def test_a_rest_is_cut_off_only_where_it_is_large():
    allocator = CachingAllocator()
    allocator.allocate(9 * MIB)  # 11 MiB of the segment are left
    whole = allocator.allocate(10 * MIB)  # 1 MiB would be left, which is too little
    assert (whole.size, allocator.reserved) == (11 * MIB, 20 * MIB)


def test_the_smallest_block_that_fits_is_taken():
    allocator = CachingAllocator()
    large, between, small = (allocator.allocate(size * MIB) for size in (40, 12, 14))
    allocator.release(large)
    allocator.release(small)
    assert allocator.allocate(13 * MIB).address == small.address
    assert allocator.allocate(30 * MIB).address == large.address
    assert between.address == 40 * MIB and allocator.reserved == 66 * MIB


def test_neighbours_are_joined_and_used_again():
    allocator = CachingAllocator()
    parts = [allocator.allocate(5 * MIB) for _ in range(4)]
    for place in (1, 3, 2, 0):
        allocator.release(parts[place])
    assert allocator.allocate(19 * MIB).size == 20 * MIB
    assert allocator.reserved == 20 * MIB


def test_segments_are_never_joined_nor_given_back():
    allocator = CachingAllocator()
    for block in [allocator.allocate(20 * MIB), allocator.allocate(20 * MIB)]:
        allocator.release(block)
    assert allocator.reserved == 40 * MIB
    allocator.allocate(30 * MIB)
    assert allocator.reserved == 70 * MIB
