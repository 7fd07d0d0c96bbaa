"""Nights that report themselves: notices for people, pings for a watchdog, metrics for Prometheus.

None of it may fail a run, delay it much or tell a secret. Whatever goes wrong here becomes a remark: a sentence for a
person, without an address.
"""

from bulkredeem.notices.memory import MEMORY
from bulkredeem.notices.telling import LIMIT, Notices, require
from bulkredeem.notices.values import AS_PLANNED, Ended, EndedRun
from bulkredeem.notices.words import Notice, notice_of

__all__ = [
    "AS_PLANNED",
    "LIMIT",
    "MEMORY",
    "Ended",
    "EndedRun",
    "Notice",
    "Notices",
    "notice_of",
    "require",
]
