#include "als.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "check.hpp"
#include "parallel.hpp"
#include "scratch.hpp"
#include "simd/denormals.hpp"

namespace likewise::cpu {

namespace {

using simd::padded;

constexpr Offset kChunkRows = 64;           // rows gathered at once, at most
constexpr Offset kChunkFloats = 4096;       // and what stays in a first-level cache until it is used
constexpr Offset kFormRows = 256;           // rows of one update of a formed matrix
constexpr Offset kPanelBytes = 1 << 20;     // a row's block of gathered factors that stays in a second-level cache
constexpr Offset kHeavyRow = 4096;          // rows this long are handed out first and one by one
constexpr Offset kRowsEach = 32;            // lighter rows are handed out in groups
constexpr Offset kGroupRows = 128;          // long rows solved side by side, at most
constexpr Offset kGroupUses = 8;            // and closed sooner, when each row of y is used so often
constexpr Offset kBlockBytes = 1 << 19;     // of y that long rows share in a second-level cache
constexpr int kExactSteps = 64;             // conjugate gradients where Cholesky finds a singular matrix
constexpr int kMaxRefinements = 16;         // of a solution from a matrix of rounded products
constexpr float kRefined = 1e-12F;          // squared residual at which it is done, of the solution's squared length
constexpr float kOneTermGain = 1 << 12;     // by which a solve divides it whose products have one term
constexpr float kThreeTermsGain = 1 << 24;  // and three
constexpr Offset kGroupShare = 16;          // and when one of so many parts of all entries is in the group
constexpr double kLeastMove = 1e-13;        // share of a row's squared length below which steps only add noise
constexpr float kLeastPenalty = 0x1p-20F;   // share of the greatest diagonal that makes a system of few ratings regular
constexpr float kLeastDiagonal = 0x1p-10F;  // share of a diagonal that a bias leaves of it, for a preconditioner
constexpr float kLoad = 1.0F / 1024;        // share by which the diagonal of a singular block is grown
constexpr float kNoise = 1.0F / (1 << 26);  // share of the largest eigenvalue that float32 does not tell from zero

/// What a half-sweep over ratings has beside the terms of all half-sweeps.
struct Ratings {
  const ExplicitAlsObjective& objective;
  std::span<const float> weights;  // of all entries, or none
  std::span<const float> y_biases;
  std::span<float> x_biases;
};

struct Problem {
  const simd::MicroKernels& micro;
  CsrView<const float> interactions;
  MatrixView<const float> y;
  MatrixView<const Bf16> y_bf16;
  std::span<const float> eigenvalues;
  float largest_eigenvalue;
  AlsObjective objective;
  AlsSolver solver;
  int steps;
  float tolerance;
  Offset block;
  MatrixView<float> x;
  const Ratings* ratings;  // null for implicit feedback

  [[nodiscard]] bool has_biases() const { return ratings != nullptr && ratings->objective.biases; }
};

float row_penalty(const AlsObjective& objective, Offset n_entries, Offset n_cols) {
  if (objective.regularization_exponent == 0) return objective.regularization;
  const double count =
      static_cast<double>(n_entries) + static_cast<double>(objective.unobserved_weight) * static_cast<double>(n_cols);
  return static_cast<float>(objective.regularization *
                            std::pow(count, static_cast<double>(objective.regularization_exponent)));
}

/// The sum of the weights of the entries [first, first + n).
double total_weight(std::span<const float> weights, Offset first, Offset n) {
  if (weights.empty()) return static_cast<double>(n);
  double total = 0;
  for (const float weight : weights.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(n))) {
    total += static_cast<double>(weight);
  }
  return total;
}

/// By what the penalties of a row are multiplied.
double penalty_scale(const ExplicitAlsObjective& objective, double total) {
  const auto exponent = static_cast<double>(objective.regularization_exponent);
  return exponent == 0 ? 1 : exponent == 1 ? total : std::pow(total, exponent);
}

/// The longest row whose gathered block is kept.
Offset panel_rows(Offset dp) { return std::max(kFormRows, padded(kPanelBytes / (4 * dp))); }

/// Rows gathered at once.
Offset chunk_rows(Offset dp) { return std::clamp(kChunkFloats / dp / simd::kPad * simd::kPad, simd::kPad, kChunkRows); }

/// The entries [first, first + n) of ratings: their weights w, and v = w times what biases leave of the rating.
void load_ratings(const Problem& problem, Offset first, Offset n, float* w, float* v) {
  const auto& [objective, weights, y_biases, x_biases] = *problem.ratings;
  const Id* ids = problem.interactions.indices + first;
  if (weights.empty()) {
    std::fill_n(w, n, 1.0F);
  } else {
    std::copy_n(weights.data() + first, n, w);
  }
  std::copy_n(problem.interactions.values + first, n, v);
  if (objective.biases) {
    for (Offset j = 0; j < n; ++j) v[j] -= objective.mean + y_biases[static_cast<std::size_t>(ids[j])];
  }
  if (!weights.empty()) {
    for (Offset j = 0; j < n; ++j) v[j] *= w[j];
  }
}

/// The entries [first, first + n) of `interactions`: w = c - w0 and v = c p, or those of ratings; zero up to a multiple
/// of 16. Returns whether every w is positive.
bool load_weights(const Problem& problem, Offset first, Offset n, float* w, float* v) {
  if (problem.ratings != nullptr) {
    load_ratings(problem, first, n, w, v);
    std::fill(w + n, w + padded(n), 0.0F);
    std::fill(v + n, v + padded(n), 0.0F);
    return true;
  }
  const float alpha = problem.objective.alpha, unobserved = problem.objective.unobserved_weight;
  const float* values = problem.interactions.values + first;
  int any_other = 0;  // an integer, which compilers reduce in vectors
  for (Offset j = 0; j < n; ++j) {
    const float confidence = 1 + alpha * std::fabs(values[j]);
    w[j] = confidence - unobserved;
    v[j] = values[j] > 0 ? confidence : 0;
    any_other |= static_cast<int>(!(w[j] > 0));
  }
  std::fill(w + n, w + padded(n), 0.0F);
  std::fill(v + n, v + padded(n), 0.0F);
  return any_other == 0;
}

/// The penalty of a row of ratings.
float rating_penalty(const Problem& problem, Offset row) {
  const auto& [objective, weights, y_biases, x_biases] = *problem.ratings;
  const double total = total_weight(weights, problem.interactions.indptr[row], problem.interactions.row_size(row));
  return static_cast<float>(objective.regularization * penalty_scale(objective, total));
}

/// The diagonal of a row that no entry adds to, padded with ones.
void load_dense(const Problem& problem, Offset row, float* dense) {
  const Offset d = problem.y.n_cols, n_entries = problem.interactions.row_size(row);
  if (problem.ratings != nullptr) {
    std::fill_n(dense, d, rating_penalty(problem, row));
    std::fill(dense + d, dense + padded(d), 1.0F);
    return;
  }
  const float unobserved = problem.objective.unobserved_weight;
  const float penalty = row_penalty(problem.objective, n_entries, problem.interactions.n_cols);
  // Where y is rounding noise and nothing is penalized, any value would solve the system: a large weight makes it zero.
  const float largest = unobserved * problem.largest_eigenvalue + penalty;
  const float noise = kNoise * largest, weight = largest > 0 ? largest : 1;
  for (Offset i = 0; i < d; ++i) {
    const float value = unobserved * problem.eigenvalues[static_cast<std::size_t>(i)] + penalty;
    dense[i] = value > noise ? value : weight;
  }
  std::fill(dense + d, dense + padded(d), 1.0F);
}

/// What the residual of x and the diagonal of the system hold before any entry is added.
void start_residual(Offset dp, const float* dense, const float* x, float* residual, float* diagonal) {
  for (Offset i = 0; i < dp; ++i) residual[i] = -dense[i] * x[i];
  std::copy_n(dense, dp, diagonal);
}

/// The bias of a row, eliminated from its system: it is (sum_v - s'x) / capacity whatever x is.
struct Bias {
  double sum_v = 0;
  float capacity = 0;  // the sum of weights and the penalty

  [[nodiscard]] float of(float s_x) const { return static_cast<float>(sum_v - static_cast<double>(s_x)) / capacity; }
};

double sum_of(const float* values, Offset n) {
  double total = 0;
  for (Offset j = 0; j < n; ++j) total += static_cast<double>(values[j]);
  return total;
}

/// Raises the penalty of a row of ratings, for which more factors may be open than float32 can tell, to a share of the
/// greatest diagonal: an open factor would drift.
void regularize(const Problem& problem, const float* x, float* dense, float* residual, float* diagonal) {
  if (problem.ratings == nullptr) return;
  const Offset d = problem.y.n_cols;
  const float more = kLeastPenalty * *std::max_element(diagonal, diagonal + d) - dense[0];
  if (!(more > 0)) return;
  for (Offset i = 0; i < d; ++i) {
    dense[i] += more;
    diagonal[i] += more;
    residual[i] -= more * x[i];
  }
}

/// What a bias takes from the residual of x and from the diagonal of the system.
void eliminate_bias(const simd::MicroKernels& micro, Offset dp, const Bias& bias, const float* s, const float* x,
                    float* residual, float* diagonal) {
  micro.axpy(-bias.of(micro.dot(s, x, dp)), s, residual, dp);
  const float inverse = 1 / bias.capacity;
  for (Offset i = 0; i < dp; ++i) {
    diagonal[i] = std::max(diagonal[i] - s[i] * s[i] * inverse, kLeastDiagonal * diagonal[i]);
  }
}

/// And from the product q of the system and p.
void eliminate_bias(const simd::MicroKernels& micro, Offset dp, const Bias& bias, const float* s, const float* p,
                    float* q) {
  micro.axpy(-micro.dot(s, p, dp) / bias.capacity, s, q, dp);
}

void load_start(const Problem& problem, Offset row, float* x) {
  const Offset d = problem.y.n_cols;
  std::copy_n(problem.x.row(row), d, x);
  std::fill(x + d, x + padded(d), 0.0F);
}

void gather_columns(const Problem& problem, Offset first, Offset n, Offset column, Offset columns, Offset width,
                    float* panel) {
  const auto& interactions = problem.interactions;
  problem.micro.gather(problem.y.data + column, problem.y.n_cols, columns, interactions.indices + first, n,
                       interactions.nnz() - first, width, panel);
  std::fill(panel + n * width, panel + padded(n) * width, 0.0F);
}

/// Gathers the factors of the entries [first, first + n) of `interactions`, and zeros up to a multiple of 16 rows.
void gather(const Problem& problem, Offset first, Offset n, float* panel) {
  const Offset dp = padded(problem.y.n_cols);
  if (problem.y_bf16.n_rows == 0 || problem.solver != AlsSolver::kCg) {
    return gather_columns(problem, first, n, 0, problem.y.n_cols, dp, panel);
  }
  const auto& interactions = problem.interactions;
  problem.micro.gather_bf16(problem.y_bf16.data, problem.y_bf16.n_cols, dp, interactions.indices + first, n,
                            interactions.nnz() - first, dp, panel);
  std::fill(panel + n * dp, panel + padded(n) * dp, 0.0F);
}

/// The squared residual at which a row that starts from rz is done. Beyond float32's accuracy steps add noise, and near
/// its smallest number they grow without bound.
float converged_residual(float rz, float tolerance) {
  constexpr float kLeast = 1.0F / (1LL << 48), kSmallest = 0x1p-126F;
  return std::max(rz * std::max(tolerance, kLeast), kSmallest);
}

/// Solves long rows by conjugate gradients side by side, block after block of y: what one row has brought into a
/// second-level cache is there for the others. Nothing gathered is kept; each step gathers again.
class LongRows {
 public:
  LongRows(const Problem& problem, Offset max_rows);

  void solve(std::span<const Offset> rows, int steps, float tolerance);

 private:
  struct Row {
    Offset row, entry;  // the next entry to be gathered
    float* vectors;     // dense, x, residual, diagonal, p, q, s
    Bias bias = {};
    float rz = 0, converged = 0;
  };

  template <class Body>
  void for_entries(const Body& body);
  [[nodiscard]] float* vector(const Row& row, int which) const { return row.vectors + which * dp_; }

  static constexpr int kDense = 0, kX = 1, kResidual = 2, kDiagonal = 3, kDirection = 4, kProduct = 5;
  static constexpr int kSums = 6, kVectors = 7;

  const Problem& problem_;
  const simd::MicroKernels& micro_;
  Offset dp_;
  std::vector<Row> rows_;     // of this group, those not done
  std::vector<Bias> biases_;  // of this group, all of them
  Scratch<float> vectors_, panel_, w_, v_;
};

LongRows::LongRows(const Problem& problem, Offset max_rows)
    : problem_(problem),
      micro_(problem.micro),
      dp_(padded(problem.y.n_cols)),
      vectors_(static_cast<std::size_t>(max_rows * kVectors * dp_)),
      panel_(static_cast<std::size_t>(chunk_rows(dp_) * dp_)),
      w_(static_cast<std::size_t>(kChunkRows)),
      v_(static_cast<std::size_t>(kChunkRows)) {
  rows_.reserve(static_cast<std::size_t>(max_rows));
  biases_.resize(static_cast<std::size_t>(max_rows));
}

/// Calls body(row, n) for the entries of all rows, some n of them at a time, with panel_, w_ and v_ loaded.
template <class Body>
void LongRows::for_entries(const Body& body) {
  const auto& interactions = problem_.interactions;
  Offset shortest = interactions.n_cols;
  for (Row& row : rows_) {
    row.entry = interactions.indptr[row.row];
    shortest = std::min(shortest, interactions.row_size(row.row));
  }
  const Offset row_bytes = problem_.y_bf16.n_rows > 0 ? 2 * dp_ : 4 * problem_.y.n_cols;
  // Fewer than 16 entries of a row in a block would leave the panel half empty.
  const Offset block =
      std::max(kBlockBytes / row_bytes, simd::kPad * interactions.n_cols / std::max<Offset>(1, shortest));
  for (Offset begin = 0; begin < interactions.n_cols; begin += block) {
    for (Row& row : rows_) {
      const Id* ids = interactions.indices;
      const Offset last = std::min(interactions.indptr[row.row + 1], row.entry + block);
      const Offset end = std::lower_bound(ids + row.entry, ids + last, begin + block) - ids;
      for (Offset n; row.entry < end; row.entry += n) {
        n = std::min(chunk_rows(dp_), end - row.entry);
        gather(problem_, row.entry, n, panel_.get());
        load_weights(problem_, row.entry, n, w_.get(), v_.get());
        body(row, padded(n));
      }
    }
  }
}

void LongRows::solve(std::span<const Offset> rows, int steps, float tolerance) {
  rows_.clear();
  for (std::size_t g = 0; g < rows.size(); ++g) {
    Row row = {rows[g], 0, vectors_.get() + static_cast<Offset>(g) * kVectors * dp_};
    load_dense(problem_, row.row, vector(row, kDense));
    load_start(problem_, row.row, vector(row, kX));
    start_residual(dp_, vector(row, kDense), vector(row, kX), vector(row, kResidual), vector(row, kDiagonal));
    std::fill_n(vector(row, kSums), dp_, 0.0F);
    row.bias.capacity = *vector(row, kDense);
    rows_.push_back(row);
  }
  const bool has_biases = problem_.has_biases();
  for_entries([&](Row& row, Offset n) {
    micro_.panel_residual(n, dp_, panel_.get(), w_.get(), v_.get(), vector(row, kX), vector(row, kResidual),
                          vector(row, kDiagonal));
    if (!has_biases) return;
    micro_.panel_combine(n, dp_, panel_.get(), w_.get(), vector(row, kSums));
    row.bias.sum_v += sum_of(v_.get(), n);
    row.bias.capacity += static_cast<float>(sum_of(w_.get(), n));
  });
  for (Row& row : rows_) {
    regularize(problem_, vector(row, kX), vector(row, kDense), vector(row, kResidual), vector(row, kDiagonal));
    if (has_biases) {
      eliminate_bias(micro_, dp_, row.bias, vector(row, kSums), vector(row, kX), vector(row, kResidual),
                     vector(row, kDiagonal));
      biases_[static_cast<std::size_t>(&row - rows_.data())] = row.bias;
    }
    row.rz = micro_.cg_begin(dp_, vector(row, kDense), vector(row, kResidual), vector(row, kDiagonal),
                             vector(row, kDirection), vector(row, kProduct));
    row.converged = converged_residual(row.rz, tolerance);
  }
  for (int step = 0; step < steps; ++step) {
    std::erase_if(rows_, [](const Row& row) { return !(row.rz > row.converged); });
    if (rows_.empty()) break;
    for_entries([&](const Row& row, Offset n) {
      micro_.panel_apply(n, dp_, panel_.get(), w_.get(), vector(row, kDirection), vector(row, kProduct));
    });
    for (Row& row : rows_) {
      if (has_biases) {
        eliminate_bias(micro_, dp_, row.bias, vector(row, kSums), vector(row, kDirection), vector(row, kProduct));
      }
      row.rz = micro_.cg_step(dp_, vector(row, kDense), vector(row, kDiagonal), row.rz, vector(row, kDirection),
                              vector(row, kProduct), vector(row, kResidual), vector(row, kX));
    }
  }
  for (std::size_t g = 0; g < rows.size(); ++g) {
    const float* vectors = vectors_.get() + static_cast<Offset>(g) * kVectors * dp_;
    const float* x = vectors + kX * dp_;
    std::copy_n(x, problem_.y.n_cols, problem_.x.row(rows[g]));
    if (has_biases) {
      problem_.ratings->x_biases[static_cast<std::size_t>(rows[g])] =
          biases_[g].of(micro_.dot(vectors + kSums * dp_, x, dp_));
    }
  }
}

/// Solves rows one after another with scratch of its own.
class RowEngine {
 public:
  RowEngine(const Problem& problem, Offset longest_row);

  void solve(Offset row);

 private:
  void load_row(Offset row);
  [[nodiscard]] bool keeps_panel() const { return n_ <= panel_rows_; }
  [[nodiscard]] bool rounds_products(int terms) const { return terms > 0 && micro_.has_bf16_tiles && all_positive_; }
  void add_to_matrix(Offset n, Offset d, const float* panel, const float* w, float* matrix, int terms);
  void add_residual(Offset first, Offset last, float* panel);
  void form_system(int terms);
  void apply_system(const float* p, float* q);
  void solve_cg(int steps, float tolerance);
  void solve_cholesky();
  void refine(int terms);
  void solve_dual();
  bool factor_block(Offset column, Offset width, int terms, float load);
  void solve_block();
  void solve_descent();
  [[nodiscard]] bool solve_single(Offset row);
  void start_system();
  void eliminate_bias_from_system();
  void apply_bias(const float* p, float* q) const;

  const Problem& problem_;
  const simd::MicroKernels& micro_;
  Offset d_, dp_;               // factors, padded
  Offset chunk_rows_;           // rows gathered at once
  Offset panel_rows_;           // longest row whose gathered block is kept
  Offset n_ = 0, np_ = 0;       // entries of this row, padded
  Offset row_ = 0, begin_ = 0;  // this row and its first entry
  bool all_positive_ = true;    // every weight c - w0 > 0
  Bias bias_;                   // of ratings
  Scratch<float> w_, v_;        // per entry: c - w0 and c p, or those of ratings
  Scratch<float> panel_, scaled_, matrix_;
  Scratch<float> x_, residual_, diagonal_, dense_, sums_, vectors_;
  Scratch<unsigned char> tiles_;
};

RowEngine::RowEngine(const Problem& problem, Offset longest_row)
    : problem_(problem), micro_(problem.micro), d_(problem.y.n_cols), dp_(padded(d_)) {
  const auto count = [](Offset n) { return static_cast<std::size_t>(n); };
  const bool is_block = problem.solver == AlsSolver::kBlock, forms = problem.solver != AlsSolver::kCg;
  // In kCg rows whose panel is not kept go to LongRows.
  const Offset longest = padded(forms ? longest_row : std::min(longest_row, panel_rows(dp_)));
  const Offset width = is_block ? padded(std::min(problem.block, d_)) : dp_;
  chunk_rows_ = chunk_rows(dp_);
  panel_rows_ = panel_rows(dp_);
  // The dual of a row has up to dp_ entries on a side, and its panel is held twice.
  const Offset dual_rows = problem.solver == AlsSolver::kCholesky ? std::min(dp_, longest) : 0;
  const Offset form_rows = forms ? std::min(kFormRows, longest) : 0;
  const Offset panel_size = is_block ? std::max(longest * width, std::min(chunk_rows_, longest) * dp_)
                                     : std::max(std::min(panel_rows_, longest), dual_rows) * dp_;
  w_ = Scratch<float>(count(longest));
  v_ = Scratch<float>(count(longest));
  panel_ = Scratch<float>(count(panel_size));
  scaled_ = Scratch<float>(count(std::max(form_rows * width, dual_rows * dp_)));
  matrix_ = Scratch<float>(count(forms ? width * width : 0));
  x_ = Scratch<float>(count(dp_));
  residual_ = Scratch<float>(count(dp_));
  diagonal_ = Scratch<float>(count(dp_));
  dense_ = Scratch<float>(count(dp_));
  sums_ = Scratch<float>(count(dp_));
  vectors_ = Scratch<float>(count(std::max(3 * dp_, longest)));
  if (micro_.has_bf16_tiles) tiles_ = Scratch<unsigned char>(count(simd::syrk_scratch_bytes(form_rows, width)));
}

void RowEngine::load_row(Offset row) {
  row_ = row;
  begin_ = problem_.interactions.indptr[row];
  n_ = problem_.interactions.row_size(row);
  np_ = padded(n_);
  all_positive_ = load_weights(problem_, begin_, n_, w_.get(), v_.get());
  load_dense(problem_, row, dense_.get());
  load_start(problem_, row, x_.get());
  if (problem_.has_biases()) bias_ = {sum_of(v_.get(), n_), dense_[0] + static_cast<float>(sum_of(w_.get(), n_))};
}

/// The residual of x_ and the diagonal, before any entry is added.
void RowEngine::start_system() {
  start_residual(dp_, dense_.get(), x_.get(), residual_.get(), diagonal_.get());
  if (problem_.has_biases()) std::fill_n(sums_.get(), dp_, 0.0F);
}

/// Once all entries are added.
void RowEngine::eliminate_bias_from_system() {
  if (!problem_.has_biases()) return;
  eliminate_bias(micro_, dp_, bias_, sums_.get(), x_.get(), residual_.get(), diagonal_.get());
}

void RowEngine::apply_bias(const float* p, float* q) const {
  if (problem_.has_biases()) eliminate_bias(micro_, dp_, bias_, sums_.get(), p, q);
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

/// Gathers entries [first, last) into `panel` and adds their terms to the residual of x_ and to the diagonal.
void RowEngine::add_residual(Offset first, Offset last, float* panel) {
  for (Offset row = first; row < last; row += chunk_rows_) {
    const Offset n = std::min(chunk_rows_, last - row);
    float* rows = panel + (row - first) * dp_;
    gather(problem_, begin_ + row, n, rows);
    micro_.panel_residual(padded(n), dp_, rows, w_.get() + row, v_.get() + row, x_.get(), residual_.get(),
                          diagonal_.get());
    if (problem_.has_biases()) micro_.panel_combine(padded(n), dp_, rows, w_.get() + row, sums_.get());
  }
}

/// The matrix of the row's system, and the residual of x_.
void RowEngine::form_system(int terms) {
  start_system();
  std::fill_n(matrix_.get(), dp_ * dp_, 0.0F);
  for (Offset first = 0; first < n_; first += kFormRows) {
    const Offset last = std::min(n_, first + kFormRows);
    float* panel = panel_.get() + (keeps_panel() ? first * dp_ : 0);
    add_residual(first, last, panel);
    add_to_matrix(last - first, dp_, panel, w_.get() + first, matrix_.get(), terms);
  }
  regularize(problem_, x_.get(), dense_.get(), residual_.get(), diagonal_.get());
  for (Offset i = 0; i < dp_; ++i) matrix_[i * dp_ + i] += dense_[i];
  if (!problem_.has_biases()) return;
  eliminate_bias_from_system();
  for (Offset i = 0; i < d_; ++i) {  // from the diagonal on, up to the padding
    micro_.axpy(-sums_[i] / bias_.capacity, sums_.get() + i, matrix_.get() + i * dp_ + i, d_ - i);
  }
}

/// q <- the matrix of the system times p, from the gathered rows.
void RowEngine::apply_system(const float* p, float* q) {
  for (Offset i = 0; i < dp_; ++i) q[i] = dense_[i] * p[i];
  if (keeps_panel()) {
    micro_.panel_apply(np_, dp_, panel_.get(), w_.get(), p, q);
    return apply_bias(p, q);
  }
  for (Offset first = 0; first < n_; first += chunk_rows_) {
    const Offset n = std::min(chunk_rows_, n_ - first);
    gather(problem_, begin_ + first, n, panel_.get());
    micro_.panel_apply(padded(n), dp_, panel_.get(), w_.get() + first, p, q);
  }
  apply_bias(p, q);
}

void RowEngine::solve_cg(int steps, float tolerance) {
  if (!keeps_panel()) {
    LongRows(problem_, 1).solve({&row_, 1}, steps, tolerance);
    return load_start(problem_, row_, x_.get());
  }
  start_system();
  add_residual(0, n_, panel_.get());
  regularize(problem_, x_.get(), dense_.get(), residual_.get(), diagonal_.get());
  eliminate_bias_from_system();
  float *p = vectors_.get(), *q = p + dp_;
  float rz = micro_.cg_begin(dp_, dense_.get(), residual_.get(), diagonal_.get(), p, q);
  const float converged = converged_residual(rz, tolerance);
  for (int step = 0; step < steps && rz > converged; ++step) {
    micro_.panel_apply(np_, dp_, panel_.get(), w_.get(), p, q);
    apply_bias(p, q);
    rz = micro_.cg_step(dp_, dense_.get(), diagonal_.get(), rz, p, q, residual_.get(), x_.get());
  }
}

void RowEngine::solve_cholesky() {
  const bool positive_dense = std::all_of(dense_.get(), dense_.get() + d_, [](float value) { return value > 0; });
  if (np_ < dp_ && all_positive_ && positive_dense) return solve_dual();
  // A row that has to be gathered again for each refinement is better off with a matrix that needs none.
  const int terms = keeps_panel() ? 1 : 3;
  form_system(terms);
  if (!micro_.cholesky_upper(dp_, matrix_.get())) return solve_cg(kExactSteps, 0);  // singular in float32
  if (rounds_products(terms)) return refine(terms);
  micro_.cholesky_solve(dp_, matrix_.get(), residual_.get());
  for (Offset i = 0; i < dp_; ++i) x_[i] += residual_[i];
}

/// Conjugate gradients on the exact system, whose matrix is known up to the rounding of its products and factored: the
/// preconditioner. A solve divides the squared residual by `gain`, first guessed, then seen; the last is taken on
/// trust.
void RowEngine::refine(int terms) {
  float gain = terms == 1 ? kOneTermGain : kThreeTermsGain;
  float *p = vectors_.get(), *q = p + dp_, *z = q + dp_;
  float length = 0;
  for (Offset i = 0; i < dp_; ++i) length += dense_[i] * x_[i] * x_[i];
  const auto precondition = [&] {
    std::copy_n(residual_.get(), dp_, z);
    micro_.cholesky_solve(dp_, matrix_.get(), z);
    return micro_.dot(residual_.get(), z, dp_);
  };
  float rz = precondition();
  const float refined = kRefined * std::max(rz, length);
  std::copy_n(z, dp_, p);
  for (int step = 0; step < kMaxRefinements && rz > refined * gain; ++step) {
    apply_system(p, q);
    const float curvature = micro_.dot(p, q, dp_);
    if (!(curvature > 0)) break;
    const float size = rz / curvature;
    micro_.axpy(size, p, x_.get(), dp_);
    micro_.axpy(-size, q, residual_.get(), dp_);
    const float next = precondition();
    const float ratio = next / rz;
    for (Offset i = 0; i < dp_; ++i) p[i] = z[i] + ratio * p[i];
    gain = std::min(gain, 1 / ratio);
    rz = next;
  }
  micro_.axpy(1, z, x_.get(), dp_);
}

/// With P~ = W^(1/2) P D^(-1/2) the solution is D^(-1/2) P~' (I + P~ P~')^(-1) W^(-1/2) v (push-through identity):
/// an n x n system where the row has n < k entries.
void RowEngine::solve_dual() {
  float* scale = diagonal_.get();
  for (Offset i = 0; i < dp_; ++i) scale[i] = 1 / std::sqrt(dense_[i]);
  gather(problem_, begin_, n_, panel_.get());
  float *t = vectors_.get(), *root = t + dp_;
  for (Offset j = 0; j < np_; ++j) root[j] = std::sqrt(w_[j]);
  float* transposed = scaled_.get();  // (dp_, np_)
  micro_.transpose_scaled(np_, dp_, panel_.get(), root, scale, transposed);
  std::fill_n(matrix_.get(), np_ * np_, 0.0F);
  micro_.syrk_upper(dp_, np_, transposed, transposed, matrix_.get());
  for (Offset j = 0; j < np_; ++j) {
    matrix_[j * np_ + j] += 1;
    t[j] = j < n_ ? v_[j] / root[j] : 0;
    // A bias is one more factor, 1 for every entry, with the penalty of all.
    if (problem_.has_biases()) micro_.axpy(root[j] / dense_[0], root + j, matrix_.get() + j * np_ + j, np_ - j);
  }
  // Identity plus a positive semidefinite matrix: the factorization cannot meet a pivot below 1 but for overflow.
  if (!micro_.cholesky_upper(np_, matrix_.get())) return solve_cg(kExactSteps, 0);
  micro_.cholesky_solve(np_, matrix_.get(), t);
  for (Offset j = 0; j < np_; ++j) t[j] *= root[j];
  std::fill_n(x_.get(), dp_, 0.0F);
  micro_.panel_combine(np_, dp_, panel_.get(), t, x_.get());
  for (Offset i = 0; i < dp_; ++i) x_[i] /= dense_[i];
  if (!problem_.has_biases()) return;
  std::fill_n(sums_.get(), dp_, 0.0F);
  micro_.panel_combine(np_, dp_, panel_.get(), w_.get(), sums_.get());
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
    gather(problem_, begin_ + first, n, panel_.get());
    micro_.panel_dot(padded(n), dp_, panel_.get(), x_.get(), errors + first);
  }
  for (Offset j = 0; j < np_; ++j) errors[j] = v_[j] - w_[j] * errors[j];
  const Offset widest = padded(std::min(problem_.block, d_));
  for (Offset column = 0; column < d_; column += widest) {
    const Offset columns = std::min(widest, d_ - column);
    const Offset width = padded(columns);
    gather_columns(problem_, begin_, n_, column, columns, width, panel_.get());
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

/// Coordinate descent on x' A x - 2 b' x + l1 |x|_1, where A is the formed matrix and residual_ = b - A x. Each
/// coordinate's minimum is a soft threshold: Friedman, Hastie & Tibshirani (2010), doi:10.18637/jss.v033.i01, eq. 5.
void RowEngine::solve_descent() {
  const auto& objective = problem_.ratings->objective;
  if (objective.non_negative) {
    for (Offset i = 0; i < d_; ++i) x_[i] = std::max(x_[i], 0.0F);
  }
  form_system(3);
  for (Offset i = 0; i < d_; ++i) {
    for (Offset j = i + 1; j < d_; ++j) matrix_[j * dp_ + i] = matrix_[i * dp_ + j];
    std::fill(matrix_.get() + i * dp_ + d_, matrix_.get() + (i + 1) * dp_, 0.0F);
  }
  const double scale = penalty_scale(objective, total_weight(problem_.ratings->weights, begin_, n_));
  const float threshold = static_cast<float>(objective.l1 * scale / 2);
  for (int step = 0; step < problem_.steps; ++step) {
    double moved = 0, length = 0;
    for (Offset i = 0; i < d_; ++i) {
      const float a = matrix_[i * dp_ + i], before = x_[i];
      const float target = residual_[i] + a * before;
      const float least = objective.non_negative ? 0.0F : std::min(target + threshold, 0.0F);
      // Where nothing is known of a coordinate and nothing is penalized, it is 0.
      const float after = a > 0 ? std::max(target - threshold, least) / a : 0;
      length += static_cast<double>(a) * after * after;
      if (after == before) continue;
      const float change = after - before;
      x_[i] = after;
      micro_.axpy(-change, matrix_.get() + i * dp_, residual_.get(), dp_);
      moved += static_cast<double>(a) * change * change;
    }
    if (!(moved > std::max(static_cast<double>(problem_.tolerance), kLeastMove) * length)) break;
  }
}

/// The solution of a row with one rating is a multiple of that item's y; returns whether this is such a row. Half the
/// users and items of many data sets are.
bool RowEngine::solve_single(Offset row) {
  if (problem_.ratings == nullptr || problem_.solver == AlsSolver::kDescent) return false;
  if (problem_.interactions.row_size(row) != 1) return false;
  const Offset entry = problem_.interactions.indptr[row];
  load_weights(problem_, entry, 1, w_.get(), v_.get());
  const float w = w_[0], v = v_[0], penalty = rating_penalty(problem_, row), capacity = w + penalty;
  const float* y = problem_.y.row(problem_.interactions.indices[entry]);
  const float length = micro_.dot(y, y, d_);
  // What a bias leaves of the weight and of the error is the share penalty / capacity; without a penalty this is the
  // shortest solution.
  const float denominator = (problem_.has_biases() ? capacity : penalty) + w * length;
  const float multiple = denominator > 0 ? v / denominator : 0;
  float* x = problem_.x.row(row);
  for (Offset i = 0; i < d_; ++i) x[i] = multiple * y[i];
  if (problem_.has_biases()) {
    problem_.ratings->x_biases[static_cast<std::size_t>(row)] = (v - w * multiple * length) / capacity;
  }
  return true;
}

void RowEngine::solve(Offset row) {
  if (problem_.interactions.row_size(row) == 0) {
    std::fill_n(problem_.x.row(row), d_, 0.0F);
    if (problem_.has_biases()) problem_.ratings->x_biases[static_cast<std::size_t>(row)] = 0;
    return;
  }
  if (solve_single(row)) return;
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
    case AlsSolver::kDescent:
      solve_descent();
      break;
  }
  std::copy_n(x_.get(), d_, problem_.x.row(row));
  if (problem_.has_biases()) {
    problem_.ratings->x_biases[static_cast<std::size_t>(row)] = bias_.of(micro_.dot(sums_.get(), x_.get(), dp_));
  }
}

/// Some of the rows, as positions in an order of them.
struct Piece {
  std::size_t begin, end;
  bool together;  // by LongRows
};

struct Schedule {
  std::vector<Offset> rows;
  std::vector<Piece> pieces;
};

/// Long rows first, from the longest on, side by side where that is how they are solved, else each alone; then groups
/// of the others in order.
Schedule balanced_schedule(const Problem& problem) {
  const auto& interactions = problem.interactions;
  const bool groups = problem.solver == AlsSolver::kCg;
  const Offset is_long = groups ? panel_rows(padded(problem.y.n_cols)) + 1 : kHeavyRow;
  Schedule schedule;
  auto& [rows, pieces] = schedule;
  rows.reserve(static_cast<std::size_t>(interactions.n_rows));
  for (Offset row = 0; row < interactions.n_rows; ++row) {
    if (interactions.row_size(row) >= is_long) rows.push_back(row);
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [&](Offset a, Offset b) { return interactions.row_size(a) > interactions.row_size(b); });
  const std::size_t n_long = rows.size();
  Offset uses = 0;
  for (std::size_t i = 0; i < n_long; ++i) {
    const bool closed = pieces.empty() || !groups || uses >= kGroupUses * interactions.n_cols ||
                        uses * kGroupShare >= interactions.nnz() ||
                        i - pieces.back().begin == static_cast<std::size_t>(kGroupRows);
    if (closed) {
      pieces.push_back({i, i, groups});
      uses = 0;
    }
    pieces.back().end = i + 1;
    uses += interactions.row_size(rows[i]);
  }
  for (Offset row = 0; row < interactions.n_rows; ++row) {
    if (interactions.row_size(row) < is_long) rows.push_back(row);
  }
  for (std::size_t i = n_long; i < rows.size(); i += kRowsEach) {
    pieces.push_back({i, std::min(rows.size(), i + static_cast<std::size_t>(kRowsEach)), false});
  }
  return schedule;
}

Offset longest_row(CsrView<const float> interactions) {
  Offset longest = 0;
  for (Offset row = 0; row < interactions.n_rows; ++row) longest = std::max(longest, interactions.row_size(row));
  return longest;
}

void check_rounded(const char* kernel, MatrixView<const float> y, MatrixView<const Bf16> y_bf16) {
  if (y_bf16.n_rows == 0) return;
  check_equal(kernel, "y_bf16", y_bf16.n_rows, "rows", "y", y.n_rows, "rows");
  check_equal(kernel, "y_bf16", y_bf16.n_cols, "columns", "y padded to 16", padded(y.n_cols), "columns");
}

/// Improves every row.
void sweep(const Context& ctx, const Problem& problem) {
  const Schedule schedule = balanced_schedule(problem);
  const Offset longest = longest_row(problem.interactions);
  struct Engines {
    std::unique_ptr<RowEngine> single;
    std::unique_ptr<LongRows> group;
  };
  std::vector<Engines> engines(static_cast<std::size_t>(ctx.n_threads));
  parallel_for(ctx, static_cast<Offset>(schedule.pieces.size()), 1, [&](Offset index, Offset, int worker) {
    const FlushDenormals flush;
    const Piece& piece = schedule.pieces[static_cast<std::size_t>(index)];
    const std::span rows(schedule.rows.data() + piece.begin, piece.end - piece.begin);
    auto& [single, group] = engines[static_cast<std::size_t>(worker)];
    if (piece.together) {
      if (!group) group = std::make_unique<LongRows>(problem, kGroupRows);
      return group->solve(rows, problem.steps, problem.tolerance);
    }
    if (!single) single = std::make_unique<RowEngine>(problem, longest);
    for (const Offset row : rows) single->solve(row);
  });
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
  check_that(solver != AlsSolver::kDescent, kName, "solver must be cholesky, cg or block");
  check_rounded(kName, y, y_bf16);
  const float largest = *std::max_element(eigenvalues.begin(), eigenvalues.end());
  sweep(ctx, {*ctx.micro, interactions, y, y_bf16, eigenvalues, largest, objective, solver, steps, tolerance, block, x,
              nullptr});
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

namespace {

void check_ratings(const char* kernel, CsrView<const float> ratings, std::span<const float> weights,
                   MatrixView<const float> x, MatrixView<const float> y, std::span<const float> x_biases,
                   std::span<const float> y_biases) {
  const auto size = [](std::span<const float> values) { return static_cast<Offset>(values.size()); };
  check_equal(kernel, "ratings", ratings.n_cols, "columns", "y", y.n_rows, "rows");
  check_equal(kernel, "ratings", ratings.n_rows, "rows", "x", x.n_rows, "rows");
  check_equal(kernel, "x", x.n_cols, "columns", "y", y.n_cols, "columns");
  check_equal(kernel, "x_biases", size(x_biases), "entries", "x", x.n_rows, "rows");
  check_equal(kernel, "y_biases", size(y_biases), "entries", "y", y.n_rows, "rows");
  if (!weights.empty()) check_equal(kernel, "weights", size(weights), "entries", "ratings", ratings.nnz(), "entries");
}

/// Penalties of a row with this total weight.
double row_penalties(const ExplicitAlsObjective& objective, double total, std::span<const float> x, double bias) {
  double sizes = 0;
  for (const float value : x) sizes += std::fabs(static_cast<double>(value));
  return penalty_scale(objective, total) *
         (objective.regularization * (squared_norm(x) + bias * bias) + objective.l1 * sizes);
}

}  // namespace

void explicit_als_half_sweep(const Context& ctx, CsrView<const float> ratings, std::span<const float> weights,
                             MatrixView<const float> y, MatrixView<const Bf16> y_bf16, std::span<const float> y_biases,
                             const ExplicitAlsObjective& objective, AlsSolver solver, int steps, float tolerance,
                             MatrixView<float> x, std::span<float> x_biases) {
  constexpr const char* kName = "explicit_als_half_sweep";
  check_ratings(kName, ratings, weights, {x.data, x.n_rows, x.n_cols}, y, x_biases, y_biases);
  check_that(y.n_cols >= 1, kName, "y must have at least one column");
  check_that(steps >= 1, kName, "steps must be >= 1");
  check_that(tolerance >= 0, kName, "tolerance must be >= 0");
  check_that(solver != AlsSolver::kBlock, kName, "solver must be cholesky, cg or descent");
  check_that(solver == AlsSolver::kDescent || (objective.l1 == 0 && !objective.non_negative), kName,
             "l1 and non_negative need the solver descent");
  check_rounded(kName, y, y_bf16);
  const Ratings terms = {objective, weights, y_biases, x_biases};
  sweep(ctx, {*ctx.micro, ratings, y, y_bf16, {}, 0, {}, solver, steps, tolerance, 1, x, &terms});
}

std::pair<double, double> explicit_als_loss(const Context& ctx, CsrView<const float> ratings,
                                            std::span<const float> weights, MatrixView<const float> x,
                                            MatrixView<const float> y, std::span<const float> x_biases,
                                            std::span<const float> y_biases, const ExplicitAlsObjective& objective) {
  check_ratings("explicit_als_loss", ratings, weights, x, y, x_biases, y_biases);
  const Offset d = y.n_cols;
  const auto bias_of = [&](std::span<const float> biases, Offset row) {
    return objective.biases ? static_cast<double>(biases[static_cast<std::size_t>(row)]) : 0.0;
  };
  const double mean = objective.biases ? static_cast<double>(objective.mean) : 0.0;
  struct Loss {
    double errors = 0, penalties = 0;
  };
  std::vector<Loss> losses(static_cast<std::size_t>(ratings.n_rows));
  parallel_for(ctx, ratings.n_rows, 256, [&](Offset begin, Offset end, int) {
    for (Offset row = begin; row < end; ++row) {
      auto& [errors, penalties] = losses[static_cast<std::size_t>(row)];
      for (Offset j = ratings.indptr[row]; j < ratings.indptr[row + 1]; ++j) {
        const Id column = ratings.indices[j];
        const double score = mean + bias_of(x_biases, row) + bias_of(y_biases, column) +
                             static_cast<double>(ctx.micro->dot(x.row(row), y.row(column), d));
        const double error = static_cast<double>(ratings.values[j]) - score;
        const double weight = weights.empty() ? 1 : static_cast<double>(weights[static_cast<std::size_t>(j)]);
        errors += weight * error * error;
      }
      if (ratings.row_size(row) == 0) continue;
      const double total = total_weight(weights, ratings.indptr[row], ratings.row_size(row));
      penalties = row_penalties(objective, total, {x.row(row), static_cast<std::size_t>(d)}, bias_of(x_biases, row));
    }
  });
  double errors = 0, penalties = 0;
  for (const Loss& loss : losses) {
    errors += loss.errors;
    penalties += loss.penalties;
  }
  std::vector<double> totals(static_cast<std::size_t>(ratings.n_cols), 0.0);
  for (Offset j = 0; j < ratings.nnz(); ++j) {
    totals[static_cast<std::size_t>(ratings.indices[j])] +=
        weights.empty() ? 1 : static_cast<double>(weights[static_cast<std::size_t>(j)]);
  }
  for (Offset i = 0; i < ratings.n_cols; ++i) {
    const double total = totals[static_cast<std::size_t>(i)];
    if (total == 0) continue;
    penalties += row_penalties(objective, total, {y.row(i), static_cast<std::size_t>(d)}, bias_of(y_biases, i));
  }
  return {errors, errors + penalties};
}

}  // namespace likewise::cpu
