"""Benchmarks: `python -m bench [NAME...] [--quick] [--profile] [--json FILE]`.

Every figure is measured on the product as it is run: a server in a process of its own, files on
a real file system, `synchronous=FULL`. Figures of two things are compared only when their slices
alternated in one run, so that whatever else the machine was doing hit both.
"""
