"""`make bench`: bulkredeem measured against a real nginx and against small programs that do the same; see README.md."""
