#pragma once
// Ratings predicted from the nearest of those who gave one: neighbours chosen for each rating by itself, without a
// matrix of all similarities.

#include <span>

#include "context.hpp"
#include "types.hpp"

namespace likewise::cpu {

/// How two rows are alike over the features u that both have rated, x_u and y_u being their values and n their number.
enum class RatingMeasure {
  kCosine,   ///< sum x y / sqrt(sum x^2 sum y^2); values less their baselines make it the one of Koren (2010)
  kMsd,      ///< 1 / (1 + sum (x - y)^2 / n)
  kPearson,  ///< (n sum x y - sum x sum y) / sqrt((n sum x^2 - (sum x)^2) (n sum y^2 - (sum y)^2))
};

struct RatingNeighbors {
  RatingMeasure measure = RatingMeasure::kCosine;
  float shrinkage = 0;  ///< at least 0: similarities are multiplied by (n - 1) / (n - 1 + shrinkage), if it is above 0
  Offset min_support = 1;  ///< features in common, at least
  Offset k = 1;            ///< neighbours of a rating, at most
};

/// For each entry (i, g) of `asked`: of the columns v that list g holds, the k most similar to row i, those alone whose
/// similarity s is above 0; estimates <- sum s values[g, v] / sum s over them, 0 where there are none, and n_used <-
/// their number. Of equally similar ones the smaller v is taken. A measure whose denominator is 0 is 0.
///
/// rows (n, f) and columns (f, m): ratings that are compared, the columns transposed;  asked (n, q), its values are not
/// read;  lists (q, m): what the columns say of each thing that is asked for (ratings, or what they are above a mean);
/// estimates (nnz of asked) float32 and n_used (nnz of asked) out, in the order of the entries.
/// `first` >= 0 says that row i is column first + i, which is no neighbour of itself; else -1.
/// Sums and similarities are float64, similarities are rounded to float32 before they are compared and summed up in
/// float64. Bitwise the same on every instruction set and for any ctx.n_threads.
///
/// Herlocker, Konstan, Borchers & Riedl (1999), doi:10.1145/312624.312682; Koren (2010), doi:10.1145/1644873.1644874,
/// section 2.2. 12 flops for each pair of ratings of one feature, a similarity for each pair of rows that have one in
/// common, and a comparison for each entry of a list that is asked for. Scratch of a thread: 56 bytes a column and 24
/// k. Throws std::invalid_argument when shapes disagree or a parameter is out of range.
void knn_ratings(const Context& ctx, CsrView<const float> rows, CsrView<const float> columns,
                 CsrView<const float> asked, CsrView<const float> lists, const RatingNeighbors& neighbors, Offset first,
                 std::span<float> estimates, std::span<Id> n_used);

/// The same similarities by themselves: ids[i], scores[i] <- the columns most similar to row i, best first, ties by
/// smaller id, those alone whose similarity is above 0; empty slots have id -1 and score -inf. ids, scores (n, k) out,
/// k that of `neighbors`; the rest, and what throws, as above.
void nearest_by_ratings(const Context& ctx, CsrView<const float> rows, CsrView<const float> columns,
                        const RatingNeighbors& neighbors, Offset first, MatrixView<Id> ids, MatrixView<float> scores);

}  // namespace likewise::cpu
