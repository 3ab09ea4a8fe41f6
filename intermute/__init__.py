"""Coordination for agents that edit the same repository at the same time."""

__version__ = "0.1.0"
