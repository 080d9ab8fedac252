// Segment ids from the pixels of a PNG file: inflate, undo the rows' filters (PNG, section 9), and pack
// R + 256 G + 256^2 B. Rows of a map of segments mostly repeat the row above; those cost next to nothing.
#pragma once

#include <cstdlib>
#include <utility>

#include "inflate.h"

namespace png {

inline uint8_t paeth(int left, int above, int corner) {
  const int to_left = std::abs(above - corner), to_above = std::abs(left - corner);
  const int to_corner = std::abs(left + above - 2 * corner);
  if (to_left <= to_above && to_left <= to_corner) return static_cast<uint8_t>(left);
  return static_cast<uint8_t>(to_above <= to_corner ? above : corner);
}

// Undoes the filter of a row of `size` bytes, pixels of 3 bytes; 3 zeros stand before `row` and `above`.
inline bool unfilter(int filter, uint8_t* __restrict row, const uint8_t* __restrict above, int64_t size) {
  switch (filter) {
    case 0:
      return true;
    case 1:
      for (int64_t i = 0; i < size; ++i) row[i] += row[i - 3];
      return true;
    case 2:
      for (int64_t i = 0; i < size; ++i) row[i] += above[i];
      return true;
    case 3:
      for (int64_t i = 0; i < size; ++i) row[i] += static_cast<uint8_t>((row[i - 3] + above[i]) / 2);
      return true;
    case 4:
      for (int64_t i = 0; i < size; ++i) row[i] += paeth(row[i - 3], above[i], above[i - 3]);
      return true;
    default:
      return false;
  }
}

inline bool all_zero(const uint8_t* row, int64_t size) {
  return !size || (!row[0] && !std::memcmp(row, row + 1, size - 1));
}

// What a deflated byte can stand for: two lengths and distances of a bit each are four times 258 bytes.
constexpr int64_t most_per_byte = 4 * 258;

// Ids [height, width] of the filtered rows of RGB pixels in a zlib stream (RFC 1950), whose checksum is not
// looked at; false: they are not that.
inline bool segment_ids(const uint8_t* bytes, int64_t count, int64_t height, int64_t width, int32_t* ids) {
  const int64_t size = 3 * width;
  if (count < 2 || (bytes[0] & 15) != 8 || (bytes[1] & 32)) return false;  // deflated, without a dictionary
  if (height * (size + 1) / most_per_byte > count) return false;  // before there is memory for them
  std::vector<uint8_t> raw(height * (size + 1));
  if (!inflate(bytes + 2, count - 2, raw)) return false;
  std::vector<uint8_t> one(size + 8), other(size + 8);  // a row with zeros before it and room behind it
  uint8_t *row = one.data() + 3, *above = other.data() + 3;
  for (int64_t y = 0; y < height; ++y) {
    const uint8_t* filtered = raw.data() + y * (size + 1);
    int32_t* target = ids + y * width;
    if (y && filtered[0] == 2 && all_zero(filtered + 1, size)) {
      std::memcpy(target, target - width, width * sizeof(int32_t));
      continue;
    }
    std::memcpy(row, filtered + 1, size);
    if (!unfilter(filtered[0], row, above, size)) return false;
    for (int64_t x = 0; x < width; ++x) {
      target[x] = row[3 * x] | row[3 * x + 1] << 8 | row[3 * x + 2] << 16;
    }
    std::swap(row, above);
  }
  return true;
}

}  // namespace png
