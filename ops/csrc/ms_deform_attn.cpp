// Multi-scale deformable attention on the CPU (Deformable DETR, Zhu et al., 2021, equation 3), forward and
// backward, and the pixels of PNG files, against the stable ABI of LibTorch 2.10: one file to compile, no Python,
// no pybind, no ATen.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include "backward.h"
#include "forward.h"
#include "png.h"
#include "points.h"

namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

Problem describe(const Tensor& value, const std::vector<int64_t>& shapes, const Tensor& locations,
                 const Tensor& weights) {
  STD_TORCH_CHECK(value.dim() == 4 && locations.dim() == 6 && weights.dim() == 5,
                  "ms_deform_attn: value, locations, weights must have 4, 6, 5 dimensions");
  const int64_t batch = value.size(0), pixels = value.size(1);
  const int64_t heads = value.size(2), channels = value.size(3);
  Problem problem{batch, pixels, heads, channels, locations.size(1), locations.size(4), {}};
  const int64_t count = static_cast<int64_t>(shapes.size()) / 2;
  int64_t start = 0, framed = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t height = shapes[2 * i], width = shapes[2 * i + 1];
    STD_TORCH_CHECK(height >= 0 && width >= 0, "ms_deform_attn: a level has a negative size");
    problem.levels.push_back({height, width, start, framed});
    start += height * width;
    framed = problem.levels.back().framed_end();
  }
  STD_TORCH_CHECK(start == pixels, "ms_deform_attn: the levels' sizes do not add up to the values given");
  STD_TORCH_CHECK(framed < INT32_MAX, "ms_deform_attn: too many pixels");
  const int64_t expected[6] = {batch, problem.queries, heads, count, problem.points, 2};
  for (int64_t i = 0; i < 6; ++i) {
    const bool fits = locations.size(i) == expected[i] && (i == 5 || weights.size(i) == expected[i]);
    STD_TORCH_CHECK(fits, "ms_deform_attn: value, locations and weights do not fit together");
  }
  return problem;
}

bool empty(const Problem& p) {
  return p.batch == 0 || p.heads == 0 || p.channels == 0 || p.queries == 0 || p.samples() == 0;
}

// What is computed with. Half-precision tensors are converted as a whole: that is little beside the sampling.
ScalarType compute_type(const Tensor& value) {
  const ScalarType type = value.scalar_type();
  const bool half = type == ScalarType::BFloat16 || type == ScalarType::Half;
  STD_TORCH_CHECK(half || type == ScalarType::Float || type == ScalarType::Double,
                  "ms_deform_attn: value must be floating point");
  return type == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

Tensor converted(const Tensor& tensor, ScalarType type) {
  return tensor.scalar_type() == type ? tensor : torch::stable::to(tensor, type);
}

Tensor given(const Tensor& tensor, ScalarType type) {
  return torch::stable::contiguous(converted(tensor, type));
}

template <typename A>
const A* in(const Tensor& tensor) {
  return static_cast<const A*>(tensor.const_data_ptr());
}

template <typename A>
A* out(const Tensor& tensor) {
  return static_cast<A*>(tensor.mutable_data_ptr());
}

template <typename A, typename In>
void run_forward(const Problem& problem, const In& inputs, A* output) {
  const int64_t block = queries_in_block(problem.samples());
  const int64_t units = problem.batch * problem.heads * ((problem.queries + block - 1) / block);
  torch::stable::parallel_for(0, units, 4, [&](int64_t begin, int64_t end) {
    forward_units(problem, inputs, output, begin, end);
  });
}

// Whole pyramids read the queries' tensors once; single levels give more threads something to do.
template <typename A>
void run_backward(const Problem& problem, const Inputs<A>& inputs, const Gradients<A>& grads) {
  const int64_t pairs = problem.batch * problem.heads, threads = torch::stable::get_num_threads();
  const bool whole = pairs % threads == 0 || pairs >= 4 * threads;
  const int64_t parts = whole ? 1 : static_cast<int64_t>(problem.levels.size());
  torch::stable::parallel_for(0, pairs * parts, 1, [&](int64_t begin, int64_t end) {
    backward_units(problem, inputs, grads, parts, begin, end);
  });
}

Tensor forward(const Tensor& value, std::vector<int64_t> shapes, const Tensor& locations,
               const Tensor& weights) {
  const Problem problem = describe(value, shapes, locations, weights);
  const ScalarType type = compute_type(value);
  const Tensor v = given(value, type), l = given(locations, type), w = given(weights, type);
  Tensor output =
      torch::stable::new_empty(v, {problem.batch, problem.queries, problem.heads * problem.channels});
  if (empty(problem)) {
    torch::stable::zero_(output);
  } else if (type == ScalarType::Double) {
    run_forward(problem, Inputs<double>{in<double>(v), in<double>(l), in<double>(w)}, out<double>(output));
  } else {
    run_forward(problem, Inputs<float>{in<float>(v), in<float>(l), in<float>(w)}, out<float>(output));
  }
  return converted(output, value.scalar_type());
}

template <typename A>
void run_points(const Problem& problem, const Tensor& value, const Tensor& references, const Tensor& offsets,
                const Tensor& logits, const Tensor& output) {
  const PointInputs<A> inputs{in<A>(value), in<A>(references), in<A>(offsets), in<A>(logits),
                              references.size(0), references.size(2)};
  run_forward(problem, inputs, out<A>(output));
}

// The forward of a whole attention module between its projections: float32 or float64, no gradient.
Tensor points(const Tensor& value, std::vector<int64_t> shapes, const Tensor& references,
              const Tensor& offsets, const Tensor& logits) {
  const Problem problem = describe(value, shapes, offsets, logits);
  const int64_t images = references.size(0), levels = references.size(2);
  STD_TORCH_CHECK((images == 1 || images == problem.batch) && references.size(1) == problem.queries &&
                      (levels == 1 || levels == static_cast<int64_t>(problem.levels.size())) &&
                      references.dim() == 4 && references.size(3) == 2,
                  "ms_deform_attn_points: references must be [B or 1, Q, L or 1, 2]");
  const ScalarType type = compute_type(value);
  const Tensor v = given(value, type), r = given(references, type);
  const Tensor o = given(offsets, type), l = given(logits, type);
  Tensor output =
      torch::stable::new_empty(v, {problem.batch, problem.queries, problem.heads * problem.channels});
  if (empty(problem)) {
    torch::stable::zero_(output);
  } else if (type == ScalarType::Double) {
    run_points<double>(problem, v, r, o, l, output);
  } else {
    run_points<float>(problem, v, r, o, l, output);
  }
  return converted(output, value.scalar_type());
}

std::tuple<Tensor, Tensor, Tensor> backward(const Tensor& grad, const Tensor& value,
                                            std::vector<int64_t> shapes, const Tensor& locations,
                                            const Tensor& weights) {
  const Problem problem = describe(value, shapes, locations, weights);
  const bool fits = grad.dim() == 3 && grad.size(0) == problem.batch && grad.size(1) == problem.queries &&
                    grad.size(2) == problem.heads * problem.channels;
  STD_TORCH_CHECK(fits, "ms_deform_attn_backward: the gradient must be [B, Q, M * D]");
  const ScalarType type = compute_type(value);
  const Tensor g = given(grad, type), v = given(value, type), l = given(locations, type);
  const Tensor w = given(weights, type);
  Tensor gv = torch::stable::empty_like(v), gl = torch::stable::empty_like(l);
  Tensor gw = torch::stable::empty_like(w);
  if (empty(problem)) {
    for (Tensor* tensor : {&gv, &gl, &gw}) torch::stable::zero_(*tensor);
  } else if (type == ScalarType::Double) {
    run_backward<double>(problem, {in<double>(v), in<double>(l), in<double>(w)},
                         {in<double>(g), out<double>(gv), out<double>(gl), out<double>(gw)});
  } else {
    run_backward<float>(problem, {in<float>(v), in<float>(l), in<float>(w)},
                        {in<float>(g), out<float>(gv), out<float>(gl), out<float>(gw)});
  }
  return {converted(gv, value.scalar_type()), converted(gl, locations.scalar_type()),
          converted(gw, weights.scalar_type())};
}

// Bytes of a PNG file's pixels to ids [height, width].
Tensor png_segment_ids(const Tensor& deflated, int64_t height, int64_t width) {
  constexpr int64_t limit = int64_t{1} << 28;  // pixels, so that no size overflows
  STD_TORCH_CHECK(deflated.scalar_type() == ScalarType::Byte && deflated.dim() == 1 && height > 0 &&
                      width > 0 && height <= limit / width,
                  "png_segment_ids: expected bytes [N] and the size of a picture");
  const Tensor bytes = torch::stable::contiguous(deflated);
  Tensor ids = torch::stable::new_empty(bytes, {height, width}, ScalarType::Int);
  STD_TORCH_CHECK(
      png::segment_ids(in<uint8_t>(bytes), bytes.size(0), height, width, out<int32_t>(ids)),
      "png_segment_ids: the bytes are not the pixels of such a picture");
  return ids;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskbench, CPU, m) {
  m.impl("ms_deform_attn", TORCH_BOX(&forward));
  m.impl("ms_deform_attn_points", TORCH_BOX(&points));
  m.impl("ms_deform_attn_backward", TORCH_BOX(&backward));
  m.impl("png_segment_ids", TORCH_BOX(&png_segment_ids));
}
