from __future__ import annotations

import csv
import gzip
import importlib.util
import os
import re
import subprocess
import sys
import time
import zipfile
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from likewise.data import datasets
from likewise.model_selection import temporal_split
from shared_data import folder_of

REPOSITORY = Path(__file__).resolve().parents[2]


def assert_has_events_of(data, folder):
    with np.load(folder / "events.npz") as lines:
        users, items, seconds, values = (lines[name] for name in ("user", "item", "timestamp", "value"))
    order = np.lexsort((seconds, items, users))
    events = data.events()
    assert_array_equal(events.users, users[order])
    assert_array_equal(events.items, items[order])
    assert_array_equal(events.timestamps, seconds[order] * 10**9)
    assert_array_equal(events.values, values[order])


def read_columns(path):
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([row[name] for row in rows], dtype=object) for name in rows[0]}


@pytest.fixture(scope="module")
def retail():
    return datasets.load_online_retail()


@pytest.fixture(scope="module")
def movies():
    return datasets.load_movietweetings()


def test_online_retail_is_what_its_page_says(retail):
    assert retail.shape == (5852, 5233)
    assert (retail.nnz, retail.n_events) == (492_742, 788_219)
    assert retail.timestamp_unit == "ns"
    assert retail.user_ids[0] == 12346
    assert retail.user_map.kind == "int64"
    assert retail.item_map.kind == "string"
    assert_array_equal(retail.item_info["description"], retail.item_ids)
    first, last = retail.summary()["first"], retail.summary()["last"]
    assert (str(first)[:16], str(last)[:16]) == ("2009-12-01T07:45", "2011-12-09T12:50")
    assert not np.any(retail.event_timestamps % (60 * 10**9))
    assert (retail.events().values.min(), retail.events().values.max()) == (1, 80_995)
    assert retail.user_info["country"][retail.user_index(12347)].tolist() == ["Iceland"]
    assert len(set(retail.user_info["country"])) == 41


def test_movietweetings_is_what_its_page_says(movies):
    assert movies.shape == (16_554, 10_506)
    assert movies.nnz == movies.n_events == 100_000
    assert sorted(set(movies.by_user.values.tolist())) == list(range(11))
    row = movies.item_index("0012349")
    assert movies.item_info["title"][row].tolist() == ["The Kid (1921)"]
    assert movies.item_info["genres"][row].tolist() == ["Comedy|Drama|Family"]
    assert movies.item_info["title"][0] == "Fantômas - À l'ombre de la guillotine (1913)"
    assert all(re.fullmatch(r"\d{7}", label) for label in movies.item_ids)


def test_online_retail_is_its_source_line_by_line(retail):
    folder = folder_of("online-retail-ii")
    assert_has_events_of(retail, folder)
    assert (retail.by_user.to_scipy() != sp.load_npz(folder / "all_quantity.npz")).nnz == 0
    customers, products = read_columns(folder / "users.csv.gz"), read_columns(folder / "items.csv.gz")
    assert_array_equal(retail.user_ids, customers["customer_id"].astype(np.int64))
    assert_array_equal(retail.user_info["country"], customers["country"])
    assert_array_equal(retail.item_ids, products["description"])
    assert_array_equal(retail.item_info["median_price_gbp"], products["median_price_gbp"].astype(np.float64))


def test_movietweetings_is_its_source_line_by_line(movies):
    folder = folder_of("movietweetings-100k")
    assert_has_events_of(movies, folder)
    listed = read_columns(folder / "items.csv.gz")
    for mine, theirs in (
        (movies.item_ids, "imdb_id"),
        (movies.item_info["title"], "title"),
        (movies.item_info["genres"], "genres"),
    ):
        assert_array_equal(mine, listed[theirs])


def test_the_split_of_the_source_comes_out_of_temporal_split(retail):
    train, test = temporal_split(retail, cutoff="2011-10-01")
    assert (train.nnz, test.nnz) == (420_619, 72_123)
    folder = folder_of("online-retail-ii")
    for part, name in ((train, "train"), (test, "test")):
        assert (part.binarize().by_user.to_scipy() != sp.load_npz(folder / f"{name}.npz")).nnz == 0


def test_packing_again_gives_the_same_content(tmp_path):
    folder_of("online-retail-ii")
    folder_of("movietweetings-100k")
    spec = importlib.util.spec_from_file_location("pack_datasets", REPOSITORY / "tools" / "pack_datasets.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    for name, read, folder in (
        ("online_retail", tool.online_retail, "online-retail-ii"),
        ("movietweetings", tool.movietweetings, "movietweetings-100k"),
    ):
        # The arrays, and not the bytes: another xz may pack them otherwise.
        anew, shipped = read(folder_of(folder)), datasets._unpack(name)
        assert sorted(anew) == sorted(shipped)
        for key, array in anew.items():
            assert array.dtype == shipped[key].dtype
            assert_array_equal(array, shipped[key])


def test_both_together_stay_under_four_megabytes_with_their_licences():
    bundled = resources.files("likewise.data") / "bundled"
    sizes = {entry.name: len(entry.read_bytes()) for entry in bundled.iterdir()}
    assert sum(sizes.values()) < 4_000_000
    assert sorted(sizes) == ["MOVIETWEETINGS.txt", "ONLINE_RETAIL.txt", "movietweetings.npz.xz", "online_retail.npz.xz"]
    retail, movies = ((bundled / name).read_text("utf-8") for name in ("ONLINE_RETAIL.txt", "MOVIETWEETINGS.txt"))
    for words in ("CC BY 4.0", "Daqing Chen", "10.24432/C5CG6D", "https://creativecommons.org/licenses/by/4.0/"):
        assert words in retail
    for words in ("The MIT License", "Copyright (c) 2013 Simon Dooms", "CrowdRec", "WITHOUT WARRANTY OF ANY KIND"):
        assert words in movies


@pytest.mark.parametrize("load", [datasets.load_online_retail, datasets.load_movietweetings])
def test_loading_takes_under_a_second(load):
    seconds = []
    for _ in range(3):
        start = time.process_time()
        load()
        seconds.append(time.process_time() - start)
    assert min(seconds) < 1


def test_data_load_from_a_zipped_package(tmp_path):
    package = Path(datasets.__file__).parents[1]
    archive = tmp_path / "likewise.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for path in package.rglob("*"):
            if path.is_file() and (path.suffix == ".py" or path.parent.name == "bundled"):
                # The root module loads the compiled kernels, which cannot come from a zip; the data layer can.
                content = b"" if path == package / "__init__.py" else path.read_bytes()
                zipped.writestr(str(path.relative_to(package.parent)), content)
    script = (
        "import sys; sys.path[:0] = [sys.argv[1]]\n"
        "from likewise.data import datasets\n"
        "assert '.zip' in datasets.__file__\n"
        "print(datasets.load_movietweetings().nnz, datasets.load_online_retail().nnz)"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", script, str(archive)], capture_output=True, text=True, check=False, env=environment
    )
    assert done.stdout.split() == ["100000", "492742"], done.stderr
