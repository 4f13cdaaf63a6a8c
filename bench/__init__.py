"""Benchmarks of likewise against its peers and against what the machine allows.

``python -m bench.run --help`` lists what can be measured; ``pytest bench/`` runs small cases of the same benchmarks.
"""
