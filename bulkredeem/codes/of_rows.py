"""What is wrong with a row before anything is sent, and why a row is not sent at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bulkredeem.codes.values import Code, MendBy

_OF_LINES: Final[Mapping[str, Code]] = {
    "RAGGED_ROW": Code(
        meaning="the line does not have as many cells as the header",
        cause="A comma, or whatever stands between cells, is part of a cell without quotes; or a quote is missing.",
        mend_by=MendBy.FILE_OWNER,
        remedy="Put the cell with the comma in quotes, fill in missing cells, or say what separates: `--delimiter`.",
    ),
    "BAD_QUOTES": Code(
        meaning="the quotes of the line do not match",
        cause="A quote stands alone inside a quoted cell, a cell is never closed, or a blank stands before its quote.",
        mend_by=MendBy.FILE_OWNER,
        remedy='Write a quote inside a quoted cell twice (`""`), and close every quoted cell.',
    ),
    "STRAY_CARRIAGE_RETURN": Code(
        meaning="a carriage return stands inside a cell without quotes",
        cause="The file was put together from parts with different line ends.",
        mend_by=MendBy.FILE_OWNER,
        remedy="Take the carriage return out, or put the cell in quotes.",
    ),
    "CELL_TOO_LONG": Code(
        meaning="a cell is longer than any value can be",
        cause="A quote was opened and never closed, so that the rest of the file became one cell.",
        mend_by=MendBy.FILE_OWNER,
        remedy="Close the quote, or shorten the cell.",
    ),
    "REPEATED_HEADER": Code(
        meaning="the line is the header once more",
        cause="Several files were put together into one, each with its header.",
        mend_by=MendBy.FILE_OWNER,
        remedy="Delete the line, or leave such lines out: `--ignore-rows 'redemptionId~^redemptionId$'`.",
    ),
    "UNTERMINATED_ROW": Code(
        meaning="the last line has no line end, so it may be half a row",
        cause="The file was cut off while it was copied, or a program leaves out the last line end.",
        mend_by=MendBy.FILE_OWNER,
        remedy="Send the file again whole. If it is whole, take the line as it is: `--allow-unterminated`.",
    ),
    "UNDECODABLE_BYTES": Code(
        meaning="bytes of the line are no text in the file's encoding",
        cause="Parts of the file were saved in another encoding than the rest.",
        mend_by=MendBy.FILE_OWNER,
        remedy="Save the file as UTF-8, or name its encoding: `--encoding`.",
    ),
}
_OF_CELLS: Final[Mapping[str, Code]] = {
    "SPREADSHEET_DAMAGE": Code(
        meaning="a spreadsheet rewrote a number, and its digits are lost",
        cause="A long number was taken for one to calculate with and saved as `8.88E+05`.",
        mend_by=MendBy.FILE_OWNER,
        remedy="Format the column as text and fill it anew from the source. An id that really looks so: `--trust-ids`.",
    ),
    "DATE_IN_CELL": Code(
        meaning="a cell holds a date where none belongs",
        cause="The spreadsheet took a number or an id for a date and changed it.",
        mend_by=MendBy.FILE_OWNER,
        remedy="Format the column as text and fill it anew from the source.",
    ),
    "FORMATTED_NUMBER": Code(
        meaning="a cell shows something else than what it holds",
        cause='A number format adds to the number or leaves something out (`"INV-"0000`, `000-0000`, `0.00`, `0%`).',
        mend_by=MendBy.FILE_OWNER,
        remedy="Format the column as text and fill it with what it shows. If the number is meant: format General.",
    ),
    "NUMBER_TOO_LONG": Code(
        meaning="a number has more digits than a spreadsheet keeps",
        cause="A spreadsheet keeps 15 digits of a number; those after are lost.",
        mend_by=MendBy.FILE_OWNER,
        remedy="Format the column as text and fill it anew from the source.",
    ),
    "ERROR_IN_CELL": Code(
        meaning="a cell holds a spreadsheet's error, or a formula that was never worked out",
        cause="A formula has no result (`#N/A`, `#REF!`), or a program wrote it and no spreadsheet opened it since.",
        mend_by=MendBy.FILE_OWNER,
        remedy="Mend the formula and save the workbook in a spreadsheet, or write the value in its place.",
    ),
    "BILL_ID_NOT_A_WHOLE_NUMBER": Code(
        meaning="`billId` is not a whole number",
        cause="The cell holds letters, a point or a comma; perhaps it is a bill number.",
        mend_by=MendBy.FILE_OWNER,
        remedy="Write digits only, or move the value to `billNumber`.",
    ),
    "BILL_ID_NOT_POSITIVE": Code(
        meaning="`billId` is not a positive number without a sign",
        cause="The cell is 0, or begins with a sign; `-1` is how the platform shows that there is none.",
        mend_by=MendBy.FILE_OWNER,
        remedy="Write the bill's id, or empty the cell to leave the field alone.",
    ),
    "BILL_ID_TOO_LARGE": Code(
        meaning="`billId` is larger than any id can be",
        cause="Two numbers stand in one cell, or it is another kind of number.",
        mend_by=MendBy.FILE_OWNER,
        remedy="Write one id, of 9223372036854775807 at most.",
    ),
    "PURPOSE_TOO_LONG": Code(
        meaning="`purpose` is longer than 255 characters",
        cause="The text is longer than the platform takes.",
        mend_by=MendBy.FILE_OWNER,
        remedy="Shorten it.",
    ),
    "LINE_BREAK": Code(
        meaning="an identifier or a bill field has two lines",
        cause="A stray quote in the file has swallowed what is between it and the next.",
        mend_by=MendBy.FILE_OWNER,
        remedy="Look for the stray quote, in this line or before it.",
    ),
    "CONTROL_CHARACTER": Code(
        meaning="a cell holds a control character",
        cause="It came along when the value was copied from another program.",
        mend_by=MendBy.FILE_OWNER,
        remedy="Type the value anew.",
    ),
    "INVISIBLE_CHARACTER": Code(
        meaning="a cell holds a character that nobody sees",
        cause="It came along when the value was copied from a page or a message.",
        mend_by=MendBy.FILE_OWNER,
        remedy="Type the value anew.",
    ),
}
_OF_KNOWLEDGE: Final[Mapping[str, Code]] = {
    "CONFLICTING_ROWS": Code(
        meaning="rows of the file set one field of one redemption to different values",
        cause="The file has a correction and the correction of that correction, or an identifier is in the wrong row.",
        mend_by=MendBy.FILE_OWNER,
        remedy="Keep one of the rows. When the last one of the file is always right: `--on-conflict last`.",
    ),
    "STALE_CORRECTION": Code(
        meaning="newer knowledge has set another value",
        cause="A newer file, or a later run, has set this field since this file was made.",
        mend_by=MendBy.DATA_TEAM,
        remedy="Find out which value is right (`bulkredeem history ID`). Leave the row out, or `--allow-older`.",
    ),
    "NO_PREVIOUS_VALUE": Code(
        meaning="what the fields were before was not recorded",
        cause="The run was made without `--record-previous`, or the redemption could not be read back.",
        mend_by=MendBy.DATA_TEAM,
        remedy="Find the old value elsewhere, and set it by hand or with a file.",
    ),
    "PREVIOUS_WAS_EMPTY": Code(
        meaning="the fields were empty before, and cannot be emptied again",
        cause="The platform has no documented way to clear a field.",
        mend_by=MendBy.DATA_TEAM,
        remedy="Have the field emptied by hand on the platform, or leave the value.",
    ),
    "DUPLICATE_ROW": Code(
        meaning="the same as an earlier row",
        cause="A row stands in the file twice.",
        mend_by=None,
        remedy="Nothing: the first of them was sent.",
    ),
    "SUPERSEDED": Code(
        meaning="a later row sets the same fields",
        cause="`--on-conflict last` lets the last row of the file count.",
        mend_by=None,
        remedy="Nothing: the later row was sent.",
    ),
    "NOT_SELECTED": Code(
        meaning="`--only` selects other rows",
        cause="The row's cell has another value than `--only` asks for.",
        mend_by=None,
        remedy="Nothing, if that was meant. Else run the file again without `--only`.",
    ),
    "ALREADY_APPLIED": Code(
        meaning="exactly this was applied before, or stands on the platform already",
        cause="The row was in an earlier file, or the redemption was read back and has these values.",
        mend_by=None,
        remedy="Nothing. `--resend` sends it all the same.",
    ),
    "KEPT_EXISTING": Code(
        meaning="the platform has another value, which was kept",
        cause="`--existing keep` leaves alone what somebody has put there.",
        mend_by=None,
        remedy="Nothing, if that was meant. Else run the row without `--existing keep`.",
    ),
    "CHANGED_SINCE": Code(
        meaning="the value was changed since, and stays as it is",
        cause="An undo sets back only what is still as its run has left it.",
        mend_by=None,
        remedy="Nothing. Whoever changed it knows better: `bulkredeem history ID`.",
    ),
}

OF_ROWS: Final[Mapping[str, Code]] = {**_OF_LINES, **_OF_CELLS, **_OF_KNOWLEDGE}
