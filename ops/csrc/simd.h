// Fixed-width vectors in the compilers' own vector extension (GCC and Clang): the same source becomes
// AVX-512, AVX2, SSE or NEON code, as the target has it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

// A is the type that is computed with: float or double.
template <typename A>
struct Simd {
  static constexpr int kLanes = kVectorBytes / sizeof(A);
  typedef A Vector __attribute__((vector_size(kVectorBytes), aligned(sizeof(A)), may_alias));
};

template <typename A>
using Vector = typename Simd<A>::Vector;

template <typename A>
inline Vector<A>& vector_at(A* pointer) {
  return *reinterpret_cast<Vector<A>*>(pointer);
}

template <typename A>
inline const Vector<A>& vector_at(const A* pointer) {
  return *reinterpret_cast<const Vector<A>*>(pointer);
}

template <typename A>
inline Vector<A> broadcast(A scalar) {
  return scalar - Vector<A>{};
}

template <typename A, std::size_t... lane>
inline Vector<A> shuffle(Vector<A> a, Vector<A> b, std::index_sequence<lane...>) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, lane...);
#else
  using Index = decltype(a < b);
  return __builtin_shuffle(a, b, Index{lane...});
#endif
}

// Where lane `lane` of a pairwise sum takes its first summand from: in each 16 bytes the pairs of the first
// vector fill the lower half and those of the second the upper half.
template <typename A>
constexpr std::size_t pair_source(std::size_t lane) {
  constexpr std::size_t kPart = 16 / sizeof(A), kHalf = kPart / 2;
  return lane / kPart * kPart + lane % kHalf * 2 + lane % kPart / kHalf * Simd<A>::kLanes;
}

template <typename A, std::size_t... lane>
inline Vector<A> pair_sums(Vector<A> a, Vector<A> b, std::index_sequence<lane...>) {
  return shuffle<A>(a, b, std::index_sequence<pair_source<A>(lane)...>()) +
         shuffle<A>(a, b, std::index_sequence<pair_source<A>(lane) + 1 ...>());
}

// Adds the vector's 16-byte parts, so that each of them holds the sum.
template <typename A, std::size_t shift, std::size_t... lane>
inline Vector<A> part_sums(Vector<A> a, std::index_sequence<lane...> lanes) {
  if constexpr (shift < 16 / sizeof(A)) {
    return a;
  } else {
    const Vector<A> turned = shuffle<A>(a, a, std::index_sequence<(lane + shift) % sizeof...(lane)...>());
    return part_sums<A, shift / 2>(a + turned, lanes);
  }
}

// The sum of the lanes of each of four vectors.
template <typename A>
inline void lane_sums(const Vector<A> (&vectors)[4], A* sums) {
  constexpr std::size_t kLanes = Simd<A>::kLanes;
  constexpr auto lanes = std::make_index_sequence<kLanes>();
  Vector<A> low = pair_sums<A>(vectors[0], vectors[1], lanes);
  Vector<A> high = pair_sums<A>(vectors[2], vectors[3], lanes);
  if constexpr (sizeof(A) == 4) {
    low = part_sums<A, kLanes / 2>(pair_sums<A>(low, high, lanes), lanes);
    std::memcpy(sums, &low, 16);
  } else {
    low = part_sums<A, kLanes / 2>(low, lanes);
    high = part_sums<A, kLanes / 2>(high, lanes);
    std::memcpy(sums, &low, 16);
    std::memcpy(sums + 2, &high, 16);
  }
}
