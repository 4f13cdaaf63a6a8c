#pragma once
// The dense micro-kernels, one table an instruction set. Plain declarations only: the files compiled with ISA flags
// include this and must not instantiate shared inline code.

#include <cstdint>

namespace likewise::simd {

enum class TileUpdate { kSet, kAdd, kSubtract };

/// A pair that a screening pass could not rule out, and an upper bound of its score.
struct Hit {
  std::int32_t item, query;
  float score;
};

inline constexpr std::int64_t kScreenItems = 32;
inline constexpr std::int64_t kScreenQueries = 32;
inline constexpr std::int64_t kMoreHits = 8;
/// The byte that stands for 0 in quantized items: where one operand has no sign, VNNI has the product in one step.
inline constexpr std::uint8_t kItemZero = 128;
/// The greatest number of steps, and a level that no sum of products of quantized rows reaches.
inline constexpr std::int64_t kMostSteps = 127, kMostLevel = 1'000'000'000;

/// What kScreenItems quantized items have in common: the step and its reciprocal, the greatest length of an item and
/// of what rounding took from one, the greatest absolute bias and the greatest bias.
struct Extent {
  float step = 0, inverse = 1, length = 0, error = 0, bias_size = 0, top_bias = 0;
};

/// kScreenQueries quantized queries: each one's step and its reciprocal, length and error as in an extent, the
/// threshold of its scores, and what kItemZero adds to its products, the sum of its numbers times that. `tiles` has 64
/// of the depth after another, of them four numbers of 16 queries after another, and of these the first half of the
/// queries before the second.
struct alignas(64) ScreenQueries {
  float steps[kScreenQueries] = {}, inverses[kScreenQueries] = {}, lengths[kScreenQueries] = {};
  float errors[kScreenQueries] = {}, thresholds[kScreenQueries] = {};
  std::int32_t offsets[kScreenQueries] = {};
  const std::int8_t* tiles = nullptr;
};

/// What a step of stochastic gradient descent multiplies: the gradient, and what it leaves of a vector of a user and of
/// an item (with its bias).
struct StepRates {
  float step = 0, keep_user = 1, keep_item = 1;
};

/// Ratings to be learned, one after another; `users` may be null where all are of one user, row 0.
struct RatingSteps {
  std::int64_t n = 0;
  const std::int32_t *users = nullptr, *items = nullptr;
  const float* values = nullptr;
};

/// What steps on ratings take and move; with `holds_items` items are read only. A user moves by `user_gain` times the
/// step: 2 where two parts of its vector are learned alike and only their sum is at hand.
struct RatingModel {
  float mean = 0, user_gain = 1;
  bool holds_items = false;
  float *users = nullptr, *items = nullptr, *user_biases = nullptr, *item_biases = nullptr;
};

/// A gradient for `adagrad_step`, and the length of steps; `mask` holds d numbers.
struct AdaGradStep {
  std::int64_t n = 0;
  const float* const* rows = nullptr;
  const float *weights = nullptr, *mask = nullptr;
  float decay = 0, own = 0, rate = 0;
};

/// By how much a score of quantized vectors can be off (Cauchy and Schwarz): `kScoreSlack` is for rounding in float32,
/// `kTinyScore` for numbers too small for it.
inline constexpr float kScoreSlack = 1.5e-6F, kTinyScore = 1e-32F;

/// Micro-kernels of one instruction set. `d` is a length in floats. Where a comment says "padded", d is a multiple of
/// kPad, the arrays are 64-byte aligned and the padding is zero. Every sum is taken in one fixed order.
struct MicroKernels {
  const char* name;
  /// Products of bf16 tiles on AMX are at hand: `syrk_upper_bf16` runs at several times the speed of `syrk_upper`.
  bool has_bf16_tiles;

  /// sum_j a_j b_j in float64, where products of float32 are exact: eight sums, of j mod 8, added in one order. The
  /// same bits on every instruction set; any length and alignment.
  double (*dot_double)(const float* a, const float* b, std::int64_t d);
  /// sum_j a_j b_j, and y += a x; any length and alignment.
  float (*dot)(const float* a, const float* b, std::int64_t d);
  void (*axpy)(float a, const float* x, float* y, std::int64_t d);

  /// c = a b, c + a b or c - a b for one tile: kTileRows x n_cols of c (n_cols = 16 or 32), where the entry (i, p) of a
  /// lies at a[i * a_row + p * a_depth] and row p of b at b + p * b_row. Any alignment.
  void (*gemm_tile)(std::int64_t depth, const float* a, std::int64_t a_row, std::int64_t a_depth, const float* b,
                    std::int64_t b_row, float* c, std::int64_t c_row, int n_cols, TileUpdate update);

  /// a += l' r on and above the diagonal (what is below it is undefined): l, r (n, d) padded, a (d, d) padded.
  void (*syrk_upper)(std::int64_t n, std::int64_t d, const float* l, const float* r, float* a);
  /// a += p' diag(scale)^2 p on and above the diagonal, with the rows of p scaled and their products taken in bf16,
  /// split in `terms` (1: bf16, 3: hi hi + hi lo + lo hi, about 16 bits), and float32 sums. p (n, d) padded, scale (n).
  /// `scratch` holds syrk_scratch_bytes(n, d), 64-byte aligned. Null without AMX.
  void (*syrk_upper_bf16)(std::int64_t n, std::int64_t d, const float* p, const float* scale, float* a, int terms,
                          void* scratch);

  /// a = u' u in place, padded; upper triangle in, u out, where the kPad x kPad blocks of the diagonal hold their
  /// transposed inverses. False when a pivot is not positive.
  bool (*cholesky_upper)(std::int64_t d, float* a);
  /// Solves u' u x = b in place for such a u, padded.
  void (*cholesky_solve)(std::int64_t d, const float* u, float* b);
  /// panel (n, d) padded <- rows ids[0..n) of y, each `columns` <= d long, `y_row` apart. Ids up to ids[n_ahead) are
  /// there to be prefetched (n_ahead >= n).
  void (*gather)(const float* y, std::int64_t y_row, std::int64_t columns, const std::int32_t* ids, std::int64_t n,
                 std::int64_t n_ahead, std::int64_t d, float* panel);
  void (*gather_bf16)(const std::uint16_t* y, std::int64_t y_row, std::int64_t columns, const std::int32_t* ids,
                      std::int64_t n, std::int64_t n_ahead, std::int64_t d, float* panel);
  /// out += panel' (v - w (panel x)) and diagonal += sum_j w_j panel_j^2; n a multiple of kPad, padded.
  void (*panel_residual)(std::int64_t n, std::int64_t d, const float* panel, const float* w, const float* v,
                         const float* x, float* out, float* diagonal);
  /// out += panel' (w (panel x)); n a multiple of kPad, padded.
  void (*panel_apply)(std::int64_t n, std::int64_t d, const float* panel, const float* w, const float* x, float* out);
  /// Conjugate gradients for (diag(dense) + b) x = c, preconditioned by the diagonal of the system; padded. From the
  /// residual r and that diagonal, which is inverted in place, the first direction p and its part q = dense p of the
  /// product; returns the squared residual r' p. The caller adds b p to q before each step.
  float (*cg_begin)(std::int64_t d, const float* dense, const float* r, float* diagonal, float* p, float* q);
  /// One step: x and r move along p, whose product is q and squared residual rz; then p and q as in `cg_begin`. Returns
  /// the new squared residual; 0, with nothing moved, where the system is not positive along p.
  float (*cg_step)(std::int64_t d, const float* dense, const float* inverse, float rz, float* p, float* q, float* r,
                   float* x);
  /// out = panel x (n results); n a multiple of kPad, padded.
  void (*panel_dot)(std::int64_t n, std::int64_t d, const float* panel, const float* x, float* out);
  /// out += panel' t; n a multiple of kPad, padded.
  void (*panel_combine)(std::int64_t n, std::int64_t d, const float* panel, const float* t, float* out);
  /// out (d, n) <- (diag(rows) panel diag(columns))'; n a multiple of kPad, padded.
  void (*transpose_scaled)(std::int64_t n, std::int64_t d, const float* panel, const float* rows, const float* columns,
                           float* out);
  /// out <- x rounded to nearest bf16, ties to even; any length.
  void (*round_bf16)(const float* x, std::int64_t n, std::uint16_t* out);

  /// out (depth, kTileCols) <- the transpose of kTileCols rows of length depth; as many rows `ahead` are there to be
  /// prefetched. Any alignment.
  void (*pack_tile)(const float* const* rows, const float* const* ahead, std::int64_t depth, float* out);
  /// out[j] = x . rows[j] for n rows of length d that lie one after another; returns a bound of their squared lengths,
  /// up to kTileCols times too high. Any alignment.
  float (*dot_rows)(const float* rows, std::int64_t n, const float* x, std::int64_t d, float* out);
  /// The greatest sum of squares of a column of packed (depth, kTileCols). Any alignment.
  float (*longest_packed)(const float* packed, std::int64_t depth);
  /// Bit j of masks[i] tells whether tile[i * kTileCols + j] > thresholds[i], for kTileRows rows; returns whether any
  /// bit is set. NaN is above nothing. Any alignment.
  bool (*tile_above)(const float* tile, const float* thresholds, std::uint32_t* masks);

  /// Rounds n <= kScreenItems rows of length d, times their scales, to whole multiples -127..127 of one step, each a
  /// byte above `zero` (modulo 256), and writes `extent`: the step and its reciprocal (0 and 1 where the rows are as
  /// good as zero), the greatest square of a length and of what was rounded off. Item j's numbers [p, p + 64) go to out
  /// + kScreenItems p + 64 j, `zero` up to `depth`, a multiple of 64. Any length and alignment. Null without AMX or
  /// VNNI.
  void (*quantize_rows)(std::int64_t n, const float* const* rows, const float* scales, std::int64_t d,
                        std::int64_t depth, std::uint8_t zero, std::uint8_t* out, float* extent);
  /// Finds pairs of n items, a multiple of kScreenItems, and the queries whose scores may exceed the queries'
  /// thresholds, by products of quantized rows, around kItemZero. Item i has the extent i / kScreenItems and, where
  /// `biases` are given, a bias that is added to its scores. Writes the pairs with upper bounds of their scores, in no
  /// order, and returns their number; hits hold n * kScreenQueries + kMoreHits. Meanwhile fetches the n_ahead bytes at
  /// `ahead` into the second-level cache. Null without AMX or VNNI.
  std::int64_t (*screen_int8)(std::int64_t n, std::int64_t depth, const std::uint8_t* items, const Extent* extents,
                              const float* biases, const ScreenQueries& queries, const std::uint8_t* ahead,
                              std::int64_t n_ahead, Hit* hits);
  /// out[j] += weights[p] for each p < n whose flag j is set, by rising p: kFlagColumns flags, a bit each, lie at bits
  /// + ids[p] * kFlagBytes. The same bits on every instruction set. Any alignment.
  void (*add_flagged)(std::int64_t n, const std::int32_t* ids, const float* weights, const std::uint8_t* bits,
                      float* out);
  /// out[j] = number of the p < n < 2^kCountBits whose flag j is set; ids, bits and flags as in `add_flagged`. 64-byte
  /// aligned bits.
  void (*count_flagged)(std::int64_t n, const std::int32_t* ids, const std::uint8_t* bits, float* out);
  /// Writes the j < n with sums[j] > slope * right[j] + offset, rising, and returns their number; n a multiple of
  /// kScanColumns. NaN is above nothing. `found` holds n. Any alignment.
  std::int64_t (*find_above)(std::int64_t n, const float* sums, const float* right, float slope, float offset,
                             std::int32_t* found);
  /// out[j] = x[j] / y[j] where y[j] > 0 and the quotient is at most kGreatestFloat, else -1; n a multiple of
  /// kScanColumns. The same bits on every instruction set. Any alignment.
  void (*quotients)(std::int64_t n, const float* x, const float* y, float* out);
  /// How many of n numbers, a multiple of kScanColumns, are above a threshold. NaN is above nothing. Any alignment.
  std::int64_t (*count_above)(std::int64_t n, const float* x, float threshold);
  /// out[p] = x . rows[ids[p]] for n rows that lie one after another, d long; d a multiple of kPad. Any alignment.
  void (*dot_gathered)(std::int64_t n, std::int64_t d, const std::int32_t* ids, const float* rows, const float* x,
                       float* out);
  /// Steps of BPR for one user and n pairs after another, each item ids[2p] before item ids[2p + 1], which differ: with
  /// x = user . (i - j) + bias_i - bias_j and g = rates.step / (1 + exp(x)), user <- keep user + g (i - j), i <- keep i
  /// + g user, j <- keep j - g user, and the biases alike. Returns how many x were above 0. Biases may be null; d a
  /// multiple of kPad. Any alignment.
  std::int64_t (*bpr_steps)(std::int64_t n, std::int64_t d, const std::int32_t* ids, const StepRates& rates,
                            float* user, float* items, float* biases);
  /// Steps of squared error on ratings: with e = value - mean - bias_u - bias_i - user . item and g = rates.step e,
  /// user <- keep_user user + user_gain g item, item <- keep_item item + g user, and the biases <- keep bias + g alike.
  /// Returns the sum of the e^2. Biases may be null; d a multiple of kPad. Any alignment.
  double (*rating_steps)(const RatingSteps& steps, std::int64_t d, const StepRates& rates, const RatingModel& model);
  /// out += sum_p rows[ids[p]], and rows[ids[p]] <- keep rows[ids[p]] + x, for n rows that lie one after another, d
  /// long; d a multiple of kPad. Any alignment.
  void (*sum_gathered)(std::int64_t n, std::int64_t d, const std::int32_t* ids, const float* rows, float* out);
  void (*add_scattered)(std::int64_t n, std::int64_t d, const std::int32_t* ids, float keep, const float* x,
                        float* rows);
  /// out += sum_p weights[p] rows[ids[p]] for n rows that lie one after another, d long; d a multiple of kPad. Any
  /// alignment.
  void (*combine_gathered)(std::int64_t n, std::int64_t d, const std::int32_t* ids, const float* weights,
                           const float* rows, float* out);
  /// One step of AdaGrad up the gradient of `step`: with g = sum_p weights[p] rows[p] - (decay + own mask) x, squares
  /// += g^2 and x += rate g / sqrt(squares), element by element; d a multiple of kPad, squares above 0. Any alignment.
  void (*adagrad_step)(std::int64_t d, const AdaGradStep& step, float* x, float* squares);
  /// One step of BPR of all three vectors with a given g; and one of a user and an item alone.
  void (*triple_step)(std::int64_t d, float g, const StepRates& rates, float* user, float* liked, float* disliked);
  void (*pair_step)(std::int64_t d, float g, const StepRates& rates, float* user, float* item);
  /// 1 / (1 + exp(-x)), to 2e-7 of it or 1e-37.
  float (*logistic)(float x);
  /// out <- x as float32; any length.
  void (*widen_bf16)(const std::uint16_t* x, std::int64_t n, float* out);
  void (*widen_int8)(const std::int8_t* x, std::int64_t n, float* out);
};

inline constexpr std::int64_t kPad = 16;
inline constexpr std::int64_t kFlagColumns = 512;
inline constexpr int kCountBits = 24;
inline constexpr std::int64_t kFlagBytes = kFlagColumns / 8;
inline constexpr std::int64_t kScanColumns = 64;
inline constexpr float kGreatestFloat = 0x1.fffffep127F;
inline constexpr std::int64_t kTileRows = 8;
inline constexpr std::int64_t kTileCols = 32;

/// `n` rounded up to a multiple of kPad.
constexpr std::int64_t padded(std::int64_t n) { return (n + kPad - 1) / kPad * kPad; }

/// Bytes of scratch that `syrk_upper_bf16` needs.
constexpr std::int64_t syrk_scratch_bytes(std::int64_t n, std::int64_t d) { return 8 * ((n + 31) / 32 * 32) * d; }

/// The tables of this build. Whether the machine runs one is dispatch's question.
extern const MicroKernels kScalarKernels;
#ifdef LIKEWISE_X86
extern const MicroKernels kAvx2Kernels;
extern const MicroKernels kAvx512Kernels;
extern const MicroKernels kVnniKernels;  // AVX-512 with VNNI
#ifdef LIKEWISE_AMX
extern const MicroKernels kAmxKernels;
#endif
#endif

}  // namespace likewise::simd
