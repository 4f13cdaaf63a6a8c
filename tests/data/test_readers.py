from __future__ import annotations

import gzip
import importlib.util
import zipfile

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from likewise.data import Interactions, read_csv, read_movielens, read_parquet

LIBRARIES = ("polars", "pandas", "pyarrow")

EVENTS = """userId,movieId,rating,timestamp,comment
7,m1,4.5,2020-01-03T10:00:00,good
3,m2,3.0,2020-01-02T09:30:00,"so, so"
7,m1,1.0,2020-01-01T00:00:00,
3,NA,2.0,2020-01-05T00:00:00,"two
lines"
"""


def without_libraries(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in LIBRARIES else find_spec(name))


@pytest.fixture(params=[*LIBRARIES, "none"])
def library(request, monkeypatch):
    """Argument for `library`: each of them, and None where none is installed."""
    if request.param == "none":
        without_libraries(monkeypatch)
        return None
    return request.param


@pytest.fixture
def events(tmp_path):
    path = tmp_path / "events.csv"
    path.write_text(EVENTS, encoding="utf-8")
    return path


def expected(**changes):
    arguments = {
        "users": [7, 3, 7, 3],
        "items": ["m1", "m2", "m1", "NA"],
        "values": [4.5, 3.0, 1.0, 2.0],
        "timestamps": np.array(["2020-01-03T10:00", "2020-01-02T09:30", "2020-01-01", "2020-01-05"], "M8[ns]"),
    }
    return Interactions.from_arrays(**{**arguments, **changes})


def assert_same(one, other):
    assert one.user_map == other.user_map
    assert one.item_map == other.item_map
    assert one.timestamp_unit == other.timestamp_unit
    assert one.duplicates == other.duplicates
    for mine, theirs in zip(one.events(), other.events(), strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            assert_array_equal(mine, theirs)
    assert_array_equal(one.by_user.values, other.by_user.values)


def test_read_csv_finds_the_columns(events, library):
    assert_same(read_csv(events, library=library), expected())


def test_read_csv_by_name_and_without(events, library):
    data = read_csv(str(events), value=None, timestamp=None, duplicates="last", library=library)
    assert_same(data, expected(values=None, timestamps=None, duplicates="last"))
    data = read_csv(events, user="movieId", item="userId", library=library)
    assert data.user_ids.tolist() == ["NA", "m1", "m2"]


@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
def test_read_csv_finds_the_separator(tmp_path, library, separator):
    path = tmp_path / "events.txt"
    path.write_text(separator.join(["user", "item", "count"]) + "\n" + separator.join(["1", "2", "3"]) + "\n", "utf-8")
    assert read_csv(path, library=library).by_user.values.tolist() == [3]
    assert read_csv(path, library=library, separator=separator).by_user.values.tolist() == [3]


def test_read_csv_unpacks_gz_and_skips_a_byte_order_mark(tmp_path, library):
    path = tmp_path / "events.csv.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + EVENTS.encode()))
    assert_same(read_csv(path, library=library), expected())
    plain = tmp_path / "events.csv"
    plain.write_bytes(b"\xef\xbb\xbf" + EVENTS.encode())
    assert_same(read_csv(plain, library=library), expected())


def test_read_csv_judges_types_by_all_lines(tmp_path, library):
    path = tmp_path / "events.csv"
    n = 300_000
    lines = [f"{row},5,1" for row in range(n)] + ["B00A,5,2.5"]
    path.write_text("user,item,value\n" + "\n".join(lines) + "\n", "utf-8")
    data = read_csv(path, library=library)
    assert data.user_map.kind == "string"
    assert data.by_user.values.sum() == n + 2.5


@pytest.mark.parametrize(
    ("column", "role"),
    [
        ("user", "user"),
        ("User ID", "user"),
        ("customer_id", "user"),
        ("CustomerID", "user"),
        ("visitorid", "user"),
        ("item_id", "item"),
        ("StockCode", "item"),
        ("artistID", "item"),
        ("parent_asin", "item"),
        ("Quantity", "value"),
        ("play-count", "value"),
        ("InvoiceDate", "timestamp"),
        ("unix_time", "timestamp"),
        ("Created At", "timestamp"),
    ],
)
def test_usual_names(tmp_path, column, role):
    names = {"user": "user", "item": "item", "value": "other", "timestamp": "another", role: column}
    path = tmp_path / "events.csv"
    path.write_text(",".join(names.values()) + "\n1,2,3,4\n1,5,6,7\n", "utf-8")
    data = read_csv(path)
    assert data.shape == (1, 2)
    if role == "value":
        assert data.by_user.values.tolist() == [3, 6]
    if role == "timestamp":
        assert data.timestamps.tolist() == [4, 7]


def test_of_several_usual_names_the_most_usual_wins(tmp_path):
    path = tmp_path / "events.csv"
    path.write_text("product,item,customer,user\n1,2,3,4\n", "utf-8")
    data = read_csv(path)
    assert (data.user_ids.tolist(), data.item_ids.tolist()) == ([4], [2])


@pytest.mark.parametrize(
    ("text", "arguments", "error", "match"),
    [
        ("a,item\n1,2\n", {}, ValueError, r"no user column found among \['a', 'item'\]; say which it is \(user\)"),
        ("user,b\n1,2\n", {}, ValueError, r"no item column found among \['user', 'b'\]"),
        ("user,item\n1,2\n", {"value": "rating"}, ValueError, r"value column 'rating' is not there; the columns are"),
        ("user,item\n1,2\n", {"user": "who"}, ValueError, r"user column 'who' is not there"),
        ("", {}, ValueError, "the file is empty; it needs a header line"),
        ("\n\n", {}, ValueError, "the file is empty"),
        ("user,item\n1,2\n", {"separator": "::"}, ValueError, "separator must be one character, got '::'"),
        ("user,item\n1,2\n", {"duplicates": "mean"}, ValueError, "duplicates must be one of"),
        ("user,item\na,x\n,y\n", {}, ValueError, "user id at row 1 is null"),
        ("user,item\n1,2\n,3\n", {}, ValueError, "user id at row 1 is null"),
        ("user,item\n1.0,2\n,3\n", {}, ValueError, "user id at row 1 is null"),
        ("user,item,value\n1,2,3\n1,3,\n", {}, ValueError, "value at row 1 is null"),
        ("user,item,value\n1,2,x\n", {}, TypeError, "value column 'value' must be numeric"),
        ("user,item,ts\n1,2,12/1/2010 8:26\n", {}, ValueError, "timestamp '12/1/2010 8:26' at row 0 is not ISO 8601"),
        ("user,item,ts\n1,2,2020-01-01\n1,3,\n", {}, ValueError, "timestamp at row 1 is null"),
    ],
)
def test_read_csv_refuses(tmp_path, library, text, arguments, error, match):
    path = tmp_path / "events.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(error, match=f"^read_csv: .*{match}"):
        read_csv(path, library=library, **arguments)


@pytest.mark.parametrize("cells", [("007", "7"), ('"007"', "12"), ("-01", "2")], ids=str)
def test_read_csv_takes_numbers_with_leading_zeros_for_strings(tmp_path, library, cells):
    path = tmp_path / "events.csv"
    path.write_text(f"day,user,item,value\n2020-01-05,{cells[0]},08,05\n2020-01-06,{cells[1]},9,0.5\n", "utf-8")
    data = read_csv(path, library=library, timestamp="day")
    assert data.user_ids.tolist() == sorted(cell.strip('"') for cell in cells)
    assert data.item_ids.tolist() == ["08", "9"]
    assert sorted(data.by_user.values.tolist()) == [0.5, 5]


def test_read_csv_takes_zeros_for_numbers(tmp_path, library):
    path = tmp_path / "events.csv"
    path.write_text("user,item,value\n0,100,01\n100,0,0.5\n205,7001,08\n", "utf-8")
    data = read_csv(path, library=library)
    assert data.user_ids.tolist() == [0, 100, 205]
    assert data.item_ids.tolist() == [0, 100, 7001]


def test_read_csv_skips_blank_lines(tmp_path, library):
    path = tmp_path / "events.csv"
    path.write_text("user,item\n1,02\n\n3,4\n\n", "utf-8")
    data = read_csv(path, library=library)
    assert data.user_ids.tolist() == [1, 3]
    assert data.item_ids.tolist() == ["02", "4"]


@pytest.mark.parametrize("damage", [lambda content: content[:-6], lambda content: content[:12] + b"x" + content[13:]])
def test_read_csv_refuses_a_damaged_gz(tmp_path, damage):
    path = tmp_path / "events.csv.GZ"
    path.write_bytes(gzip.compress(EVENTS.encode()))
    assert read_csv(path).nnz == 3
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"^read_csv: .*events.csv.GZ is damaged or not compressed by gzip"):
        read_csv(path)
    path.write_bytes(b"user,item\n1,2\n")
    with pytest.raises(ValueError, match=r"^read_csv: .*events.csv.GZ is damaged or not compressed by gzip"):
        read_csv(path)


@pytest.mark.parametrize(
    "cells", [("12346.0", "7.0"), ("12346", "7.0"), ("12346.", "7.00"), ("1.2346e4", "+7.0")], ids=str
)
def test_read_csv_takes_whole_numbers_with_a_decimal_point_for_integers(tmp_path, library, cells):
    """What pandas writes of a column of integers that once had an empty cell."""
    path = tmp_path / "events.csv"
    path.write_text(f"user,item\n{cells[0]},x\n{cells[1]},-3.0\n", "utf-8")
    data = read_csv(path, library=library)
    assert data.user_ids.tolist() == [7, 12346]
    assert data.user_map.kind == "int64"
    assert data.item_ids.tolist() == ["-3.0", "x"]  # a column that is not all numbers is one of strings


@pytest.mark.parametrize(
    ("cells", "match"),
    [
        ("1.0 2.5", "below 2[*]{2}53, got 2.5 at row 1; name another column"),
        ("9007199254740992.0 1.0", "below 2[*]{2}53, got 9007199254740992.0 at row 0"),
        ("1.0 1e300", r"below 2[*]{2}53, got 1e\+300 at row 1"),
    ],
)
@pytest.mark.parametrize("role", ["user", "item"])
def test_read_csv_refuses_decimal_ids_that_are_no_integers(tmp_path, library, role, cells, match):
    path = tmp_path / "events.csv"
    other = "item" if role == "user" else "user"
    path.write_text("\n".join([f"{role},{other}", *(f"{cell},1" for cell in cells.split())]), "utf-8")
    with pytest.raises(TypeError, match=f"^read_csv: {role} ids with a decimal point must be whole numbers {match}"):
        read_csv(path, library=library)


def test_read_csv_without_lines(tmp_path, library):
    path = tmp_path / "events.csv"
    path.write_text("user,item\n", "utf-8")
    assert read_csv(path, library=library).shape == (0, 0)


@pytest.mark.parametrize("kind", ["seconds", "fractions", "dates", "iso"])
def test_read_csv_timestamps(tmp_path, library, kind):
    cells = {"seconds": "3600", "fractions": "3600.5", "dates": "1970-01-02", "iso": "1970-01-01T01:00:00Z"}[kind]
    time = {"seconds": 3600, "fractions": 3600.5, "dates": 86_400 * 10**9, "iso": 3600 * 10**9}[kind]
    path = tmp_path / "events.csv"
    path.write_text(f"user,item,time\n1,2,{cells}\n", "utf-8")
    data = read_csv(path, library=library)
    assert data.timestamps.tolist() == [time]
    assert data.timestamp_unit == (None if kind in ("seconds", "fractions") else "ns")


def test_read_csv_names_ragged_lines(tmp_path, library):
    path = tmp_path / "events.csv"
    path.write_text("user,item\n1,2\n\n1,2,3\n", "utf-8")
    with pytest.raises(ValueError, match=r"read_csv: row 1 has 3 cells, but the header has 2"):
        read_csv(path, library=library)


@pytest.mark.parametrize("text", ["us\u00e9r,item\n1,2\n", "user,item\n\u00e9,2\n"])
def test_read_csv_wants_utf8(tmp_path, monkeypatch, text):
    without_libraries(monkeypatch)
    path = tmp_path / "events.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"read_csv: the file is not UTF-8 \(.*\); convert it first"):
        read_csv(path)


@pytest.mark.parametrize("read", [read_csv, read_parquet, read_movielens])
def test_missing_files_are_named(tmp_path, read):
    with pytest.raises(FileNotFoundError, match=f"{read.__name__}: there is no file .*nowhere"):
        read(tmp_path / "nowhere")


@pytest.mark.parametrize("read", [read_csv, read_parquet])
def test_libraries_are_named(events, monkeypatch, read):
    with pytest.raises(ValueError, match="library must be one of 'pandas', 'polars', 'pyarrow', got 'dask'"):
        read(events, library="dask")
    without_libraries(monkeypatch)
    with pytest.raises(ImportError, match=f"{read.__name__}: polars is not installed"):
        read(events, library="polars")


def test_read_parquet_takes_whole_numbers_of_a_column_of_floats_for_integers(tmp_path):
    path = tmp_path / "events.parquet"
    pd.DataFrame({"user": [12346.0, 7.0], "item": ["a", ""]}).to_parquet(path)
    data = read_parquet(path)
    assert data.user_ids.tolist() == [7, 12346]
    assert data.item_ids.tolist() == ["", "a"]
    pd.DataFrame({"user": [1.0, 2.5], "item": [1, 2]}).to_parquet(path)
    with pytest.raises(TypeError, match=r"^read_parquet: user ids with a decimal point .* got 2.5 at row 1"):
        read_parquet(path)
    pd.DataFrame({"user": [1.0, None], "item": [1, 2]}).to_parquet(path)
    with pytest.raises(ValueError, match=r"^read_parquet: user id at row 1 is null"):
        read_parquet(path)


@pytest.mark.parametrize("library", [None, *LIBRARIES])
def test_read_parquet(tmp_path, library):
    path = tmp_path / "events.parquet"
    frame = pd.DataFrame(
        {
            "comment": ["good", None, "", "x"],
            "userId": [7, 3, 7, 3],
            "movieId": ["m1", "m2", "m1", "NA"],
            "rating": [4.5, 3.0, 1.0, 2.0],
            "timestamp": np.array(["2020-01-03T10:00", "2020-01-02T09:30", "2020-01-01", "2020-01-05"], "M8[ns]"),
        }
    )
    frame.to_parquet(path)
    assert_same(read_parquet(path, library=library), expected())
    data = read_parquet(str(path), value=None, timestamp=None, duplicates="last", library=library)
    assert_same(data, expected(values=None, timestamps=None, duplicates="last"))
    frame[["comment"]].to_parquet(path)
    with pytest.raises(ValueError, match=r"read_parquet: no user column found among \['comment'\]"):
        read_parquet(path, library=library)


def test_read_parquet_says_what_to_install(tmp_path, monkeypatch):
    path = tmp_path / "events.parquet"
    pd.DataFrame({"user": [1], "item": [2]}).to_parquet(path)
    without_libraries(monkeypatch)
    with pytest.raises(ImportError, match="read_parquet: needs a data frame library; install one of polars, pyarrow, "):
        read_parquet(path)


# ---------------------------------------------------------------------- MovieLens

RATINGS = [(1, 31, 2.5, 1260759144), (1, 1029, 3.0, 1260759179), (7, 31, 5.0, 851866703)]
TITLES = {31: ("Les Misérables (1995)", "Drama|War"), 1029: ("Dumbo, the (1941)", "Animation|Children's|Drama|Musical")}


def layout_100k():
    marks = {31: "0" * 8 + "1" + "0" * 8 + "1" + "0", 1029: "000110001000100000" + "0"}
    items = [f"{movie}|{TITLES[movie][0]}|01-Jan-1995||http://x|" + "|".join(marks[movie]) for movie in TITLES]
    return {
        "u.data": "".join("\t".join(map(str, (u, i, int(r * 2), t))) + "\n" for u, i, r, t in RATINGS).encode(),
        "u.item": ("\n".join(items) + "\n").encode("latin-1"),
        "u.user": b"1|24|M|technician|85711\n",
    }


def layout_dat():
    return {
        "ratings.dat": "".join("::".join(map(str, (u, i, r, t))) + "\n" for u, i, r, t in RATINGS).encode(),
        "movies.dat": "".join(f"{movie}::{t}::{g}\n" for movie, (t, g) in TITLES.items()).encode("latin-1"),
    }


def layout_csv():
    ratings = "userId,movieId,rating,timestamp\r\n" + "".join(f"{u},{i},{r},{t}\r\n" for u, i, r, t in RATINGS)
    movies = "movieId,title,genres\r\n" + "".join(f'{movie},"{t}",{g}\r\n' for movie, (t, g) in TITLES.items())
    return {"ratings.csv": ratings.encode(), "movies.csv": movies.encode(), "tags.csv": b"userId\n"}


LAYOUTS = {"ml-100k": layout_100k, "ml-1m": layout_dat, "ml-20m": layout_csv}


def write(tmp_path, name, files, form):
    folder = tmp_path / name
    folder.mkdir()
    for file, content in files.items():
        (folder / file).write_bytes(content)
    if form == "folder":
        return folder
    if form == "folder of the folder":
        return tmp_path
    if form == "file":
        return folder / next(iter(files))
    path = tmp_path / f"{name}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/README", "")
        for file, content in files.items():
            archive.writestr(f"{name}/{file}", content)
    return path


@pytest.mark.parametrize("form", ["folder", "folder of the folder", "file", "zip"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_read_movielens(tmp_path, name, form):
    data = read_movielens(write(tmp_path, name, LAYOUTS[name](), form))
    scale = 2 if name == "ml-100k" else 1
    assert data.user_ids.tolist() == [1, 7]
    assert data.item_ids.tolist() == [31, 1029]
    assert_array_equal(data.by_user.to_scipy().toarray(), np.array([[2.5, 3], [5, 0]]) * scale)
    assert data.timestamps.astype("M8[ns]")[0] == np.datetime64("2009-12-14T02:52:24")
    assert data.item_info["title"].tolist() == [title for title, _ in TITLES.values()]
    assert data.item_info["genres"].tolist() == [genres for _, genres in TITLES.values()]


@pytest.mark.parametrize("name", LAYOUTS)
def test_read_movielens_without_libraries(tmp_path, monkeypatch, name):
    path = write(tmp_path, name, LAYOUTS[name](), "folder")
    expected = read_movielens(path)
    without_libraries(monkeypatch)
    assert_same(read_movielens(path), expected)


@pytest.mark.parametrize("name", LAYOUTS)
def test_read_movielens_without_movies(tmp_path, name):
    files = LAYOUTS[name]()
    ratings = next(iter(files))
    data = read_movielens(write(tmp_path, name, {ratings: files[ratings]}, "folder"))
    assert data.nnz == 3
    assert not data.item_info


def test_read_movielens_of_movies_that_the_table_leaves_out(tmp_path):
    files = {**layout_dat(), "movies.dat": b"31::Les::Drama\n"}
    data = read_movielens(write(tmp_path, "ml-1m", files, "zip"))
    assert data.item_info["title"].tolist() == ["Les", ""]


def test_read_movielens_says_what_it_looks_for(tmp_path):
    (tmp_path / "links.csv").write_bytes(b"a,b\n")
    for path in (tmp_path, tmp_path / "links.csv"):
        with pytest.raises(FileNotFoundError, match=r"read_movielens: no u.data, ratings.dat or ratings.csv in "):
            read_movielens(path)
