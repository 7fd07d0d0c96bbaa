"""What bulkredeem is compared with: each a script of its own, started as a process of its own."""
