"""What every command means, as pure functions: no clock, no randomness, no I/O, no await."""
