#include "als.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "check.hpp"
#include "parallel.hpp"
#include "scratch.hpp"

namespace likewise::cpu {

namespace {

using simd::padded;

constexpr Offset kChunkRows = 64;           // rows gathered at once, at most
constexpr Offset kChunkFloats = 8192;       // and what stays in a first-level cache until it is used
constexpr Offset kFormRows = 256;           // rows of one update of a formed matrix
constexpr Offset kPanelBytes = 1 << 20;     // a row's block of gathered factors that stays in a second-level cache
constexpr Offset kHeavyRow = 4096;          // rows this long are handed out first and one by one
constexpr Offset kRowsEach = 32;            // lighter rows are handed out in groups
constexpr int kExactSteps = 64;             // conjugate gradients where Cholesky finds a singular matrix
constexpr int kMaxRefinements = 2;          // of a step from a matrix of rounded products
constexpr float kShortStep = 1.0F / 16;     // of the solution's length
constexpr float kLoad = 1.0F / 1024;        // share by which the diagonal of a singular block is grown
constexpr float kNoise = 1.0F / (1 << 26);  // share of the largest eigenvalue that float32 does not tell from zero

struct Problem {
  const simd::MicroKernels& micro;
  CsrView<const float> interactions;
  MatrixView<const float> y;
  MatrixView<const Bf16> y_bf16;
  std::span<const float> eigenvalues;
  AlsObjective objective;
  AlsSolver solver;
  int steps;
  float tolerance;
  Offset block;
  MatrixView<float> x;
};

float row_penalty(const AlsObjective& objective, Offset n_entries, Offset n_cols) {
  if (objective.regularization_exponent == 0) return objective.regularization;
  const double count =
      static_cast<double>(n_entries) + static_cast<double>(objective.unobserved_weight) * static_cast<double>(n_cols);
  return static_cast<float>(objective.regularization *
                            std::pow(count, static_cast<double>(objective.regularization_exponent)));
}

/// Solves rows one after another with scratch of its own.
class RowEngine {
 public:
  RowEngine(const Problem& problem, Offset longest_row);

  void solve(Offset row);

 private:
  void load_row(Offset row);
  void gather(Offset first, Offset n, float* panel) const;
  void gather_columns(Offset first, Offset n, Offset column, Offset columns, Offset width, float* panel) const;
  [[nodiscard]] bool rounds_products(int terms) const { return terms > 0 && micro_.has_bf16_tiles && all_positive_; }
  void add_to_matrix(Offset n, Offset d, const float* panel, const float* w, float* matrix, int terms);
  void start_residual();
  void add_residual(Offset first, Offset last, float* panel);
  void form_system(int terms);
  void solve_cg(int steps, float tolerance);
  void solve_cholesky();
  void solve_dual();
  bool factor_block(Offset column, Offset width, int terms, float load);
  void solve_block();

  const Problem& problem_;
  const simd::MicroKernels& micro_;
  Offset d_, dp_;          // factors, padded
  Offset chunk_rows_;      // rows gathered at once
  Offset panel_rows_;      // longest row whose gathered block is kept
  Offset n_ = 0, np_ = 0;  // entries of this row, padded
  const Id* ids_ = nullptr;
  Offset n_ahead_ = 0;        // ids that follow ids_ in memory
  bool all_positive_ = true;  // every weight c - w0 > 0
  Scratch<float> w_, v_;      // per entry: c - w0 and c p
  Scratch<float> panel_, scaled_, matrix_;
  Scratch<float> x_, residual_, diagonal_, dense_, vectors_;
  Scratch<unsigned char> tiles_;
};

RowEngine::RowEngine(const Problem& problem, Offset longest_row)
    : problem_(problem), micro_(problem.micro), d_(problem.y.n_cols), dp_(padded(d_)) {
  const auto count = [](Offset n) { return static_cast<std::size_t>(n); };
  const Offset longest = padded(longest_row);
  const Offset width = problem.solver == AlsSolver::kBlock ? padded(std::min(problem.block, d_)) : dp_;
  chunk_rows_ = std::clamp(kChunkFloats / dp_ / simd::kPad * simd::kPad, simd::kPad, kChunkRows);
  panel_rows_ = std::max(kFormRows, padded(kPanelBytes / (4 * dp_)));
  const Offset dual_rows = problem.solver == AlsSolver::kCholesky ? std::min(dp_, longest) : 0;
  const Offset kept_rows = std::max({kFormRows, std::min(panel_rows_, longest), dual_rows});
  const Offset panel_size =
      problem.solver == AlsSolver::kBlock ? std::max(padded(longest) * width, kChunkRows * dp_) : kept_rows * dp_;
  // The dual of a row has up to dp_ entries on a side, and its panel is held twice.
  const Offset matrix_side = problem.solver == AlsSolver::kBlock ? width : dp_;
  w_ = Scratch<float>(count(longest));
  v_ = Scratch<float>(count(longest));
  panel_ = Scratch<float>(count(panel_size));
  scaled_ = Scratch<float>(count(std::max(kFormRows * width, dual_rows * dp_)));
  matrix_ = Scratch<float>(count(matrix_side * matrix_side));
  x_ = Scratch<float>(count(dp_));
  residual_ = Scratch<float>(count(dp_));
  diagonal_ = Scratch<float>(count(dp_));
  dense_ = Scratch<float>(count(dp_));
  vectors_ = Scratch<float>(count(std::max(3 * dp_, longest)));
  if (micro_.has_bf16_tiles) tiles_ = Scratch<unsigned char>(count(simd::syrk_scratch_bytes(kFormRows, width)));
}

void RowEngine::load_row(Offset row) {
  const auto& interactions = problem_.interactions;
  const AlsObjective& objective = problem_.objective;
  const Offset begin = interactions.indptr[row];
  n_ = interactions.row_size(row);
  np_ = padded(n_);
  ids_ = interactions.indices + begin;
  n_ahead_ = interactions.nnz() - begin;
  const float* values = interactions.values + begin;
  float smallest = 1;
  for (Offset j = 0; j < n_; ++j) {
    const float confidence = 1 + objective.alpha * std::fabs(values[j]);
    w_[j] = confidence - objective.unobserved_weight;
    v_[j] = values[j] > 0 ? confidence : 0;
    smallest = std::min(smallest, w_[j]);
  }
  all_positive_ = smallest > 0;
  std::fill(w_.get() + n_, w_.get() + np_, 0.0F);
  std::fill(v_.get() + n_, v_.get() + np_, 0.0F);
  const float penalty = row_penalty(objective, n_, interactions.n_cols);
  float largest = 0;
  for (Offset i = 0; i < d_; ++i) {
    dense_[i] = objective.unobserved_weight * problem_.eigenvalues[i] + penalty;
    largest = std::max(largest, dense_[i]);
  }
  if (largest == 0) largest = 1;
  // Where y is rounding noise and nothing is penalized, any value would solve the system: a large weight makes it zero.
  for (Offset i = 0; i < d_; ++i) dense_[i] = dense_[i] > kNoise * largest ? dense_[i] : largest;
  std::fill(dense_.get() + d_, dense_.get() + dp_, 1.0F);
  std::copy_n(problem_.x.row(row), d_, x_.get());
  std::fill(x_.get() + d_, x_.get() + dp_, 0.0F);
}

/// Gathers the factors of entries [first, first + n) and zeros up to a multiple of 16 rows.
void RowEngine::gather(Offset first, Offset n, float* panel) const {
  if (problem_.y_bf16.n_rows > 0 && problem_.solver == AlsSolver::kCg) {
    micro_.gather_bf16(problem_.y_bf16.data, problem_.y_bf16.n_cols, dp_, ids_ + first, n, n_ahead_ - first, dp_,
                       panel);
    std::fill(panel + n * dp_, panel + padded(n) * dp_, 0.0F);
  } else {
    gather_columns(first, n, 0, d_, dp_, panel);
  }
}

void RowEngine::gather_columns(Offset first, Offset n, Offset column, Offset columns, Offset width,
                               float* panel) const {
  micro_.gather(problem_.y.data + column, d_, columns, ids_ + first, n, n_ahead_ - first, width, panel);
  std::fill(panel + n * width, panel + padded(n) * width, 0.0F);
}

/// matrix += panel' diag(w) panel, upper triangle, for n <= kFormRows rows; on a tile unit in `terms` products of
/// bf16, unless that is 0.
void RowEngine::add_to_matrix(Offset n, Offset d, const float* panel, const float* w, float* matrix, int terms) {
  if (rounds_products(terms)) {
    for (Offset j = 0; j < n; ++j) scaled_[j] = std::sqrt(w[j]);
    micro_.syrk_upper_bf16(n, d, panel, scaled_.get(), matrix, terms, tiles_.get());
    return;
  }
  for (Offset j = 0; j < n; ++j) {
    for (Offset i = 0; i < d; ++i) scaled_[j * d + i] = w[j] * panel[j * d + i];
  }
  micro_.syrk_upper(n, d, scaled_.get(), panel, matrix);
}

void RowEngine::start_residual() {
  for (Offset i = 0; i < dp_; ++i) residual_[i] = -dense_[i] * x_[i];
  std::copy_n(dense_.get(), dp_, diagonal_.get());
}

/// Gathers entries [first, last) into `panel` and adds their terms to the residual of x_ and to the diagonal.
void RowEngine::add_residual(Offset first, Offset last, float* panel) {
  for (Offset row = first; row < last; row += chunk_rows_) {
    const Offset n = std::min(chunk_rows_, last - row);
    float* rows = panel + (row - first) * dp_;
    gather(row, n, rows);
    micro_.panel_residual(padded(n), dp_, rows, w_.get() + row, v_.get() + row, x_.get(), residual_.get(),
                          diagonal_.get());
  }
}

/// The matrix of the row's system, its diagonal, and the residual of x_.
void RowEngine::form_system(int terms) {
  start_residual();
  std::fill_n(matrix_.get(), dp_ * dp_, 0.0F);
  for (Offset first = 0; first < n_; first += kFormRows) {
    const Offset last = std::min(n_, first + kFormRows);
    add_residual(first, last, panel_.get());
    add_to_matrix(last - first, dp_, panel_.get(), w_.get() + first, matrix_.get(), terms);
  }
  for (Offset i = 0; i < dp_; ++i) matrix_[i * dp_ + i] += dense_[i];
}

void RowEngine::solve_cg(int steps, float tolerance) {
  if (n_ > panel_rows_) {
    form_system(1);
    micro_.mirror_upper(dp_, matrix_.get());
    micro_.cg_matrix(dp_, matrix_.get(), diagonal_.get(), steps, tolerance, residual_.get(), x_.get(), vectors_.get());
    return;
  }
  start_residual();
  add_residual(0, n_, panel_.get());
  micro_.cg_panel(np_, dp_, panel_.get(), w_.get(), dense_.get(), diagonal_.get(), steps, tolerance, residual_.get(),
                  x_.get(), vectors_.get());
}

void RowEngine::solve_cholesky() {
  const bool positive_dense = std::all_of(dense_.get(), dense_.get() + d_, [](float value) { return value > 0; });
  if (np_ < dp_ && all_positive_ && positive_dense) return solve_dual();
  // Three products in bf16 take no less time than one in float32 until matrices are wider than four tiles.
  const int terms = dp_ > 64 ? 3 : 0;
  form_system(terms);
  if (!micro_.cholesky_upper(dp_, matrix_.get())) return solve_cg(kExactSteps, 0);  // singular in float32
  for (int refinements = 0;; ++refinements) {
    micro_.cholesky_solve(dp_, matrix_.get(), residual_.get());
    for (Offset i = 0; i < dp_; ++i) x_[i] += residual_[i];
    // A matrix of rounded products gives a step some thousandths off. That is nothing where the step is short, as in a
    // fit that has begun to converge; else the step is taken again, from the residual, which is not rounded.
    const float moved = micro_.dot(residual_.get(), residual_.get(), dp_), length = micro_.dot(x_.get(), x_.get(), dp_);
    if (!rounds_products(terms) || refinements == kMaxRefinements || moved <= kShortStep * kShortStep * length) return;
    start_residual();
    for (Offset first = 0; first < n_; first += kFormRows) {
      add_residual(first, std::min(n_, first + kFormRows), panel_.get());
    }
  }
}

/// With P~ = W^(1/2) P D^(-1/2) the solution is D^(-1/2) P~' (I + P~ P~')^(-1) W^(-1/2) v (push-through identity):
/// an n x n system where the row has n < k entries.
void RowEngine::solve_dual() {
  float* scale = diagonal_.get();
  for (Offset i = 0; i < dp_; ++i) scale[i] = 1 / std::sqrt(dense_[i]);
  gather(0, n_, panel_.get());
  float* transposed = scaled_.get();  // (dp_, np_)
  for (Offset j = 0; j < np_; ++j) {
    const float root = j < n_ ? std::sqrt(w_[j]) : 0;
    for (Offset i = 0; i < dp_; ++i) transposed[i * np_ + j] = root * scale[i] * panel_[j * dp_ + i];
  }
  std::fill_n(matrix_.get(), np_ * np_, 0.0F);
  micro_.syrk_upper(dp_, np_, transposed, transposed, matrix_.get());
  float* t = vectors_.get();
  for (Offset j = 0; j < np_; ++j) {
    matrix_[j * np_ + j] += 1;
    t[j] = j < n_ ? v_[j] / std::sqrt(w_[j]) : 0;
  }
  // Identity plus a positive semidefinite matrix: the factorization cannot meet a pivot below 1 but for overflow.
  if (!micro_.cholesky_upper(np_, matrix_.get())) return solve_cg(kExactSteps, 0);
  micro_.cholesky_solve(np_, matrix_.get(), t);
  for (Offset j = 0; j < n_; ++j) t[j] *= std::sqrt(w_[j]);
  std::fill_n(x_.get(), dp_, 0.0F);
  micro_.panel_combine(np_, dp_, panel_.get(), t, x_.get());
  for (Offset i = 0; i < dp_; ++i) x_[i] /= dense_[i];
}

/// Factors the block of `width` columns gathered in panel_, its diagonal grown by the share `load`.
bool RowEngine::factor_block(Offset column, Offset width, int terms, float load) {
  std::fill_n(matrix_.get(), width * width, 0.0F);
  for (Offset first = 0; first < n_; first += kFormRows) {
    const Offset n = std::min(kFormRows, n_ - first);
    add_to_matrix(n, width, panel_.get() + first * width, w_.get() + first, matrix_.get(), terms);
  }
  for (Offset i = 0; i < width; ++i) {
    float& diagonal = matrix_[i * width + i];
    diagonal = (diagonal + dense_[column + i]) * (1 + load);
  }
  return micro_.cholesky_upper(width, matrix_.get());
}

void RowEngine::solve_block() {
  float* errors = vectors_.get();  // v - w (P x), kept up to date
  for (Offset first = 0; first < n_; first += chunk_rows_) {
    const Offset n = std::min(chunk_rows_, n_ - first);
    gather(first, n, panel_.get());
    micro_.panel_dot(padded(n), dp_, panel_.get(), x_.get(), errors + first);
  }
  for (Offset j = 0; j < np_; ++j) errors[j] = v_[j] - w_[j] * errors[j];
  const Offset widest = padded(std::min(problem_.block, d_));
  for (Offset column = 0; column < d_; column += widest) {
    const Offset columns = std::min(widest, d_ - column);
    const Offset width = padded(columns);
    gather_columns(0, n_, column, columns, width, panel_.get());
    float* step = residual_.get();
    for (Offset i = 0; i < width; ++i) step[i] = -dense_[column + i] * x_[column + i];
    micro_.panel_combine(np_, width, panel_.get(), errors, step);
    // A block that rounding makes singular takes shorter steps, each still downhill, by a greater diagonal.
    if (!factor_block(column, width, 3, 0) && !factor_block(column, width, 0, kLoad)) continue;
    micro_.cholesky_solve(width, matrix_.get(), step);
    for (Offset i = 0; i < columns; ++i) x_[column + i] += step[i];
    float* change = diagonal_.get();
    for (Offset first = 0; first < np_; first += dp_) {
      const Offset n = std::min(dp_, np_ - first);
      micro_.panel_dot(n, width, panel_.get() + first * width, step, change);
      for (Offset j = 0; j < n; ++j) errors[first + j] -= w_[first + j] * change[j];
    }
  }
}

void RowEngine::solve(Offset row) {
  if (problem_.interactions.row_size(row) == 0) {
    std::fill_n(problem_.x.row(row), d_, 0.0F);
    return;
  }
  load_row(row);
  switch (problem_.solver) {
    case AlsSolver::kCholesky:
      solve_cholesky();
      break;
    case AlsSolver::kCg:
      solve_cg(problem_.steps, problem_.tolerance);
      break;
    case AlsSolver::kBlock:
      solve_block();
      break;
  }
  std::copy_n(x_.get(), d_, problem_.x.row(row));
}

struct RowRange {
  Offset begin = 0, end = 0;
};

/// Long rows first, each alone, the longest at the head; then groups of the others in order.
std::vector<RowRange> balanced_ranges(CsrView<const float> interactions) {
  std::vector<RowRange> heavy, light;
  for (Offset row = 0; row < interactions.n_rows; ++row) {
    if (interactions.row_size(row) >= kHeavyRow) {
      heavy.push_back({row, row + 1});
    } else if (!light.empty() && light.back().end == row && row - light.back().begin < kRowsEach) {
      light.back().end = row + 1;
    } else {
      light.push_back({row, row + 1});
    }
  }
  std::stable_sort(heavy.begin(), heavy.end(), [&](RowRange a, RowRange b) {
    return interactions.row_size(a.begin) > interactions.row_size(b.begin);
  });
  heavy.insert(heavy.end(), light.begin(), light.end());
  return heavy;
}

Offset longest_row(CsrView<const float> interactions) {
  Offset longest = 0;
  for (Offset row = 0; row < interactions.n_rows; ++row) longest = std::max(longest, interactions.row_size(row));
  return longest;
}

double squared_norm(std::span<const float> x) {
  double total = 0;
  for (const float value : x) total += static_cast<double>(value) * static_cast<double>(value);
  return total;
}

}  // namespace

void als_half_sweep(const Context& ctx, CsrView<const float> interactions, MatrixView<const float> y,
                    MatrixView<const Bf16> y_bf16, std::span<const float> eigenvalues, const AlsObjective& objective,
                    AlsSolver solver, int steps, float tolerance, int block, MatrixView<float> x) {
  constexpr const char* kName = "als_half_sweep";
  check_equal(kName, "interactions", interactions.n_cols, "columns", "y", y.n_rows, "rows");
  check_equal(kName, "interactions", interactions.n_rows, "rows", "x", x.n_rows, "rows");
  check_equal(kName, "x", x.n_cols, "columns", "y", y.n_cols, "columns");
  check_equal(kName, "eigenvalues", static_cast<Offset>(eigenvalues.size()), "entries", "y", y.n_cols, "columns");
  check_that(y.n_cols >= 1, kName, "y must have at least one column");
  check_that(steps >= 1 && block >= 1, kName, "steps and block must be >= 1");
  check_that(tolerance >= 0, kName, "tolerance must be >= 0");
  if (y_bf16.n_rows > 0) {
    check_equal(kName, "y_bf16", y_bf16.n_rows, "rows", "y", y.n_rows, "rows");
    check_equal(kName, "y_bf16", y_bf16.n_cols, "columns", "y padded to 16", padded(y.n_cols), "columns");
  }
  const Problem problem = {*ctx.micro, interactions, y,     y_bf16, eigenvalues, objective, solver,
                           steps,      tolerance,    block, x};
  const std::vector<RowRange> ranges = balanced_ranges(interactions);
  const Offset longest = longest_row(interactions);
  std::vector<std::unique_ptr<RowEngine>> engines(static_cast<std::size_t>(ctx.n_threads));
  parallel_for(ctx, static_cast<Offset>(ranges.size()), 1, [&](Offset begin, Offset end, int worker) {
    auto& engine = engines[static_cast<std::size_t>(worker)];
    if (!engine) engine = std::make_unique<RowEngine>(problem, longest);
    for (Offset r = begin; r < end; ++r) {
      const RowRange range = ranges[static_cast<std::size_t>(r)];
      for (Offset row = range.begin; row < range.end; ++row) engine->solve(row);
    }
  });
}

double als_loss(const Context& ctx, CsrView<const float> interactions, MatrixView<const float> x,
                MatrixView<const float> y, MatrixView<const double> gramian_x, MatrixView<const double> gramian_y,
                const AlsObjective& objective) {
  constexpr const char* kName = "als_loss";
  const Offset d = y.n_cols;
  check_equal(kName, "interactions", interactions.n_cols, "columns", "y", y.n_rows, "rows");
  check_equal(kName, "interactions", interactions.n_rows, "rows", "x", x.n_rows, "rows");
  check_equal(kName, "x", x.n_cols, "columns", "y", d, "columns");
  for (const auto& gramian : {gramian_x, gramian_y}) {
    check_equal(kName, "gramian", gramian.n_rows, "rows", "y", d, "columns");
    check_equal(kName, "gramian", gramian.n_cols, "columns", "y", d, "columns");
  }
  const double w0 = objective.unobserved_weight;
  std::vector<double> row_losses(static_cast<std::size_t>(interactions.n_rows), 0.0);
  parallel_for(ctx, interactions.n_rows, 256, [&](Offset begin, Offset end, int) {
    for (Offset row = begin; row < end; ++row) {
      const auto ids = interactions.row_indices(row);
      const auto values = interactions.row_values(row);
      double loss = 0;
      for (std::size_t j = 0; j < ids.size(); ++j) {
        const double score = ctx.micro->dot(x.row(row), y.row(ids[j]), d);
        const double confidence = 1 + static_cast<double>(objective.alpha) * std::fabs(static_cast<double>(values[j]));
        const double error = (values[j] > 0 ? 1 : 0) - score;
        loss += confidence * error * error - w0 * score * score;
      }
      const auto n = static_cast<Offset>(ids.size());
      loss += row_penalty(objective, n, interactions.n_cols) * squared_norm({x.row(row), static_cast<std::size_t>(d)});
      row_losses[static_cast<std::size_t>(row)] = loss;
    }
  });
  double total = 0;
  for (const double loss : row_losses) total += loss;
  std::vector<Offset> column_counts(static_cast<std::size_t>(interactions.n_cols), 0);
  for (Offset j = 0; j < interactions.nnz(); ++j) ++column_counts[static_cast<std::size_t>(interactions.indices[j])];
  for (Offset i = 0; i < interactions.n_cols; ++i) {
    total += row_penalty(objective, column_counts[static_cast<std::size_t>(i)], interactions.n_rows) *
             squared_norm({y.row(i), static_cast<std::size_t>(d)});
  }
  for (Offset i = 0; i < d * d; ++i) total += w0 * gramian_x.data[i] * gramian_y.data[i];
  return total;
}

}  // namespace likewise::cpu
