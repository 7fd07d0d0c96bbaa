"""What was applied to which redemption, field by field, across the runs of a reports folder.

Words
    An *event* is what one run did to one field of one redemption: set it (`success`), found it set already (`skipped`),
    was refused or gave up (`refused`, `failed`), or may have set it (`in_doubt`). A *system* is a base URL and a user
    name: what was applied to one says nothing about another, so that a rehearsal never speaks for production. What
    *stands* is what a field's events come to. A *mark* says how far a run's journal was absorbed.

The ledger only repeats what journals say. To *absorb* a run is to replace all its events by what its journal and
snapshot say now, in one commit: two files never commit together, so a run writes its journal, and whoever needs the
ledger next absorbs what is new. If it is lost it is made anew from the runs that are there; only of runs that were
pruned it knows what nothing else knows.

Promised
    An absorbed run is on disk. What a run may have sent without an answer makes its fields unknown. A redemption is
    found by either identifier, if a reply of the platform ever named both.

Not promised
    What others did to a redemption, by whatever other way. The order of two runs while the machine's clock was wrong.
"""

from bulkredeem.ledger.file import Entry, Event, Ledger, Lookup, System, Told, key_of, other_key
from bulkredeem.ledger.knowledge import Age, Knows, Standing, Value, judge, standing_of

__all__ = [
    "Age",
    "Entry",
    "Event",
    "Knows",
    "Ledger",
    "Lookup",
    "Standing",
    "System",
    "Told",
    "Value",
    "judge",
    "key_of",
    "other_key",
    "standing_of",
]
