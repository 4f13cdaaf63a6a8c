#include "biases.hpp"

#include "check.hpp"
#include "parallel.hpp"

namespace likewise::cpu {

namespace {

constexpr Offset kGrain = 256;

void check_sizes(const char* kernel, CsrView<const float> ratings, std::size_t n_rows, std::size_t n_columns,
                 const char* rows, const char* columns) {
  check_equal(kernel, "ratings", ratings.n_rows, "rows", rows, static_cast<Offset>(n_rows), "entries");
  check_equal(kernel, "ratings", ratings.n_cols, "columns", columns, static_cast<Offset>(n_columns), "entries");
}

}  // namespace

void bias_half_sweep(const Context& ctx, CsrView<const float> ratings, double mean, std::span<const double> others,
                     double regularization, std::span<double> biases) {
  check_sizes("bias_half_sweep", ratings, biases.size(), others.size(), "biases", "others");
  check_that(regularization >= 0, "bias_half_sweep", "regularization must be >= 0");
  parallel_for(ctx, ratings.n_rows, kGrain, [&](Offset begin, Offset end, int) {
    for (Offset row = begin; row < end; ++row) {
      const std::span<const Id> ids = ratings.row_indices(row);
      const std::span<const float> values = ratings.row_values(row);
      double sum = 0;
      for (std::size_t e = 0; e < ids.size(); ++e) {
        sum += static_cast<double>(values[e]) - mean - others[static_cast<std::size_t>(ids[e])];
      }
      biases[static_cast<std::size_t>(row)] =
          ids.empty() ? 0 : sum / (regularization + static_cast<double>(ids.size()));
    }
  });
}

void bias_sgd_epoch(const Context&, CsrView<const float> ratings, double mean, double learning_rate,
                    double regularization, std::span<double> row_biases, std::span<double> column_biases) {
  check_sizes("bias_sgd_epoch", ratings, row_biases.size(), column_biases.size(), "row_biases", "column_biases");
  for (Offset row = 0; row < ratings.n_rows; ++row) {
    const std::span<const Id> ids = ratings.row_indices(row);
    const std::span<const float> values = ratings.row_values(row);
    double bias = row_biases[static_cast<std::size_t>(row)];
    for (std::size_t e = 0; e < ids.size(); ++e) {
      double& other = column_biases[static_cast<std::size_t>(ids[e])];
      const double error = static_cast<double>(values[e]) - mean - bias - other;
      bias += learning_rate * (error - regularization * bias);
      other += learning_rate * (error - regularization * other);
    }
    row_biases[static_cast<std::size_t>(row)] = bias;
  }
}

void bias_sgd_half_epoch(const Context& ctx, CsrView<const float> ratings, double mean, double learning_rate,
                         double regularization, std::span<const double> others, std::span<double> biases) {
  check_sizes("bias_sgd_half_epoch", ratings, biases.size(), others.size(), "biases", "others");
  parallel_for(ctx, ratings.n_rows, kGrain, [&](Offset begin, Offset end, int) {
    for (Offset row = begin; row < end; ++row) {
      const std::span<const Id> ids = ratings.row_indices(row);
      const std::span<const float> values = ratings.row_values(row);
      double bias = biases[static_cast<std::size_t>(row)];
      for (std::size_t e = 0; e < ids.size(); ++e) {
        const double error = static_cast<double>(values[e]) - mean - bias - others[static_cast<std::size_t>(ids[e])];
        bias += learning_rate * (error - regularization * bias);
      }
      biases[static_cast<std::size_t>(row)] = bias;
    }
  });
}

}  // namespace likewise::cpu
