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
/// A score is the float32 sum of products in rising order of the factors: it depends on its query and its item alone,
/// so that the result is bitwise independent of ctx.n_threads and of which queries share a call.
///
/// 2 n m d flops for m candidates, by register tiles whose scores are compared with each query's running k-th best and
/// never written out. A block of queries and one of items stand in the second-level cache; items are read
/// n / (rows of a query block) times. Scratch a thread: about 5 MiB, or 64 k bytes where that is more; and up to
/// 256 MiB a call to merge pieces of the items where there are fewer blocks of queries than threads.
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
