// Backward: a unit of work is one head of one image and one level or all levels, its queries in order. It
// alone writes the gradient of these values, and each value's contributions arrive in the order of the
// queries: nothing is atomic, and the bits depend neither on the number of threads nor on the size of units.
#pragma once

#include "forward.h"

template <typename A>
struct Gradients {
  const A* output;                 // given
  A *value, *locations, *weights;  // wanted
};

template <typename A>
struct BackwardScratch {
  // For `block` queries with `points` sampling points each, in levels of `area` framed pixels together.
  BackwardScratch(int64_t block, int64_t points, int64_t area, int64_t row)
      : geometry(block * points), samples(block * points), dots(4 * filled(block * points), 0),
        grad_locations(2 * filled(block * points)), grad_weights(filled(block * points)), rows(block * row),
        copy(area * row), grad(area * row) {}
  Geometry<A> geometry;
  Samples<A> samples;
  Buffer<A> dots;  // [block * points, 4]: the output's gradient times the value at each corner
  Buffer<A> grad_locations, grad_weights;
  Buffer<A> rows;  // [block, padded channels]: the output's gradient
  Buffer<A> copy, grad;
};

// Adds one query's gradient, a share of it, to one corner of a point; returns its product with the value.
template <typename A, int vectors>
inline Vector<A> scatter_corner(const Vector<A> (&g)[vectors], const A* value, A* grad, A share) {
  constexpr int kLanes = Simd<A>::kLanes;
  const Vector<A> factor = broadcast(share);
  Vector<A> dot = g[0] * vector_at(value);
  vector_at(grad) += factor * g[0];
  for (int k = 1; k < vectors; ++k) {
    dot += g[k] * vector_at(value + k * kLanes);
    vector_at(grad + k * kLanes) += factor * g[k];
  }
  return dot;
}

template <typename A, int vectors>
void scatter_block(BackwardScratch<A>& scratch, int64_t queries, int64_t points, int64_t row) {
  constexpr int kLanes = Simd<A>::kLanes;
  const Samples<A>& samples = scratch.samples;
  const int32_t* stride = scratch.geometry.stride.get();
  for (int64_t c = 0; c < row; c += vectors * kLanes) {
    for (int64_t q = 0; q < queries; ++q) {
      Vector<A> g[vectors];
      for (int k = 0; k < vectors; ++k) g[k] = vector_at(scratch.rows.get() + q * row + c + k * kLanes);
      for (int64_t i = q * points; i < (q + 1) * points; ++i) {
        const int64_t at = samples.corner.get()[i] * row + c, down = stride[i] * row;
        const A* value = scratch.copy.get() + at;
        A *grad = scratch.grad.get() + at, *dots = scratch.dots.get() + 4 * i, sums[4];
        const Vector<A> products[4] = {
            scatter_corner<A, vectors>(g, value, grad, samples.upper_left.get()[i]),
            scatter_corner<A, vectors>(g, value + row, grad + row, samples.upper_right.get()[i]),
            scatter_corner<A, vectors>(g, value + down, grad + down, samples.lower_left.get()[i]),
            scatter_corner<A, vectors>(g, value + down + row, grad + down + row,
                                       samples.lower_right.get()[i])};
        lane_sums<A>(products, sums);
        for (int k = 0; k < 4; ++k) dots[k] = c == 0 ? sums[k] : dots[k] + sums[k];
      }
    }
  }
}

// From the four dots of each point to the gradients of its weight and its location.
template <typename A>
void finish_step(const A* __restrict dots, const A* __restrict x, const A* __restrict y,
                 const A* __restrict weight, const A* __restrict width, const A* __restrict height,
                 A* __restrict grad_locations, A* __restrict grad_weights) {
  for (int i = 0; i < kStep; ++i) {
    const A a0 = dots[4 * i], a1 = dots[4 * i + 1], b0 = dots[4 * i + 2], b1 = dots[4 * i + 3];
    const A top = a1 - a0, bottom = b1 - b0, left = b0 - a0, right = b1 - a1;
    const A upper = a0 + x[i] * top, lower = b0 + x[i] * bottom;
    grad_weights[i] = upper + y[i] * (lower - upper);
    grad_locations[2 * i] = weight[i] * width[i] * (top + y[i] * (bottom - top));
    grad_locations[2 * i + 1] = weight[i] * height[i] * (left + x[i] * (right - left));
  }
}

template <typename A>
void finish(const BackwardScratch<A>& scratch, int64_t points) {
  const Samples<A>& samples = scratch.samples;
  const Geometry<A>& geometry = scratch.geometry;
  for (int64_t i = 0; i < points; i += kStep) {
    finish_step(scratch.dots.get() + 4 * i, samples.x.get() + i, samples.y.get() + i,
                samples.weight.get() + i, geometry.width.get() + i, geometry.height.get() + i,
                scratch.grad_locations.get() + 2 * i, scratch.grad_weights.get() + i);
  }
}

// Reads `queries` queries from the pair (image, query, head) `pair` on; their points count from `from` on.
template <typename A>
void read_block(const Problem& problem, BackwardScratch<A>& scratch, const Inputs<A>& inputs,
                const Gradients<A>& grads, int64_t pair, int64_t from, int64_t points, int64_t queries,
                int64_t ahead) {
  const int64_t channels = problem.channels, row = padded<A>(channels), samples = problem.samples();
  for (int64_t q = 0; q < queries; ++q) {
    const int64_t here = pair + q * problem.heads, at = here * samples + from;
    scratch.samples.read(q * points, inputs.locations + 2 * at, inputs.weights + at, points);
    load_row(grads.output + here * channels, scratch.rows.get() + q * row, channels, row);
    fetch<true>(grads.locations + 2 * at, 2 * points);
    fetch<true>(grads.weights + at, points);
    if (q < ahead) {
      const int64_t next = here + queries * problem.heads, next_at = next * samples + from;
      fetch<false>(grads.output + next * channels, channels);
      fetch<false>(inputs.locations + 2 * next_at, 2 * points);
      fetch<false>(inputs.weights + next_at, points);
    }
  }
  scratch.samples.locate(scratch.geometry, queries * points);
}

template <typename A>
void backward_block(const Problem& problem, BackwardScratch<A>& scratch, const Inputs<A>& inputs,
                    const Gradients<A>& grads, int64_t pair, int64_t from, int64_t points, int64_t queries,
                    int64_t ahead) {
  read_block(problem, scratch, inputs, grads, pair, from, points, queries, ahead);
  const int64_t row = padded<A>(problem.channels), vectors = row / Simd<A>::kLanes;
  if (kFast<A> && vectors % 4 == 0) {
    scatter_block<A, kFast<A> ? 4 : 1>(scratch, queries, points, row);
  } else if (kFast<A> && vectors % 2 == 0) {
    scatter_block<A, kFast<A> ? 2 : 1>(scratch, queries, points, row);
  } else {
    scatter_block<A, 1>(scratch, queries, points, row);
  }
  finish(scratch, queries * points);
  for (int64_t q = 0; q < queries; ++q) {
    const int64_t at = (pair + q * problem.heads) * problem.samples() + from;
    copy_values(scratch.grad_locations.get() + 2 * q * points, grads.locations + 2 * at, 2 * points);
    copy_values(scratch.grad_weights.get() + q * points, grads.weights + at, points);
  }
}

// The units begin..end - 1 of batch * heads * parts; a part is an equal share of the levels.
template <typename A>
void backward_units(const Problem& problem, const Inputs<A>& inputs, const Gradients<A>& grads, int64_t parts,
                    int64_t begin, int64_t end) {
  const int64_t share = static_cast<int64_t>(problem.levels.size()) / parts, points = share * problem.points;
  const int64_t block = queries_in_block(points), row = padded<A>(problem.channels);
  int64_t area = 0;
  for (int64_t i = 0; i < parts; ++i) {
    const Level* first = problem.levels.data() + i * share;
    area = std::max(area, first[share - 1].framed_end() - first->framed);
  }
  BackwardScratch<A> scratch(block, points, area, row);
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t image = unit / parts / problem.heads, head = unit / parts % problem.heads;
    const Level *first = problem.levels.data() + unit % parts * share, *last = first + share;
    scratch.geometry.fill(first, last, problem.points, block);
    std::fill_n(scratch.grad.get(), area * row, A(0));
    for (const Level* level = first; level < last; ++level) {
      pack_level(problem, *level, inputs.value + problem.pixel(image, head, *level),
                 scratch.copy.get() + (level->framed - first->framed) * row);
    }
    for (int64_t q = 0; q < problem.queries; q += block) {
      const int64_t queries = std::min(block, problem.queries - q);
      backward_block(problem, scratch, inputs, grads, problem.pair(image, head, q), unit % parts * points,
                     points, queries, problem.queries - q - queries);
    }
    for (const Level* level = first; level < last; ++level) {
      unpack_level(problem, *level, scratch.grad.get() + (level->framed - first->framed) * row,
                   grads.value + problem.pixel(image, head, *level));
    }
  }
}
