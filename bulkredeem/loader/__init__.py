"""Any file they have → rows, in two passes.

The first pass (`take_snapshot`) reads a text once, line by line, with the standard library's strict CSV reader: it
counts cells, keeps the numbering of blank lines, notices what no later reader could see any more (ragged lines, stray
carriage returns, quotes that do not match, half a last line), and writes the run's snapshot, which is regular. A line
that stands in the snapshot as it stands in the file, and most do, is copied without being taken apart. What encodes
the text, what separates its cells and which row is its header is found out, said, and overruled by a `Reading`. The
second pass (`read_cells`) reads the snapshot with pandas, in chunks, as text: no cell becomes a number, a NaN or a
date.

The memory of both does not grow with a text, packed or not. A workbook is read whole: its form does not allow anything
else. What its cells show counts, not what they hold, as far as that can be known.
"""

from bulkredeem.loader.first_pass import Intake, take_snapshot
from bulkredeem.loader.opening import STANDARD_INPUT, is_standard_input, name_of
from bulkredeem.loader.peeking import Peek, peek
from bulkredeem.loader.records import QUOTED_OF_A_LINE
from bulkredeem.loader.second_pass import CHUNK_CELLS, read_cells, read_rows
from bulkredeem.loader.text import MAX_LINE

__all__ = [
    "CHUNK_CELLS",
    "MAX_LINE",
    "QUOTED_OF_A_LINE",
    "STANDARD_INPUT",
    "Intake",
    "Peek",
    "is_standard_input",
    "name_of",
    "peek",
    "read_cells",
    "read_rows",
    "take_snapshot",
]
