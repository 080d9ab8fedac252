// From sampling points to corners and coefficients, for a block of points at a time and without branches, so
// that the compiler turns the loops into vector code.
#pragma once

#include <cmath>

#include "pyramid.h"

// Double precision is for checking: it does without the variants for wide rows, and compiles sooner.
template <typename A>
constexpr bool kFast = sizeof(A) == sizeof(float);

// Blocks are filled up to a multiple of this many points; what is in the filling does not matter.
constexpr int64_t kStep = 16;

inline int64_t filled(int64_t points) { return (points + kStep - 1) / kStep * kStep; }

// Queries whose points make a block of a size that the first-level cache holds.
inline int64_t queries_in_block(int64_t points) { return std::max<int64_t>(1, 192 / points); }

// What a point needs to know of its level, repeated for each point of a block.
template <typename A>
struct Geometry {
  explicit Geometry(int64_t points)
      : width(filled(points), 0), height(filled(points), 0), stride(filled(points), 0),
        start(filled(points), 0) {}
  Buffer<A> width, height;
  Buffer<int32_t> stride, start;

  // `points` points in each of the levels begin..end - 1, for `queries` queries.
  void fill(const Level* begin, const Level* end, int64_t points, int64_t queries) {
    for (int64_t q = 0, i = 0; q < queries; ++q) {
      for (const Level* level = begin; level < end; ++level) {
        for (int64_t p = 0; p < points; ++p, ++i) {
          width.get()[i] = static_cast<A>(level->width);
          height.get()[i] = static_cast<A>(level->height);
          stride.get()[i] = static_cast<int32_t>(level->stride());
          start.get()[i] = static_cast<int32_t>(level->framed - begin->framed);
        }
      }
    }
  }
};

// A block of sampling points. `corner` is the upper left of the four pixels in the framed copy; x, y in
// [0, 1) is the way from it. A point that touches no pixel, or is not a number, gets weight 0 and four zeros.
template <typename A>
struct Samples {
  explicit Samples(int64_t points)
      : locations(2 * filled(points), 0), weight(filled(points), 0), x(filled(points)), y(filled(points)),
        upper_left(filled(points)), upper_right(filled(points)), lower_left(filled(points)),
        lower_right(filled(points)), corner(filled(points)) {}
  Buffer<A> locations, weight, x, y;
  Buffer<A> upper_left, upper_right, lower_left, lower_right;  // each corner's share times the weight
  Buffer<int32_t> corner;

  void read(int64_t at, const A* from_locations, const A* from_weights, int64_t count) {
    copy_values(from_locations, locations.get() + 2 * at, 2 * count);
    copy_values(from_weights, weight.get() + at, count);
  }

  void locate(const Geometry<A>& geometry, int64_t points) {
    for (int64_t i = 0; i < points; i += kStep) {
      locate_step(locations.get() + 2 * i, geometry.width.get() + i, geometry.height.get() + i,
                  geometry.stride.get() + i, geometry.start.get() + i, weight.get() + i, x.get() + i,
                  y.get() + i, corner.get() + i);
      share_step(weight.get() + i, x.get() + i, y.get() + i, upper_left.get() + i, upper_right.get() + i,
                 lower_left.get() + i, lower_right.get() + i);
    }
  }

 private:
  // Pixel centres lie at (i + 0.5) / size.
  static void locate_step(const A* __restrict location, const A* __restrict width,
                          const A* __restrict height, const int32_t* __restrict stride,
                          const int32_t* __restrict start, A* __restrict weight, A* __restrict x,
                          A* __restrict y, int32_t* __restrict corner) {
    for (int i = 0; i < kStep; ++i) {
      A u = location[2 * i] * width[i] - A(0.5), v = location[2 * i + 1] * height[i] - A(0.5);
      const bool touches = (u >= A(-1)) & (u < width[i]) & (v >= A(-1)) & (v < height[i]);
      u = touches ? u : A(-1);
      v = touches ? v : A(-kAbove);
      const A left = std::floor(u), top = std::floor(v);
      x[i] = u - left;
      y[i] = v - top;
      weight[i] = touches ? weight[i] : A(0);
      corner[i] = start[i] + (static_cast<int32_t>(top) + static_cast<int32_t>(kAbove)) * stride[i] +
                  static_cast<int32_t>(left) + 1;
    }
  }

  static void share_step(const A* __restrict weight, const A* __restrict x, const A* __restrict y,
                         A* __restrict upper_left, A* __restrict upper_right, A* __restrict lower_left,
                         A* __restrict lower_right) {
    for (int i = 0; i < kStep; ++i) {
      const A lower = weight[i] * y[i], upper = weight[i] - lower;
      upper_right[i] = upper * x[i];
      upper_left[i] = upper - upper_right[i];
      lower_right[i] = lower * x[i];
      lower_left[i] = lower - lower_right[i];
    }
  }
};
