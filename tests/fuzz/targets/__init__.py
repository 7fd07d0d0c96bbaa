"""What is fuzzed: each target takes any bytes, and asserts what is promised about them."""
