"""WARP of buffalo in a process of its own, whose interpreter need not have likewise: `bench.bench_ranking_sgd` runs it.

A line of JSON in is ``{"epochs": n}``; a line out ``{"seconds": s, "file": npz with the vectors}``.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

_UNWATCHED = {"evaluation_on_learning": False, "compute_loss_on_training": False, "validation": {}}


def main(folder: str, factors: str, threads: str, max_trials: str) -> None:
    """Fit to ``folder/matrix.mtx`` as often as is asked for."""
    buffalo: Any = importlib.import_module("buffalo")
    importlib.import_module("buffalo.misc").log.set_log_level(0)
    options: Any = buffalo.WARPOption().get_default_option()
    options.update(_UNWATCHED, d=int(factors), num_workers=int(threads), max_trials=int(max_trials))
    data: Any = buffalo.MatrixMarketOptions().get_default_option()
    data.input.main = str(Path(folder, "matrix.mtx"))
    data.data.update(path=str(Path(folder, "matrix.h5")), tmp_dir=folder, use_cache=True, validation={})
    file = str(Path(folder, "vectors.npz"))
    for line in sys.stdin:
        options.num_iters = json.loads(line)["epochs"]
        model: Any = buffalo.WARP(options, data_opt=data)
        model.initialize()
        start = time.perf_counter()
        model.train()
        seconds = time.perf_counter() - start
        np.savez(file, users=model.P, items=model.Q, biases=np.ravel(model.Qb))
        print(json.dumps({"seconds": seconds, "file": file}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
