"""Pack the two bundled data sets: ``python tools/pack_datasets.py [output folder]``.

Reads ``online-retail-ii`` and ``movietweetings-100k`` below ``LIKEWISE_DATA`` (``../shared/data`` without it) and
writes ``online_retail.npz.xz`` and ``movietweetings.npz.xz`` where ``likewise.datasets`` finds them. The same input
gives the same bytes.

A file is an uncompressed npz in one xz stream. What repeats is said once (an invoice's customer and minute, a country),
numbers are as narrow as they can be, and wide ones are stored by byte planes, which xz packs best.
"""

from __future__ import annotations

import csv
import gzip
import io
import lzma
import os
import sys
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
BUNDLED = REPOSITORY / "python" / "likewise" / "data" / "bundled"
XZ_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]


def read_csv(path):
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows] for name in rows[0]}


def narrow(numbers, dtype):
    """`numbers` as `dtype`, or an error where that would change one."""
    narrowed = np.asarray(numbers).astype(dtype)
    if not np.array_equal(narrowed, numbers):
        raise ValueError(f"values do not fit {np.dtype(dtype)}")
    return narrowed


def planes(numbers, n_bytes):
    """Unsigned numbers by byte, least significant first; shape (n_bytes, n)."""
    split = narrow(numbers, "<u8").view(np.uint8).reshape(-1, 8)
    if split[:, n_bytes:].any():
        raise ValueError(f"values do not fit {n_bytes} bytes")
    return np.ascontiguousarray(split[:, :n_bytes].T)


def lines(strings):
    """Strings as UTF-8, one a line."""
    if any("\n" in string for string in strings):
        raise ValueError("a string holds a line break")
    return np.frombuffer("\n".join(strings).encode(), dtype=np.uint8)


def check_rows(column):
    if column != [str(row) for row in range(len(column))]:
        raise ValueError("the rows of a csv file are not in order")


def online_retail(folder):
    events = np.load(folder / "events.npz")
    users, items, seconds, quantities = (events[name] for name in ("user", "item", "timestamp", "value"))
    if np.any(seconds % 60) or np.any(np.diff(seconds) < 0):
        raise ValueError("timestamps are not rising whole minutes")
    minutes = seconds // 60
    # Lines of one customer and minute stand together: a purchase.
    opens = np.flatnonzero(np.r_[True, (np.diff(users) != 0) | (np.diff(minutes) != 0)])
    customers, products = read_csv(folder / "users.csv.gz"), read_csv(folder / "items.csv.gz")
    check_rows(customers["user"])
    check_rows(products["item"])
    countries = sorted(set(customers["country"]))
    return {
        "first_minute": np.array(minutes[0], dtype=np.int64),
        "purchase_minutes": narrow(np.diff(minutes[opens], prepend=minutes[0]), "<u2"),
        "purchase_users": narrow(users[opens], "<u2"),
        "purchase_lines": narrow(np.diff(np.r_[opens, users.size]), "<u2"),
        "line_items": narrow(items, "<u2"),
        "line_quantities": planes(quantities, 3),
        "customer_ids": narrow([int(label) for label in customers["customer_id"]], "<u2"),
        "customer_countries": narrow([countries.index(country) for country in customers["country"]], "u1"),
        "countries": lines(countries),
        "descriptions": lines(products["description"]),
        "median_prices_gbp": np.array([float(price) for price in products["median_price_gbp"]], dtype="<f8"),
    }


def movietweetings(folder):
    events = np.load(folder / "events.npz")
    seconds = events["timestamp"]
    movies = read_csv(folder / "items.csv.gz")
    check_rows(movies["item"])
    return {
        "first_second": np.array(seconds[0], dtype=np.int64),
        "seconds": planes(np.diff(seconds, prepend=seconds[0]), 3),
        "users": narrow(events["user"], "<u2"),
        "items": narrow(events["item"], "<u2"),
        "ratings": narrow(events["value"], "u1"),
        "imdb_ids": lines(movies["imdb_id"]),
        "titles": lines(movies["title"]),
        "genres": lines(movies["genres"]),
    }


def packed(arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return lzma.compress(buffer.getvalue(), format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC32, filters=XZ_FILTERS)


def main(output=BUNDLED):
    source = Path(os.environ.get("LIKEWISE_DATA") or REPOSITORY.parent / "shared" / "data")
    for name, folder, read in (
        ("online_retail", "online-retail-ii", online_retail),
        ("movietweetings", "movietweetings-100k", movietweetings),
    ):
        content = packed(read(source / folder))
        (Path(output) / f"{name}.npz.xz").write_bytes(content)
        print(f"{name}: {len(content):,} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
