"""The benchmark: `python -m bench` makes its data and compares Scoreline with a pandas loop, side by side.

It is part of the repository, not of the package. What it measures and why stands in `__main__.py`.
"""
