#include "fm.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "check.hpp"
#include "grid.hpp"
#include "parallel.hpp"
#include "philox.hpp"
#include "scratch.hpp"
#include "simd/denormals.hpp"

namespace likewise::cpu {

namespace {

using Word = std::uint32_t;

constexpr Offset kMostBatch = 1 << 20;
constexpr Offset kMostPieces = 16;  // of a batch, and of the features that move after it
constexpr Offset kLeastPiece = 8;   // interactions of one
constexpr Offset kMostCandidates = 1024;
constexpr Word kMostTries = 8;  // rounds of four draws before a positive goes without
constexpr Offset kDrawnAtOnce = 4;
constexpr Offset kPool = 1024;     // items among which those of a batch are drawn: their rows stay in the cache
constexpr Word kDrawsOfPool = 1;   // tells them from draws of candidates
constexpr std::size_t kAhead = 8;  // features whose rows are on their way

std::size_t size(Offset n) { return static_cast<std::size_t>(n); }

/// What a feature's gradient takes from one interaction: weight times a row of the chunk, less own times its vector.
struct Term {
  Id feature;
  std::int32_t row;
  float weight, own;
};

/// Rows of d floats that are added one by one.
class Rows {
 public:
  void clear(Offset d) { d_ = d, n_ = 0; }

  std::int32_t add() {
    if (n_ == capacity_) {
      const Offset more = std::max<Offset>(64, 2 * capacity_);
      Scratch<float> grown(size(more * d_));
      std::copy_n(data_.get(), n_ * d_, grown.get());
      data_ = std::move(grown), capacity_ = more;
    }
    return static_cast<std::int32_t>(n_++);
  }

  [[nodiscard]] float* at(std::int32_t row) const { return data_.get() + row * d_; }

 private:
  Scratch<float> data_;
  Offset d_ = 0, n_ = 0, capacity_ = 0;
};

/// Some interactions of a batch: what they say of features, by the piece that moves these.
struct Chunk {
  Rows rows;
  std::array<std::vector<Term>, kMostPieces> terms;
  double loss = 0;
  Offset n_terms = 0;
};

/// Items among which those of a batch are drawn, with their rows: sum_l x_l v_l, and what they add to a score by
/// themselves as the weight.
struct Pool {
  std::vector<Id> items;
  Scratch<float> rows;
};

/// The data and the table of an epoch.
struct Epoch {
  CsrView<const float> by_user;
  const Id* users;  // of each interaction
  const FmFeatures& features;
  const FmRule& rule;
  const FmTable& table;
  PhiloxKey key;
  Word number;
  Offset n_pieces;

  [[nodiscard]] bool draws() const { return rule.loss != FmLoss::kRegression && rule.n_candidates > 0; }
  [[nodiscard]] Offset n_pool() const { return draws() ? std::min(kPool, by_user.n_cols) : 0; }
};

/// Takes gradients of interactions, with the scratch of one thread.
class Reader {
 public:
  Reader(const Context& ctx, const Epoch& epoch)
      : micro_(*ctx.micro),
        epoch_(epoch),
        d_(epoch.table.vectors.n_cols),
        weight_at_(epoch.table.n_factors),
        whole_(size(d_)) {}

  /// Draws the items in places [begin, end) of the pool of a batch, and sums their rows up.
  void fill(Word batch, Offset begin, Offset end, Pool& pool) {
    const Offset n_items = epoch_.by_user.n_cols;
    for (Offset at = begin; at < end; ++at) {
      if (epoch_.n_pool() == n_items) {
        pool.items[size(at)] = static_cast<Id>(at);
      } else {
        const auto place = static_cast<Word>(at);
        const PhiloxCounter words = philox4x32({place / 4, kDrawsOfPool, epoch_.number, batch}, epoch_.key);
        pool.items[size(at)] = static_cast<Id>(uniform_below(words[place % 4], static_cast<Word>(n_items)));
      }
      prefetch(epoch_.features.items.indptr + pool.items[size(at)]);
    }
    for (Offset at = begin; at < end; ++at) fetch_row(epoch_.features.items, pool.items[size(at)]);
    for (Offset at = begin; at < end; ++at) fetch_vectors(epoch_.features.items, pool.items[size(at)]);
    for (Offset at = begin; at < end; ++at) compose_right(pool.items[size(at)], pool.rows.get() + at * d_);
  }

  /// Reads the interactions, in turns that each look up, for all of them, what the turn before has asked memory for.
  void read(std::span<const Id> interactions, const Pool& pool, Chunk& chunk) {
    pool_ = &pool;
    for (const Id interaction : interactions) {
      prefetch(epoch_.by_user.values + interaction);
      prefetch(epoch_.by_user.indices + interaction);
      prefetch(epoch_.users + interaction);
    }
    find(interactions);
    for (const Source& source : sources_) {
      fetch_row(epoch_.features.users, source.user);
      fetch_row(epoch_.features.items, source.item);
      const Offset first = epoch_.by_user.indptr[source.user];
      prefetch(epoch_.by_user.indices + (first + epoch_.by_user.indptr[source.user + 1]) / 2);
    }
    for (std::size_t s = 0; s < sources_.size() + kAhead; ++s) {
      if (s < sources_.size()) {
        fetch_vectors(epoch_.features.users, sources_[s].user);
        fetch_vectors(epoch_.features.items, sources_[s].item);
      }
      if (s >= kAhead) read(sources_[s - kAhead], chunk);
    }
  }

 private:
  struct Source {
    Id interaction, user, item;
    float value;
  };
  /// The gradient of the loss by an item's score, and the item's row.
  struct Move {
    Id item;
    float gradient;
    const float* row;
  };

  [[nodiscard]] bool is_logistic() const { return epoch_.rule.loss == FmLoss::kLogistic; }

  void find(std::span<const Id> interactions) {
    sources_.clear();
    for (const Id interaction : interactions) {
      const float value = epoch_.by_user.values[interaction];
      if (epoch_.rule.loss != FmLoss::kRegression && !(value > 0 || (is_logistic() && value < 0))) continue;
      const Id user = epoch_.users[interaction], item = epoch_.by_user.indices[interaction];
      sources_.push_back({interaction, user, item, value});
      prefetch(epoch_.by_user.indptr + user);
      prefetch(epoch_.features.users.indptr + user);
      prefetch(epoch_.features.items.indptr + item);
    }
  }

  static void fetch_row(CsrView<const float> features, Offset row) {
    const Offset first = features.indptr[row];
    prefetch(features.indices + first);
    prefetch(features.values + first);
  }

  void fetch_vectors(CsrView<const float> features, Offset row) const {
    for (const Id id : features.row_indices(row)) {
      const float* vector = epoch_.table.vectors.row(id);
      for (Offset j = 0; j < d_; j += static_cast<Offset>(kCacheLine / sizeof(float))) prefetch(vector + j);
    }
  }

  void add(CsrView<const float> features, Offset row, float* out) const {
    const auto ids = features.row_indices(row);
    micro_.combine_gathered(static_cast<Offset>(ids.size()), d_, ids.data(), features.row_values(row).data(),
                            epoch_.table.vectors.data, out);
  }

  /// sum_l x_l^2 v_l'v_l.
  [[nodiscard]] float own_products(CsrView<const float> features, Offset row) const {
    const auto ids = features.row_indices(row);
    const auto values = features.row_values(row);
    float sum = 0;
    for (std::size_t e = 0; e < ids.size(); ++e) {
      const float* v = epoch_.table.vectors.row(ids[e]);
      sum += values[e] * values[e] * (micro_.dot(v, v, d_) - v[weight_at_] * v[weight_at_]);
    }
    return sum;
  }

  [[nodiscard]] bool has_contexts() const { return epoch_.features.contexts.n_rows > 0; }

  [[nodiscard]] bool has_products_within(Id item) const {
    return epoch_.rule.within && epoch_.features.items.row_size(item) > 1;
  }

  /// sum_l x_l v_l of an item, and what it adds to a score by itself as the weight.
  void compose_right(Id item, float* out) const {
    std::fill_n(out, d_, 0.0F);
    add(epoch_.features.items, item, out);
    if (!has_products_within(item)) return;
    const float weight = out[weight_at_];
    out[weight_at_] = 0;
    out[weight_at_] = weight + (micro_.dot(out, out, d_) - own_products(epoch_.features.items, item)) / 2;
  }

  /// Adds the row sum_l x_l v_l over the user's and the context's features, with 1 as its weight: its product with an
  /// item's row is what both add to a score.
  std::int32_t compose_left(const Source& source, Rows& rows) {
    const std::int32_t at = rows.add();
    float* left = rows.at(at);
    std::fill_n(left, d_, 0.0F);
    add(epoch_.features.users, source.user, left);
    n_left_ = epoch_.features.users.row_size(source.user);
    if (has_contexts()) {
      add(epoch_.features.contexts, source.interaction, left);
      n_left_ += epoch_.features.contexts.row_size(source.interaction);
    }
    left_constant_ = static_cast<float>(epoch_.rule.mean) + left[weight_at_];
    left[weight_at_] = 0;
    if (epoch_.rule.within && n_left_ > 1) {
      float own = own_products(epoch_.features.users, source.user);
      if (has_contexts()) own += own_products(epoch_.features.contexts, source.interaction);
      left_constant_ += (micro_.dot(left, left, d_) - own) / 2;
    }
    left[weight_at_] = 1;
    return at;
  }

  void read(const Source& source, Chunk& chunk) {
    moves_.clear();
    const std::int32_t left = compose_left(source, chunk.rows);
    left_ = chunk.rows.at(left);
    compose_right(source.item, whole_.get());
    const float score = micro_.dot(left_, whole_.get(), d_);
    switch (epoch_.rule.loss) {
      case FmLoss::kRegression:
        read_rating(source, score, chunk);
        break;
      case FmLoss::kLogistic:
        read_labels(source, score, chunk);
        break;
      case FmLoss::kBpr:
        read_pair(source, score, chunk);
        break;
      case FmLoss::kWarp:
        read_violator(source, score, chunk);
        break;
    }
    if (!moves_.empty()) list_terms(source, left, chunk);
  }

  [[nodiscard]] bool is_seen(Id user, Id item) const {
    const auto seen = epoch_.by_user.row_indices(user);
    const Id* from = seen.data();
    for (std::size_t n = seen.size(); n > 1;) {  // without branches, which would be guessed wrong half the time
      const std::size_t half = n / 2;
      from += from[half] <= item ? half : 0;
      n -= half;
    }
    return *from == item;
  }

  /// Calls use(place) for places of the pool with unseen items as they are drawn, with their scores, until it returns
  /// false or there were `n_wanted`.
  template <class Use>
  void each_candidate(const Source& source, Offset n_wanted, Use use) const {
    // As many draws again may fail as are wanted, and some more.
    const auto n_rounds = static_cast<Word>(n_wanted / 2) + kMostTries;
    const auto n_pool = static_cast<Word>(pool_->items.size());
    Offset n_used = 0;
    for (Word round = 0; round < n_rounds && n_used < n_wanted; ++round) {
      std::array<Id, kDrawnAtOnce> places;
      std::array<float, kDrawnAtOnce> scores;
      Offset n = 0;
      for (const Word word : philox4x32({static_cast<Word>(source.interaction), 0, epoch_.number, round}, epoch_.key)) {
        if (n == n_wanted - n_used) break;
        const Word place = uniform_below(word, n_pool);
        if (!is_seen(source.user, pool_->items[place])) places[size(n++)] = static_cast<Id>(place);
      }
      micro_.dot_gathered(n, d_, places.data(), pool_->rows.get(), left_, scores.data());
      for (Offset p = 0; p < n; ++p, ++n_used) {
        if (!use(places[size(p)], scores[size(p)])) return;
      }
    }
  }

  void learn(const Source& source, float gradient) { moves_.push_back({source.item, gradient, whole_.get()}); }
  void learn(Id place, float gradient) {
    moves_.push_back({pool_->items[size(place)], gradient, pool_->rows.get() + place * d_});
  }

  void read_rating(const Source& source, float score, Chunk& chunk) {
    const float error = source.value - (left_constant_ + score);
    chunk.loss += static_cast<double>(error) * static_cast<double>(error);
    ++chunk.n_terms;
    learn(source, error);
  }

  /// The gradient of a label, of which the loss is counted.
  float label_gradient(bool is_liked, float score, Chunk& chunk) const {
    const float f = left_constant_ + score;
    const auto against = static_cast<double>(is_liked ? -f : f);
    chunk.loss += std::max(against, 0.0) + std::log1p(std::exp(-std::abs(against)));
    ++chunk.n_terms;
    return is_liked ? micro_.logistic(-f) : -micro_.logistic(f);
  }

  void read_labels(const Source& source, float score, Chunk& chunk) {
    learn(source, label_gradient(source.value > 0, score, chunk));
    if (!(source.value > 0)) return;
    each_candidate(source, epoch_.rule.n_candidates, [&](Id place, float f) {
      learn(place, label_gradient(false, f, chunk));
      return true;
    });
  }

  void read_pair(const Source& source, float score, Chunk& chunk) {
    each_candidate(source, 1, [&](Id place, float f) {
      const float x = score - f;
      chunk.loss += x > 0 ? 1 : 0;
      ++chunk.n_terms;
      const float g = micro_.logistic(-x);
      learn(source, g);
      learn(place, -g);
      return false;
    });
  }

  void read_violator(const Source& source, float score, Chunk& chunk) {
    Offset n_draws = 0;
    each_candidate(source, epoch_.rule.n_candidates, [&](Id place, float f) {
      if (n_draws++ == 0) {
        chunk.loss += f < score ? 1 : 0;
        ++chunk.n_terms;
      }
      if (!(f > score - 1)) return true;
      const auto n_others = static_cast<double>(epoch_.by_user.n_cols - 1);
      const double rank = std::floor(n_others / static_cast<double>(n_draws));
      const auto g = static_cast<float>(std::log(std::max(1.0, rank)));
      learn(source, g);
      learn(place, -g);
      return false;
    });
  }

  /// Says what each feature of the pair, or pairs, takes from it.
  void list_terms(const Source& source, std::int32_t left, Chunk& chunk) {
    const std::int32_t right = chunk.rows.add();
    float* sum = chunk.rows.at(right);
    std::fill_n(sum, d_, 0.0F);
    float total = 0;
    for (const Move& move : moves_) {
      micro_.axpy(move.gradient, move.row, sum, d_);
      total += move.gradient;
    }
    const bool left_has_products = epoch_.rule.within && n_left_ > 1;
    if (left_has_products) micro_.axpy(total, chunk.rows.at(left), sum, d_);
    sum[weight_at_] = total;
    const float own = left_has_products ? total : 0;
    list_side(epoch_.features.users, source.user, 1, own, right, chunk);
    if (has_contexts()) list_side(epoch_.features.contexts, source.interaction, 1, own, right, chunk);
    for (const Move& move : moves_) {
      if (!has_products_within(move.item)) {
        list_side(epoch_.features.items, move.item, move.gradient, 0, left, chunk);
        continue;
      }
      const std::int32_t both = chunk.rows.add();
      float* row = chunk.rows.at(both);
      std::copy_n(chunk.rows.at(left), d_, row);
      micro_.axpy(1, move.row, row, d_);
      row[weight_at_] = 1;
      list_side(epoch_.features.items, move.item, move.gradient, move.gradient, both, chunk);
    }
  }

  void list_side(CsrView<const float> features, Offset row, float gradient, float own, std::int32_t at,
                 Chunk& chunk) const {
    const auto ids = features.row_indices(row);
    const auto values = features.row_values(row);
    for (std::size_t e = 0; e < ids.size(); ++e) {
      chunk.terms[size(ids[e] % epoch_.n_pieces)].push_back(
          {ids[e], at, gradient * values[e], own * values[e] * values[e]});
    }
  }

  const simd::MicroKernels& micro_;
  const Epoch& epoch_;
  Offset d_, weight_at_;
  Scratch<float> whole_;  // the row of the item of an interaction
  const Pool* pool_ = nullptr;
  const float* left_ = nullptr;
  Offset n_left_ = 0;        // features of user and context
  float left_constant_ = 0;  // what they add to the score by themselves
  std::vector<Source> sources_;
  std::vector<Move> moves_;
};

/// Numbers features as they come.
class Numbering {
 public:
  /// Forgets all, and makes room for n features.
  void clear(std::size_t n) {
    std::size_t capacity = 64;
    while (capacity < 2 * n) capacity *= 2;
    shift_ = 64 - std::countr_zero(capacity);
    slots_.assign(capacity, {-1, 0});
    n_ = 0;
  }

  /// The number of a feature: `n()` before the call for a new one.
  std::int32_t operator()(Id feature) {
    constexpr std::uint64_t kGolden = 0x9E3779B97F4A7C15;
    std::size_t at = static_cast<std::uint64_t>(feature) * kGolden >> shift_;
    for (; slots_[at].feature != feature; at = (at + 1) & (slots_.size() - 1)) {
      if (slots_[at].feature < 0) {
        slots_[at] = {feature, n_++};
        break;
      }
    }
    return slots_[at].number;
  }

 private:
  struct Slot {
    Id feature;
    std::int32_t number;
  };
  std::vector<Slot> slots_;
  int shift_ = 0;
  std::int32_t n_ = 0;
};

/// Moves features as all chunks of a batch say, with the scratch of one thread.
class Mover {
 public:
  /// Moves those of one piece of the table.
  void move(const Context& ctx, const FmRule& rule, const FmTable& table, const float* mask, std::size_t piece,
            const std::vector<Chunk>& chunks) {
    gather(piece, chunks);
    simd::AdaGradStep step;
    step.mask = mask;
    step.rate = static_cast<float>(rule.learning_rate);
    for (std::size_t p = 0; p < touched_.size(); ++p) {
      if (p + kAhead < touched_.size()) fetch(table, touched_[p + kAhead].feature);
      const Touched& feature = touched_[p];
      const std::size_t first = feature.next - size(feature.n);
      step.n = feature.n, step.rows = rows_.data() + first, step.weights = weights_.data() + first;
      step.decay = static_cast<float>(rule.regularization) * static_cast<float>(feature.n);
      step.own = feature.own;
      ctx.micro->adagrad_step(table.vectors.n_cols, step, table.vectors.row(feature.feature),
                              table.squares.row(feature.feature));
    }
  }

 private:
  struct Touched {
    Id feature;
    Offset n;
    std::size_t next;  // of its terms
    float own;
  };

  /// Lists the terms of the piece by feature.
  void gather(std::size_t piece, const std::vector<Chunk>& chunks) {
    std::size_t n_terms = 0;
    for (const Chunk& chunk : chunks) n_terms += chunk.terms[piece].size();
    numbers_.clear(n_terms);
    rows_.resize(n_terms), weights_.resize(n_terms), places_.resize(n_terms);
    touched_.clear();
    std::size_t t = 0;
    for (const Chunk& chunk : chunks) {
      for (const Term& term : chunk.terms[piece]) {
        const auto number = size(places_[t++] = numbers_(term.feature));
        if (number == touched_.size()) touched_.push_back({term.feature, 0, 0, 0});
        ++touched_[number].n;
        touched_[number].own += term.own;
      }
    }
    std::size_t next = 0;
    for (Touched& feature : touched_) {
      feature.next = next;
      next += size(feature.n);
    }
    t = 0;
    for (const Chunk& chunk : chunks) {
      for (const Term& term : chunk.terms[piece]) {
        const std::size_t at = touched_[size(places_[t++])].next++;
        rows_[at] = chunk.rows.at(term.row);
        weights_[at] = term.weight;
      }
    }
  }

  static void fetch(const FmTable& table, Id feature) {
    const float *v = table.vectors.row(feature), *s = table.squares.row(feature);
    for (Offset j = 0; j < table.vectors.n_cols; j += static_cast<Offset>(kCacheLine / sizeof(float))) {
      prefetch(v + j);
      prefetch(s + j);
    }
  }

  Numbering numbers_;
  std::vector<std::int32_t> places_;  // of each term's feature among those touched
  std::vector<Touched> touched_;
  std::vector<const float*> rows_;
  std::vector<float> weights_;
};

/// Calls body(step, piece, worker) for all pieces of all steps; a step begins when the one before has ended. The first
/// exception of a body is thrown again.
template <class Body>
void for_each_step(const Context& ctx, Offset n_steps, Offset n_pieces, Body&& body) {
  Turns ended(1);
  std::atomic<bool> failed{false};
  // One loop, so that threads start once; pieces are taken in their order, as in `for_each_cell`.
  parallel_for(ctx, n_steps * n_pieces, 1, [&](Offset begin, Offset end, int worker) {
    for (Offset at = begin; at < end; ++at) {
      ended.wait_for(0, static_cast<int>(at / n_pieces * n_pieces));
      if (failed) return;
      try {
        body(at / n_pieces, at % n_pieces, worker);
      } catch (...) {
        failed = true;
        ended.release_all();
        throw;
      }
      ended.end(0);
    }
  });
}

void check(const char* kernel, CsrView<const float> by_user, const FmFeatures& features, const FmRule& rule,
           const FmTable& table) {
  const auto& [users, items, contexts] = features;
  const Offset n_features = table.vectors.n_rows, d = table.vectors.n_cols;
  check_equal(kernel, "by_user", by_user.n_rows, "rows", "users", users.n_rows, "rows");
  check_equal(kernel, "by_user", by_user.n_cols, "columns", "items", items.n_rows, "rows");
  if (contexts.n_rows > 0) {
    check_equal(kernel, "by_user", by_user.nnz(), "entries", "contexts", contexts.n_rows, "rows");
  }
  check_equal(kernel, "users", users.n_cols, "columns", "vectors", n_features, "rows");
  check_equal(kernel, "items", items.n_cols, "columns", "vectors", n_features, "rows");
  check_equal(kernel, "contexts", contexts.n_cols, "columns", "vectors", n_features, "rows");
  check_equal(kernel, "squares", table.squares.n_rows, "rows", "vectors", n_features, "rows");
  check_equal(kernel, "squares", table.squares.n_cols, "columns", "vectors", d, "columns");
  check_that(d % simd::kPad == 0, kernel, "vectors must be padded to a multiple of 16");
  check_that(table.n_factors >= 1 && table.n_factors < d, kernel, "n_factors must be in [1, columns of vectors)");
  check_that(by_user.nnz() <= std::numeric_limits<Id>::max(), kernel, "there may be at most 2^31 - 1 interactions");
  check_that(rule.n_candidates >= (rule.loss == FmLoss::kLogistic ? 0 : 1) && rule.n_candidates <= kMostCandidates,
             kernel, "n_candidates must be in [1, 1024] (kLogistic: [0, 1024])");
  check_that(rule.batch_size >= 1 && rule.batch_size <= kMostBatch, kernel, "batch_size must be in [1, 2^20]");
  check_that(rule.learning_rate > 0 && rule.regularization >= 0, kernel,
             "learning_rate must be > 0 and regularization >= 0");
  check_that(std::isfinite(rule.mean), kernel, "mean must be finite");
}

}  // namespace

std::pair<double, Offset> fm_epoch(const Context& ctx, CsrView<const float> by_user, const FmFeatures& features,
                                   const FmRule& rule, std::uint64_t seed, std::uint32_t epoch, const FmTable& table) {
  check("fm_epoch", by_user, features, rule, table);
  const Offset nnz = by_user.nnz(), d = table.vectors.n_cols;
  if (nnz == 0) return {0.0, 0};
  const Scratch<Id> order(size(nnz)), users(size(nnz));
  shuffled_numbers(philox_key(seed), epoch, {order.get(), size(nnz)});
  for (Offset user = 0; user < by_user.n_rows; ++user) {
    std::fill_n(users.get() + by_user.indptr[user], by_user.row_size(user), static_cast<Id>(user));
  }
  const Offset batch = std::min(rule.batch_size, nnz), n_batches = (nnz + batch - 1) / batch;
  const Offset n_pieces = std::clamp<Offset>(batch / kLeastPiece, 1, kMostPieces);
  check_that(3 * n_batches * n_pieces < (1 << 30), "fm_epoch", "batch_size is too small for so many interactions");
  const Epoch data{by_user, users.get(), features, rule, table, philox_key(seed), epoch, n_pieces};
  Scratch<float> mask(size(d));
  for (Offset j = 0; j < d; ++j) mask[size(j)] = j < table.n_factors ? 1.0F : 0.0F;
  std::vector<Chunk> chunks(size(n_pieces));
  Pool pool{std::vector<Id>(size(data.n_pool())), Scratch<float>(size(data.n_pool() * d))};
  std::vector<Mover> movers(size(ctx.n_threads));
  std::vector<Reader> readers;
  readers.reserve(size(ctx.n_threads));
  for (int t = 0; t < ctx.n_threads; ++t) readers.emplace_back(ctx, data);
  for_each_step(ctx, 3 * n_batches, n_pieces, [&](Offset step, Offset piece, int worker) {
    const FlushDenormals flush;
    const Offset begin_batch = step / 3 * batch, n = std::min(batch, nnz - begin_batch);
    const auto share = [&](Offset count, Offset p) { return count * p / n_pieces; };
    if (step % 3 == 0) {
      readers[size(worker)].fill(static_cast<Word>(step / 3), share(data.n_pool(), piece),
                                 share(data.n_pool(), piece + 1), pool);
    } else if (step % 3 == 1) {
      Chunk& chunk = chunks[size(piece)];
      chunk.rows.clear(d);
      for (std::vector<Term>& terms : chunk.terms) terms.clear();
      const Offset begin = share(n, piece), end = share(n, piece + 1);
      readers[size(worker)].read({order.get() + begin_batch + begin, size(end - begin)}, pool, chunk);
    } else {
      movers[size(worker)].move(ctx, rule, table, mask.get(), size(piece), chunks);
    }
  });
  std::pair<double, Offset> total{0.0, 0};
  for (const Chunk& chunk : chunks) total.first += chunk.loss, total.second += chunk.n_terms;
  return total;
}

}  // namespace likewise::cpu
