#include "dispatch.hpp"

#include <array>
#include <cstdint>
#include <stdexcept>

#ifdef LIKEWISE_X86
#ifdef _MSC_VER
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#endif
#ifdef LIKEWISE_AMX
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace likewise::simd {

namespace {

#ifdef LIKEWISE_X86

struct CpuidLeaf {
  std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

CpuidLeaf cpuid(std::uint32_t leaf) {
  CpuidLeaf out;
#ifdef _MSC_VER
  int registers[4];
  __cpuidex(registers, static_cast<int>(leaf), 0);
  out = {static_cast<std::uint32_t>(registers[0]), static_cast<std::uint32_t>(registers[1]),
         static_cast<std::uint32_t>(registers[2]), static_cast<std::uint32_t>(registers[3])};
#else
  __get_cpuid_count(leaf, 0, &out.eax, &out.ebx, &out.ecx, &out.edx);
#endif
  return out;
}

/// The register state that the operating system saves (XCR0).
std::uint64_t saved_state() {
  constexpr std::uint32_t kOsxsave = 1U << 27;
  if ((cpuid(1).ecx & kOsxsave) == 0) return 0;
#ifdef _MSC_VER
  return _xgetbv(0);
#else
  std::uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<std::uint64_t>(high) << 32) | low;
#endif
}

constexpr bool has_bits(std::uint64_t word, std::uint64_t bits) { return (word & bits) == bits; }

constexpr std::uint64_t kYmmState = 0x6, kZmmState = 0xE6, kTileState = 0x60000;

bool runs_avx2() {
  constexpr std::uint32_t kFma = 1U << 12, kAvx2 = 1U << 5;
  return has_bits(saved_state(), kYmmState) && has_bits(cpuid(1).ecx, kFma) && has_bits(cpuid(7).ebx, kAvx2);
}

bool runs_avx512() {
  constexpr std::uint32_t kF = 1U << 16, kDq = 1U << 17, kBw = 1U << 30, kVl = 1U << 31;
  return runs_avx2() && has_bits(saved_state(), kZmmState) && has_bits(cpuid(7).ebx, kF | kDq | kBw | kVl);
}

bool runs_vnni() {
  constexpr std::uint32_t kVnni = 1U << 11;
  return runs_avx512() && has_bits(cpuid(7).ecx, kVnni);
}

#ifdef LIKEWISE_AMX
/// Linux hands out the tile registers on request, once a process; a kernel or a sandbox may refuse.
bool runs_amx() {
  constexpr std::uint32_t kAmxBf16 = 1U << 22, kAmxTile = 1U << 24, kAmxInt8 = 1U << 25;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return runs_avx512() && has_bits(saved_state(), kTileState) &&
         has_bits(cpuid(7).edx, kAmxBf16 | kAmxTile | kAmxInt8) &&
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#endif

#endif  // LIKEWISE_X86

std::vector<const MicroKernels*> find_usable_tables() {
  std::vector<const MicroKernels*> usable = {&kScalarKernels};
#ifdef LIKEWISE_X86
  if (runs_avx2()) usable.push_back(&kAvx2Kernels);
  if (runs_avx512()) usable.push_back(runs_vnni() ? &kVnniKernels : &kAvx512Kernels);
#ifdef LIKEWISE_AMX
  if (runs_amx()) usable.push_back(&kAmxKernels);
#endif
#endif
  return usable;
}

const std::vector<const MicroKernels*>& usable_tables() {
  static const std::vector<const MicroKernels*> tables = find_usable_tables();
  return tables;
}

}  // namespace

std::vector<std::string> available() {
  std::vector<std::string> names;
  for (const MicroKernels* table : usable_tables()) names.emplace_back(table->name);
  return names;
}

const MicroKernels& get(std::string_view name) {
  if (name == "auto") return *usable_tables().back();
  std::string listed;
  for (const MicroKernels* table : usable_tables()) {
    if (name == table->name) return *table;
    if (!listed.empty()) listed += ", ";
    listed += table->name;
  }
  throw std::invalid_argument("LIKEWISE_SIMD: must be auto or one of " + listed + " on this machine, got '" +
                              std::string(name) + "'");
}

}  // namespace likewise::simd
