"""`likewise` on the command line: what it writes, and what it says when something is wrong."""

from __future__ import annotations

import csv
import io
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import likewise as lw
from likewise import cli
from likewise.cli import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def events(rng):
    """Users who like one of two kinds of items: 240 events with times and values; one user bought everything."""
    users = np.repeat(np.arange(100, 130), 8)
    kinds = users % 2
    items = np.array([f"{'tea' if kind else 'mug'} {rng.integers(10)}" for kind in kinds], dtype=object)
    return {
        "customer": users,
        "product": items,
        "pieces": rng.integers(1, 5, users.size),
        "day": np.sort(rng.integers(0, 300, users.size)),
    }


def write_csv(path, events, separator=",", encoding="utf-8"):
    lines = [separator.join(events), *(separator.join(map(str, row)) for row in zip(*events.values(), strict=True))]
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


@pytest.fixture
def purchases(folder, events):
    return write_csv(folder / "purchases.csv", events)


@pytest.fixture
def data(purchases):
    return lw.data.read_csv(purchases, user="customer", item="product", value="pieces", timestamp="day")


COLUMNS = ["--value", "pieces", "--timestamp", "day"]


@pytest.fixture
def model_file(folder, purchases):
    assert main(["fit", "purchases.csv", *COLUMNS, "--factors", "4", "--output", "m.safetensors", "--quiet"]) == 0
    return folder / "m.safetensors"


def table_of(text):
    return list(csv.DictReader(io.StringIO(text)))


# ---------------------------------------------------------------------- fit


def test_fit_saves_the_model_that_the_library_fits(model_file, data):
    loaded = lw.load(model_file)
    fitted = lw.ImplicitALS(factors=4, random_state=0).fit(data)
    assert_array_equal(loaded.user_factors_, fitted.user_factors_)
    assert_array_equal(loaded.interactions_.item_ids, data.item_ids)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--factors", 3),
        ("--regularization", 0.5),
        ("--alpha", 2.5),
        ("--unobserved-weight", 0.25),
        ("--regularization-exponent", 0.75),
        ("--iterations", 2),
        ("--solver", "cg"),
        ("--cg-steps", 5),
        ("--cg-tol", 0.25),
        ("--tol", 0.125),
        ("--n-iter-no-change", 2),
        ("--block-size", 7),
        ("--early-stopping", True),
        ("--random-state", 11),
        ("--device", "cpu"),
        ("--n-jobs", 1),
    ],
)
def test_fit_passes_every_parameter_on(purchases, option, value):
    argv = [option] if value is True else [option, str(value)]
    assert main(["fit", "purchases.csv", *argv, "--output", "m.safetensors", "--quiet"]) == 0
    assert lw.load("m.safetensors").get_params()[option[2:].replace("-", "_")] == value


def test_fit_popularity_by_values(purchases, data):
    argv = ["fit", "purchases.csv", *COLUMNS, "--model", "popularity", "--count", "values", "--output", "m", "--quiet"]
    assert main(argv) == 0
    assert_array_equal(lw.load("m").popularity_, lw.Popularity(count="values").fit(data).popularity_)


def test_fit_finds_usual_column_names_and_says_what_it_read(folder, events, capsys):
    write_csv(folder / "a.csv", {"userId": events["customer"], "sku": events["product"], "rating": events["pieces"]})
    assert main(["fit", "a.csv", "--factors", "2", "--output", "m.safetensors"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(
        "columns: user 'userId', item 'sku', value 'rating'\na.csv: Interactions(30 users x 20 items"
    )
    assert "wrote m.safetensors" in said.err
    assert lw.load("m.safetensors").interactions_.by_user.values.max() > 1


def test_fit_reads_semicolons_byte_order_marks_and_parquet_alike(folder, events, data, capsys):
    write_csv(folder / "b.csv", events, separator=";", encoding="utf-8-sig")
    data.to_frame(library="polars").write_parquet(folder / "c.parquet")
    for name in ("b.csv", "c.parquet"):
        roles = [] if name == "c.parquet" else COLUMNS
        assert main(["fit", name, *roles, "--factors", "2", "--output", "m", "--quiet"]) == 0
        assert_array_equal(lw.load("m").interactions_.by_user.values, data.by_user.values)
    assert capsys.readouterr().err == ""


def test_fit_filters_and_ignores_values(purchases, data):
    argv = ["fit", "purchases.csv", *COLUMNS, "--min-value", "3", "--ignore-values", "--output", "m", "--quiet"]
    assert main(argv) == 0
    kept = lw.load("m").interactions_.by_user
    assert kept.nnz == np.count_nonzero(data.by_user.values >= 3)
    assert set(kept.values.tolist()) == {1.0}


@pytest.mark.parametrize("duplicates", ["sum", "last"])
def test_fit_merges_duplicates_as_told(folder, duplicates):
    write_csv(folder / "d.csv", {"user": [1, 1, 2], "item": [5, 5, 6], "value": [2, 3, 4]})
    assert main(["fit", "d.csv", "--duplicates", duplicates, "--factors", "1", "--output", "m", "--quiet"]) == 0
    assert lw.load("m").interactions_.by_user.values.tolist() == [5 if duplicates == "sum" else 3, 4]


# ---------------------------------------------------------------------- recommend


def test_recommend_prints_what_the_model_recommends(model_file, capsys):
    assert main(["recommend", "m.safetensors", "-k", "3"]) == 0
    out = capsys.readouterr().out
    expected = lw.load(model_file).recommend(k=3).to_dict()
    rows = table_of(out)
    assert list(rows[0]) == ["user", "item", "score", "rank"]
    assert [row["user"] for row in rows] == [str(user) for user in expected["user"]]
    assert [row["item"] for row in rows] == expected["item"].tolist()
    assert [np.float32(row["score"]) for row in rows] == pytest.approx(expected["score"].tolist(), rel=1e-6)


def test_recommend_some_users_in_the_order_asked(model_file, capsys):
    assert main(["recommend", "m.safetensors", "--users", "117", "100", "-k", "2"]) == 0
    assert list(dict.fromkeys(row["user"] for row in table_of(capsys.readouterr().out))) == ["117", "100"]


def test_recommend_reads_users_from_a_file_or_stdin(model_file, folder, capsys, monkeypatch):
    (folder / "who.txt").write_text("117\n\n100\n", encoding="utf-8-sig")
    assert main(["recommend", "m.safetensors", "--users-file", "who.txt"]) == 0
    from_file = capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", io.StringIO("117\n100\n"))
    assert main(["recommend", "m.safetensors", "--users-file", "-"]) == 0
    assert capsys.readouterr().out == from_file
    assert {row["user"] for row in table_of(from_file)} == {"100", "117"}


def test_recommend_leaves_out_what_is_seen_unless_told_otherwise(model_file, data, capsys):
    seen = {(str(user), item) for user, item in zip(*data_pairs(data), strict=True)}
    assert main(["recommend", "m.safetensors", "-k", "20"]) == 0
    rows = table_of(capsys.readouterr().out)
    assert len(rows) == data.n_users * data.n_items - data.nnz
    assert not {(row["user"], row["item"]) for row in rows} & seen
    assert main(["recommend", "m.safetensors", "-k", "20", "--no-exclude-seen"]) == 0
    assert len(table_of(capsys.readouterr().out)) == data.n_users * data.n_items


def data_pairs(data):
    return data.user_labels(data.by_user.row_numbers()).tolist(), data.item_labels(data.by_user.indices).tolist()


@pytest.mark.parametrize("batch_size", [7, None])
def test_recommend_writes_the_same_to_stdout_and_to_every_file(model_file, monkeypatch, capsys, batch_size):
    """In one batch of users or in five."""
    import polars as pl

    if batch_size is not None:
        monkeypatch.setattr("likewise.models.base._BATCH_SLOTS", 10 * batch_size)
    assert main(["recommend", "m.safetensors"]) == 0
    printed = capsys.readouterr().out
    for name in ("r.csv", "r.parquet", "r.arrow"):
        assert main(["recommend", "m.safetensors", "--output", name]) == 0
        assert capsys.readouterr().err == f"wrote {name}: 30 users, up to 10 items each\n"
    with open("r.csv", encoding="utf-8", newline="") as file:
        assert file.read() == printed
    for frame in (pl.read_parquet("r.parquet"), pl.read_ipc("r.arrow")):
        assert frame["user"].dtype == pl.Int64
        assert frame["item"].to_list() == [row["item"] for row in table_of(printed)]


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        (["ann", "bob", "1"], "bob"),
        ([uuid.UUID(int=number) for number in (7, 8, 9)], str(uuid.UUID(int=8))),
        ([-5, 6, 7], "6"),
    ],
    ids=["string", "uuid", "int64"],
)
def test_recommend_takes_ids_of_every_kind(folder, ids, text, capsys):
    data = lw.Interactions.from_arrays(np.array(ids, dtype=object)[[0, 1, 2, 0]], [1, 2, 3, 2])
    lw.Popularity().fit(data).save("m")
    assert main(["recommend", "m", "--users", text, "-k", "1"]) == 0
    assert table_of(capsys.readouterr().out)[0]["user"] == text


def test_recommend_takes_row_numbers_of_a_model_fitted_on_a_matrix(folder, capsys):
    lw.Popularity().fit(np.eye(3)).save("m")
    assert main(["recommend", "m", "--users", "2", "-k", "1"]) == 0
    assert capsys.readouterr().out == "user,item,score,rank\n2,0,1,1\n"


# ---------------------------------------------------------------------- evaluate


@pytest.mark.parametrize(
    ("argv", "split"),
    [
        ([], lambda data: lw.model_selection.temporal_split(data, 0.2)),
        (["--split", "temporal", "--test-size", "50"], lambda data: lw.model_selection.temporal_split(data, 50)),
        (
            ["--split", "random", "--test-size", "0.3", "--split-seed", "4"],
            lambda data: lw.model_selection.random_split(data, 0.3, random_state=4, leakage="ignore"),
        ),
        (["--split", "leave-last-out"], lw.model_selection.leave_last_out),
        (["--split", "leave-last-out", "--test-size", "2"], lambda data: lw.model_selection.leave_last_out(data, 2)),
    ],
    ids=["default", "temporal", "random", "last", "last-2"],
)
def test_evaluate_measures_as_the_library_does(purchases, data, argv, split, capsys):
    metrics = "ndcg@5,auc"
    argv = ["evaluate", "purchases.csv", *COLUMNS, "--factors", "4", "--metrics", metrics, "--output", "-", *argv]
    assert main(argv) == 0
    rows = table_of(capsys.readouterr().out)
    train, test = split(data)
    for name, model in {"als": lw.ImplicitALS(factors=4, random_state=0), "popularity": lw.Popularity()}.items():
        expected = lw.evaluate(model.fit(train), train, test, metrics.split(","))
        for metric in metrics.split(","):
            (row,) = [row for row in rows if (row["model"], row["metric"]) == (name, metric)]
            found = [float(row[column]) for column in ("mean", "low", "high")]
            assert found == pytest.approx([expected[metric], *expected.interval(metric)], rel=1e-6)
            assert int(row["n_users"]) == np.count_nonzero(~np.isnan(expected.per_user[metric]))


def test_evaluate_prints_a_table_with_a_column_a_model(purchases, capsys):
    assert main(["evaluate", "purchases.csv", *COLUMNS, "--model", "popularity", "--metrics", "recall@5, mrr@5"]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0].split() == ["metric", "popularity"]
    assert [line.split()[0] for line in lines[2:]] == ["recall@5", "mrr@5"]
    assert "split: temporal (choose with --split)" in said.err


def test_evaluate_compares_models_of_ratings_by_metrics_of_ratings(purchases, data, capsys):
    argv = ["evaluate", "purchases.csv", *COLUMNS, "--metrics", "rmse,fcp", "--no-clip", "--output", "-"]
    assert main(argv) == 0
    rows = table_of(capsys.readouterr().out)
    assert {row["model"] for row in rows} >= {"baseline", "slope-one"}
    assert not {row["model"] for row in rows} & {"als", "popularity", "item-knn"}
    train, test = lw.model_selection.temporal_split(data, 0.2)
    expected = lw.evaluate(lw.SlopeOne(clip=False).fit(train), train, test, ["rmse", "fcp"])
    (row,) = [row for row in rows if (row["model"], row["metric"]) == ("slope-one", "rmse")]
    assert float(row["mean"]) == pytest.approx(expected["rmse"], rel=1e-6)


def test_evaluate_refuses_metrics_of_ratings_for_a_model_of_rankings(purchases, capsys):
    assert main(["evaluate", "purchases.csv", *COLUMNS, "--model", "popularity", "--metrics", "mae"]) == 2
    assert "mae is a metric of ratings, and Popularity predicts none" in capsys.readouterr().err


def test_evaluate_without_times_splits_at_random(folder, events, capsys):
    write_csv(folder / "e.csv", {"user": events["customer"], "item": events["product"]})
    assert main(["evaluate", "e.csv", "--factors", "2", "--metrics", "recall@5"]) == 0
    assert "split: random" in capsys.readouterr().err


def test_evaluate_can_leave_newcomers_out(folder, capsys):
    write_csv(folder / "n.csv", {"user": [1, 1, 2, 1, 2, 3], "item": [1, 2, 1, 3, 3, 1], "ts": [1, 2, 3, 4, 5, 6]})
    argv = ["evaluate", "n.csv", "--model", "popularity", "--test-size", "0.5", "--metrics", "mrr@3", "--output", "-"]
    assert main(argv) == 0
    assert table_of(capsys.readouterr().out)[0]["n_users"] == "3"
    assert main([*argv, "--known-users"]) == 0
    assert table_of(capsys.readouterr().out)[0]["n_users"] == "2"


# ---------------------------------------------------------------------- info


def test_info_shows_the_installation(capsys):
    assert main(["info"]) == 0
    printed = capsys.readouterr().out
    lw.show_config()
    assert capsys.readouterr().out == printed


def test_info_shows_what_a_model_file_holds(model_file, data, capsys):
    assert main(["info", "m.safetensors"]) == 0
    lines = dict(line.strip().split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["model"] == "ImplicitALS"
    assert lines["factors"] == "4"
    assert lines["users"] == "30, numbers"
    assert lines["items"] == f"{data.n_items}, strings"
    assert lines["fitted"].startswith(f"on{' ' * 4}") or f"{data.nnz} pairs" in lines["fitted"]


# ---------------------------------------------------------------------- demo; what it finds is in test_demo.py


@pytest.fixture
def short_demo(folder, monkeypatch):
    def run_demo(*, say, n_jobs, verbose):
        say(f"working on {n_jobs} threads")
        print("£2.95")
        return "<html>£2.95</html>"

    monkeypatch.setattr("likewise._demo.run_demo", run_demo)


def test_demo_opens_its_report_when_asked(short_demo, folder, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert main(["demo", "--n-jobs", "3"]) == 0
    assert opened == []
    assert "working on 3 threads" in capsys.readouterr().err
    assert main(["demo", "--open", "--quiet", "--output", "r.html"]) == 0
    assert opened == [(folder / "r.html").as_uri()]
    assert capsys.readouterr() == ("£2.95\n\nReport with plots: r.html\n", "")
    assert (folder / "r.html").read_text(encoding="utf-8") == "<html>£2.95</html>"


def test_demo_does_not_fail_on_a_terminal_without_a_pound_sign(short_demo, folder, monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main(["demo", "--quiet"]) == 0
    assert terminal.buffer.getvalue().startswith(b"?2.95")


# ---------------------------------------------------------------------- what goes wrong

OUT = ["--output", "new.safetensors"]


@pytest.fixture
def bad_files(purchases, model_file, folder):
    (folder / "empty.csv").write_text("")
    (folder / "header.csv").write_text("user,item\n")
    (folder / "names.csv").write_text("who,what\n1,2\n")
    (folder / "words.csv").write_text("user,item,value\n1,2,many\n")
    (folder / "inf.csv").write_text("user,item,value\n1,2,1\n1,3,1e99\n")
    (folder / "hole.csv").write_text("user,item\n1,2\n,3\n")
    (folder / "twice.csv").write_text("user,item\n1,2\n1,2\n2,2\n")
    (folder / "binary.csv").write_bytes(bytes(range(256)))
    (folder / "data.json").write_text("{}")
    (folder / "broken.parquet").write_bytes(b"PAR1 is how it starts")
    (folder / "cut.safetensors").write_bytes(model_file.read_bytes()[:500])
    (folder / "blank.txt").write_text("\n\n")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["fit", "nowhere.csv", *OUT], "there is no file nowhere.csv"),
        (["fit", "empty.csv", *OUT], "the file is empty"),
        (["fit", "header.csv", *OUT], "Found array with 0 sample"),
        (["fit", "names.csv", *OUT], "no user column found among ['who', 'what']; say which it is (user)"),
        (["fit", "names.csv", "--user", "whom", "--item", "what", *OUT], "user column 'whom' is not there"),
        (["fit", "words.csv", *OUT], "value column 'value' must be numeric"),
        (["fit", "inf.csv", *OUT], "values must be finite and within float32, got 1e+99 at row 1"),
        (["fit", "hole.csv", *OUT], "user id at row 1 is null"),
        (["fit", "twice.csv", "--duplicates", "error", *OUT], "stands again at event 1"),
        (["fit", "binary.csv", *OUT], "the file is not UTF-8"),
        (["fit", "data.json", *OUT], "FILE must end in one of .csv"),
        (["fit", "broken.parquet", *OUT], "broken.parquet is damaged or no Parquet file"),
        (["fit", "broken.parquet", "--separator", ";", *OUT], "--separator is for CSV files"),
        (["fit", "purchases.csv", "--separator", ";;", *OUT], "separator must be one character, got ';;'"),
        (["fit", "purchases.csv", "--factors", "0", *OUT], "factors must be >= 1, got 0"),
        (["fit", "purchases.csv", "--device", "tpu", *OUT], "device must be 'cpu', 'cuda' or 'cuda:N', got 'tpu'"),
        (["fit", "purchases.csv", "--device", "cuda:99", *OUT], "cannot be used"),
        (["fit", "purchases.csv", "--count", "users", *OUT], "--count is no parameter of als"),
        (["fit", "purchases.csv", "--model", "popularity", "--cg-steps", "2", *OUT], "--cg-steps is no parameter of"),
        (["fit", "purchases.csv", "--min-value", "1e9", *OUT], "--min-value 1e+09 leaves no pair"),
        (["fit", "purchases.csv", "--output", "nowhere/m"], "there is no folder"),
        (["fit", "purchases.csv", "--output", "."], "'.' is not a file"),
        (["recommend", "nowhere.safetensors"], "there is no file 'nowhere.safetensors'"),
        (["recommend", "purchases.csv"], "is damaged, truncated or no model file"),
        (["recommend", "cut.safetensors"], "is damaged, truncated or no model file"),
        (["recommend", "m.safetensors", "--users", "ann"], "users of this model are numbers, got 'ann'"),
        (["recommend", "m.safetensors", "--users", "1"], "likewise recommend: user 1 is unknown"),
        (["recommend", "m.safetensors", "--users-file", "nowhere.txt"], "nowhere.txt"),
        (["recommend", "m.safetensors", "--users-file", "blank.txt"], "holds no ids"),
        (["recommend", "m.safetensors", "-k", "0"], "k must be >= 1, got 0"),
        (["recommend", "m.safetensors", "--output", "r.xlsx"], "--output must be '-' or end in one of .parquet"),
        (["evaluate", "purchases.csv", "--timestamp", "day", "--test-size", "1.5"], "test_size must be < 1, got 1.5"),
        (["evaluate", "purchases.csv", "--split", "temporal"], "the interactions have no timestamps"),
        (["evaluate", "purchases.csv", "--split", "leave-last-out", "--test-size", "0.5"], "must be a whole number"),
        (
            ["evaluate", "purchases.csv", "--timestamp", "day", "--split", "leave-last-out", "--test-size", "0"],
            "k must be >= 1, got 0",
        ),
        (
            ["evaluate", "purchases.csv", "--split", "temporal", "--split-seed", "5"],
            "--split-seed is for --split random",
        ),
        (["evaluate", "purchases.csv", "--metrics", "ndgc@10"], "unknown metric 'ndgc@10'"),
        (["evaluate", "nowhere.csv", "--metrics", "ndcg@10,"], "unknown metric ''"),  # before the file is looked for
        (["fit", "nowhere.csv", "--factors", "0", "--output", "n.safetensors"], "factors must be >= 1, got 0"),
        (["evaluate", "purchases.csv", "--output", "r.txt"], "--output must be '-' or end in one of .parquet"),
        (["info", "purchases.csv"], "is damaged, truncated or no model file"),
        (["demo", "--output", "nowhere/r.html"], "there is no folder"),
        (["demo", "--n-jobs", "0"], "n_jobs must not be 0"),
    ],
    ids=lambda value: " ".join(value[:4]) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_nothing_written(bad_files, folder, argv, message, capsys):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert main([*argv, "--quiet"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1, said.err
    assert said.err.startswith(f"likewise {argv[0]}: ")
    assert message in said.err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "the following arguments are required: command"),
        (["fly"], "invalid choice: 'fly'"),
        (["fit", "a.csv"], "the following arguments are required: --output"),
        (["fit", "a.csv", "--factors", "many", *OUT], "argument --factors: invalid int value: 'many'"),
        (["fit", "a.csv", "--model", "svd", *OUT], "invalid choice: 'svd'"),
        (["recommend", "m", "--users", "1", "--users-file", "f"], "not allowed with argument --users"),
        (["evaluate", "a.csv", "--test-size", "half"], "argument --test-size: expected a number, got 'half'"),
    ],
    ids=lambda value: " ".join(value[:4]) if isinstance(value, list) else "",
)
def test_bad_command_lines_are_one_line(argv, message, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(argv)
    assert exit_.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert message in said.err
    assert said.err.rstrip().endswith("--help")


def test_debug_shows_the_traceback(capsys):
    assert main(["info", "nowhere", "--debug"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("Traceback")
    assert said.splitlines()[-1] == "likewise info: load: there is no file 'nowhere'"


def test_a_defect_is_told_from_bad_input(purchases, monkeypatch, capsys):
    def fail(self, X, y=None):
        raise RuntimeError("the disk\nsang")

    monkeypatch.setattr(lw.ImplicitALS, "fit", fail)
    assert main(["fit", "purchases.csv", *OUT, "--quiet"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "unexpected RuntimeError: the disk sang" in said


def test_interrupt_writes_nothing(purchases, folder, monkeypatch, capsys):
    def interrupt(self, X, y=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(lw.ImplicitALS, "fit", interrupt)
    assert main(["fit", "purchases.csv", *OUT, "--quiet"]) == 130
    assert capsys.readouterr().err == "likewise fit: interrupted; nothing was written\n"
    assert [path.name for path in folder.iterdir()] == ["purchases.csv"]


def test_interrupted_recommend_keeps_the_file_before(model_file, folder, monkeypatch, capsys):
    """Of what went to stdout, or was to be a file, only the file is said not to be there."""
    (folder / "r.csv").write_text("before")
    names = {path.name for path in folder.iterdir()}
    rank = lw.ImplicitALS._top_k

    def interrupt_late(self, histories, rows, *rest, **options):
        if 20 in rows:
            raise KeyboardInterrupt
        return rank(self, histories, rows, *rest, **options)

    monkeypatch.setattr(lw.ImplicitALS, "_top_k", interrupt_late)
    monkeypatch.setattr("likewise.models.base._BATCH_SLOTS", 100)
    assert main(["recommend", "m.safetensors", "--output", "r.csv"]) == 130
    assert capsys.readouterr() == ("", "likewise recommend: interrupted; nothing was written\n")
    assert (folder / "r.csv").read_text() == "before"
    assert {path.name for path in folder.iterdir()} == names
    assert main(["recommend", "m.safetensors"]) == 130
    said = capsys.readouterr()
    assert len({row["user"] for row in table_of(said.out)}) == 20  # two batches of ten
    assert said.err == "likewise recommend: interrupted\n"


def test_parquet_without_a_library_says_what_to_install(model_file, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["recommend", "m.safetensors", "--output", "r.parquet"]) == 2
    expected = "--output: parquet files are written by pyarrow, which is not installed; install it, or write .csv"
    assert capsys.readouterr().err == f"likewise recommend: {expected}\n"


def test_every_model_and_parameter_can_be_asked_for():
    in_python_alone = {"callbacks", "compute_loss", "partial_iterations", "verbose", "warm_start"}
    in_python_alone |= {"pairs", "user_identities", "item_identities"}  # of features, which files do not hold
    models = [name for name in lw.models.__all__ if isinstance(getattr(lw.models, name), type)]
    assert set(models) - {"Recommender"} == set(cli._MODELS.values())
    parameters = {name for model in cli._MODELS.values() for name in getattr(lw, model)().get_params()}
    assert parameters - in_python_alone == {name for name, _, _ in cli._PARAMETERS}


def test_every_command_and_option_has_a_help_text():
    parser = cli._parser()
    (commands,) = (action for action in parser._actions if hasattr(action, "choices") and action.dest == "command")
    for command in commands.choices.values():
        assert command.description
        assert all(action.help for action in command._actions)
        assert command.format_help()


# ---------------------------------------------------------------------- as a process


COMMAND = [sys.executable, "-m", "likewise"]


@pytest.fixture(autouse=True)
def _same_package_in_subprocesses(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(lw.__file__).parents[1]))


def test_module_runs_as_a_command():
    done = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"likewise {lw.__version__}\n")


def test_reader_that_has_enough_is_no_error(model_file, folder):
    data = lw.Interactions.from_arrays(np.arange(20000), np.arange(20000) % 7)
    lw.Popularity().fit(data).save("large")
    with subprocess.Popen(
        [*COMMAND, "recommend", "large"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "user,item,score,rank\n"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_interrupted_demo_ends_at_once_without_a_report(folder):
    with subprocess.Popen([*COMMAND, "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while "trying" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "likewise demo: interrupted; nothing was written"
    assert "Traceback" not in said
    assert list(folder.iterdir()) == []
