#pragma once
// Exact top-k: the best k candidates of every query, by the order of select.hpp.

#include <optional>
#include <span>

#include "context.hpp"
#include "types.hpp"

namespace likewise::cpu {

/// ids[q], scores[q] <- the k candidates of query q with the greatest scores queries[q] . items[i], best first, ties by
/// smaller id. Candidates are the items of `allow` (all, if there is no such list) that are neither in `deny` nor in
/// row q of `exclude`. Slots without a candidate have id -1 and score -inf; a score of NaN or -inf is no candidate.
/// With `scale`, item i is scale[i] items[i]: the reciprocal lengths of items make scores cosines.
///
/// queries (n, d), items (m, d), scale (m) float32;  exclude (n, m), its values are not read;  allow, deny: ids in
/// [0, m), rising strictly;  ids (n, k) int32 and scores (n, k) float32 out, k >= 1.
/// A score is the float64 inner product of the vectors, times the scale, rounded to float32, its sum taken in an order
/// that the length alone decides: bitwise the same on every instruction set, for any ctx.n_threads and whichever
/// queries share a call.
///
/// Exact by certificate: a scan in bfloat16 on tiles, or in float32, whose error is bounded by the lengths of the
/// vectors and of what rounding took from them, keeps the candidates with the greatest upper bounds, a few more than k.
/// Tiles of scores are compared with what each query asks for and never written out. Those kept are scored exactly;
/// where the k-th best does not beat the least upper bound, the query is scanned again in higher precision, at last
/// exactly, as are all where k is of the order of m. 2 n m d flops; scratch of up to 32 MiB a call for what is kept and
/// 2 MiB a thread; 140 k bytes a thread where k is large, 1 KiB d where d is.
/// Throws std::invalid_argument when shapes disagree, k is 0, or a list of ids does not rise inside [0, m).
void topk(const Context& ctx, MatrixView<const float> queries, MatrixView<const float> items,
          std::optional<std::span<const float>> scale, std::optional<CsrView<const float>> exclude,
          std::optional<std::span<const Id>> allow, std::optional<std::span<const Id>> deny, MatrixView<Id> ids,
          MatrixView<float> scores);

/// The same from scores that are there already: all_scores (n, m) float32. O(n m).
void topk_scores(const Context& ctx, MatrixView<const float> all_scores, std::optional<CsrView<const float>> exclude,
                 std::optional<std::span<const Id>> allow, std::optional<std::span<const Id>> deny, MatrixView<Id> ids,
                 MatrixView<float> scores);

}  // namespace likewise::cpu
