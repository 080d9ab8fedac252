// Forward: a unit of work is a block of queries of one head of one image. Queries do not depend on each
// other, so the result is the same however the units are shared out.
#pragma once

#include "samples.h"

// Locations and weights as they are used.
template <typename A>
struct Inputs {
  const A *value, *locations, *weights;

  // The samples of `queries` queries from `first` on of one head of one image; `ahead` more will follow.
  void read(const Problem& problem, const Geometry<A>& geometry, Samples<A>& target, int64_t image,
            int64_t head, int64_t first, int64_t queries, int64_t ahead) const {
    const int64_t samples = problem.samples(), pair = problem.pair(image, head, first), heads = problem.heads;
    for (int64_t q = 0; q < queries; ++q) {
      const int64_t here = (pair + q * heads) * samples, next = here + queries * heads * samples;
      target.read(q * samples, locations + 2 * here, weights + here, samples);
      if (q < ahead) {
        fetch<false>(locations + 2 * next, 2 * samples);
        fetch<false>(weights + next, samples);
      }
    }
    target.locate(geometry, queries * samples);
  }
};

template <typename A>
struct ForwardScratch {
  ForwardScratch(const Problem& problem, int64_t block)
      : geometry(block * problem.samples()), samples(block * problem.samples()),
        rows(block * padded<A>(problem.channels)),
        copy(problem.levels.back().framed_end() * padded<A>(problem.channels)) {
    const Level* levels = problem.levels.data();
    geometry.fill(levels, levels + problem.levels.size(), problem.points, block);
  }
  Geometry<A> geometry;
  Samples<A> samples;
  Buffer<A> rows;  // [block, padded channels]
  Buffer<A> copy;
};

// Sums the points first..last - 1 into `vectors` vectors. A point's corners are 1 and `stride` pixels apart.
template <typename A, int vectors>
inline void sample_row(const A* copy, const Samples<A>& points, const int32_t* stride, int64_t first,
                       int64_t last, int64_t row, A* result) {
  constexpr int kLanes = Simd<A>::kLanes;
  Vector<A> upper[vectors] = {}, lower[vectors] = {};
  for (int64_t i = first; i < last; ++i) {
    const A* a = copy + points.corner.get()[i] * row;
    const A* b = a + stride[i] * row;
    const Vector<A> a0 = broadcast(points.upper_left.get()[i]), a1 = broadcast(points.upper_right.get()[i]);
    const Vector<A> b0 = broadcast(points.lower_left.get()[i]), b1 = broadcast(points.lower_right.get()[i]);
    for (int k = 0; k < vectors; ++k) {
      upper[k] += a0 * vector_at(a + k * kLanes);
      upper[k] += a1 * vector_at(a + row + k * kLanes);
      lower[k] += b0 * vector_at(b + k * kLanes);
      lower[k] += b1 * vector_at(b + row + k * kLanes);
    }
  }
  for (int k = 0; k < vectors; ++k) vector_at(result + k * kLanes) = upper[k] + lower[k];
}

template <typename A, int vectors>
void sample_block(const ForwardScratch<A>& scratch, int64_t queries, int64_t samples, int64_t row) {
  const int32_t* stride = scratch.geometry.stride.get();
  for (int64_t q = 0; q < queries; ++q) {
    for (int64_t c = 0; c < row; c += vectors * Simd<A>::kLanes) {
      sample_row<A, vectors>(scratch.copy.get() + c, scratch.samples, stride, q * samples, (q + 1) * samples,
                             row, scratch.rows.get() + q * row + c);
    }
  }
}

// The queries first..first + queries - 1. `scratch` holds the head's pyramid.
template <typename A, typename In>
void forward_block(const Problem& problem, ForwardScratch<A>& scratch, const In& inputs, A* output,
                   int64_t image, int64_t head, int64_t first, int64_t queries) {
  const int64_t samples = problem.samples(), channels = problem.channels, row = padded<A>(channels);
  const int64_t pair = problem.pair(image, head, first), heads = problem.heads;
  for (int64_t q = 0; q < queries; ++q) fetch<true>(output + (pair + q * heads) * channels, channels);
  inputs.read(problem, scratch.geometry, scratch.samples, image, head, first, queries,
              problem.queries - first - queries);
  const int64_t vectors = row / Simd<A>::kLanes;
  if (kFast<A> && vectors % 4 == 0) {
    sample_block<A, kFast<A> ? 4 : 1>(scratch, queries, samples, row);
  } else if (kFast<A> && vectors % 2 == 0) {
    sample_block<A, kFast<A> ? 2 : 1>(scratch, queries, samples, row);
  } else {
    sample_block<A, 1>(scratch, queries, samples, row);
  }
  for (int64_t q = 0; q < queries; ++q) {
    copy_values(scratch.rows.get() + q * row, output + (pair + q * heads) * channels, channels);
  }
}

// The units begin..end - 1 of batch * heads * blocks.
template <typename A, typename In>
void forward_units(const Problem& problem, const In& inputs, A* output, int64_t begin, int64_t end) {
  const int64_t block = queries_in_block(problem.samples());
  const int64_t blocks = (problem.queries + block - 1) / block, row = padded<A>(problem.channels);
  ForwardScratch<A> scratch(problem, block);
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t image = unit / blocks / problem.heads, head = unit / blocks % problem.heads;
    if (unit == begin || unit % blocks == 0) {
      for (const Level& level : problem.levels) {
        const A* source = inputs.value + problem.pixel(image, head, level);
        pack_level(problem, level, source, scratch.copy.get() + level.framed * row);
      }
    }
    const int64_t first = unit % blocks * block, queries = std::min(block, problem.queries - first);
    forward_block(problem, scratch, inputs, output, image, head, first, queries);
  }
}
