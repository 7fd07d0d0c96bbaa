"""Sends a file of loyalty-redemption corrections, one update per row, and tells the truth about each row."""

__version__ = "0.1.0"
