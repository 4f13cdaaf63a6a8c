#pragma once
// Top-k of item-item models: the best k candidates of every user, from a sparse history and sparse weights between
// items.

#include <cstdint>
#include <optional>
#include <span>

#include "context.hpp"
#include "types.hpp"

namespace likewise::cpu {

/// ids[u], scores[u] <- the k candidates j of user u with the greatest scores sum_i queries[u, i] weights[i, j], best
/// first, ties by smaller id. Candidates are the items that an entry of the history reaches: i is stored in row u of
/// `queries` and j in row i of `weights`, be their values 0 or the sum. Of all others nothing is known, and their score
/// of 0 never fills a slot. They are also in `allow`, if there is such a list, and neither in `deny` nor in row u of
/// `exclude`. Slots without a candidate have id -1 and score -inf; a score of NaN or -inf is no candidate.
///
/// queries (n, h), weights (h, m) float32;  exclude (n, m), its values are not read;  allow: ids in [0, m), rising
/// strictly;  deny: a bit an item, ceil(m / 8) bytes, that of item j being bit j mod 8 of byte j / 8;
/// ids (n, k) int32 and scores (n, k) float32 out, k >= 1.
/// A score is the sum of exact products taken in float64, by rising i, and rounded to float32: bitwise the same on
/// every instruction set, for any ctx.n_threads and whichever queries share a call.
///
/// Deshpande & Karypis (2004), doi:10.1145/963770.963776, section 4. 2 flops and 8 bytes of weights a product, of which
/// a user has one for every entry of the rows that the history names. Scratch of a thread: 12 bytes a column of m, at
/// most 1.5 MiB, 8 an entry of the longest history, and 48 k; m / 8 bytes with `allow`, n for all threads.
/// Throws std::invalid_argument when shapes disagree, k is 0, or `allow` does not rise inside [0, m).
void topk_sparse(const Context& ctx, CsrView<const float> queries, CsrView<const float> weights,
                 std::optional<CsrView<const float>> exclude, std::optional<std::span<const Id>> allow,
                 std::optional<std::span<const std::uint8_t>> deny, MatrixView<Id> ids, MatrixView<float> scores);

}  // namespace likewise::cpu
