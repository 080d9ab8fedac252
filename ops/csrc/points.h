// Samples as an attention module has them: offsets in pixels around reference points, and logits whose softmax
// over a query's samples are the weights. The module's arithmetic is done on a block while it is in the cache.
#pragma once

#include <limits>

#include "samples.h"

// e^x for x <= 0 to the last bit or two, without branches; below -87 as for -87, and NaN for NaN.
inline float exponential(float x) {
  x = x < -87.0f ? -87.0f : x;
  const float n = std::floor(x * 1.44269504f + 0.5f);
  const float r = x - n * 0.693359375f + n * 2.12194440e-4f;  // ln 2 in two parts
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const uint32_t bits = (static_cast<uint32_t>(static_cast<int32_t>(n)) + 127u) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof(power));
  return p * power;
}

inline double exponential(double x) { return std::exp(x); }

template <typename A>
struct PointInputs {
  const A *value, *references, *offsets, *logits;
  int64_t images, levels;  // of `references`: 1 where all share them

  void read(const Problem& problem, const Geometry<A>& geometry, Samples<A>& target, int64_t image,
            int64_t head, int64_t first, int64_t queries, int64_t ahead) const {
    const int64_t samples = problem.samples(), pair = problem.pair(image, head, first), heads = problem.heads;
    const A* reference = references + 2 * levels * ((images > 1 ? image : 0) * problem.queries + first);
    for (int64_t q = 0; q < queries; ++q, reference += 2 * levels) {
      const int64_t here = (pair + q * heads) * samples, next = here + queries * heads * samples;
      target.read(q * samples, offsets + 2 * here, logits + here, samples);
      if (q < ahead) {
        fetch<false>(offsets + 2 * next, 2 * samples);
        fetch<false>(logits + next, samples);
      }
      place(reference, problem.points, geometry, target.locations.get(), q * samples, samples);
    }
    softmax(target.weight.get(), queries, samples);
    target.locate(geometry, queries * samples);
  }

 private:
  void place(const A* reference, int64_t points, const Geometry<A>& geometry, A* location, int64_t at,
             int64_t samples) const {
    const A *width = geometry.width.get(), *height = geometry.height.get();
    for (int64_t i = 0; i < samples; ++i) {
      const A* centre = reference + (levels > 1 ? i / points * 2 : 0);
      location[2 * (at + i)] = centre[0] + location[2 * (at + i)] / width[at + i];
      location[2 * (at + i) + 1] = centre[1] + location[2 * (at + i) + 1] / height[at + i];
    }
  }

  static void softmax(A* weight, int64_t queries, int64_t samples) {
    for (int64_t q = 0; q < queries; ++q) {
      A* row = weight + q * samples;
      A largest = row[0];
      for (int64_t i = 1; i < samples; ++i) largest = row[i] > largest ? row[i] : largest;
      for (int64_t i = 0; i < samples; ++i) row[i] -= largest;
    }
    for (int64_t i = 0; i < queries * samples; i += kStep) exponential_step(weight + i);
    for (int64_t q = 0; q < queries; ++q) {
      A* row = weight + q * samples;
      A sum = 0;
      for (int64_t i = 0; i < samples; ++i) sum += row[i];
      const A scale = A(1) / sum;
      for (int64_t i = 0; i < samples; ++i) row[i] *= scale;
    }
  }

  static void exponential_step(A* __restrict x) {
    for (int i = 0; i < kStep; ++i) x[i] = exponential(x[i]);
  }
};
