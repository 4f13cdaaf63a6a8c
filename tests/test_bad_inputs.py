"""Where each kind of bad or unusual input is tested, for models, recommend, evaluate and ExactIndex."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

CONTRACT = "models/test_contract.py"  # runs over every model
ALS = "models/test_als.py"
EVALUATE = "evaluation/test_evaluate.py"
INDEX = "retrieval/test_exact.py"

TABLE = {
    "NaN and inf": {
        CONTRACT: [
            "test_fit_refuses_what_is_not_interactions",
            "test_whatever_takes_interactions_refuses_what_fit_refuses",  # recommend, predict, score, evaluate, ...
            "test_partial_fit_that_fails_leaves_the_model_as_it_was",
        ],
        ALS: ["test_fold_in_refuses_bad_arguments", "test_fit_refuses_a_bad_parameter"],
        INDEX: ["test_index_refuses", "test_search_refuses"],
    },
    "negative counts": {
        CONTRACT: [
            "test_fit_refuses_negative_values_or_uses_them",
            "test_histories_with_negative_values_are_refused_or_used_as_in_fit",
        ],
        EVALUATE: ["test_evaluate_counts_no_value_of_zero_or_below"],
    },
    "empty matrix": {
        CONTRACT: [
            "test_fit_refuses_what_is_not_interactions",
            "test_whatever_takes_interactions_refuses_what_fit_refuses",
            "test_histories_without_interactions",
            "test_recommend_for_nobody_is_empty",
        ],
        INDEX: ["test_index_takes_lists_integers_and_no_vectors_at_all"],
    },
    "empty rows and columns": {
        CONTRACT: [
            "test_fit_takes_users_and_items_without_interactions",
            "test_nobody_gets_an_item_of_which_nothing_is_known_unasked",
            "test_a_history_of_which_nothing_is_known",
            "test_evaluate_gives_nothing_for_what_is_not_known",
        ],
        ALS: ["test_early_stopping_needs_something_to_hide", "test_explain_of_a_user_without_history_is_nothing"],
    },
    "ids out of range and unknown ids": {
        CONTRACT: [
            "test_recommend_refuses_bad_arguments",
            "test_recommend_names_an_unknown_id",
            "test_recommend_refuses_ids_of_another_type",
            "test_predict_refuses_bad_pairs",
            "test_similar_items_refuses_bad_arguments",
            "test_evaluate_names_an_unknown_user",
        ],
        EVALUATE: ["test_evaluate_refuses", "test_evaluate_matches_ids_and_counts_the_unknown"],
        INDEX: ["test_search_refuses"],
    },
    "transposed test matrix": {
        CONTRACT: ["test_histories_that_look_transposed_are_refused", "test_evaluate_refuses_a_transposed_test_matrix"],
        EVALUATE: ["test_evaluate_refuses_a_transposed_test"],
        INDEX: ["test_search_refuses"],
    },
    "k = 0": {
        CONTRACT: ["test_recommend_refuses_bad_arguments", "test_similar_items_refuses_bad_arguments"],
        EVALUATE: ["test_evaluate_refuses"],
        INDEX: ["test_search_refuses"],
    },
    "k > n_items": {
        CONTRACT: [
            "test_recommend_leaves_empty_slots_rather_than_inventing_items",
            "test_recommend_orders_by_score",
            "test_similar_gives_the_greatest_similarities",
        ],
        EVALUATE: ["test_evaluate_with_a_cutoff_beyond_the_catalogue"],
        INDEX: ["test_search_with_more_results_than_vectors"],
    },
    "factors = 0 and 4096": {
        ALS: ["test_fit_refuses_a_bad_parameter", "test_many_more_factors_than_rows_do_no_harm"],
        INDEX: ["test_index_of_vectors_without_factors_scores_nothing", "test_index_of_vectors_of_any_length"],
    },
    "int64 indices, csr_array, arrays that are not contiguous or read-only": {
        CONTRACT: ["test_fit_takes_any_matrix", "test_whatever_takes_interactions_takes_any_matrix"],
        INDEX: [
            "test_index_and_search_take_any_layout",
            "test_search_excludes",
            "test_search_excludes_by_a_matrix_with_int64_ids",
        ],
    },
    "a data frame of events, a file name, a mapping": {
        CONTRACT: [
            "test_fit_refuses_what_is_not_interactions",
            "test_a_frame_of_events_is_refused_wherever_interactions_are_wanted",
        ],
        "data/test_interactions.py": ["test_as_interactions_says_what_it_wants_instead"],
    },
    "refit on a smaller matrix": {CONTRACT: ["test_fit_forgets_the_fit_before"]},
    "use before fit": {
        CONTRACT: ["test_use_before_fit_is_not_fitted_error", "test_use_after_a_failed_first_fit_is_not_fitted_error"],
        ALS: ["test_use_before_fit_is_not_fitted_error"],
        EVALUATE: ["test_evaluate_refuses_an_unfitted_model"],
    },
    "truncated and foreign model files": {
        CONTRACT: [
            "test_load_refuses_a_truncated_file",
            "test_load_refuses_a_damaged_file",
            "test_load_refuses_a_foreign_file",
            "test_load_refuses_a_newer_format",
            "test_load_refuses_a_file_whose_parts_disagree",
        ],
    },
    "users x factors of 2**31 and more": {
        "kernels/test_als.py": [
            "test_als_half_sweep_gathers_beyond_2_to_the_31_factors",
            "test_als_loss_of_users_beyond_2_to_the_31_factors",
        ],
        "kernels/test_topk.py": [
            "test_topk_of_items_beyond_2_to_the_31_factors",
            "test_topk_of_queries_beyond_2_to_the_31_factors",
        ],
        "data/test_csr.py": ["test_from_scipy_refuses", "test_density_is_counted_in_python_integers"],
        "kernels/test_arrays.py": ["test_csr_refuses"],
    },
}


@pytest.mark.parametrize("entry", TABLE)
def test_every_entry_is_tested_where_the_table_says(entry):
    for file, names in TABLE[entry].items():
        tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert set(names) <= functions, f"{file} no longer has all tests of {entry!r}"
