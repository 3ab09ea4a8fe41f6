"""The demo: agents that edit one real repository at once, and a proof that they never collided.

`python -m bench.demo --repo PATH` runs it. Everything happens in a clone in scratch space.
"""
