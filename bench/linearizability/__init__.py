"""Whether a recorded history of calls could have come from a server that takes one at a time."""
