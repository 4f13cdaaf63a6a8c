// Cells of a grid: each once, none beside another of its row or column, in the order of turns, and exceptions.

#include <atomic>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "../../csrc/grid.hpp"
#include "expect.hpp"

namespace likewise::testing {

namespace {

void works_on_each_cell_once(int n_threads, Id n_blocks) {
  const Context ctx{n_threads, nullptr};
  std::vector<Id> turns(static_cast<std::size_t>(n_blocks));
  shuffled_numbers(philox_key(5), 1, turns);
  const auto n = static_cast<std::size_t>(n_blocks);
  std::vector<int> visits(n * n, 0);
  std::vector<std::vector<Id>> of_rows(n), of_columns(n);  // numbers of turns, as they came
  std::vector<std::atomic<int>> rows(n), columns(n);
  std::atomic<bool> is_alone{true};
  for_each_cell(ctx, turns, [&](Offset p, Offset q, int) {
    const auto row = static_cast<std::size_t>(p), column = static_cast<std::size_t>(q);
    if (rows[row]++ != 0 || columns[column]++ != 0) is_alone = false;
    ++visits[row * n + column];
    const auto turn = static_cast<Id>((q - p + n_blocks) % n_blocks);
    of_rows[row].push_back(turn);
    of_columns[column].push_back(turn);
    std::this_thread::yield();
    --rows[row];
    --columns[column];
  });
  const std::string where = std::to_string(n_blocks) + " blocks on " + std::to_string(n_threads);
  expect(is_alone, "no cell stands beside another of its row or column: " + where);
  bool is_once = true, is_in_order = true;
  for (const int count : visits) is_once = is_once && count == 1;
  for (std::size_t i = 0; i < n; ++i) is_in_order = is_in_order && of_rows[i] == turns && of_columns[i] == turns;
  expect(is_once, "every cell is worked on once: " + where);
  expect(is_in_order, "cells of a row and of a column come in the order of the turns: " + where);
}

void rethrows_the_exception(int n_threads, Offset row) {
  const Context ctx{n_threads, nullptr};
  std::vector<Id> turns(7);
  std::iota(turns.begin(), turns.end(), Id{0});
  bool is_caught = false;
  try {
    for_each_cell(ctx, turns, [&](Offset p, Offset q, int) {
      std::this_thread::yield();
      if (p == row && q == 3) throw std::domain_error("cell");
    });
  } catch (const std::domain_error&) {
    is_caught = true;
  }
  expect(is_caught, "the exception of a cell arrives, and nobody waits for ever");
}

}  // namespace

void test_grid() {
  for (const int n_threads : {1, 2, 5}) {
    for (const Id n_blocks : {1, 2, 3, 16}) works_on_each_cell_once(n_threads, n_blocks);
    for (int round = 0; round < 50; ++round) rethrows_the_exception(n_threads, round % 7);
  }
}

}  // namespace likewise::testing
