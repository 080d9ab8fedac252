// The pyramid of one head, copied out of the [B, S, M, D] tensor into memory of its own.
//
// In the tensor the pixels of one head lie M * D values apart, so that they would use a few sets of each
// cache only. In the copy they are neighbours, their channels filled up with zeros to whole vectors, and each
// level has a frame of zeros, one pixel wide and above two: a sample that is partly outside needs no case of
// its own, and one that is wholly outside has four zeros to read.
#pragma once

#include <algorithm>
#include <new>
#include <vector>

#include "simd.h"

constexpr int64_t kAbove = 2;  // rows of zeros above a level

struct Level {
  int64_t height, width;
  int64_t start;   // first pixel of the level in the tensor
  int64_t framed;  // first pixel of the level in the copy

  int64_t stride() const { return width + 2; }
  int64_t framed_end() const { return framed + (height + kAbove + 1) * stride(); }
};

struct Problem {
  int64_t batch, pixels, heads, channels, queries, points;  // points: of one query in one level
  std::vector<Level> levels;

  int64_t samples() const { return points * static_cast<int64_t>(levels.size()); }
  int64_t pixel(int64_t image, int64_t head, const Level& level) const {
    return ((image * pixels + level.start) * heads + head) * channels;
  }
  int64_t pair(int64_t image, int64_t head, int64_t query) const {
    return (image * queries + query) * heads + head;
  }
};

// Memory on cache-line boundaries.
template <typename A>
class Buffer {
 public:
  explicit Buffer(int64_t size) : data_(static_cast<A*>(::operator new(size * sizeof(A), kLine))) {}
  Buffer(int64_t size, A content) : Buffer(size) { std::fill_n(data_, size, content); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { ::operator delete(data_, kLine); }
  A* get() const { return data_; }

 private:
  static constexpr std::align_val_t kLine{64};
  A* data_;
};

template <typename A>
int64_t padded(int64_t channels) {
  return (channels + Simd<A>::kLanes - 1) / Simd<A>::kLanes * Simd<A>::kLanes;
}

// Fixed steps, because counts are small and a loop of unknown length costs more than its work.
template <typename A>
inline void copy_values(const A* __restrict source, A* __restrict target, int64_t count) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) std::memcpy(target + i, source + i, 16 * sizeof(A));
  for (; i + 4 <= count; i += 4) std::memcpy(target + i, source + i, 4 * sizeof(A));
  for (; i < count; ++i) target[i] = source[i];
}

// Asks for the cache lines of values that lie strided in memory, which the hardware does not foresee well.
template <bool write, typename A>
inline void fetch(const A* pointer, int64_t count) {
  const char* byte = reinterpret_cast<const char*>(pointer);
  const int64_t bytes = count * static_cast<int64_t>(sizeof(A));
  for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(byte + i, write);
  __builtin_prefetch(byte + bytes - 1, write);
}

// One pixel: `channels` values become a row of `width` values, the rest zero.
template <typename A>
inline void load_row(const A* source, A* row, int64_t channels, int64_t width) {
  copy_values(source, row, channels);
  for (int64_t c = channels; c < width; ++c) row[c] = A(0);
}

// `source`: the level's first pixel in the tensor. `copy`: the first pixel of its frame.
template <typename A>
void pack_level(const Problem& problem, const Level& level, const A* source, A* copy) {
  const int64_t row = padded<A>(problem.channels), line = level.stride() * row;
  const int64_t step = problem.heads * problem.channels;
  std::fill_n(copy, kAbove * line, A(0));
  copy += kAbove * line;
  for (int64_t y = 0; y < level.height; ++y, copy += line) {
    std::fill_n(copy, row, A(0));
    for (int64_t x = 1; x <= level.width; ++x, source += step) {
      load_row(source, copy + x * row, problem.channels, row);
    }
    std::fill_n(copy + line - row, row, A(0));
  }
  std::fill_n(copy, line, A(0));
}

// The way back, without the frame.
template <typename A>
void unpack_level(const Problem& problem, const Level& level, const A* copy, A* target) {
  const int64_t row = padded<A>(problem.channels), line = level.stride() * row;
  const int64_t step = problem.heads * problem.channels;
  copy += kAbove * line;
  for (int64_t y = 0; y < level.height; ++y, copy += line) {
    for (int64_t x = 1; x <= level.width; ++x, target += step) {
      copy_values(copy + x * row, target, problem.channels);
    }
  }
}
