#pragma once
// Exact top-k: the best k candidates of every query, by the order of select.hpp.

#include <cstdint>
#include <optional>
#include <span>
#include <variant>

#include "context.hpp"
#include "types.hpp"

namespace likewise::cpu {

/// A copy of item vectors, rounded to int8, for scans: see `quantize_items`.
struct QuantizedView {
  const std::uint8_t* tiles = nullptr;
  const float* extents = nullptr;
  const Id* order = nullptr;
};

/// Vectors of float32, bfloat16 or int8.
using ItemVectors = std::variant<MatrixView<const float>, MatrixView<const Bf16>, MatrixView<const std::int8_t>>;

/// Item vectors as a search reads them, not owned. Item i is scale[i] vectors[i] (scale 1 without), and bias[i] (0
/// without) is added to its inner products. There are `n_rows` of them, each `n_cols` long.
struct ItemsView {
  ItemVectors vectors = {};
  std::optional<std::span<const float>> scale = {}, bias = {};
  std::optional<QuantizedView> quantized = {};

  [[nodiscard]] Offset n_rows() const {
    return std::visit([](const auto& view) { return view.n_rows; }, vectors);
  }
  [[nodiscard]] Offset n_cols() const {
    return std::visit([](const auto& view) { return view.n_cols; }, vectors);
  }
  [[nodiscard]] float scale_of(Id id) const { return scale ? (*scale)[static_cast<std::size_t>(id)] : 1.0F; }
  [[nodiscard]] float bias_of(Id id) const { return bias ? (*bias)[static_cast<std::size_t>(id)] : 0.0F; }
};

/// Items that share a step of rounding, numbers of each that a tile holds, and floats of an extent.
inline constexpr Offset kQuantizedGroup = 32, kQuantizedDepth = 64, kExtentFloats = 6;
/// Longest vectors whose int8 products, offsets and levels stay inside int32: longer ones are never rounded.
inline constexpr Offset kMostQuantizedDepth = Offset{1} << 15;

/// Groups of m items, and bytes of a group of items of length d.
constexpr Offset quantized_groups(Offset m) { return (m + kQuantizedGroup - 1) / kQuantizedGroup; }
constexpr Offset quantized_bytes(Offset d) {
  return (d + kQuantizedDepth - 1) / kQuantizedDepth * kQuantizedDepth * kQuantizedGroup;
}

/// Rounds items to int8 for the searches that follow: kQuantizedGroup at a time, in the order `order` (m ids, each
/// once), those in the groups named by `groups` alone. Searches are fastest where lengths fall along `order`.
/// tiles (quantized_groups(m), quantized_bytes(d)) uint8, in which 128 is 0, and extents (quantized_groups(m), 6)
/// float32 out. O(m d); 4 KiB d a thread. Bitwise independent of ctx.n_threads. Throws std::invalid_argument when
/// shapes disagree or a group is out of range, std::domain_error where the instruction set has no products of int8
/// (AMX, VNNI).
void quantize_items(const Context& ctx, const ItemsView& items, std::span<const Id> order, std::span<const Id> groups,
                    MatrixView<std::uint8_t> tiles, MatrixView<float> extents);

/// What a score is: the inner product of query and scaled item, plus its bias; or minus the distance of the two, where
/// the bias must be minus half the squared length of the scaled item.
enum class Score { kInnerProduct, kDistance };

/// ids[q], scores[q] <- the k candidates of query q with the greatest scores, best first, ties by smaller id.
/// Candidates are the items of `allow` (all, if there is no such list), or of row q of `candidates` (all of `allow`, if
/// there is no such matrix), whose bit in `deny` is not set and which are not in row q of `exclude`. Slots without a
/// candidate have id -1 and score -inf; a score of NaN or -inf is no candidate.
///
/// queries (n, d) float32;  items m of length d;  exclude, candidates (n, m), their values are not read;  deny: bits of
/// m items, 8 a byte, the lowest first;  allow: ids in [0, m), rising strictly;  ids (n, k) int32 and scores (n, k)
/// float32 out, k >= 1.
/// A score is computed from inner products in float64, whose sums are taken in an order that the length alone decides,
/// and rounded to float32; a distance is sqrt(q'q - 2 q'y + y'y), 0 where that is negative. Ids and scores are bitwise
/// the same on every instruction set, for any ctx.n_threads, with or without quantized items, and whichever queries
/// share a call.
///
/// Exact by certificate: a scan in int8, or in float32, whose error is bounded by the lengths of the vectors
/// and of what rounding took from them, keeps the candidates with the greatest upper bounds, some more than k.
/// Tiles of scores are compared with what each query asks for and never written out. Those kept are scored exactly;
/// where the k-th best does not beat the upper bounds of what was left out, the query is scanned again. int8 goes by
/// what errors mostly are, and for k >= 32 from the thresholds that a sample of quantized items suggests; then by the
/// bounds; then comes float32, and at last every candidate is scored exactly, as always where k is of the order of m.
/// 2 n m d flops; scratch of up to 32 MiB a call for what is kept and 2 MiB a thread; 190 k bytes a thread where k is
/// large, 1 KiB d where d is, 4 m bytes where `deny` leaves few.
/// Throws std::invalid_argument when shapes disagree, k is 0, or `allow` does not rise inside [0, m).
void topk(const Context& ctx, MatrixView<const float> queries, const ItemsView& items, Score score,
          std::optional<CsrView<const float>> exclude, std::optional<CsrView<const float>> candidates,
          std::optional<std::span<const Id>> allow, std::optional<std::span<const std::uint8_t>> deny,
          MatrixView<Id> ids, MatrixView<float> scores);

/// The same from scores that are there already: all_scores (n, m) float32. O(n m).
void topk_scores(const Context& ctx, MatrixView<const float> all_scores, std::optional<CsrView<const float>> exclude,
                 std::optional<std::span<const Id>> allow, std::optional<std::span<const std::uint8_t>> deny,
                 MatrixView<Id> ids, MatrixView<float> scores);

}  // namespace likewise::cpu
