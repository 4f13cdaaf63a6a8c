// What no binding reaches: the exceptions of the loop helper and of cells, and the micro-kernels. Run by ctest, under
// the sanitizers in CI.

#include "expect.hpp"

namespace likewise::testing {

void test_grid();
void test_micro();
void test_parallel();

}  // namespace likewise::testing

int main() {
  likewise::testing::test_parallel();
  likewise::testing::test_grid();
  likewise::testing::test_micro();
  return likewise::testing::n_failures == 0 ? 0 : 1;
}
