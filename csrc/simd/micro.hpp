#pragma once
// The micro-kernels, written once over a vector type V. Each ISA file defines its own V in an anonymous namespace, so
// every instantiation is local to that file and the linker never mixes instruction sets.
//
// V has: Reg, kLanes, kTileRows x kTileVecs (the register tile of a matrix product), load, store, set1, zero, add, sub,
// mul, fma (a b + c), fnma (c - a b), load_bf16, prefetch, sqrt_scalar, over_root(a, b): a / sqrt(b), above(a, b): bit
// i tells whether a_i > b_i, sum_each(Reg[kLanes]): lane i of the result is the sum of the i-th register, and
// transpose(in, out) of kLanes registers; Bits, with load_bits, store_bits, no_bits, both (and), parity (a ^ b ^ c) and
// majority of three; add_where(sums, flags, i, x): x is added in the lanes whose flags are set, kLanes of them from
// flag i kLanes on.

#include "kernels.hpp"

namespace likewise::simd {

using Size = std::int64_t;

template <class V>
struct Micro {
  using Reg = typename V::Reg;
  static constexpr Size kLanes = V::kLanes;

  static float sum(Reg v) {
    alignas(64) float lanes[kLanes];
    V::store(lanes, v);
    for (Size half = kLanes / 2; half > 0; half /= 2) {
      for (Size i = 0; i < half; ++i) lanes[i] += lanes[i + half];
    }
    return lanes[0];
  }

  static double dot_double(const float* a, const float* b, Size d) {
    constexpr Size kSums = 8;
    double sums[kSums] = {};
    Size i = 0;
    for (; i + kSums <= d; i += kSums) {
      for (Size j = 0; j < kSums; ++j) sums[j] += static_cast<double>(a[i + j]) * static_cast<double>(b[i + j]);
    }
    for (Size j = 0; i + j < d; ++j) sums[j] += static_cast<double>(a[i + j]) * static_cast<double>(b[i + j]);
    return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
  }

  static float dot(const float* a, const float* b, Size d) {
    Reg s0 = V::zero(), s1 = V::zero(), s2 = V::zero(), s3 = V::zero();
    Size i = 0;
    for (; i + 4 * kLanes <= d; i += 4 * kLanes) {
      s0 = V::fma(V::load(a + i), V::load(b + i), s0);
      s1 = V::fma(V::load(a + i + kLanes), V::load(b + i + kLanes), s1);
      s2 = V::fma(V::load(a + i + 2 * kLanes), V::load(b + i + 2 * kLanes), s2);
      s3 = V::fma(V::load(a + i + 3 * kLanes), V::load(b + i + 3 * kLanes), s3);
    }
    for (; i + kLanes <= d; i += kLanes) s0 = V::fma(V::load(a + i), V::load(b + i), s0);
    float total = sum(V::add(V::add(s0, s1), V::add(s2, s3)));
    for (; i < d; ++i) total += a[i] * b[i];
    return total;
  }

  static void axpy(float a, const float* x, float* y, Size d) {
    const Reg factor = V::set1(a);
    Size i = 0;
    for (; i + kLanes <= d; i += kLanes) V::store(y + i, V::fma(factor, V::load(x + i), V::load(y + i)));
    for (; i < d; ++i) y[i] += a * x[i];
  }

  // ---- matrix products ------------------------------------------------------------------------------------------

  template <int kRows, int kVecs, TileUpdate kUpdate>
  static void register_tile(Size depth, const float* a, Size a_row, Size a_depth, const float* b, Size b_row, float* c,
                            Size c_row) {
    Reg sums[kRows][kVecs];
    for (int i = 0; i < kRows; ++i) {
      for (int j = 0; j < kVecs; ++j) {
        sums[i][j] = kUpdate == TileUpdate::kSet ? V::zero() : V::load(c + i * c_row + j * kLanes);
      }
    }
    for (Size p = 0; p < depth; ++p) {
      Reg right[kVecs];
      for (int j = 0; j < kVecs; ++j) right[j] = V::load(b + p * b_row + j * kLanes);
      for (int i = 0; i < kRows; ++i) {
        const Reg left = V::set1(a[i * a_row + p * a_depth]);
        for (int j = 0; j < kVecs; ++j) {
          sums[i][j] = kUpdate == TileUpdate::kSubtract ? V::fnma(left, right[j], sums[i][j])
                                                        : V::fma(left, right[j], sums[i][j]);
        }
      }
    }
    for (int i = 0; i < kRows; ++i) {
      for (int j = 0; j < kVecs; ++j) V::store(c + i * c_row + j * kLanes, sums[i][j]);
    }
  }

  template <TileUpdate kUpdate>
  static void update_tile(Size depth, const float* a, Size a_row, Size a_depth, const float* b, Size b_row, float* c,
                          Size c_row, int n_cols) {
    constexpr Size kCols = V::kTileVecs * kLanes;
    for (Size i = 0; i < kTileRows; i += V::kTileRows) {
      Size j = 0;
      for (; j + kCols <= n_cols; j += kCols) {
        register_tile<V::kTileRows, V::kTileVecs, kUpdate>(depth, a + i * a_row, a_row, a_depth, b + j, b_row,
                                                           c + i * c_row + j, c_row);
      }
      for (; j < n_cols; j += kLanes) {
        register_tile<V::kTileRows, 1, kUpdate>(depth, a + i * a_row, a_row, a_depth, b + j, b_row, c + i * c_row + j,
                                                c_row);
      }
    }
  }

  static void gemm_tile(Size depth, const float* a, Size a_row, Size a_depth, const float* b, Size b_row, float* c,
                        Size c_row, int n_cols, TileUpdate update) {
    switch (update) {
      case TileUpdate::kSet:
        return update_tile<TileUpdate::kSet>(depth, a, a_row, a_depth, b, b_row, c, c_row, n_cols);
      case TileUpdate::kAdd:
        return update_tile<TileUpdate::kAdd>(depth, a, a_row, a_depth, b, b_row, c, c_row, n_cols);
      case TileUpdate::kSubtract:
        return update_tile<TileUpdate::kSubtract>(depth, a, a_row, a_depth, b, b_row, c, c_row, n_cols);
    }
  }

  /// Rows [row, row + kTileRows) of a triangle, from the 16-column block of the diagonal to the right edge.
  template <TileUpdate kUpdate>
  static void upper_tiles(Size depth, Size d, Size row, const float* l, const float* r, float* a) {
    for (Size col = row / kPad * kPad; col < d;) {
      const int n_cols = d - col >= kTileCols ? kTileCols : kPad;
      update_tile<kUpdate>(depth, l + row, 1, d, r + col, d, a + row * d + col, d, n_cols);
      col += n_cols;
    }
  }

  static void syrk_upper(Size n, Size d, const float* l, const float* r, float* a) {
    const Size block = d <= 64 ? 64 : 32;  // a block of both panels stays in the first-level cache
    for (Size p = 0; p < n; p += block) {
      const Size depth = n - p < block ? n - p : block;
      for (Size row = 0; row < d; row += kTileRows) {
        upper_tiles<TileUpdate::kAdd>(depth, d, row, l + p * d, r + p * d, a);
      }
    }
  }

  // ---- Cholesky -------------------------------------------------------------------------------------------------

  /// Replaces kLanes columns of kPad rows, at `c` and `d` apart, by the solution of u' x = c, where u is upper
  /// triangular: the block at `u`, with the inverses of its diagonal aside.
  static void solve_columns(Size d, const float* u, const float* inverse, float* c) {
    Reg rows[kPad];
    for (Size p = 0; p < kPad; ++p) rows[p] = V::load(c + p * d);
    for (Size p = 0; p < kPad; ++p) {
      rows[p] = V::mul(rows[p], V::set1(inverse[p]));
      for (Size q = p + 1; q < kPad; ++q) rows[q] = V::fnma(V::set1(u[p * d + q]), rows[p], rows[q]);
      V::store(c + p * d, rows[p]);
    }
  }

  /// Factors the kPad rows from `k0` on, which all earlier rows have been subtracted from.
  static bool factor_block(Size k0, Size d, float* a) {
    constexpr Size kVecs = kPad / kLanes;
    float* block = a + k0 * d + k0;
    float inverse[kPad];
    for (Size p = 0; p < kPad; ++p) {
      float* row_p = block + p * d;
      if (!(row_p[p] > 0)) return false;
      inverse[p] = 1 / V::sqrt_scalar(row_p[p]);
      Reg values[kVecs];
      for (Size j = 0; j < kVecs; ++j) {
        values[j] = V::mul(V::load(row_p + j * kLanes), V::set1(inverse[p]));
        V::store(row_p + j * kLanes, values[j]);
      }
      for (Size q = p + 1; q < kPad; ++q) {
        float* row_q = block + q * d;
        const Reg factor = V::set1(row_p[q]);
        for (Size j = 0; j < kVecs; ++j) {
          V::store(row_q + j * kLanes, V::fnma(factor, values[j], V::load(row_q + j * kLanes)));
        }
      }
    }
    for (Size col = k0 + kPad; col < d; col += kLanes) solve_columns(d, block, inverse, a + k0 * d + col);
    alignas(64) float identity[kPad * kPad] = {};
    for (Size p = 0; p < kPad; ++p) identity[p * kPad + p] = 1;
    float rows[kPad * kPad];  // of the block, as near one another as those of the identity
    for (Size p = 0; p < kPad; ++p) {
      for (Size j = 0; j < kPad; ++j) rows[p * kPad + j] = block[p * d + j];
    }
    for (Size col = 0; col < kPad; col += kLanes) solve_columns(kPad, rows, inverse, identity + col);
    for (Size p = 0; p < kPad; ++p) {
      for (Size j = 0; j < kPad; ++j) block[p * d + j] = identity[p * kPad + j];
    }
    return true;
  }

  /// Left-looking by blocks of rows: each block is first reduced by all rows above it, one long matrix product.
  static bool cholesky_upper(Size d, float* a) {
    for (Size k0 = 0; k0 < d; k0 += kPad) {
      for (Size row = k0; row < k0 + kPad; row += kTileRows) {
        upper_tiles<TileUpdate::kSubtract>(k0, d, row, a, a, a);
      }
      if (!factor_block(k0, d, a)) return false;
    }
    return true;
  }

  static void cholesky_solve(Size d, const float* u, float* b) {
    alignas(64) float part[kPad];
    for (Size k0 = 0; k0 < d; k0 += kPad) {
      for (Size p = 0; p < kPad; p += kLanes) {
        V::store(part + p, block_dots(d, kPad, u + (k0 + p) * d + k0, b + k0));
      }
      for (Size p = 0; p < kPad; p += kLanes) V::store(b + k0 + p, V::load(part + p));
      for (Size col = k0 + kPad; col < d; col += kLanes) {
        Reg rest = V::load(b + col);
        for (Size p = 0; p < kPad; ++p) rest = V::fnma(V::set1(part[p]), V::load(u + (k0 + p) * d + col), rest);
        V::store(b + col, rest);
      }
    }
    for (Size k0 = d - kPad; k0 >= 0; k0 -= kPad) {
      for (Size p = 0; p < kPad; p += kLanes) {
        const Reg known = block_dots(d, d - k0 - kPad, u + (k0 + p) * d + k0 + kPad, b + k0 + kPad);
        V::store(part + p, V::sub(V::load(b + k0 + p), known));
      }
      for (Size p = 0; p < kPad; p += kLanes) V::store(b + k0 + p, V::zero());
      for (Size p = 0; p < kPad; p += kLanes) block_combine(d, kPad, u + (k0 + p) * d + k0, part + p, b + k0);
    }
  }

  // ---- panels of gathered rows ----------------------------------------------------------------------------------

  static constexpr Size kPrefetchRows = 12;  // some rows' worth of lines in flight, within what a core tracks

  template <class T>
  static void prefetch_row(const T* row, Size length) {
    for (Size i = 0; i < length; i += 64 / static_cast<Size>(sizeof(T))) V::prefetch(row + i);
  }

  static void gather(const float* y, Size y_row, Size columns, const std::int32_t* ids, Size n, Size n_ahead, Size d,
                     float* panel) {
    for (Size j = 0; j < n; ++j) {
      if (j + kPrefetchRows < n_ahead) prefetch_row(y + ids[j + kPrefetchRows] * y_row, columns);
      const float* from = y + ids[j] * y_row;
      float* to = panel + j * d;
      Size i = 0;
      for (; i + kLanes <= columns; i += kLanes) V::store(to + i, V::load(from + i));
      for (; i < columns; ++i) to[i] = from[i];
      for (; i < d; ++i) to[i] = 0;
    }
  }

  static void gather_bf16(const std::uint16_t* y, Size y_row, Size columns, const std::int32_t* ids, Size n,
                          Size n_ahead, Size d, float* panel) {
    for (Size j = 0; j < n; ++j) {
      if (j + kPrefetchRows < n_ahead) prefetch_row(y + ids[j + kPrefetchRows] * y_row, columns);
      const std::uint16_t* from = y + ids[j] * y_row;
      for (Size i = 0; i < d; i += kLanes) V::store(panel + j * d + i, V::load_bf16(from + i));
    }
  }

  /// Inner products of x, of length d, with kLanes rows that lie `stride` apart.
  static Reg block_dots(Size stride, Size d, const float* rows, const float* x) {
    Reg sums[kLanes];
    for (Size r = 0; r < kLanes; ++r) sums[r] = V::zero();
    for (Size c = 0; c < d; c += kLanes) {
      const Reg xc = V::load(x + c);
      for (Size r = 0; r < kLanes; ++r) sums[r] = V::fma(V::load(rows + r * stride + c), xc, sums[r]);
    }
    return V::sum_each(sums);
  }

  /// out += sum_r t_r rows_r over kLanes rows of length d that lie `stride` apart.
  static void block_combine(Size stride, Size d, const float* rows, const float* t, float* out) {
    Size c = 0;
    for (; c + 4 * kLanes <= d; c += 4 * kLanes) {
      Reg s0 = V::load(out + c), s1 = V::load(out + c + kLanes);
      Reg s2 = V::load(out + c + 2 * kLanes), s3 = V::load(out + c + 3 * kLanes);
      for (Size r = 0; r < kLanes; ++r) {
        const Reg factor = V::set1(t[r]);
        const float* row = rows + r * stride + c;
        s0 = V::fma(factor, V::load(row), s0);
        s1 = V::fma(factor, V::load(row + kLanes), s1);
        s2 = V::fma(factor, V::load(row + 2 * kLanes), s2);
        s3 = V::fma(factor, V::load(row + 3 * kLanes), s3);
      }
      V::store(out + c, s0);
      V::store(out + c + kLanes, s1);
      V::store(out + c + 2 * kLanes, s2);
      V::store(out + c + 3 * kLanes, s3);
    }
    for (; c < d; c += kLanes) {
      Reg s = V::load(out + c);
      for (Size r = 0; r < kLanes; ++r) s = V::fma(V::set1(t[r]), V::load(rows + r * stride + c), s);
      V::store(out + c, s);
    }
  }

  static void panel_residual(Size n, Size d, const float* panel, const float* w, const float* v, const float* x,
                             float* out, float* diagonal) {
    for (Size j = 0; j < n; j += kLanes) {
      const float* rows = panel + j * d;
      alignas(64) float t[kLanes];
      V::store(t, V::fnma(V::load(w + j), block_dots(d, d, rows, x), V::load(v + j)));
      for (Size c = 0; c < d; c += kLanes) {
        Reg s0 = V::load(out + c), s1 = V::zero(), g0 = V::load(diagonal + c), g1 = V::zero();
        for (Size r = 0; r < kLanes; r += 2) {
          const Reg p0 = V::load(rows + r * d + c), p1 = V::load(rows + (r + 1) * d + c);
          s0 = V::fma(V::set1(t[r]), p0, s0);
          s1 = V::fma(V::set1(t[r + 1]), p1, s1);
          g0 = V::fma(V::mul(V::set1(w[j + r]), p0), p0, g0);
          g1 = V::fma(V::mul(V::set1(w[j + r + 1]), p1), p1, g1);
        }
        V::store(out + c, V::add(s0, s1));
        V::store(diagonal + c, V::add(g0, g1));
      }
    }
  }

  static void panel_apply(Size n, Size d, const float* panel, const float* w, const float* x, float* out) {
    for (Size j = 0; j < n; j += kLanes) {
      alignas(64) float t[kLanes];
      V::store(t, V::mul(V::load(w + j), block_dots(d, d, panel + j * d, x)));
      block_combine(d, d, panel + j * d, t, out);
    }
  }

  static void panel_dot(Size n, Size d, const float* panel, const float* x, float* out) {
    for (Size j = 0; j < n; j += kLanes) V::store(out + j, block_dots(d, d, panel + j * d, x));
  }

  static void panel_combine(Size n, Size d, const float* panel, const float* t, float* out) {
    for (Size j = 0; j < n; j += kLanes) block_combine(d, d, panel + j * d, t + j, out);
  }

  // ---- conjugate gradients --------------------------------------------------------------------------------------

  static float cg_begin(Size d, const float* dense, const float* r, float* diagonal, float* p, float* q) {
    Reg rz = V::zero();
    for (Size i = 0; i < d; ++i) diagonal[i] = diagonal[i] > 0 ? 1 / diagonal[i] : 0;
    for (Size i = 0; i < d; i += kLanes) {
      const Reg residual = V::load(r + i), z = V::mul(residual, V::load(diagonal + i));
      V::store(p + i, z);
      V::store(q + i, V::mul(V::load(dense + i), z));
      rz = V::fma(residual, z, rz);
    }
    return sum(rz);
  }

  static float cg_step(Size d, const float* dense, const float* inverse, float rz, float* p, float* q, float* r,
                       float* x) {
    const float curvature = dot(p, q, d);
    if (!(curvature > 0)) return 0;
    const Reg length = V::set1(rz / curvature);
    Reg next_sum = V::zero();
    for (Size i = 0; i < d; i += kLanes) {
      V::store(x + i, V::fma(length, V::load(p + i), V::load(x + i)));
      const Reg residual = V::fnma(length, V::load(q + i), V::load(r + i));
      V::store(r + i, residual);
      next_sum = V::fma(V::mul(residual, residual), V::load(inverse + i), next_sum);
    }
    const float next = sum(next_sum);
    const Reg ratio = V::set1(next / rz);
    for (Size i = 0; i < d; i += kLanes) {
      const Reg direction = V::fma(ratio, V::load(p + i), V::mul(V::load(r + i), V::load(inverse + i)));
      V::store(p + i, direction);
      V::store(q + i, V::mul(V::load(dense + i), direction));
    }
    return next;
  }

  static void transpose_scaled(Size n, Size d, const float* panel, const float* rows, const float* columns,
                               float* out) {
    for (Size j = 0; j < n; j += kLanes) {
      for (Size c = 0; c < d; c += kLanes) {
        const Reg scale = V::load(columns + c);
        Reg in[kLanes], transposed[kLanes];
        for (Size r = 0; r < kLanes; ++r) {
          in[r] = V::mul(V::mul(V::load(panel + (j + r) * d + c), scale), V::set1(rows[j + r]));
        }
        V::transpose(in, transposed);
        for (Size r = 0; r < kLanes; ++r) V::store(out + (c + r) * n + j, transposed[r]);
      }
    }
  }

  static void round_bf16(const float* x, Size n, std::uint16_t* out) {
    for (Size i = 0; i < n; ++i) {
      const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, x[i]);
      out[i] = static_cast<std::uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }
  }

  // ---- retrieval ------------------------------------------------------------------------------------------------

  static void pack_tile(const float* const* rows, const float* const* ahead, Size depth, float* out) {
    Size p = 0;
    for (; p + kLanes <= depth; p += kLanes) {
      for (Size col = 0; col < kTileCols; col += kLanes) {
        Reg in[kLanes], transposed[kLanes];
        for (Size j = 0; j < kLanes; ++j) {
          in[j] = V::load(rows[col + j] + p);
          if (p % kPad == 0) V::prefetch(ahead[col + j] + p);
        }
        V::transpose(in, transposed);
        for (Size j = 0; j < kLanes; ++j) V::store(out + (p + j) * kTileCols + col, transposed[j]);
      }
    }
    for (; p < depth; ++p) {
      for (Size col = 0; col < kTileCols; ++col) out[p * kTileCols + col] = rows[col][p];
    }
  }

  static float dot_rows(const float* rows, Size n, const float* x, Size d, float* out) {
    // Short rows cost less where their number of vectors is known.
    if (d == kLanes) return dot_rows_of<1>(rows, n, x, d, out);
    if (d == 2 * kLanes) return dot_rows_of<2>(rows, n, x, d, out);
    return dot_rows_of<0>(rows, n, x, d, out);
  }

  /// `dot_rows` for rows of kVecs vectors; 0 is any length.
  template <Size kVecs>
  static float dot_rows_of(const float* rows, Size n, const float* x, Size d, float* out) {
    constexpr Size kRows = 4;  // at a time: that is the order in which they lie
    const Size whole = kVecs > 0 ? kVecs * kLanes : d / kLanes * kLanes;
    float longest = 0;
    for (Size group = 0; group < n; group += kTileCols) {
      const Size end = n < group + kTileCols ? n : group + kTileCols;
      Reg squares[kRows];
      for (Size j = 0; j < kRows; ++j) squares[j] = V::zero();
      Size r = group;
      for (; r + kLanes <= end; r += kLanes) {
        Reg sums[kLanes];
        for (Size s = 0; s < kLanes; s += kRows) {
          const float* row = rows + (r + s) * d;
          Reg dots[kRows];
          for (Size j = 0; j < kRows; ++j) dots[j] = V::zero();
          for (Size c = 0; c < whole; c += kLanes) {
            const Reg xc = V::load(x + c);
            for (Size j = 0; j < kRows; ++j) {
              const float* at = row + j * d + c;
              const Reg y = V::load(at);
              if (c % kPad == 0) V::prefetch(at + kTileCols * d);
              dots[j] = V::fma(y, xc, dots[j]);
              squares[j] = V::fma(y, y, squares[j]);
            }
          }
          for (Size j = 0; j < kRows; ++j) sums[s + j] = dots[j];
        }
        V::store(out + r, V::sum_each(sums));
      }
      float total = sum(V::add(V::add(squares[0], squares[1]), V::add(squares[2], squares[3])));
      for (Size j = group; j < r && whole < d; ++j) {
        const float* row = rows + j * d;
        for (Size c = whole; c < d; ++c) {
          out[j] += row[c] * x[c];
          total += row[c] * row[c];
        }
      }
      for (; r < end; ++r) {
        out[r] = dot(rows + r * d, x, d);
        total += dot(rows + r * d, rows + r * d, d);
      }
      if (total > longest || total != total) longest = total;
    }
    return longest;
  }

  static float longest_packed(const float* packed, Size depth) {
    constexpr Size kVecs = kTileCols / kLanes;
    Reg sums[kVecs];
    for (Size j = 0; j < kVecs; ++j) sums[j] = V::zero();
    for (Size p = 0; p < depth; ++p) {
      for (Size j = 0; j < kVecs; ++j) {
        const Reg x = V::load(packed + p * kTileCols + j * kLanes);
        sums[j] = V::fma(x, x, sums[j]);
      }
    }
    float squares[kTileCols], longest = 0;
    for (Size j = 0; j < kVecs; ++j) V::store(squares + j * kLanes, sums[j]);
    for (Size j = 0; j < kTileCols; ++j) longest = squares[j] > longest ? squares[j] : longest;
    return longest;
  }

  static bool tile_above(const float* tile, const float* thresholds, std::uint32_t* masks) {
    std::uint32_t any = 0;
    for (Size i = 0; i < kTileRows; ++i) {
      const Reg threshold = V::set1(thresholds[i]);
      std::uint32_t mask = 0;
      for (Size col = 0; col < kTileCols; col += kLanes) {
        mask |= V::above(V::load(tile + i * kTileCols + col), threshold) << col;
      }
      masks[i] = mask;
      any |= mask;
    }
    return any != 0;
  }

  // ---- similarity -----------------------------------------------------------------------------------------------

  static void add_flagged(Size n, const std::int32_t* ids, const float* weights, const std::uint8_t* bits, float* out) {
    constexpr Size kRegs = 8, kStep = kRegs * kLanes, kAhead = 16;
    for (Size first = 0; first < kFlagColumns; first += kStep) {
      Reg sums[kRegs];
      for (Size j = 0; j < kRegs; ++j) sums[j] = V::load(out + first + j * kLanes);
      for (Size p = 0; p < n; ++p) {
        if (first == 0 && p + kAhead < n) V::prefetch(bits + ids[p + kAhead] * kFlagBytes);
        const std::uint8_t* flags = bits + ids[p] * kFlagBytes + first / 8;
        const Reg weight = V::set1(weights[p]);
        for (Size j = 0; j < kRegs; ++j) sums[j] = V::add_where(sums[j], flags, j, weight);
      }
      for (Size j = 0; j < kRegs; ++j) V::store(out + first + j * kLanes, sums[j]);
    }
  }

  /// The place of the lowest bit of those that are set.
  static int lowest_bit(std::uint64_t mask) {
#ifdef _MSC_VER
    int place = 0;
    while ((mask >> place & 1) == 0) ++place;
    return place;
#else
    return __builtin_ctzll(mask);
#endif
  }

  using Bits = typename V::Bits;

  /// Adds two numbers of one bit to a third in each place: `sum` keeps the bit, `carry` gets the twos.
  static void add_bits(Bits& sum, Bits a, Bits b, Bits& carry) {
    carry = V::majority(sum, a, b);
    sum = V::parity(sum, a, b);
  }

  /// Counts are kept as bits, a plane of ones, one of twos and so on: 16 rows become one carry of sixteens by adders
  /// that work on all places at once (Harley and Seal; Mula, Kurz & Lemire 2018, doi:10.1093/comjnl/bxx046).
  static void count_flagged(Size n, const std::int32_t* ids, const std::uint8_t* bits, float* out) {
    constexpr Size kWidth = static_cast<Size>(sizeof(Bits)), kRows = 16, kAhead = 2 * kRows;
    alignas(64) static constexpr std::uint8_t kNothing[kFlagBytes] = {};
    for (Size first = 0; first < kFlagBytes; first += kWidth) {
      Bits planes[kCountBits];
      for (Bits& plane : planes) plane = V::no_bits();
      int n_planes = 4;
      for (Size start = 0; start < n; start += kRows) {
        const std::uint8_t* rows[kRows];
        for (Size r = 0; r < kRows; ++r) {
          rows[r] = (start + r < n ? bits + ids[start + r] * kFlagBytes : kNothing) + first;
          if (start + r + kAhead < n) V::prefetch(bits + ids[start + r + kAhead] * kFlagBytes + first);
        }
        Bits twos[2], fours[2], eights[2], sixteens;
        for (int e = 0; e < 2; ++e) {
          for (int f = 0; f < 2; ++f) {
            for (int t = 0; t < 2; ++t) {
              const std::uint8_t* const* pair = rows + 8 * e + 4 * f + 2 * t;
              add_bits(planes[0], V::load_bits(pair[0]), V::load_bits(pair[1]), twos[t]);
            }
            add_bits(planes[1], twos[0], twos[1], fours[f]);
          }
          add_bits(planes[2], fours[0], fours[1], eights[e]);
        }
        add_bits(planes[3], eights[0], eights[1], sixteens);
        while (n_planes < kCountBits && (Size{1} << n_planes) <= start + kRows) ++n_planes;
        for (int b = 4; b < n_planes; ++b) {
          const Bits carry = V::both(planes[b], sixteens);
          planes[b] = V::parity(planes[b], sixteens, V::no_bits());
          sixteens = carry;
        }
      }
      alignas(64) std::uint8_t flags[kCountBits][kWidth];
      for (int b = 0; b < n_planes; ++b) V::store_bits(flags[b], planes[b]);
      for (Size j = 0; j < 8 * kWidth; j += kLanes) {
        Reg count = V::zero();
        for (int b = 0; b < n_planes; ++b) {
          count = V::add_where(count, flags[b], j / kLanes, V::set1(static_cast<float>(1 << b)));
        }
        V::store(out + 8 * first + j, count);
      }
    }
  }

  static int bit_count(std::uint32_t mask) {  // of 16 bits at most
    mask = mask - (mask >> 1 & 0x5555);
    mask = (mask & 0x3333) + (mask >> 2 & 0x3333);
    mask = (mask + (mask >> 4)) & 0x0F0F;
    return static_cast<int>((mask + (mask >> 8)) & 0x1F);
  }

  static Size find_above(Size n, const float* sums, const float* right, float slope, float offset,
                         std::int32_t* found) {
    const Reg slopes = V::set1(slope), offsets = V::set1(offset);
    Size n_found = 0;
    for (Size first = 0; first < n; first += kScanColumns) {
      std::uint64_t mask = 0;
      for (Size j = 0; j < kScanColumns; j += kLanes) {
        const Reg limit = V::fma(slopes, V::load(right + first + j), offsets);
        const std::uint32_t is_above = V::above(V::load(sums + first + j), limit);
        if constexpr (requires { V::list_set(is_above, 0, found); }) {  // there are never more of them than numbers
          n_found += V::list_set(is_above, static_cast<std::int32_t>(first + j), found + n_found);
        } else {
          mask |= static_cast<std::uint64_t>(is_above) << j;
        }
      }
      for (; mask != 0; mask &= mask - 1) found[n_found++] = static_cast<std::int32_t>(first) + lowest_bit(mask);
    }
    return n_found;
  }

  static void quotients(Size n, const float* x, const float* y, float* out) {
    for (Size i = 0; i < n; i += kLanes) V::store(out + i, V::quotients(V::load(x + i), V::load(y + i)));
  }

  static Size count_above(Size n, const float* x, float threshold) {
    const Reg limit = V::set1(threshold);
    Size n_above = 0;
    for (Size i = 0; i < n; i += kLanes) n_above += bit_count(V::above(V::load(x + i), limit));
    return n_above;
  }

  // ---- stochastic gradient descent ----------------------------------------------------------------------------------

  /// The sum of the lanes, in registers where the instruction set has a way.
  static float reduce(Reg v) {
    if constexpr (requires { V::reduce(v); }) return V::reduce(v);
    return sum(v);
  }

  static float logistic(float x) {
    // exp(-x) = 2^n 2^f with |f| <= 1/2; 2^f by its Taylor series. Beyond +-87 the result is as good as 0 or 1.
    const float bounded = x > 87.0F ? 87.0F : x < -87.0F ? -87.0F : x;
    const float power = -1.442695041F * bounded;
    constexpr float kRound = 12582912.0F;  // 1.5 2^23: what is added to it is rounded to a whole number
    const float rounded = power + kRound;
    const float whole = rounded - kRound;
    const float f = (power - whole) * 0.693147181F;
    float series = 1.0F / 5040;
    series = series * f + 1.0F / 720;
    series = series * f + 1.0F / 120;
    series = series * f + 1.0F / 24;
    series = series * f + 1.0F / 6;
    series = series * f + 0.5F;
    series = series * f + 1.0F;
    series = series * f + 1.0F;
    const std::uint32_t exponent = __builtin_bit_cast(std::uint32_t, rounded) << 23;  // n in the low bits
    const float scale = __builtin_bit_cast(float, exponent + 0x3F800000U);
    return 1.0F / (1.0F + series * scale);
  }

  template <int kRows>
  static void dot_some(Size d, const std::int32_t* ids, const float* rows, const float* x, float* out) {
    const float* row[kRows];
    Reg sums[kRows];
    for (int p = 0; p < kRows; ++p) {
      row[p] = rows + static_cast<Size>(ids[p]) * d;
      sums[p] = V::zero();
    }
    for (Size j = 0; j < d; j += kLanes) {
      const Reg right = V::load(x + j);
      for (int p = 0; p < kRows; ++p) sums[p] = V::fma(V::load(row[p] + j), right, sums[p]);
    }
    for (int p = 0; p < kRows; ++p) out[p] = reduce(sums[p]);
  }

  static void dot_gathered(Size n, Size d, const std::int32_t* ids, const float* rows, const float* x, float* out) {
    Size p = 0;
    for (; p + 4 <= n; p += 4) dot_some<4>(d, ids + p, rows, x, out + p);
    for (; p < n; ++p) dot_some<1>(d, ids + p, rows, x, out + p);
  }

  /// The vectors of a user in kVecs registers (0: in memory).
  template <int kVecs>
  static Size bpr_steps_in(Size n, Size d, const std::int32_t* ids, const StepRates& rates, float* user, float* items,
                           float* biases) {
    const Size n_vecs = kVecs > 0 ? kVecs : d / kLanes;
    Reg held[kVecs > 0 ? kVecs : 1];
    const auto at = [&](Size v) {
      if constexpr (kVecs > 0) return held[v];
      return V::load(user + v * kLanes);
    };
    for (Size v = 0; v < kVecs; ++v) held[v] = V::load(user + v * kLanes);
    const Reg keep_user = V::set1(rates.keep_user), keep_item = V::set1(rates.keep_item);
    Size n_correct = 0;
    for (Size p = 0; p < n; ++p) {
      float* liked = items + static_cast<Size>(ids[2 * p]) * d;
      float* disliked = items + static_cast<Size>(ids[2 * p + 1]) * d;
      Reg even = V::zero(), odd = V::zero();
      for (Size v = 0; v < n_vecs; ++v) {
        const Reg difference = V::sub(V::load(liked + v * kLanes), V::load(disliked + v * kLanes));
        if (v % 2 == 0) {
          even = V::fma(difference, at(v), even);
        } else {
          odd = V::fma(difference, at(v), odd);
        }
      }
      float x = reduce(V::add(even, odd));
      if (biases != nullptr) x += biases[ids[2 * p]] - biases[ids[2 * p + 1]];
      n_correct += x > 0 ? 1 : 0;
      const float g = rates.step * logistic(-x);
      const Reg gradient = V::set1(g);
      for (Size v = 0; v < n_vecs; ++v) {
        const Reg i = V::load(liked + v * kLanes), j = V::load(disliked + v * kLanes), u = at(v);
        V::store(liked + v * kLanes, V::fma(gradient, u, V::mul(keep_item, i)));
        V::store(disliked + v * kLanes, V::fnma(gradient, u, V::mul(keep_item, j)));
        const Reg moved = V::fma(gradient, V::sub(i, j), V::mul(keep_user, u));
        if constexpr (kVecs > 0) {
          held[v] = moved;
        } else {
          V::store(user + v * kLanes, moved);
        }
      }
      if (biases != nullptr) {
        biases[ids[2 * p]] = rates.keep_item * biases[ids[2 * p]] + g;
        biases[ids[2 * p + 1]] = rates.keep_item * biases[ids[2 * p + 1]] - g;
      }
    }
    for (Size v = 0; v < kVecs; ++v) V::store(user + v * kLanes, held[v]);
    return n_correct;
  }

  static Size bpr_steps(Size n, Size d, const std::int32_t* ids, const StepRates& rates, float* user, float* items,
                        float* biases) {
    switch (d / kLanes) {
      case 2:
        return bpr_steps_in<2>(n, d, ids, rates, user, items, biases);
      case 4:
        return bpr_steps_in<4>(n, d, ids, rates, user, items, biases);
      case 8:
        return bpr_steps_in<8>(n, d, ids, rates, user, items, biases);
      default:
        return bpr_steps_in<0>(n, d, ids, rates, user, items, biases);
    }
  }

  /// The vectors of a user in kVecs registers (0: in memory).
  template <int kVecs, bool kHoldsItems>
  static double rating_steps_in(const RatingSteps& steps, Size d, const StepRates& rates, const RatingModel& model) {
    constexpr Size kAhead = 6;  // ratings whose vectors are on their way
    const Size n_vecs = kVecs > 0 ? kVecs : d / kLanes;
    const std::int32_t *users = steps.users, *items = steps.items;
    const Reg keep_user = V::set1(rates.keep_user), keep_item = V::set1(rates.keep_item);
    double squares = 0;
    for (Size p = 0; p < steps.n;) {
      const Size u = users == nullptr ? 0 : users[p];
      float* user = model.users + u * d;
      Reg held[kVecs > 0 ? kVecs : 1];
      const auto at = [&](Size v) {
        if constexpr (kVecs > 0) return held[v];
        return V::load(user + v * kLanes);
      };
      for (Size v = 0; v < kVecs; ++v) held[v] = V::load(user + v * kLanes);
      float user_bias = model.user_biases == nullptr ? 0.0F : model.user_biases[u];
      do {
        if (p + kAhead < steps.n) {
          prefetch_row(model.items + static_cast<Size>(items[p + kAhead]) * d, d);
          if (users != nullptr && users[p + kAhead] != users[p + kAhead - 1]) {
            prefetch_row(model.users + static_cast<Size>(users[p + kAhead]) * d, d);
          }
        }
        const Size i = items[p];
        float* item = model.items + i * d;
        Reg even = V::zero(), odd = V::zero();
        for (Size v = 0; v < n_vecs; ++v) {
          if (v % 2 == 0) {
            even = V::fma(V::load(item + v * kLanes), at(v), even);
          } else {
            odd = V::fma(V::load(item + v * kLanes), at(v), odd);
          }
        }
        float e = steps.values[p] - model.mean - user_bias;
        if (model.item_biases != nullptr) e -= model.item_biases[i];
        e -= reduce(V::add(even, odd));
        squares += static_cast<double>(e) * static_cast<double>(e);
        const float g = rates.step * e;
        const Reg gradient = V::set1(g), user_gradient = V::set1(model.user_gain * g);
        for (Size v = 0; v < n_vecs; ++v) {
          const Reg y = V::load(item + v * kLanes), x = at(v);
          if constexpr (!kHoldsItems) V::store(item + v * kLanes, V::fma(gradient, x, V::mul(keep_item, y)));
          const Reg moved = V::fma(user_gradient, y, V::mul(keep_user, x));
          if constexpr (kVecs > 0) {
            held[v] = moved;
          } else {
            V::store(user + v * kLanes, moved);
          }
        }
        if (model.user_biases != nullptr) user_bias = rates.keep_user * user_bias + g;
        if (!kHoldsItems && model.item_biases != nullptr) {
          model.item_biases[i] = rates.keep_item * model.item_biases[i] + g;
        }
        ++p;
      } while (p < steps.n && (users == nullptr || users[p] == u));
      for (Size v = 0; v < kVecs; ++v) V::store(user + v * kLanes, held[v]);
      if (model.user_biases != nullptr) model.user_biases[u] = user_bias;
    }
    return squares;
  }

  template <bool kHoldsItems>
  static double rating_steps_of(const RatingSteps& steps, Size d, const StepRates& rates, const RatingModel& model) {
    switch (d / kLanes) {
      case 1:
        return rating_steps_in<1, kHoldsItems>(steps, d, rates, model);
      case 2:
        return rating_steps_in<2, kHoldsItems>(steps, d, rates, model);
      case 3:
        return rating_steps_in<3, kHoldsItems>(steps, d, rates, model);
      case 4:
        return rating_steps_in<4, kHoldsItems>(steps, d, rates, model);
      case 5:
        return rating_steps_in<5, kHoldsItems>(steps, d, rates, model);
      case 6:
        return rating_steps_in<6, kHoldsItems>(steps, d, rates, model);
      case 7:
        return rating_steps_in<7, kHoldsItems>(steps, d, rates, model);
      case 8:
        return rating_steps_in<8, kHoldsItems>(steps, d, rates, model);
      default:
        return rating_steps_in<0, kHoldsItems>(steps, d, rates, model);
    }
  }

  static double rating_steps(const RatingSteps& steps, Size d, const StepRates& rates, const RatingModel& model) {
    return model.holds_items ? rating_steps_of<true>(steps, d, rates, model)
                             : rating_steps_of<false>(steps, d, rates, model);
  }

  static void sum_gathered(Size n, Size d, const std::int32_t* ids, const float* rows, float* out) {
    constexpr Size kAhead = 8;
    for (Size p = 0; p < n; ++p) {
      if (p + kAhead < n) prefetch_row(rows + static_cast<Size>(ids[p + kAhead]) * d, d);
      const float* row = rows + static_cast<Size>(ids[p]) * d;
      for (Size j = 0; j < d; j += kLanes) V::store(out + j, V::add(V::load(out + j), V::load(row + j)));
    }
  }

  /// kVecs registers of a sum of rows, from column `first` on.
  template <int kVecs, class Row>
  static void combine_columns(Size n, const float* weights, Row row, Size first, Reg* sums) {
    for (Size p = 0; p < n; ++p) {
      const Reg weight = V::set1(weights[p]);
      const float* from = row(p) + first;
      for (int v = 0; v < kVecs; ++v) sums[v] = V::fma(weight, V::load(from + v * kLanes), sums[v]);
    }
  }

  template <int kVecs>
  static Size combine_gathered_in(Size n, Size d, const std::int32_t* ids, const float* weights, const float* rows,
                                  float* out, Size j) {
    for (; j + kVecs * kLanes <= d; j += kVecs * kLanes) {
      Reg sums[kVecs];
      for (int v = 0; v < kVecs; ++v) sums[v] = V::load(out + j + v * kLanes);
      combine_columns<kVecs>(n, weights, [&](Size p) { return rows + static_cast<Size>(ids[p]) * d; }, j, sums);
      for (int v = 0; v < kVecs; ++v) V::store(out + j + v * kLanes, sums[v]);
    }
    return j;
  }

  static void combine_gathered(Size n, Size d, const std::int32_t* ids, const float* weights, const float* rows,
                               float* out) {
    const Size j = combine_gathered_in<4>(n, d, ids, weights, rows, out, 0);
    combine_gathered_in<1>(n, d, ids, weights, rows, out, j);
  }

  template <int kVecs>
  static Size adagrad_step_in(Size d, const AdaGradStep& step, float* x, float* squares, Size j) {
    const Reg decay = V::set1(step.decay), own = V::set1(step.own), rate = V::set1(step.rate);
    for (; j + kVecs * kLanes <= d; j += kVecs * kLanes) {
      Reg sums[kVecs];
      for (int v = 0; v < kVecs; ++v) sums[v] = V::zero();
      combine_columns<kVecs>(step.n, step.weights, [&](Size p) { return step.rows[p]; }, j, sums);
      for (int v = 0; v < kVecs; ++v) {
        const Size at = j + v * kLanes;
        const Reg before = V::load(x + at);
        const Reg gradient = V::fnma(V::fma(own, V::load(step.mask + at), decay), before, sums[v]);
        const Reg square = V::fma(gradient, gradient, V::load(squares + at));
        V::store(squares + at, square);
        V::store(x + at, V::add(before, V::over_root(V::mul(rate, gradient), square)));
      }
    }
    return j;
  }

  static void adagrad_step(Size d, const AdaGradStep& step, float* x, float* squares) {
    const Size j = adagrad_step_in<4>(d, step, x, squares, 0);
    adagrad_step_in<1>(d, step, x, squares, j);
  }

  static void add_scattered(Size n, Size d, const std::int32_t* ids, float keep, const float* x, float* rows) {
    const Reg factor = V::set1(keep);
    for (Size p = 0; p < n; ++p) {
      float* row = rows + static_cast<Size>(ids[p]) * d;
      for (Size j = 0; j < d; j += kLanes) V::store(row + j, V::fma(factor, V::load(row + j), V::load(x + j)));
    }
  }

  static void triple_step(Size d, float g, const StepRates& rates, float* user, float* liked, float* disliked) {
    const Reg gradient = V::set1(g), keep_user = V::set1(rates.keep_user), keep_item = V::set1(rates.keep_item);
    for (Size v = 0; v < d; v += kLanes) {
      const Reg u = V::load(user + v), i = V::load(liked + v), j = V::load(disliked + v);
      V::store(user + v, V::fma(gradient, V::sub(i, j), V::mul(keep_user, u)));
      V::store(liked + v, V::fma(gradient, u, V::mul(keep_item, i)));
      V::store(disliked + v, V::fnma(gradient, u, V::mul(keep_item, j)));
    }
  }

  static void pair_step(Size d, float g, const StepRates& rates, float* user, float* item) {
    const Reg gradient = V::set1(g), keep_user = V::set1(rates.keep_user), keep_item = V::set1(rates.keep_item);
    for (Size v = 0; v < d; v += kLanes) {
      const Reg u = V::load(user + v), i = V::load(item + v);
      V::store(user + v, V::fma(gradient, i, V::mul(keep_user, u)));
      V::store(item + v, V::fma(gradient, u, V::mul(keep_item, i)));
    }
  }

  static void widen_bf16(const std::uint16_t* x, Size n, float* out) {
    for (Size i = 0; i < n; ++i) out[i] = __builtin_bit_cast(float, static_cast<std::uint32_t>(x[i]) << 16);
  }

  static void widen_int8(const std::int8_t* x, Size n, float* out) {
    for (Size i = 0; i < n; ++i) out[i] = static_cast<float>(x[i]);
  }

  static constexpr MicroKernels table(const char* name) {
    return {
        .name = name,
        .has_bf16_tiles = false,
        .dot_double = dot_double,
        .dot = dot,
        .axpy = axpy,
        .gemm_tile = gemm_tile,
        .syrk_upper = syrk_upper,
        .syrk_upper_bf16 = nullptr,
        .cholesky_upper = cholesky_upper,
        .cholesky_solve = cholesky_solve,
        .gather = gather,
        .gather_bf16 = gather_bf16,
        .panel_residual = panel_residual,
        .panel_apply = panel_apply,
        .cg_begin = cg_begin,
        .cg_step = cg_step,
        .panel_dot = panel_dot,
        .panel_combine = panel_combine,
        .transpose_scaled = transpose_scaled,
        .round_bf16 = round_bf16,
        .pack_tile = pack_tile,
        .dot_rows = dot_rows,
        .longest_packed = longest_packed,
        .tile_above = tile_above,
        .quantize_rows = nullptr,
        .screen_int8 = nullptr,
        .add_flagged = add_flagged,
        .count_flagged = count_flagged,
        .find_above = find_above,
        .quotients = quotients,
        .count_above = count_above,
        .dot_gathered = dot_gathered,
        .bpr_steps = bpr_steps,
        .rating_steps = rating_steps,
        .sum_gathered = sum_gathered,
        .add_scattered = add_scattered,
        .combine_gathered = combine_gathered,
        .adagrad_step = adagrad_step,
        .triple_step = triple_step,
        .pair_step = pair_step,
        .logistic = logistic,
        .widen_bf16 = widen_bf16,
        .widen_int8 = widen_int8,
    };
  }
};

}  // namespace likewise::simd
