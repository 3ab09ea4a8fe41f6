"""Projects: one actor, one writer and one order of decisions for each."""
