"""What runs in the measured processes, where neither side is a command of its own."""
