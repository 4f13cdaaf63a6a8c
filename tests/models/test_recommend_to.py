"""Recommendations in files: read back by others, whole or not there, in memory that does not grow with the users."""

from __future__ import annotations

import csv
import subprocess
import sys
import textwrap
import uuid

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

import likewise as lw

SUFFIXES = [".parquet", ".pq", ".arrow", ".feather", ".csv"]
KINDS = {
    "row": None,
    "int64": lambda number: int(number) * 7 - 50,
    "string": "id {:03}".format,
    "uuid": lambda number: uuid.UUID(int=int(number)),
}
N_USERS = 40


def _data(kind):
    """Users and items with ids of a kind; the first ten users have everything, and so get nothing."""
    matrix = np.random.default_rng(3).random((N_USERS, 12)) < 0.3
    matrix[:10] = True
    matrix[:, 0] = True
    users, items = np.nonzero(matrix)
    if kind == "row":
        return matrix
    return lw.Interactions.from_arrays(*([KINDS[kind](number) for number in side] for side in (users, items)))


@pytest.fixture(params=KINDS)
def model(request):
    return lw.ImplicitALS(factors=4, iterations=2, random_state=0).fit(_data(request.param))


@pytest.fixture
def popularity():
    return lw.Popularity().fit(_data("string"))


def _read(path):
    """A table as columns of Python objects."""
    if path.suffix in (".parquet", ".pq"):
        return pq.read_table(path).to_pydict()
    if path.suffix in (".arrow", ".feather"):
        return pa.ipc.open_file(path).read_all().to_pydict()
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))


def _expected(recommendations, suffix):
    columns = recommendations.to_frame(library="pyarrow").to_pydict()
    if suffix == ".csv":
        columns["score"] = [f"{score:.7g}" for score in columns["score"]]
        return {name: list(map(str, column)) for name, column in columns.items()}
    return columns


# ---------------------------------------------------------------------- what is written


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("batch_size", [3, None])
def test_a_file_holds_what_recommend_gives(model, tmp_path, suffix, batch_size):
    path, expected = tmp_path / f"r{suffix.upper()}", model.recommend(k=5)
    n_rows = model.recommend_to(path, k=5, batch_size=batch_size)
    path = path.rename(tmp_path / f"r{suffix}")
    assert _read(path) == _expected(expected, suffix)
    assert n_rows == np.count_nonzero(expected.scores > -np.inf) > 0


def test_a_file_of_some_users_for_given_histories_and_items(popularity, tmp_path):
    items = popularity.interactions_.item_ids
    histories = lw.Interactions.from_arrays(["ann", "bob", "cat"], items[[1, 2, 3]])
    query = {"users": ["cat", "ann"], "k": 3, "interactions": histories, "items": items[1:6], "exclude": items[[4]]}
    for options in (query, {**query, "exclude_seen": False}):
        popularity.recommend_to(tmp_path / "r.parquet", **options)
        assert _read(tmp_path / "r.parquet") == _expected(popularity.recommend(**options), ".parquet")
    popularity.recommend_to(tmp_path / "r.parquet", "ann", 2, interactions=histories)
    assert _read(tmp_path / "r.parquet")["user"] == ["ann", "ann"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
@pytest.mark.parametrize("users", [slice(None), slice(10), slice(0)], ids=["everybody", "who get nothing", "nobody"])
def test_columns_have_the_same_types_whatever_they_hold(tmp_path, kind, suffix, users):
    """The first batches are of users who get nothing."""
    data = _data(kind)
    path, model = tmp_path / f"r{suffix}", lw.Popularity().fit(data)
    everybody = np.arange(N_USERS) if kind == "row" else data.user_ids
    n_rows = model.recommend_to(path, everybody[users], k=2, batch_size=4)
    table = pq.read_table(path) if suffix == ".parquet" else pa.ipc.open_file(path).read_all()
    ids = pa.int64() if kind in ("row", "int64") else pa.string()
    assert table.schema == pa.schema({"user": ids, "item": ids, "score": pa.float32(), "rank": pa.int64()})
    assert table.num_rows == n_rows == (2 * (N_USERS - 10) if users == slice(None) else 0)
    assert table.schema == model.recommend(k=2).to_frame(library="pyarrow").schema


def test_a_csv_of_nobody_has_its_names(popularity, tmp_path):
    assert popularity.recommend_to(tmp_path / "r.csv", []) == 0
    assert (tmp_path / "r.csv").read_text() == "user,item,score,rank\n"


def test_ids_with_commas_quotes_and_line_ends_come_back(tmp_path):
    items = ['a "mug", blue', "two\nlines", "größe", "", "None"]
    data = lw.Interactions.from_arrays([*items, "x,y"], items + items[:1])
    model = lw.Popularity().fit(data)
    for suffix in SUFFIXES:
        model.recommend_to(tmp_path / f"r{suffix}", k=5, batch_size=2)
        columns = _read(tmp_path / f"r{suffix}")
        assert set(columns["item"]) == set(items)
        assert set(columns["user"]) == {*items, "x,y"}


def test_pandas_and_polars_read_the_files(model, tmp_path):
    expected = model.recommend(k=4).to_frame(library="pyarrow").to_pydict()
    for suffix, reads in {
        ".parquet": [pd.read_parquet, pl.read_parquet],
        ".feather": [pd.read_feather, pl.read_ipc],
    }.items():
        path = tmp_path / f"r{suffix}"
        model.recommend_to(path, k=4, batch_size=7)
        for read in reads:
            frame = read(path)
            assert {name: frame[name].to_list() for name in frame.columns} == expected
    model.recommend_to(tmp_path / "r.csv", k=4, batch_size=7)
    for read in (pd.read_csv, pl.read_csv):
        frame = read(tmp_path / "r.csv")
        assert frame["item"].to_list() == expected["item"]
        assert frame["score"].to_list() == pytest.approx(expected["score"], rel=1e-6)


def test_a_batch_is_a_row_group_or_a_record_batch(popularity, tmp_path):
    """One for each batch of users that gets anything: the first ten of forty get nothing."""
    popularity.recommend_to(tmp_path / "r.parquet", k=3, batch_size=5)
    groups = pq.read_metadata(tmp_path / "r.parquet")
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [15] * 6
    popularity.recommend_to(tmp_path / "r.arrow", k=3, batch_size=5)
    assert pa.ipc.open_file(tmp_path / "r.arrow").num_record_batches == 6


def test_format_outranks_the_suffix_and_is_parquet_without_one(popularity, tmp_path):
    popularity.recommend_to(tmp_path / "a.dat", format="csv")
    popularity.recommend_to(str(tmp_path / "b.csv"), format="arrow")
    popularity.recommend_to(tmp_path / "c")
    assert (tmp_path / "a.dat").read_text().startswith("user,item,score,rank\n")
    assert pa.ipc.open_file(tmp_path / "b.csv").read_all() == pq.read_table(tmp_path / "c")


def test_a_file_shows_a_bar_where_asked_to(popularity, tmp_path, capsys):
    popularity.recommend_to(tmp_path / "r.csv")
    assert capsys.readouterr().err == ""
    popularity.recommend_to(tmp_path / "r.csv", verbose=True)
    assert "/40 [" in capsys.readouterr().err


# ---------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("r.xlsx", {}, ValueError, r"path must end in one of \.parquet, .*\.csv, got '.*r\.xlsx'; or give format= one"),
        ("r.csv.gz", {}, ValueError, "path must end in one of"),
        ("r.csv", {"format": "excel"}, ValueError, "format must be one of 'parquet', 'arrow', 'csv', got 'excel'"),
        ("nowhere/r.csv", {}, FileNotFoundError, "there is no folder '.*nowhere' to write to; make it first"),
        (".", {"format": "csv"}, OSError, "'.*' is not a file and cannot be replaced by one"),
        ("r.csv", {"batch_size": 0}, ValueError, "batch_size must be >= 1, got 0"),
        ("r.csv", {"k": 0}, ValueError, "k must be >= 1, got 0"),
        ("r.csv", {"users": ["id 003", "nobody"]}, KeyError, "user 'nobody' is unknown"),
    ],
    ids=lambda value: str(value) if isinstance(value, (str, dict)) else "",
)
def test_a_bad_argument_writes_nothing(popularity, tmp_path, name, options, error, message):
    with pytest.raises(error, match=f"recommend_to: {message}"):
        popularity.recommend_to(tmp_path / name, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".csv"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("before", [b"before", None], ids=["over a file", "anew"])
def test_what_fails_half_way_leaves_what_stood_there(popularity, tmp_path, monkeypatch, suffix, error, before):
    path, rank = tmp_path / f"r{suffix}", lw.Popularity._top_k
    if before is not None:
        path.write_bytes(before)

    def fail_late(self, histories, rows, *rest, **options):
        if 30 in rows:
            raise error
        return rank(self, histories, rows, *rest, **options)

    monkeypatch.setattr(lw.Popularity, "_top_k", fail_late)
    with pytest.raises(error):
        popularity.recommend_to(path, batch_size=10)
    assert [(found.name, found.read_bytes()) for found in tmp_path.iterdir()] == (
        [] if before is None else [(path.name, before)]
    )


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are set as on Unix")
@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".csv"])
def test_a_full_disk_keeps_the_file_before(tmp_path, suffix):
    """A limit on the size of files stands for the disk."""
    path = tmp_path / f"r{suffix}"
    path.write_bytes(b"before")
    code = """
        import resource, sys
        import numpy as np
        import likewise as lw
        model = lw.Popularity().fit(np.eye(2000, 50, dtype=np.float32))
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            model.recommend_to(sys.argv[1], k=20, batch_size=500)
        except OSError:
            print("refused")
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(path)], capture_output=True, text=True, check=True
    )
    assert run.stdout == "refused\n"
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_without_pyarrow_there_is_csv(popularity, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for suffix, name in ((".parquet", "parquet"), (".feather", "arrow"), ("", "parquet")):
        with pytest.raises(
            ImportError,
            match=rf"^recommend_to: {name} files are written by pyarrow, .* install it, or write \.csv$",
        ):
            popularity.recommend_to(tmp_path / f"r{suffix}")
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # an import of it fails
    assert popularity.recommend_to(tmp_path / "r.csv", k=1) == N_USERS - 10
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]


# ---------------------------------------------------------------------- memory


@pytest.mark.skipif(sys.platform == "win32", reason="the peak of a process is read as on Unix")
@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_memory_does_not_grow_with_the_users(tmp_path, suffix):
    """As the system counts it, pyarrow's share and that of the kernels too."""
    code = """
        import resource, sys
        import numpy as np
        import likewise as lw
        from likewise.data import CSR

        n_users, n_items, k = 300_000, 64, 50
        ids = (np.arange(n_users) % n_items).astype(np.int32)
        ones = np.ones(n_users, np.float32)
        model = lw.Popularity().fit(CSR.from_arrays(np.arange(n_users + 1), ids, ones, (n_users, n_items)))

        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)

        model.recommend_to(sys.argv[1], np.arange(20_000), k)
        before = peak()
        print(model.recommend_to(sys.argv[1], k=k), peak() - before)
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / f"r{suffix}")],
        capture_output=True,
        text=True,
        check=True,
    )
    n_rows, grown = run.stdout.split()
    assert int(n_rows) == 300_000 * 50
    # In one piece, rows and scores alone are 114 MiB, and with ids and columns it is half a GiB.
    assert float(grown) < 60
