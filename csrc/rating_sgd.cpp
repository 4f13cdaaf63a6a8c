#include "rating_sgd.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "check.hpp"
#include "grid.hpp"
#include "parallel.hpp"
#include "scratch.hpp"
#include "simd/denormals.hpp"

namespace likewise::cpu {

namespace {

constexpr Offset kBlockBytes = 512 * 1024;  // of item vectors that are worked on: part of a second-level cache
constexpr Offset kMostBlocks = 128;
constexpr Offset kParallelBlocks = 16;  // even where fewer would fit in the cache
constexpr Offset kLeastRow = 4096;  // ratings of a row of the grid: below, a cell has less to do than its bookkeeping
constexpr Offset kGrain = 64;

std::size_t size(Offset n) { return static_cast<std::size_t>(n); }

void check_rule(const char* kernel, const RatingRule& rule) {
  check_that(rule.learning_rate > 0 && rule.regularization >= 0 && rule.learning_rate * rule.regularization < 1, kernel,
             "learning_rate must be > 0, regularization >= 0 and their product < 1");
  check_that(std::isfinite(rule.mean), kernel, "mean must be finite");
}

void check_factors(const char* kernel, const RatingFactors& factors) {
  const auto& [users, items, user_biases, item_biases] = factors;
  check_equal(kernel, "users", users.n_cols, "columns", "items", items.n_cols, "columns");
  check_that(items.n_cols % simd::kPad == 0, kernel, "vectors must be padded to a multiple of 16");
  if (user_biases.empty() && item_biases.empty()) return;
  check_equal(kernel, "users", users.n_rows, "rows", "user_biases", static_cast<Offset>(user_biases.size()), "entries");
  check_equal(kernel, "items", items.n_rows, "rows", "item_biases", static_cast<Offset>(item_biases.size()), "entries");
}

void check_sides(const char* kernel, CsrView<const float> ratings, const RatingFactors& factors) {
  check_equal(kernel, "ratings", ratings.n_rows, "rows", "users", factors.users.n_rows, "rows");
  check_equal(kernel, "ratings", ratings.n_cols, "columns", "items", factors.items.n_rows, "rows");
}

void check_ids(const char* kernel, const char* name, std::span<const Id> ids, Offset n) {
  Id least = 0, greatest = -1;
  for (const Id id : ids) least = std::min(least, id), greatest = std::max(greatest, id);
  check_that(least >= 0 && greatest < n, kernel,
             std::string(name) + " must be in [0, " + std::to_string(n) + "), got one outside");
}

simd::StepRates rates_of(const RatingRule& rule) {
  const auto keep = static_cast<float>(1 - rule.learning_rate * rule.regularization);
  return {static_cast<float>(rule.learning_rate), keep, keep};
}

simd::RatingModel model_of(const RatingRule& rule, const RatingFactors& factors) {
  simd::RatingModel model;
  model.mean = static_cast<float>(rule.mean);
  model.users = factors.users.data;
  model.items = factors.items.data;
  model.user_biases = factors.user_biases.empty() ? nullptr : factors.user_biases.data();
  model.item_biases = factors.item_biases.empty() ? nullptr : factors.item_biases.data();
  return model;
}

/// The block of each item: items in an order that is drawn, cut where blocks have about as many ratings.
Scratch<Id> blocks_of_items(CsrView<const float> ratings, std::uint64_t seed, Offset n_blocks) {
  const Offset n_items = ratings.n_cols, nnz = ratings.nnz();
  Scratch<Id> blocks(size(n_items)), order(size(n_items));
  std::vector<Offset> counts(size(n_items), 0);
  for (Offset e = 0; e < nnz; ++e) ++counts[size(ratings.indices[e])];
  shuffled_numbers(philox_key(seed), 0, {order.get(), size(n_items)});
  Offset n_before = 0;
  for (Offset i = 0; i < n_items; ++i) {
    const auto item = size(order[size(i)]);
    // Halfway through its ratings, so that an item with most of them leaves blocks beside its own.
    const Offset block = nnz == 0 ? 0 : (n_before + counts[item] / 2) * n_blocks / nnz;
    blocks[item] = static_cast<Id>(std::min(block, n_blocks - 1));
    n_before += counts[item];
  }
  return blocks;
}

}  // namespace

Offset n_rating_blocks(Offset n_items, Offset nnz, Offset d) {
  const Offset for_cache = (n_items * d * static_cast<Offset>(sizeof(float)) + kBlockBytes - 1) / kBlockBytes;
  const Offset n = std::clamp(for_cache, kParallelBlocks, kMostBlocks);
  return std::max<Offset>(1, std::min({n, n_items, nnz / kLeastRow}));
}

void arrange_ratings(const Context& ctx, CsrView<const float> ratings, std::uint64_t seed, Offset n_blocks,
                     std::span<Id> users, std::span<Id> items, std::span<float> values, std::span<Offset> starts) {
  constexpr const char* kName = "arrange_ratings";
  const Offset nnz = ratings.nnz();
  check_equal(kName, "ratings", nnz, "entries", "users", static_cast<Offset>(users.size()), "entries");
  check_equal(kName, "ratings", nnz, "entries", "items", static_cast<Offset>(items.size()), "entries");
  check_equal(kName, "ratings", nnz, "entries", "values", static_cast<Offset>(values.size()), "entries");
  check_that(n_blocks >= 1 && n_blocks <= kMostBlocks, kName,
             "n_blocks must be in [1, 128], got " + std::to_string(n_blocks));
  check_equal(kName, "the grid", n_blocks * n_blocks + 1, "starts", "starts", static_cast<Offset>(starts.size()),
              "entries");
  const Scratch<Id> blocks = blocks_of_items(ratings, seed, n_blocks);
  parallel_for(ctx, n_blocks, 1, [&](Offset begin, Offset end, int) {
    for (Offset p = begin; p < end; ++p) {
      const Offset first = first_row_of_block(ratings, p, n_blocks);
      const Offset last = first_row_of_block(ratings, p + 1, n_blocks);
      const Offset first_entry = ratings.indptr[first], last_entry = ratings.indptr[last];
      std::vector<Offset> next(size(n_blocks + 1), 0);
      for (Offset e = first_entry; e < last_entry; ++e) ++next[size(blocks[size(ratings.indices[e])]) + 1];
      next[0] = first_entry;
      std::partial_sum(next.begin(), next.end(), next.begin());
      std::copy_n(next.begin(), n_blocks, starts.begin() + p * n_blocks);
      for (Offset row = first; row < last; ++row) {
        for (Offset e = ratings.indptr[row]; e < ratings.indptr[row + 1]; ++e) {
          const Id item = ratings.indices[e];
          const auto at = size(next[size(blocks[size(item)])]++);
          users[at] = static_cast<Id>(row);
          items[at] = item;
          values[at] = ratings.values[e];
        }
      }
    }
  });
  starts[size(n_blocks * n_blocks)] = nnz;
}

double rating_epoch(const Context& ctx, std::span<const Id> user_ids, std::span<const Id> item_ids,
                    std::span<const float> values, std::span<const Offset> starts, const RatingRule& rule,
                    std::uint64_t seed, std::uint32_t epoch, const RatingFactors& factors) {
  constexpr const char* kName = "rating_epoch";
  const auto nnz = static_cast<Offset>(values.size());
  check_factors(kName, factors);
  check_rule(kName, rule);
  check_equal(kName, "user_ids", static_cast<Offset>(user_ids.size()), "entries", "values", nnz, "entries");
  check_equal(kName, "item_ids", static_cast<Offset>(item_ids.size()), "entries", "values", nnz, "entries");
  check_ids(kName, "user_ids", user_ids, factors.users.n_rows);
  check_ids(kName, "item_ids", item_ids, factors.items.n_rows);
  const auto n_blocks = static_cast<Offset>(std::lround(std::sqrt(static_cast<double>(starts.size()) - 1)));
  check_that(static_cast<Offset>(starts.size()) == n_blocks * n_blocks + 1 && n_blocks >= 1, kName,
             "starts must have n^2 + 1 entries for a grid of n by n");
  check_that(starts.front() == 0 && starts.back() == nnz && std::is_sorted(starts.begin(), starts.end()), kName,
             "starts must rise from 0 to the number of ratings");
  const simd::StepRates rates = rates_of(rule);
  const simd::RatingModel model = model_of(rule, factors);
  std::vector<double> squares(size(n_blocks * n_blocks), 0.0);
  std::vector<Id> turns(size(n_blocks));
  shuffled_numbers(philox_key(seed), epoch, turns);
  for_each_cell(ctx, turns, [&](Offset p, Offset q, int) {
    const FlushDenormals flush;
    const auto cell = size(p * n_blocks + q);
    const Offset first = starts[cell];
    const simd::RatingSteps steps{starts[cell + 1] - first, user_ids.data() + first, item_ids.data() + first,
                                  values.data() + first};
    squares[cell] = ctx.micro->rating_steps(steps, factors.items.n_cols, rates, model);
  });
  return std::accumulate(squares.begin(), squares.end(), 0.0);
}

double svdpp_epoch(const Context& ctx, CsrView<const float> ratings, CsrView<const float> implicit,
                   const RatingRule& rule, const RatingFactors& factors, MatrixView<float> implicit_items) {
  constexpr const char* kName = "svdpp_epoch";
  check_factors(kName, factors);
  check_rule(kName, rule);
  check_sides(kName, ratings, factors);
  check_equal(kName, "implicit", implicit.n_rows, "rows", "ratings", ratings.n_rows, "rows");
  check_equal(kName, "implicit", implicit.n_cols, "columns", "ratings", ratings.n_cols, "columns");
  check_equal(kName, "implicit_items", implicit_items.n_rows, "rows", "items", factors.items.n_rows, "rows");
  check_equal(kName, "implicit_items", implicit_items.n_cols, "columns", "items", factors.items.n_cols, "columns");
  const FlushDenormals flush;
  const Offset d = factors.items.n_cols;
  const simd::StepRates rates = rates_of(rule);
  const double keep = 1 - rule.learning_rate * rule.regularization;
  simd::RatingModel model = model_of(rule, factors);
  model.user_gain = 2;
  const Scratch<float> sum(size(d)), whole(size(d)), moved(size(d));
  double squares = 0;
  for (Offset u = 0; u < ratings.n_rows; ++u) {
    const Offset n_ratings = ratings.row_size(u), n_implicit = implicit.row_size(u);
    if (n_ratings == 0) continue;
    const std::span<const Id> seen = implicit.row_indices(u);
    const float share = n_implicit == 0 ? 0.0F : 1 / std::sqrt(static_cast<float>(n_implicit));
    std::fill_n(sum.get(), d, 0.0F);
    ctx.micro->sum_gathered(n_implicit, d, seen.data(), implicit_items.data, sum.get());
    float* own = factors.users.row(u);
    for (Offset j = 0; j < d; ++j) whole[size(j)] = own[j] + share * sum[size(j)];
    model.users = n_implicit == 0 ? own : whole.get();
    model.user_gain = n_implicit == 0 ? 1.0F : 2.0F;
    model.user_biases = factors.user_biases.empty() ? nullptr : &factors.user_biases[size(u)];
    const simd::RatingSteps steps{n_ratings, nullptr, ratings.row_indices(u).data(), ratings.row_values(u).data()};
    if (n_implicit == 0) {
      squares += ctx.micro->rating_steps(steps, d, rates, model);
      continue;
    }
    // Of both parts p0 of the vector keep^n p0 + D is left, with the same D.
    const auto kept = static_cast<float>(std::pow(keep, static_cast<double>(n_ratings)));
    for (Offset j = 0; j < d; ++j) moved[size(j)] = kept * whole[size(j)];
    squares += ctx.micro->rating_steps(steps, d, rates, model);
    for (Offset j = 0; j < d; ++j) {
      const float step = (whole[size(j)] - moved[size(j)]) / 2;
      own[j] = kept * own[j] + step;
      moved[size(j)] = share * step;
    }
    ctx.micro->add_scattered(n_implicit, d, seen.data(), kept, moved.get(), implicit_items.data);
  }
  return squares;
}

void implicit_sums(const Context& ctx, CsrView<const float> implicit, MatrixView<const float> implicit_items,
                   MatrixView<float> out) {
  constexpr const char* kName = "implicit_sums";
  check_equal(kName, "implicit", implicit.n_rows, "rows", "out", out.n_rows, "rows");
  check_equal(kName, "implicit", implicit.n_cols, "columns", "implicit_items", implicit_items.n_rows, "rows");
  check_equal(kName, "implicit_items", implicit_items.n_cols, "columns", "out", out.n_cols, "columns");
  check_that(out.n_cols % simd::kPad == 0, kName, "vectors must be padded to a multiple of 16");
  parallel_for(ctx, implicit.n_rows, kGrain, [&](Offset begin, Offset end, int) {
    for (Offset row = begin; row < end; ++row) {
      const std::span<const Id> seen = implicit.row_indices(row);
      float* sum = out.row(row);
      std::fill_n(sum, out.n_cols, 0.0F);
      if (seen.empty()) continue;
      ctx.micro->sum_gathered(static_cast<Offset>(seen.size()), out.n_cols, seen.data(), implicit_items.data, sum);
      const float share = 1 / std::sqrt(static_cast<float>(seen.size()));
      for (Offset j = 0; j < out.n_cols; ++j) sum[j] *= share;
    }
  });
}

void rating_fold_in(const Context& ctx, CsrView<const float> ratings, const RatingRule& rule, std::uint32_t iterations,
                    const RatingFactors& factors) {
  constexpr const char* kName = "rating_fold_in";
  check_factors(kName, factors);
  check_rule(kName, rule);
  check_sides(kName, ratings, factors);
  const Offset d = factors.items.n_cols;
  const simd::StepRates rates = rates_of(rule);
  struct Worker {
    Scratch<float> vector;
    std::vector<float> values;
  };
  std::vector<Worker> workers(static_cast<std::size_t>(ctx.n_threads));
  parallel_for(ctx, ratings.n_rows, kGrain, [&](Offset begin, Offset end, int worker) {
    const FlushDenormals flush;
    Worker& own = workers[static_cast<std::size_t>(worker)];
    if (own.vector.get() == nullptr) own.vector = Scratch<float>(size(d));
    simd::RatingModel model = model_of(rule, factors);
    model.holds_items = true;
    model.users = own.vector.get();
    for (Offset row = begin; row < end; ++row) {
      const std::span<const Id> ids = ratings.row_indices(row);
      const auto n = static_cast<Offset>(ids.size());
      float* given = factors.users.row(row);
      own.values.resize(ids.size());
      ctx.micro->dot_gathered(n, d, ids.data(), factors.items.data, given, own.values.data());
      for (std::size_t e = 0; e < ids.size(); ++e) own.values[e] = ratings.row_values(row)[e] - own.values[e];
      std::fill_n(own.vector.get(), d, 0.0F);
      if (!factors.user_biases.empty()) {
        model.user_biases = &factors.user_biases[size(row)];
        *model.user_biases = 0;
      }
      const simd::RatingSteps steps{n, nullptr, ids.data(), own.values.data()};
      for (std::uint32_t i = 0; i < iterations; ++i) ctx.micro->rating_steps(steps, d, rates, model);
      for (Offset j = 0; j < d; ++j) given[j] += own.vector[size(j)];
    }
  });
}

}  // namespace likewise::cpu
