"""Types of the C++ kernels; formulas, costs and errors stand in the headers of the same names under csrc/."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
UInt8 = NDArray[np.uint8]
UInt16 = NDArray[np.uint16]
Int8 = NDArray[np.int8]

class Context:
    def __init__(self, n_threads: int = 1, simd: str = "auto") -> None: ...
    n_threads: Final[int]
    @property
    def simd(self) -> str: ...
    @property
    def has_int8(self) -> bool: ...

class CSR:
    def __init__(self, indptr: NDArray[np.int64], indices: Int32, values: Float32, n_cols: int) -> None: ...
    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def nnz(self) -> int: ...

class Items:
    def __init__(
        self,
        vectors: Float32 | UInt16 | Int8,
        scale: Float32 | None = None,
        bias: Float32 | None = None,
        quantized: tuple[UInt8, Float32, Int32] | None = None,
    ) -> None: ...
    @property
    def shape(self) -> tuple[int, int]: ...

class AlsObjective:
    def __init__(
        self, alpha: float, unobserved_weight: float, regularization: float, regularization_exponent: float
    ) -> None: ...

class AlsSolver:
    cholesky: AlsSolver
    cg: AlsSolver
    block: AlsSolver
    descent: AlsSolver

class ExplicitAlsObjective:
    def __init__(
        self,
        mean: float,
        regularization: float,
        regularization_exponent: float,
        l1: float,
        biases: bool,
        non_negative: bool,
    ) -> None: ...

def available_simd() -> list[str]: ...
def philox4x32(counter: tuple[int, int, int, int], key: tuple[int, int]) -> list[int]: ...
def bias_half_sweep(
    ctx: Context, ratings: CSR, mean: float, others: Float64, regularization: float, biases: Float64
) -> None: ...
def bias_sgd_epoch(
    ctx: Context,
    ratings: CSR,
    mean: float,
    learning_rate: float,
    regularization: float,
    row_biases: Float64,
    column_biases: Float64,
) -> None: ...
def bias_sgd_half_epoch(
    ctx: Context,
    ratings: CSR,
    mean: float,
    learning_rate: float,
    regularization: float,
    others: Float64,
    biases: Float64,
) -> None: ...
def gramian(ctx: Context, y: Float32, out: Float64) -> None: ...
def multiply_transposed(ctx: Context, x: Float32, b: Float32, out: Float32) -> None: ...
def round_to_bf16(ctx: Context, x: Float32, out: UInt16) -> None: ...
def solve_spd(ctx: Context, a: Float32, b: Float32, x: Float32) -> None: ...
def als_half_sweep(
    ctx: Context,
    interactions: CSR,
    y: Float32,
    y_bf16: UInt16,
    eigenvalues: Float32,
    objective: AlsObjective,
    solver: AlsSolver,
    steps: int,
    tolerance: float,
    block: int,
    x: Float32,
) -> None: ...
def als_loss(
    ctx: Context,
    interactions: CSR,
    x: Float32,
    y: Float32,
    gramian_x: Float64,
    gramian_y: Float64,
    objective: AlsObjective,
) -> float: ...
def explicit_als_half_sweep(
    ctx: Context,
    ratings: CSR,
    weights: Float32,
    y: Float32,
    y_bf16: UInt16,
    y_biases: Float32,
    objective: ExplicitAlsObjective,
    solver: AlsSolver,
    steps: int,
    tolerance: float,
    x: Float32,
    x_biases: Float32,
) -> None: ...
def explicit_als_loss(
    ctx: Context,
    ratings: CSR,
    weights: Float32,
    x: Float32,
    y: Float32,
    x_biases: Float32,
    y_biases: Float32,
    objective: ExplicitAlsObjective,
) -> tuple[float, float]: ...
def nmf_half_epoch(ctx: Context, ratings: CSR, y: Float32, regularization: float, x: Float32, out: Float32) -> None: ...
def fill_normal(ctx: Context, seed: int, scale: float, out: Float32) -> None: ...

class RankingLoss:
    bpr: RankingLoss
    warp: RankingLoss
    logistic: RankingLoss

class NegativeSampling:
    uniform: NegativeSampling
    popularity: NegativeSampling

class FmLoss:
    regression: FmLoss
    logistic: FmLoss
    bpr: FmLoss
    warp: FmLoss

class FmRule:
    def __init__(
        self,
        loss: FmLoss,
        within: bool,
        n_candidates: int,
        batch_size: int,
        mean: float,
        learning_rate: float,
        regularization: float,
    ) -> None: ...

def fm_epoch(
    ctx: Context,
    by_user: CSR,
    users: CSR,
    items: CSR,
    contexts: CSR,
    rule: FmRule,
    seed: int,
    epoch: int,
    vectors: Float32,
    squares: Float32,
    n_factors: int,
) -> tuple[float, int]: ...

class RankingRule:
    def __init__(
        self,
        loss: RankingLoss,
        sampling: NegativeSampling,
        n_candidates: int,
        learning_rate: float,
        regularization: float,
        n_positives: int,
        order: int,
    ) -> None: ...

def ranking_epoch(
    ctx: Context,
    by_user: CSR,
    rule: RankingRule,
    seed: int,
    epoch: int,
    counts: Float32,
    users: Float32,
    items: Float32,
    biases: Float32,
) -> tuple[int, int]: ...
def ranking_fold_in(
    ctx: Context,
    by_user: CSR,
    rule: RankingRule,
    seed: int,
    iterations: int,
    counts: Float32,
    items: Float32,
    biases: Float32,
    users: Float32,
) -> None: ...

class RatingRule:
    def __init__(self, mean: float, learning_rate: float, regularization: float) -> None: ...

class RatingFactors:
    def __init__(self, users: Float32, items: Float32, user_biases: Float32, item_biases: Float32) -> None: ...

def n_rating_blocks(n_items: int, nnz: int, d: int) -> int: ...
def arrange_ratings(
    ctx: Context,
    ratings: CSR,
    seed: int,
    n_blocks: int,
    users: Int32,
    items: Int32,
    values: Float32,
    starts: Int64,
) -> None: ...
def rating_epoch(
    ctx: Context,
    user_ids: Int32,
    item_ids: Int32,
    values: Float32,
    starts: Int64,
    rule: RatingRule,
    seed: int,
    epoch: int,
    factors: RatingFactors,
) -> float: ...
def svdpp_epoch(
    ctx: Context, ratings: CSR, implicit: CSR, rule: RatingRule, factors: RatingFactors, implicit_items: Float32
) -> float: ...
def implicit_sums(ctx: Context, implicit: CSR, implicit_items: Float32, out: Float32) -> None: ...
def rating_fold_in(ctx: Context, ratings: CSR, rule: RatingRule, iterations: int, factors: RatingFactors) -> None: ...

class SlimObjective:
    def __init__(self, l1: float, l2: float, non_negative: bool, iterations: int, tolerance: float) -> None: ...

def slim(
    ctx: Context,
    by_user: CSR,
    by_item: CSR,
    start: CSR | None,
    targets: Int32,
    objective: SlimObjective,
    ids: Int32,
    values: Float32,
    counts: Int32,
    n_found: Int32,
) -> int: ...

class Score:
    inner_product: Score
    distance: Score

QUANTIZED_GROUP: int
EXTENT_FLOATS: int
MOST_QUANTIZED_DEPTH: int

def quantized_groups(m: int) -> int: ...
def quantized_bytes(d: int) -> int: ...
def quantize_items(ctx: Context, items: Items, order: Int32, groups: Int32, tiles: UInt8, extents: Float32) -> None: ...
def topk(
    ctx: Context,
    queries: Float32,
    items: Items,
    score: Score,
    exclude: CSR | None,
    candidates: CSR | None,
    allow: Int32 | None,
    deny: UInt8 | None,
    ids: Int32,
    scores: Float32,
) -> None: ...
def topk_scores(
    ctx: Context,
    all_scores: Float32,
    exclude: CSR | None,
    allow: Int32 | None,
    deny: UInt8 | None,
    ids: Int32,
    scores: Float32,
) -> None: ...
def topk_sparse(
    ctx: Context,
    queries: CSR,
    weights: CSR,
    exclude: CSR | None,
    allow: Int32 | None,
    deny: UInt8 | None,
    ids: Int32,
    scores: Float32,
) -> None: ...

class Denominator:
    product: Denominator
    sum: Denominator

class Similarity:
    def __init__(
        self, denominator: Denominator, overlap: float, shrinkage: float, minimum: float, min_support: int
    ) -> None: ...

def similarity(
    ctx: Context,
    rows: CSR,
    columns: CSR,
    left: Float32,
    right: Float32,
    measure: Similarity,
    k: int,
    first: int,
    indptr: NDArray[np.int64],
    ids: Int32,
    values: Float32,
) -> None: ...
def sparse_gramian(ctx: Context, by_row: CSR, by_column: CSR, out: Float32) -> None: ...

SWEPT_ROWS: int

def invert_spd(ctx: Context, a: Float32, first: int, last: int) -> None: ...
def regress_on_nearest(
    ctx: Context,
    correlations: CSR,
    floors: Float32,
    n_kept: int,
    first: int,
    k: int,
    indptr: NDArray[np.int64],
    ids: Int32,
    values: Float32,
) -> None: ...
def multiply_sparse(ctx: Context, x: CSR, b: Float32, out: Float32) -> None: ...

class RatingMeasure:
    cosine: RatingMeasure
    msd: RatingMeasure
    pearson: RatingMeasure

class RatingNeighbors:
    def __init__(self, measure: RatingMeasure, shrinkage: float, min_support: int, k: int) -> None: ...

def knn_ratings(
    ctx: Context,
    rows: CSR,
    columns: CSR,
    asked: CSR,
    lists: CSR,
    neighbors: RatingNeighbors,
    first: int,
    estimates: Float32,
    n_used: Int32,
) -> None: ...
def nearest_by_ratings(
    ctx: Context, rows: CSR, columns: CSR, neighbors: RatingNeighbors, first: int, ids: Int32, scores: Float32
) -> None: ...
def slope_one(
    ctx: Context,
    by_user: CSR,
    items: Int32,
    raters: CSR,
    histories: CSR,
    asked: CSR,
    weighted: bool,
    estimates: Float32,
    n_used: Int32,
) -> None: ...
def slope_one_of_rows(
    ctx: Context, by_user: CSR, by_item: CSR, histories: CSR, weighted: bool, estimates: Float32
) -> None: ...
def spmm(ctx: Context, x: CSR, y: Float32, out: Float32) -> None: ...

class Metric:
    precision: Metric
    recall: Metric
    hit_rate: Metric
    f1: Metric
    fall_out: Metric
    ndcg: Metric
    graded_ndcg: Metric
    exponential_ndcg: Metric
    map: Metric
    mrr: Metric
    r_precision: Metric
    rbp: Metric
    err: Metric
    auc: Metric
    novelty: Metric
    popularity: Metric
    diversity: Metric
    serendipity: Metric

class RankingMetric:
    def __init__(self, metric: Metric, k: int, parameter: float = 0.0) -> None: ...

def ranking_metrics(
    ctx: Context,
    ids: Int32,
    relevant: CSR,
    exclude: CSR | None,
    n_candidates: Int32,
    information: Float64,
    popularity: Float64,
    popularity_ranks: Int32,
    features: CSR | None,
    metrics: list[RankingMetric],
    out: Float64,
) -> None: ...
def count_recommended(ctx: Context, ids: Int32, cutoffs: Int32, counts: Int64) -> None: ...
def group_metrics(
    ctx: Context,
    ids: Int32,
    relevant: CSR,
    exclude: CSR | None,
    groups: Int32,
    k: int,
    exposure: Float64,
    hits: Float64,
    wanted: Float64,
) -> None: ...
def auc(ctx: Context, all_scores: Float32, relevant: CSR, exclude: CSR | None, out: Float64) -> None: ...
def concordant_pairs(
    ctx: Context, ratings: CSR, estimates: Float32, comparable: Float64, concordant: Float64
) -> None: ...
def bootstrap_means(ctx: Context, values: Float64, seed: int, out: Float64) -> None: ...
