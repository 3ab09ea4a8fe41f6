"""Entities: the seven kinds of things that a project plans and records."""
