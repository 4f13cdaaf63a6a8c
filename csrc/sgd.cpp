#include "sgd.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "check.hpp"
#include "grid.hpp"
#include "parallel.hpp"
#include "philox.hpp"
#include "scratch.hpp"
#include "select.hpp"
#include "simd/denormals.hpp"

namespace likewise::cpu {

namespace {

using Word = std::uint32_t;

constexpr Offset kBlockBytes = 512 * 1024;  // of item vectors that are worked on: part of a second-level cache
constexpr Offset kMostBlocks = 64;
constexpr Offset kParallelBlocks = 16;  // even where fewer would fit in the cache
constexpr Offset kLeastBlock = 64;      // items from which negatives are drawn
constexpr Offset kLeastCell = 4096;     // entries of a row of the grid: below, starting threads costs more
constexpr int kPlaceBits = 24;          // of an item within its block; the block's number above
constexpr Word kPlaceMask = (Word{1} << kPlaceBits) - 1;
constexpr Word kIsNegative = Word{1} << 31;   // of an entry that is not to be learned
constexpr Word kMostTries = 8;                // rounds of four draws before a positive goes without
constexpr Word kDrawsOfPositives = 1U << 15;  // tells them from draws of negatives
constexpr Offset kScoredAtOnce = 4;
constexpr Word kFetchedAhead = 2;  // positives whose vectors, and those of their first draws, are fetched before
constexpr std::int64_t kMostCandidates = 1024;

std::size_t size(Offset n) { return static_cast<std::size_t>(n); }

Offset n_blocks_for(CsrView<const float> by_user, Offset d, const RankingRule& rule) {
  const Offset n_items = by_user.n_cols, nnz = by_user.nnz();
  const Offset for_cache = (n_items * d * static_cast<Offset>(sizeof(float)) + kBlockBytes - 1) / kBlockBytes;
  Offset n = std::clamp(for_cache, kParallelBlocks, kMostBlocks);
  n = std::min({n, n_items / kLeastBlock, nnz / kLeastCell});
  if (rule.n_positives > 1) n = std::min(n, nnz / (by_user.n_rows * rule.n_positives));
  const Offset least = (n_items >> kPlaceBits) + 1;  // a place has kPlaceBits
  return std::max(least, n);
}

/// Draws places of a block, each alike or in proportion to weights (Walker's alias method, Vose 1991,
/// doi:10.1109/32.92917).
class Sampler {
 public:
  void set_uniform(Offset n) {
    n_ = static_cast<Word>(n);
    limits_.clear();
  }

  void set_weights(std::span<const double> weights) {
    n_ = static_cast<Word>(weights.size());
    limits_.assign(weights.size(), ~Word{0});
    others_.assign(weights.size(), 0);
    const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
    if (!(total > 0)) return set_uniform(n_);
    std::vector<double> shares(weights.size());
    std::vector<Word> small, large;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      shares[i] = weights[i] * static_cast<double>(n_) / total;
      (shares[i] < 1 ? small : large).push_back(static_cast<Word>(i));
    }
    while (!small.empty() && !large.empty()) {
      const Word less = small.back(), more = large.back();
      small.pop_back();
      limits_[less] = static_cast<Word>(shares[less] * 0x1.fffffffep31);
      others_[less] = more;
      shares[more] -= 1 - shares[less];
      if (shares[more] < 1) {
        large.pop_back();
        small.push_back(more);
      }
    }
  }

  [[nodiscard]] Word draw(Word word) const {
    const std::uint64_t product = std::uint64_t{word} * n_;
    const auto place = static_cast<Word>(product >> 32);
    if (limits_.empty() || static_cast<Word>(product) <= limits_[place]) return place;
    return others_[place];
  }

 private:
  Word n_ = 0;
  std::vector<Word> limits_, others_;
};

/// A user's entries in one block.
struct Visit {
  Id user;
  Word n_entries;
};

/// The block whose items are worked on: which they are, and how negatives are drawn.
struct Block {
  std::span<const Id> members;
  Sampler sampler;
};

/// Takes the steps of visits, one after another, with the scratch of one thread. With kFixed items stay.
template <bool kFixed>
class Trainer {
 public:
  Trainer(const Context& ctx, const RankingRule& rule, std::uint64_t seed, Word epoch, Offset d, Offset most_members,
          const float* items, const float* biases)
      : micro_(*ctx.micro),
        rule_(rule),
        key_(philox_key(seed)),
        epoch_(epoch),
        d_(d),
        items_(items),
        biases_(biases),
        is_seen_(size((most_members + 63) / 64)) {
    rates_.step = static_cast<float>(rule.learning_rate);
    rates_.keep_user = rates_.keep_item = static_cast<float>(1 - rule.learning_rate * rule.regularization);
    std::fill_n(is_seen_.get(), (most_members + 63) / 64, std::uint64_t{0});
  }

  void set_epoch(Word epoch) { epoch_ = epoch; }

  /// Draws negatives for the positives of a visit, fetching the vectors; `stream` tells the user's visits apart.
  void draw_pairs(const Block& block, const Visit& visit, const Word* entries, Word user_word, Word stream,
                  std::vector<Id>& pairs) {
    pairs.clear();
    mark(entries, visit.n_entries);
    PhiloxCounter words{};
    Word n_positives = 0;
    for (Word t = 0; t < visit.n_entries; ++t) {
      if ((entries[t] & kIsNegative) != 0) continue;
      const Word turn = n_positives++;
      if (turn % 4 == 0) words = philox4x32({user_word, turn / 4, epoch_, stream}, key_);
      Word place = block.sampler.draw(words[turn % 4]);
      if (is_marked(place) && !draw_again(block, user_word, turn, stream, place)) {
        ++n_skipped_;
        continue;
      }
      pairs.push_back(block.members[entries[t] & kPlaceMask]);
      pairs.push_back(block.members[place]);
      fetch(pairs[pairs.size() - 2]);
      fetch(pairs[pairs.size() - 1]);
    }
    unmark(entries, visit.n_entries);
  }

  /// Steps of BPR over pairs drawn before.
  void run_pairs(const std::vector<Id>& pairs, float* user) {
    if constexpr (!kFixed) {
      n_correct_ += micro_.bpr_steps(static_cast<Offset>(pairs.size() / 2), d_, pairs.data(), rates_, user,
                                     const_cast<float*>(items_), const_cast<float*>(biases_));
    } else {
      for (std::size_t p = 0; p < pairs.size(); p += 2)
        step_of_bpr(user, pairs[p], pairs[p + 1], score(user, pairs[p]));
    }
  }

  /// Makes the first draws for each positive of a visit, fetching the vectors of the first few.
  void draw_first(const Block& block, const Visit& visit, const Word* entries, Word user_word, Word stream,
                  std::vector<PhiloxCounter>& draws) const {
    draws.clear();
    for (Word t = 0; t < visit.n_entries; ++t) {
      if ((entries[t] & kIsNegative) != 0) continue;
      draws.push_back(philox4x32({user_word, static_cast<Word>(draws.size()), epoch_, stream}, key_));
      if (draws.size() > kFetchedAhead) continue;
      fetch(block.members[entries[t] & kPlaceMask]);
      fetch_drawn(block, draws.back());
    }
  }

  /// All steps of a visit, whose first draws are given; further candidates are drawn and scored as they are needed.
  void run_visit(const Block& block, const Visit& visit, const Word* entries, const float* values, Word user_word,
                 Word stream, std::span<const PhiloxCounter> draws, float* user) {
    mark(entries, visit.n_entries);
    positives_.clear();
    if (rule_.n_positives > 1) {
      for (Word t = 0; t < visit.n_entries; ++t) {
        if ((entries[t] & kIsNegative) == 0) positives_.push_back(block.members[entries[t] & kPlaceMask]);
      }
    }
    Word turn = 0;
    for (Word t = 0; t < visit.n_entries; ++t) {
      if ((entries[t] & kIsNegative) != 0) continue;
      Id liked = block.members[entries[t] & kPlaceMask];
      if (turn + kFetchedAhead < draws.size()) {
        fetch(block.members[entries[t + kFetchedAhead] & kPlaceMask]);
        fetch_drawn(block, draws[turn + kFetchedAhead]);
      }
      if (!positives_.empty()) liked = order_statistic(user_word, turn, stream, user);
      const Draw draw = {block, user_word, turn, stream, draws[turn]};
      learn(draw, liked, values == nullptr ? 1.0F : values[t], user);
      ++turn;
    }
    unmark(entries, visit.n_entries);
  }

  [[nodiscard]] RankingCounts counts() const { return {n_correct_, n_skipped_}; }

 private:
  /// Where the candidates of a positive come from.
  struct Draw {
    const Block& block;
    Word user_word, turn, stream;
    const PhiloxCounter& first;
  };

  void mark(const Word* entries, Word n) {
    for (Word t = 0; t < n; ++t) {
      const Word place = entries[t] & kPlaceMask;
      is_seen_[place / 64] |= std::uint64_t{1} << place % 64;
    }
  }

  void unmark(const Word* entries, Word n) {
    for (Word t = 0; t < n; ++t) is_seen_[(entries[t] & kPlaceMask) / 64] = 0;
  }

  [[nodiscard]] bool is_marked(Word place) const { return (is_seen_[place / 64] >> place % 64 & 1) != 0; }

  /// The positive with the `order`-th greatest score of n_positives that are drawn.
  Id order_statistic(Word user_word, Word turn, Word stream, const float* user) {
    const auto n_held = static_cast<Word>(positives_.size());
    keys_.clear();
    for (Offset drawn = 0; drawn < rule_.n_positives; drawn += 4) {
      const Word tag = stream + kDrawsOfPositives + static_cast<Word>(drawn / 4);
      const PhiloxCounter words = philox4x32({user_word, turn, epoch_, tag}, key_);
      for (Offset p = 0; p < std::min<Offset>(4, rule_.n_positives - drawn); ++p) {
        const Id item = positives_[uniform_below(words[size(p)], n_held)];
        keys_.push_back(make_key(score(user, item), item));
      }
    }
    const auto order = static_cast<std::size_t>(rule_.order);
    select_greatest(keys_, order);
    return key_id(keys_[order - 1]);
  }

  /// Looks for an unseen place in further draws of a positive.
  bool draw_again(const Block& block, Word user_word, Word turn, Word stream, Word& place) const {
    for (Word round = 1; round <= kMostTries; ++round) {
      for (const Word word : philox4x32({user_word, turn, epoch_, stream + round}, key_)) {
        place = block.sampler.draw(word);
        if (!is_marked(place)) return true;
      }
    }
    return false;
  }

  void fetch(Id item) const {
    const float* row = items_ + static_cast<Offset>(item) * d_;
    for (Offset p = 0; p < d_; p += static_cast<Offset>(kCacheLine / sizeof(float))) prefetch(row + p);
  }

  void fetch_drawn(const Block& block, const PhiloxCounter& words) const {
    for (const Word word : words) fetch(block.members[block.sampler.draw(word)]);
  }

  [[nodiscard]] float bias(Id item) const { return biases_ == nullptr ? 0.0F : biases_[item]; }

  [[nodiscard]] float score(const float* user, Id item) const {
    float out;
    micro_.dot_gathered(1, d_, &item, items_, user, &out);
    return out + bias(item);
  }

  /// Moves along g (f_i - f_j).
  void step(float g, float* user, Id liked, Id disliked) {
    const float* i = items_ + static_cast<Offset>(liked) * d_;
    const float* j = items_ + static_cast<Offset>(disliked) * d_;
    if constexpr (kFixed) {
      micro_.axpy(rates_.keep_user - 1, user, user, d_);
      micro_.axpy(g, i, user, d_);
      micro_.axpy(-g, j, user, d_);
    } else {
      micro_.triple_step(d_, g, rates_, user, const_cast<float*>(i), const_cast<float*>(j));
      move_bias(liked, g);
      move_bias(disliked, -g);
    }
  }

  /// Moves along g f_i.
  void step(float g, float* user, Id item) {
    const float* i = items_ + static_cast<Offset>(item) * d_;
    if constexpr (kFixed) {
      micro_.axpy(rates_.keep_user - 1, user, user, d_);
      micro_.axpy(g, i, user, d_);
    } else {
      micro_.pair_step(d_, g, rates_, user, const_cast<float*>(i));
      move_bias(item, g);
    }
  }

  void move_bias(Id item, float g) {
    if (biases_ == nullptr) return;
    float& b = const_cast<float&>(biases_[item]);
    b = rates_.keep_item * b + g;
  }

  void step_of_bpr(float* user, Id liked, Id disliked, float liked_score) {
    const float x = liked_score - score(user, disliked);
    n_correct_ += x > 0 ? 1 : 0;
    step(rates_.step * micro_.logistic(-x), user, liked, disliked);
  }

  void learn(const Draw& draw, Id liked, float value, float* user) {
    switch (rule_.loss) {
      case RankingLoss::kBpr:
        return learn_hardest(draw, liked, user);
      case RankingLoss::kWarp:
        return learn_first_violator(draw, liked, user);
      case RankingLoss::kLogistic:
        return learn_each(draw, liked, value, user);
    }
  }

  /// Calls use(id) for unseen items as they are drawn, with their scores where asked for, until it returns false or
  /// there were n_candidates; returns how many there were.
  template <bool kScored, class Use>
  Offset each_candidate(const Draw& draw, const float* user, Use use) {
    Offset n_used = 0;
    // As many draws again may fail as are wanted, and some more.
    const auto most_rounds = static_cast<Word>(rule_.n_candidates / 2) + kMostTries;
    PhiloxCounter words = draw.first, next_words{};
    for (Word round = 0; round < most_rounds && n_used < rule_.n_candidates; ++round, words = next_words) {
      std::array<Id, kScoredAtOnce> ids;
      std::array<float, kScoredAtOnce> scores;
      Offset n = 0;
      for (const Word word : words) {
        const Word place = draw.block.sampler.draw(word);
        if (!is_marked(place)) ids[size(n++)] = draw.block.members[place];
      }
      n = std::min(n, rule_.n_candidates - n_used);
      if (n_used + n < rule_.n_candidates) {
        next_words = philox4x32({draw.user_word, draw.turn, epoch_, draw.stream + round + 1}, key_);
        if constexpr (kScored) fetch_drawn(draw.block, next_words);
      }
      if constexpr (kScored) micro_.dot_gathered(n, d_, ids.data(), items_, user, scores.data());
      for (Offset p = 0; p < n; ++p) {
        ++n_used;
        if (!use(ids[size(p)], kScored ? scores[size(p)] + bias(ids[size(p)]) : 0.0F)) return n_used;
      }
    }
    return n_used;
  }

  void learn_hardest(const Draw& draw, Id liked, float* user) {
    Id hardest = -1;
    float greatest = 0;
    each_candidate<true>(draw, user, [&](Id item, float f) {
      if (hardest < 0 || f > greatest) hardest = item, greatest = f;
      return true;
    });
    if (hardest < 0) {
      ++n_skipped_;
      return;
    }
    const float x = score(user, liked) - greatest;
    n_correct_ += x > 0 ? 1 : 0;
    step(rates_.step * micro_.logistic(-x), user, liked, hardest);
  }

  void learn_first_violator(const Draw& draw, Id liked, float* user) {
    const float margin = score(user, liked) - 1;
    Id violator = -1;
    const Offset n_draws = each_candidate<true>(draw, user, [&](Id item, float f) {
      if (!(f > margin)) return true;
      violator = item;
      n_correct_ += f < margin + 1 ? 1 : 0;
      return false;
    });
    if (n_draws == 0) ++n_skipped_;
    if (violator < 0) {
      n_correct_ += n_draws > 0 ? 1 : 0;
      return;
    }
    const auto n_items = static_cast<double>(rank_items_ - 1);
    const double rank = std::floor(n_items / static_cast<double>(n_draws));
    const auto weight = static_cast<float>(std::log(std::max(1.0, rank)));
    step(rates_.step * weight, user, liked, violator);
  }

  void learn_each(const Draw& draw, Id liked, float value, float* user) {
    const float f = score(user, liked);
    n_correct_ += f > 0 ? 1 : 0;
    step(rates_.step * value * micro_.logistic(-f), user, liked);
    const Offset n = each_candidate<false>(draw, user, [&](Id item, float) {
      step(-rates_.step * micro_.logistic(score(user, item)), user, item);
      return true;
    });
    if (n == 0) ++n_skipped_;
  }

 public:
  Offset rank_items_ = 0;  // items that a rank is estimated among

 private:
  const simd::MicroKernels& micro_;
  const RankingRule& rule_;
  PhiloxKey key_;
  Word epoch_;
  Offset d_;
  const float* items_;  // written where not kFixed
  const float* biases_;
  simd::StepRates rates_;
  Scratch<std::uint64_t> is_seen_;
  std::vector<Id> positives_;  // of the visit
  std::vector<Key> keys_;
  Offset n_correct_ = 0, n_skipped_ = 0;
};

void check_rule(const char* kernel, const RankingRule& rule) {
  check_that(rule.n_candidates >= 1 && rule.n_candidates <= kMostCandidates, kernel,
             "n_candidates must be in [1, 1024], got " + std::to_string(rule.n_candidates));
  check_that(
      rule.n_positives >= 1 && rule.n_positives <= kMostCandidates && rule.order >= 1 && rule.order <= rule.n_positives,
      kernel, "n_positives must be in [1, 1024] and order in [1, n_positives]");
  check_that(rule.learning_rate > 0 && rule.regularization >= 0 && rule.learning_rate * rule.regularization < 1, kernel,
             "learning_rate must be > 0, regularization >= 0 and their product < 1");
}

bool draws_ahead(const RankingRule& rule) {
  return rule.loss == RankingLoss::kBpr && rule.n_candidates == 1 && rule.n_positives == 1;
}

/// The grid of an epoch: its blocks of users and items, and what stands in each cell.
class Grid {
 public:
  Grid(const Context& ctx, CsrView<const float> by_user, Offset d, const RankingRule& rule,
       std::span<const float> counts, PhiloxKey key, Word epoch)
      : by_user_(by_user),
        with_values_(rule.loss == RankingLoss::kLogistic),
        n_blocks_(n_blocks_for(by_user, d, rule)),
        places_(size(by_user.n_cols)),
        members_(size(by_user.n_cols)),
        entries_(size(by_user.nnz())),
        values_(with_values_ ? size(by_user.nnz()) : 0),
        visits_(size(n_blocks_)),
        entry_starts_(size(n_blocks_ * (n_blocks_ + 1))),
        visit_starts_(size(n_blocks_ * (n_blocks_ + 1))),
        blocks_(size(n_blocks_)) {
    shuffle_items(key, epoch);
    parallel_for(ctx, n_blocks_, 1, [&](Offset begin, Offset end, int) {
      for (Offset p = begin; p < end; ++p) sort_entries(p);
    });
    set_samplers(ctx, rule, counts);
  }

  [[nodiscard]] Offset n_blocks() const { return n_blocks_; }
  [[nodiscard]] Offset most_members() const { return (by_user_.n_cols + n_blocks_ - 1) / n_blocks_; }
  [[nodiscard]] const Block& block(Offset q) const { return blocks_[size(q)]; }

  [[nodiscard]] std::span<const Visit> visits(Offset p, Offset q) const {
    const auto at = size(p * (n_blocks_ + 1) + q);
    return {visits_[size(p)].data() + visit_starts_[at], size(visit_starts_[at + 1] - visit_starts_[at])};
  }
  [[nodiscard]] const Word* entries(Offset p, Offset q) const {
    return entries_.get() + entry_starts_[size(p * (n_blocks_ + 1) + q)];
  }
  [[nodiscard]] const float* values(Offset p, Offset q) const {
    return with_values_ ? values_.get() + entry_starts_[size(p * (n_blocks_ + 1) + q)] : nullptr;
  }

 private:
  [[nodiscard]] Offset first_member(Offset q) const { return by_user_.n_cols * q / n_blocks_; }

  [[nodiscard]] Offset first_user(Offset p) const { return first_row_of_block(by_user_, p, n_blocks_); }

  void shuffle_items(PhiloxKey key, Word epoch) {
    shuffled_numbers(key, epoch, {members_.get(), size(by_user_.n_cols)});
    for (Offset q = 0; q < n_blocks_; ++q) {
      const Offset first = first_member(q), last = first_member(q + 1);
      blocks_[size(q)].members = {members_.get() + first, size(last - first)};
      for (Offset i = first; i < last; ++i) {
        places_[size(members_[size(i)])] = static_cast<Word>(q) << kPlaceBits | static_cast<Word>(i - first);
      }
    }
  }

  /// Sorts the entries of a block of users by block of items, and lists who has some in each.
  void sort_entries(Offset p) {
    const Offset first = first_user(p), last = first_user(p + 1);
    Offset* entry_start = entry_starts_.data() + p * (n_blocks_ + 1);
    Offset* visit_start = visit_starts_.data() + p * (n_blocks_ + 1);
    std::vector<Id> last_user(size(n_blocks_), -1);
    for (Offset user = first; user < last; ++user) {
      for (const Id item : by_user_.row_indices(user)) {
        const Word q = places_[size(item)] >> kPlaceBits;
        ++entry_start[q + 1];
        visit_start[q + 1] += last_user[q] != static_cast<Id>(user) ? 1 : 0;
        last_user[q] = static_cast<Id>(user);
      }
    }
    entry_start[0] = by_user_.indptr[first];
    std::partial_sum(entry_start, entry_start + n_blocks_ + 1, entry_start);
    std::partial_sum(visit_start, visit_start + n_blocks_ + 1, visit_start);
    std::vector<Visit>& visits = visits_[size(p)];
    visits.resize(size(visit_start[n_blocks_]));
    std::vector<Offset> next_entry(entry_start, entry_start + n_blocks_),
        next_visit(visit_start, visit_start + n_blocks_);
    std::fill(last_user.begin(), last_user.end(), -1);
    for (Offset user = first; user < last; ++user) {
      const auto items = by_user_.row_indices(user);
      const auto values = by_user_.row_values(user);
      for (std::size_t e = 0; e < items.size(); ++e) {
        const Word place = places_[size(items[e])], q = place >> kPlaceBits;
        const Offset at = next_entry[q]++;
        entries_[size(at)] = (place & kPlaceMask) | (values[e] > 0 ? 0 : kIsNegative);
        if (with_values_) values_[size(at)] = values[e];
        if (last_user[q] != static_cast<Id>(user)) {
          last_user[q] = static_cast<Id>(user);
          visits[size(next_visit[q]++)] = {static_cast<Id>(user), 1};
        } else {
          ++visits[size(next_visit[q] - 1)].n_entries;
        }
      }
    }
  }

  void set_samplers(const Context& ctx, const RankingRule& rule, std::span<const float> counts) {
    if (rule.sampling == NegativeSampling::kUniform) {
      for (Block& block : blocks_) block.sampler.set_uniform(static_cast<Offset>(block.members.size()));
      return;
    }
    parallel_for(ctx, n_blocks_, 1, [&](Offset begin, Offset end, int) {
      std::vector<double> weights;
      for (Offset q = begin; q < end; ++q) {
        weights.clear();
        for (const Id item : blocks_[size(q)].members) weights.push_back(counts[size(item)]);
        blocks_[size(q)].sampler.set_weights(weights);
      }
    });
  }

  CsrView<const float> by_user_;
  bool with_values_;
  Offset n_blocks_;
  Scratch<Word> places_;
  Scratch<Id> members_;
  Scratch<Word> entries_;
  Scratch<float> values_;
  std::vector<std::vector<Visit>> visits_;  // by block of users, in it by block of items
  std::vector<Offset> entry_starts_, visit_starts_;
  std::vector<Block> blocks_;
};

/// What is drawn for a visit before its steps, and for the next one.
struct Ahead {
  std::vector<Id> pairs, next_pairs;
  std::vector<PhiloxCounter> draws, next_draws;
};

template <bool kFixed>
void run_cell(const Grid& grid, Offset p, Offset q, const RankingRule& rule, MatrixView<float> users,
              Trainer<kFixed>& trainer, Ahead& scratch) {
  const std::span<const Visit> visits = grid.visits(p, q);
  const Block& block = grid.block(q);
  const Word* entries = grid.entries(p, q);
  const float* values = grid.values(p, q);
  const Word stream = static_cast<Word>(q) << 16;
  const auto fetch_user = [&](std::size_t v) {
    const float* row = users.row(visits[v].user);
    for (Offset j = 0; j < users.n_cols; j += 16) prefetch(row + j);
  };
  if (!draws_ahead(rule)) {
    const auto draw = [&](std::size_t v, const Word* of_visit, std::vector<PhiloxCounter>& out) {
      fetch_user(v);
      trainer.draw_first(block, visits[v], of_visit, static_cast<Word>(visits[v].user), stream, out);
    };
    if (!visits.empty()) draw(0, entries, scratch.draws);
    for (std::size_t v = 0; v < visits.size(); ++v) {
      const Word n = visits[v].n_entries;
      if (v + 1 < visits.size()) draw(v + 1, entries + n, scratch.next_draws);
      trainer.run_visit(block, visits[v], entries, values, static_cast<Word>(visits[v].user), stream, scratch.draws,
                        users.row(visits[v].user));
      scratch.draws.swap(scratch.next_draws);
      entries += n;
      if (values != nullptr) values += n;
    }
    return;
  }
  const auto draw = [&](std::size_t v, std::vector<Id>& out) {
    fetch_user(v);
    trainer.draw_pairs(block, visits[v], entries, static_cast<Word>(visits[v].user), stream, out);
    entries += visits[v].n_entries;
  };
  if (!visits.empty()) draw(0, scratch.pairs);
  for (std::size_t v = 0; v < visits.size(); ++v) {
    if (v + 1 < visits.size()) draw(v + 1, scratch.next_pairs);
    trainer.run_pairs(scratch.pairs, users.row(visits[v].user));
    scratch.pairs.swap(scratch.next_pairs);
  }
}

}  // namespace

RankingCounts ranking_epoch(const Context& ctx, CsrView<const float> by_user, const RankingRule& rule,
                            std::uint64_t seed, std::uint32_t epoch, std::span<const float> counts,
                            MatrixView<float> users, MatrixView<float> items, std::span<float> biases) {
  constexpr const char* kName = "ranking_epoch";
  check_equal(kName, "by_user", by_user.n_rows, "rows", "users", users.n_rows, "rows");
  check_equal(kName, "by_user", by_user.n_cols, "columns", "items", items.n_rows, "rows");
  check_equal(kName, "users", users.n_cols, "columns", "items", items.n_cols, "columns");
  check_equal(kName, "items", items.n_rows, "rows", "counts", static_cast<Offset>(counts.size()), "entries");
  check_that(items.n_cols % simd::kPad == 0, kName, "vectors must be padded to a multiple of 16");
  if (!biases.empty()) {
    check_equal(kName, "items", items.n_rows, "rows", "biases", static_cast<Offset>(biases.size()), "entries");
  }
  check_rule(kName, rule);
  if (by_user.nnz() == 0) return {0, 0};
  const Grid grid(ctx, by_user, items.n_cols, rule, counts, philox_key(seed), epoch);
  struct Worker {
    std::vector<Trainer<false>> trainer;
    Ahead ahead;
  };
  std::vector<Worker> workers(static_cast<std::size_t>(ctx.n_threads));
  std::vector<Id> turns(size(grid.n_blocks()));
  std::iota(turns.begin(), turns.end(), Id{0});
  for_each_cell(ctx, turns, [&](Offset p, Offset q, int worker) {
    const FlushDenormals flush;
    Worker& own = workers[static_cast<std::size_t>(worker)];
    if (own.trainer.empty()) {
      own.trainer.emplace_back(ctx, rule, seed, epoch, items.n_cols, grid.most_members(), items.data,
                               biases.empty() ? nullptr : biases.data());
      own.trainer[0].rank_items_ = items.n_rows;
    }
    run_cell(grid, p, q, rule, users, own.trainer[0], own.ahead);
  });
  RankingCounts total{0, 0};
  for (const Worker& worker : workers) {
    if (worker.trainer.empty()) continue;
    total.first += worker.trainer[0].counts().first;
    total.second += worker.trainer[0].counts().second;
  }
  return total;
}

void ranking_fold_in(const Context& ctx, CsrView<const float> by_user, const RankingRule& rule, std::uint64_t seed,
                     std::uint32_t iterations, std::span<const float> counts, MatrixView<const float> items,
                     std::span<const float> biases, MatrixView<float> users) {
  constexpr const char* kName = "ranking_fold_in";
  check_equal(kName, "by_user", by_user.n_rows, "rows", "users", users.n_rows, "rows");
  check_equal(kName, "by_user", by_user.n_cols, "columns", "items", items.n_rows, "rows");
  check_equal(kName, "users", users.n_cols, "columns", "items", items.n_cols, "columns");
  check_equal(kName, "items", items.n_rows, "rows", "counts", static_cast<Offset>(counts.size()), "entries");
  check_that(items.n_cols % simd::kPad == 0, kName, "vectors must be padded to a multiple of 16");
  if (!biases.empty()) {
    check_equal(kName, "items", items.n_rows, "rows", "biases", static_cast<Offset>(biases.size()), "entries");
  }
  check_that(items.n_rows <= static_cast<Offset>(kPlaceMask), kName, "there may be at most 2^24 - 1 items");
  check_rule(kName, rule);
  std::vector<Id> every(size(items.n_rows));
  std::iota(every.begin(), every.end(), Id{0});
  Block block{every, {}};
  if (rule.sampling == NegativeSampling::kUniform) {
    block.sampler.set_uniform(items.n_rows);
  } else {
    block.sampler.set_weights(std::vector<double>(counts.begin(), counts.end()));
  }
  struct Worker {
    std::vector<Trainer<true>> trainer;
    std::vector<Word> entries;
    std::vector<Id> pairs;
    std::vector<PhiloxCounter> draws;
  };
  std::vector<Worker> workers(static_cast<std::size_t>(ctx.n_threads));
  parallel_for(ctx, by_user.n_rows, 16, [&](Offset begin, Offset end, int worker) {
    const FlushDenormals flush;
    Worker& own = workers[static_cast<std::size_t>(worker)];
    if (own.trainer.empty()) {
      own.trainer.emplace_back(ctx, rule, seed, 0, items.n_cols, items.n_rows, items.data,
                               biases.empty() ? nullptr : biases.data());
      own.trainer[0].rank_items_ = items.n_rows;
    }
    Trainer<true>& trainer = own.trainer[0];
    for (Offset row = begin; row < end; ++row) {
      float* user = users.row(row);
      std::fill_n(user, users.n_cols, 0.0F);
      const auto ids = by_user.row_indices(row);
      const auto values = by_user.row_values(row);
      own.entries.clear();
      for (std::size_t e = 0; e < ids.size(); ++e) {
        own.entries.push_back(static_cast<Word>(ids[e]) | (values[e] > 0 ? 0 : kIsNegative));
      }
      const Visit visit{0, static_cast<Word>(ids.size())};
      for (Word epoch = 0; epoch < iterations; ++epoch) {
        trainer.set_epoch(epoch);
        if (draws_ahead(rule)) {
          trainer.draw_pairs(block, visit, own.entries.data(), 0, 0, own.pairs);
          trainer.run_pairs(own.pairs, user);
        } else {
          trainer.draw_first(block, visit, own.entries.data(), 0, 0, own.draws);
          trainer.run_visit(block, visit, own.entries.data(), values.data(), 0, 0, own.draws, user);
        }
      }
    }
  });
}

}  // namespace likewise::cpu
