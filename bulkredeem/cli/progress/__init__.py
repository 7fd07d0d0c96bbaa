"""What a person sees while a run is under way: a live block on a terminal, plain lines elsewhere, nothing if quiet.

A row that ends is counted, and no more: what is shown is worked out when it is shown, a few times a second at most.
"""

from bulkredeem.cli.progress.displays import PLAIN_INTERVAL, Display, LiveBlock, PlainLines, Silent, observer_for
from bulkredeem.cli.progress.words import colour_of, duration_in_words, in_words

__all__ = [
    "PLAIN_INTERVAL",
    "Display",
    "LiveBlock",
    "PlainLines",
    "Silent",
    "colour_of",
    "duration_in_words",
    "in_words",
    "observer_for",
]
