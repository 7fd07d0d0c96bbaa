"""The durable record of a run: an SQLite file beside the run's snapshot, and a lock that says who works on the run.

Words
    An *outcome* is the one verdict on a row. A *commit group* is the outcomes that are made durable together; what was
    appended and is not durable yet is *waiting*. The *head* says what the run is and how its last stretch ended. The
    *reach* is the last row that may have been sent. *Doubted* are rows without an outcome that may have been applied.
    *Counters* are what happened on the wire in ten seconds: for charts, and no verdict depends on them.
    A *stretch* is what one process does of a run: its beginning, or what `resume` adds.

Order of writes
    1. The snapshot is written, synced, and its name is synced in its folder.
    2. The journal is built under another name, with its head, synced, and renamed: it is there whole or not at all.
       Its head says `running` from then on, and holds the snapshot's hash.
    3. Before a row is sent for the first time in a stretch, a reach that covers it is durable.
    4. Outcomes follow in the order in which they came about, in commit groups, one fsync for each. A worker appends a
       row's outcome before the next row of that redemption or customer is sent.
    5. At the end of a stretch: the reports (each whole or not at all), then the rows left in doubt, then how it ended.

So whoever finds a journal knows: a row with an outcome has that verdict, and is never sent again; a row without one is
`pending`, whatever happened to it on the wire; if the head says `running` and nobody holds the lock, the process died,
and every row within its reach may have been applied; no row beyond it was sent.

Promised
    A committed group survives the process and the machine (write-ahead log, `synchronous=FULL`). A kill costs at most
    what is waiting. A write-ahead log that was cut at any byte replays to a prefix of the commit groups. A file that is
    damaged, foreign or of a later version is named and never written to; one of an earlier version is read.

Not promised
    A disk that says "written" before it is. A network folder: SQLite's write-ahead log is unsafe there, so a rollback
    journal is kept instead, which is slower and as good as what the server calls written; a commit that a death cut off
    there is undone by whoever opens the file next, also to look. A byte that changed inside a cell, which SQLite's own
    check does not see.
"""

from bulkredeem.journal.examining import APPLICATION_ID, SCHEMA_VERSION
from bulkredeem.journal.file import Journal, Planned, Totals
from bulkredeem.journal.lock import Owner, RunLock, owner_of, user_name
from bulkredeem.journal.network import network_type_of

__all__ = [
    "APPLICATION_ID",
    "SCHEMA_VERSION",
    "Journal",
    "Owner",
    "Planned",
    "RunLock",
    "Totals",
    "network_type_of",
    "owner_of",
    "user_name",
]
