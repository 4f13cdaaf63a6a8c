#pragma once
// Matrix factorization of ratings by stochastic gradient descent: epochs over stored ratings, whatever their values.

#include <cstdint>
#include <span>

#include "context.hpp"
#include "types.hpp"

namespace likewise::cpu {

/// How steps on ratings go: above which mean biases and vectors stand, how long the steps are, and the penalty.
struct RatingRule {
  double mean = 0, learning_rate = 0.005, regularization = 0.02;
};

/// What is learned. users (n, d), items (m, d) padded: d a multiple of kPad, 64-byte aligned rows;  user_biases (n) and
/// item_biases (m), or both empty for none.
struct RatingFactors {
  MatrixView<float> users, items;
  std::span<float> user_biases, item_biases;
};

/// Blocks a side of the grid of `rating_epoch`, from the shape of the data alone.
Offset n_rating_blocks(Offset n_items, Offset nnz, Offset d);

/// Sorts ratings for `rating_epoch`: by cell of a grid of n_blocks x n_blocks, in a cell by user, then by item. Blocks
/// of users are runs of rows, those of items drawn under `seed`; all of about as many ratings.
///
/// ratings (n, m);  users, items, values (nnz) out: the ratings as triples;  starts (n_blocks^2 + 1) out: cell (p, q)
/// begins at starts[p n_blocks + q]. Bitwise the same for any ctx.n_threads. 8 bytes of scratch an item.
/// Throws std::invalid_argument when shapes disagree.
void arrange_ratings(const Context& ctx, CsrView<const float> ratings, std::uint64_t seed, Offset n_blocks,
                     std::span<Id> users, std::span<Id> items, std::span<float> values, std::span<Offset> starts);

/// One epoch of biased matrix factorization: for each rating r of user u and item i, with learning rate g, penalty l
/// and e = r - mean - b_u - b_i - x_u'y_i, all at once
///   b_u += g (e - l b_u),  b_i += g (e - l b_i),  x_u += g (e y_i - l x_u),  y_i += g (e x_u - l y_i).
/// Koren, Bell & Volinsky (2009), doi:10.1109/MC.2009.263, eq. 5 and below. Returns the sum of the e^2, in float64.
///
/// Cells that share neither row nor column of the grid are worked on side by side; in which order the n_blocks sets of
/// such cells come is drawn under (seed, epoch). The ratings of one cell come as they stand. The vector of a user stays
/// in registers from rating to rating, and vectors to come are fetched ahead.
///
/// user_ids, item_ids, values (nnz) and starts as `arrange_ratings` wrote them, for as many rows and columns as factors
/// has. O(nnz d) flops: 12 a rating and factor. Bitwise the same for any ctx.n_threads.
/// Throws std::invalid_argument when shapes disagree, ids or starts are out of range, or the rule is.
double rating_epoch(const Context& ctx, std::span<const Id> user_ids, std::span<const Id> item_ids,
                    std::span<const float> values, std::span<const Offset> starts, const RatingRule& rule,
                    std::uint64_t seed, std::uint32_t epoch, const RatingFactors& factors);

/// One epoch of SVD++: for each rating, with N(u) the items in row u of `implicit` and
/// e = r - mean - b_u - b_i - y_i'(x_u + |N(u)|^-1/2 sum_{j in N(u)} z_j), the steps of `rating_epoch` for b_u, b_i and
/// x_u; y_i += g (e (x_u + |N(u)|^-1/2 sum_j z_j) - l y_i); and, for every j in N(u), z_j += g (e |N(u)|^-1/2 y_i - l
/// z_j). Koren (2008), doi:10.1145/1401890.1401944, eq. 15 and section 4. Returns the sum of the e^2, in float64.
///
/// These steps, user by user, and not an approximation, at a cost of O(d) a rating in place of O(|N(u)| d): all z_j of
/// a user move alike, and the sum |N(u)|^-1/2 sum_j z_j as x_u does, so that the sum of both is stepped, and the z_j
/// are written once after the user's last rating.
///
/// ratings (n, m), implicit (n, m);  implicit_items (m, d): the z_j, padded as the items. O((nnz of both) d) flops, on
/// one thread: a user's steps wait for those of the user before. Throws std::invalid_argument as `rating_epoch`.
double svdpp_epoch(const Context& ctx, CsrView<const float> ratings, CsrView<const float> implicit,
                   const RatingRule& rule, const RatingFactors& factors, MatrixView<float> implicit_items);

/// out_u <- |N(u)|^-1/2 sum_{j in N(u)} z_j; zero where N(u) is empty.
///
/// implicit (n, m), of which values are not read;  implicit_items (m, d) padded;  out (n, d). O(nnz d) flops. Bitwise
/// the same for any ctx.n_threads. Throws std::invalid_argument when shapes disagree.
void implicit_sums(const Context& ctx, CsrView<const float> implicit, MatrixView<const float> implicit_items,
                   MatrixView<float> out);

/// Biases and vectors of users from their ratings alone, items held: `iterations` epochs for each from zero, over the
/// ratings as they stand in the row. Rows decide: equal rows get equal vectors, whatever stands beside them.
///
/// ratings (n, m);  factors.users (n, d) in/out: on entry a part of the vector that is given and held (zero, or
/// `implicit_sums`), on return that and what was learned;  factors.user_biases (n) out, or empty;  items are read only.
/// Scratch of a thread: 4 bytes a rating of the longest row. Throws as `rating_epoch`.
void rating_fold_in(const Context& ctx, CsrView<const float> ratings, const RatingRule& rule, std::uint32_t iterations,
                    const RatingFactors& factors);

}  // namespace likewise::cpu
