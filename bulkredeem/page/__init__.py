"""The pages people look at: `report.html` of each run, and `index.html` over all runs of a reports folder.

Each is one file that needs nothing else, asks no network for anything, and runs nothing but its own script, which the
page names by its hash. What it shows was counted elsewhere; here it is only drawn.
"""

from bulkredeem.page.values import INDEX, MOST_ROWS, PAGE, IndexEntry, NotDoneRow
from bulkredeem.page.writing import write_index, write_run_page

__all__ = ["INDEX", "MOST_ROWS", "PAGE", "IndexEntry", "NotDoneRow", "write_index", "write_run_page"]
