"""likewise: recommenders end to end, in C++ and CUDA behind scikit-learn-style estimators."""

__version__ = "0.1.0"
