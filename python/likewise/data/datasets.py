"""Two real data sets that come with the package, openly licensed; no download, under a second each.

They are packed by ``tools/pack_datasets.py``; their licences lie beside them, in ``likewise/data/bundled``.
"""

from __future__ import annotations

import io
import lzma
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from ._events import merge_events
from .ids import IdMap
from .interactions import Interactions

__all__ = ["load_movietweetings", "load_online_retail"]

_NANOSECONDS = 10**9


def load_online_retail() -> Interactions:
    """Load Online Retail II: what 5,852 customers of a gift shop in the United Kingdom bought in two years.

    788,219 purchase lines from December 2009 to December 2011, in 492,742 pairs of customer and product.

    Returns
    -------
    Interactions
        Of shape (5852, 5233), with timestamps.

        - Users are customer numbers (int64), items are product descriptions (str).
        - The value of a pair is the quantity bought, summed; its time is that of the first purchase. Every line is
          there with its own quantity and time in ``data.events()``.
        - ``data.user_info["country"]`` (str), ``data.item_info["description"]`` (str) and
          ``data.item_info["median_price_gbp"]`` (float64, pounds a piece) are by row.

    Notes
    -----
    Licensed CC BY 4.0, by Daqing Chen. Repeat purchases and bulk orders are part of the data: quantities run from 1 to
    80,995, so most models want ``data.binarize()`` or a logarithm. See ``bundled/ONLINE_RETAIL.txt`` for what was
    changed.

    References
    ----------
    Chen, Daqing (2019). Online Retail II. UCI Machine Learning Repository. doi:10.24432/C5CG6D

    Examples
    --------
    >>> from likewise.data import datasets
    >>> data = datasets.load_online_retail()
    >>> data.shape, data.nnz, data.n_events
    ((5852, 5233), 492742, 788219)
    >>> row = data.item_index("WHITE HANGING HEART T-LIGHT HOLDER")
    >>> data.item_info["median_price_gbp"][row]
    array([2.95])
    """
    packed = _unpack("online_retail")
    lines = packed["purchase_lines"]
    minutes = packed["first_minute"] + np.cumsum(packed["purchase_minutes"], dtype=np.int64)
    descriptions = _strings(packed["descriptions"])
    return _build(
        user_ids=packed["customer_ids"].astype(np.int64),
        item_ids=descriptions,
        users=np.repeat(packed["purchase_users"], lines),
        items=packed["line_items"],
        values=_from_planes(packed["line_quantities"]),
        timestamps=np.repeat(minutes * (60 * _NANOSECONDS), lines),
    ).with_info(
        user_info={"country": _strings(packed["countries"])[packed["customer_countries"]]},
        item_info={"description": descriptions, "median_price_gbp": packed["median_prices_gbp"]},
    )


def load_movietweetings() -> Interactions:
    """Load MovieTweetings 100k: ratings of movies from 0 to 10, collected from posts on Twitter in 2013.

    100,000 ratings by 16,554 users of 10,506 movies from 28 February to 1 September 2013; no user rates a movie twice.

    Returns
    -------
    Interactions
        Of shape (16554, 10506), with timestamps.

        - Users are numbers (int64), items are IMDb ids (str of seven digits).
        - The value of a pair is the rating, a whole number from 0 to 10. Ratings of 0 are stored.
        - ``data.item_info["title"]`` (str, with the year) and ``data.item_info["genres"]`` (str, joined by ``|``, empty
          where unknown) are by row.

    Notes
    -----
    Licensed MIT, copyright 2013 Simon Dooms; see ``bundled/MOVIETWEETINGS.txt``. The data are sparse and driven by
    popularity: personal models barely beat the most popular movies on them.

    References
    ----------
    Dooms, De Pessemier and Martens (2013). MovieTweetings: a Movie Rating Dataset Collected From Twitter. Workshop on
    Crowdsourcing and Human Computation for Recommender Systems, CrowdRec at RecSys 2013.

    Examples
    --------
    >>> from likewise.data import datasets
    >>> data = datasets.load_movietweetings()
    >>> data.shape, data.nnz
    ((16554, 10506), 100000)
    >>> data.item_info["title"][data.item_index("0012349")]
    array(['The Kid (1921)'], dtype=object)
    """
    packed = _unpack("movietweetings")
    seconds = packed["first_second"] + np.cumsum(_from_planes(packed["seconds"]))
    return _build(
        user_ids=np.arange(int(packed["users"].max()) + 1),
        item_ids=_strings(packed["imdb_ids"]),
        users=packed["users"],
        items=packed["items"],
        values=packed["ratings"],
        timestamps=seconds * _NANOSECONDS,
    ).with_info(item_info={"title": _strings(packed["titles"]), "genres": _strings(packed["genres"])})


def _build(
    *,
    user_ids: npt.NDArray[Any],
    item_ids: npt.NDArray[Any],
    users: npt.NDArray[Any],
    items: npt.NDArray[Any],
    values: npt.NDArray[Any],
    timestamps: npt.NDArray[np.int64],
) -> Interactions:
    merged = merge_events(
        users.astype(np.int32),
        items.astype(np.int32),
        values.astype(np.float32),
        timestamps,
        (user_ids.size, item_ids.size),
        "sum",
        "datasets",
    )
    return Interactions(merged.by_user, IdMap(user_ids), IdMap(item_ids), merged.timestamps, "ns", "sum", merged.log)


def _unpack(name: str) -> dict[str, npt.NDArray[Any]]:
    # Through importlib.resources, so that it works from a zipped package too.
    content = (resources.files("likewise.data") / "bundled" / f"{name}.npz.xz").read_bytes()
    with np.load(io.BytesIO(lzma.decompress(content)), allow_pickle=False) as arrays:
        return dict(arrays)


def _from_planes(planes: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Join the bytes of numbers, least significant first."""
    weights = np.left_shift(1, 8 * np.arange(planes.shape[0]))
    return np.asarray(weights @ planes, dtype=np.int64)


def _strings(utf8: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    return np.array(utf8.tobytes().decode("utf-8").split("\n"), dtype=object)
