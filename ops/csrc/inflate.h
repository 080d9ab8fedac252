// Inflate (RFC 1951) into memory of a known size. Every read and write is within bounds, whatever the bytes;
// bad data gives `false`.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

namespace png {

// The deflated bytes, least significant bit first. Beyond their end come zeros, up to 8 bytes of them.
struct Bits {
  const uint8_t* next;
  const uint8_t* end;
  uint64_t held = 0;
  int count = 0, beyond = 0;

  void fill() {
    while (count <= 56) {
      if (next == end && ++beyond > 8) return;
      held |= static_cast<uint64_t>(next == end ? 0 : *next++) << count;
      count += 8;
    }
  }
  bool exhausted() const { return count < 8 * beyond; }
  uint32_t peek(int bits) const { return static_cast<uint32_t>(held & ((uint64_t{1} << bits) - 1)); }
  void drop(int bits) { held >>= bits, count -= bits; }
  uint32_t take(int bits) {
    const uint32_t value = peek(bits);
    drop(bits);
    return value;
  }
};

// A Huffman code as one table of all patterns of its longest length: symbol * 16 + length; 0: no code.
class Code {
 public:
  bool build(const uint8_t* lengths, int symbols) {
    std::array<int, 16> counts{}, first{};
    for (int i = 0; i < symbols; ++i) ++counts[lengths[i]];
    counts[0] = 0;
    longest_ = 15;
    while (longest_ > 1 && !counts[longest_]) --longest_;
    int code = 0;
    for (int bits = 1; bits <= longest_; ++bits) {
      code = (code + counts[bits - 1]) << 1;
      first[bits] = code;
      if (code + counts[bits] > (1 << bits)) return false;  // more codes than there are
    }
    table_.assign(size_t{1} << longest_, 0);
    for (int symbol = 0; symbol < symbols; ++symbol) {
      const int bits = lengths[symbol];
      if (!bits) continue;
      uint32_t pattern = 0;  // codes are read from their highest bit
      const int value = first[bits]++;
      for (int bit = 0; bit < bits; ++bit) pattern |= (value >> bit & 1) << (bits - 1 - bit);
      for (; pattern < table_.size(); pattern += 1u << bits) {
        table_[pattern] = static_cast<uint16_t>(symbol << 4 | bits);
      }
    }
    return true;
  }

  // The next symbol, or -1. There are 15 bits at hand.
  int read(Bits& bits) const {
    const uint16_t entry = table_[bits.peek(longest_)];
    bits.drop(entry & 15);
    return entry ? entry >> 4 : -1;
  }

 private:
  int longest_ = 1;
  std::vector<uint16_t> table_;
};

inline bool dynamic_codes(Bits& bits, Code& literals, Code& distances) {
  static const uint8_t order[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
  bits.fill();
  const int literal_count = bits.take(5) + 257, distance_count = bits.take(5) + 1;
  const int given = bits.take(4) + 4;
  if (literal_count > 286 || distance_count > 30) return false;
  uint8_t lengths[320] = {};
  for (int i = 0; i < given; ++i) {
    bits.fill();
    lengths[order[i]] = static_cast<uint8_t>(bits.take(3));
  }
  Code code;
  if (!code.build(lengths, 19)) return false;
  std::memset(lengths, 0, sizeof(lengths));
  for (int at = 0; at < literal_count + distance_count;) {
    bits.fill();
    const int symbol = code.read(bits);
    if (symbol < 0 || bits.exhausted()) return false;
    if (symbol < 16) {
      lengths[at++] = static_cast<uint8_t>(symbol);
      continue;
    }
    if (symbol == 16 && !at) return false;
    const uint8_t value = symbol == 16 ? lengths[at - 1] : 0;
    const int times = symbol == 16 ? 3 + bits.take(2) : symbol == 17 ? 3 + bits.take(3) : 11 + bits.take(7);
    if (at + times > literal_count + distance_count) return false;
    std::memset(lengths + at, value, times);
    at += times;
  }
  return literals.build(lengths, literal_count) && distances.build(lengths + literal_count, distance_count);
}

inline bool fixed_codes(Code& literals, Code& distances) {
  uint8_t lengths[288];
  for (int i = 0; i < 288; ++i) lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
  uint8_t fives[30];
  std::memset(fives, 5, sizeof(fives));
  return literals.build(lengths, 288) && distances.build(fives, 30);
}

// `length` bytes again that stand `distance` before `at`, where the two may overlap.
inline void repeat(uint8_t* at, int64_t distance, int64_t length) {
  if (distance == 1) {
    std::memset(at, at[-1], length);
    return;
  }
  for (int64_t done = 0; done < length;) {  // what was written doubles the piece that can be copied at once
    const int64_t piece = std::min(length - done, distance + done);
    std::memcpy(at + done, at - distance, piece);
    done += piece;
  }
}

inline bool inflate_block(Bits& bits, const Code& literals, const Code& distances, std::vector<uint8_t>& out,
                          int64_t& at) {
  static const int length_base[29] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                      31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
  static const int length_bits[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                      2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
  const int64_t size = static_cast<int64_t>(out.size());
  while (true) {
    bits.fill();
    int symbol = literals.read(bits);
    if (symbol < 0 || bits.exhausted()) return false;
    if (symbol == 256) return true;
    if (symbol < 256) {
      if (at == size) return false;
      out[at++] = static_cast<uint8_t>(symbol);
      continue;
    }
    symbol -= 257;
    if (symbol > 28) return false;
    const int64_t length = length_base[symbol] + bits.take(length_bits[symbol]);
    const int place = distances.read(bits);
    if (place < 0 || place > 29) return false;
    const int more = std::max(0, place / 2 - 1);
    const int64_t base = place < 2 ? place + 1 : (int64_t{2 + place % 2} << more) + 1;
    const int64_t distance = base + bits.take(more);
    if (bits.exhausted() || distance > at || length > size - at) return false;
    repeat(out.data() + at, distance, length);
    at += length;
  }
}

inline bool inflate_stored(Bits& bits, std::vector<uint8_t>& out, int64_t& at) {
  bits.drop(bits.count % 8);
  bits.fill();
  const int64_t length = bits.take(16), check = bits.take(16);
  if ((length ^ check) != 0xFFFF || length > static_cast<int64_t>(out.size()) - at) return false;
  for (int64_t i = 0; i < length; ++i) {
    bits.fill();
    if (bits.exhausted()) return false;
    out[at++] = static_cast<uint8_t>(bits.take(8));
  }
  return true;
}

// Fills `out` with what deflated bytes hold; false unless they are sound and hold just so much.
inline bool inflate(const uint8_t* bytes, int64_t count, std::vector<uint8_t>& out) {
  Bits bits{bytes, bytes + count};
  Code literals, distances;
  int64_t at = 0;
  for (bool last = false; !last;) {
    bits.fill();
    last = bits.take(1);
    const uint32_t kind = bits.take(2);
    if (bits.exhausted() || kind == 3) return false;
    if (kind == 0) {
      if (!inflate_stored(bits, out, at)) return false;
      continue;
    }
    const bool known =
        kind == 1 ? fixed_codes(literals, distances) : dynamic_codes(bits, literals, distances);
    if (!known || !inflate_block(bits, literals, distances, out, at)) return false;
  }
  return at == static_cast<int64_t>(out.size());
}

}  // namespace png
