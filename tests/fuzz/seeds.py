"""Writes the inputs with which fuzzing begins: `python -m tests.fuzz.seeds`. All people in them are invented."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from typing import Final

from tests.fuzz.corpora import CORPUS, TARGETS
from tests.fuzz.mutating import packed
from tests.fuzz.targets.journal import closed, kept

_PLAIN: Final = (
    "redemptionId,externalReferenceNumber,billNumber,billId,purpose,entityType,identifierType,identifierValue,"
    "customFields.card_number\n"
    "8878ru,,INV-2026-1,1234567890123456789,Testing,CUSTOMER,mobile,919000000001,123456\n"
    ",ACR-5801353177,INV-2026-2,12345,,CUSTOMER,email,asha@example.com,\n"
)
_SHORT: Final = "redemptionId,billNumber,identifierValue\n8878ru,INV-1,919000000001\nNZVAt9,INV-2,919000000002\n"
_REPORT: Final = (
    "row_number,status,error_code,error_message,warnings,http_status,attempts,request_id,finished_at,"
    "redemptionId,billNumber,identifierValue\n2,failed,429,slow down,,429,5,r-1,,8878ru,'=1+1,919000000001\n"
)
_TEXTS: Final = (
    _PLAIN,
    _SHORT,
    _SHORT.rstrip("\n"),
    _SHORT.replace("\n", "\r\n"),
    _SHORT.replace(",", ";"),
    _SHORT.replace(",", "\t"),
    _SHORT.replace(",", "|"),
    _SHORT.replace("\n", "\r"),
    "Corrections of November,,\nMade by Asha,,\n,,\n" + _SHORT,
    _SHORT.replace("INV-1", '"INV, ""1""\nof two"'),
    _SHORT.replace("INV-1", '"INV-1'),
    _SHORT.replace("INV-1", ' "INV-1"'),
    _SHORT + _SHORT,
    _SHORT + "ragged,line\n,,\n\nK\u00f6ln,\u0924\u0941\u0932\u0938\u0940,\U0001f600\n",
    _REPORT,
    "",
    "\n\n",
)
_CONTENT_TYPES: Final = (
    '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/></Types>'
)
_OFFICE: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_SHEET: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELS: Final = (
    '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="rId1" Type="{kind}" Target="{target}"/></Relationships>'
)
_WORKBOOK: Final = (
    f'<?xml version="1.0"?><workbook xmlns="{_SHEET}" xmlns:r="{_OFFICE}"><sheets>'
    '<sheet name="Fixes" sheetId="1" r:id="rId1"/></sheets></workbook>'
)
_STYLES: Final = (
    f'<?xml version="1.0"?><styleSheet xmlns="{_SHEET}"><numFmts count="1"><numFmt numFmtId="164" formatCode="000000"/>'
    '</numFmts><cellXfs count="3"><xf numFmtId="0"/><xf numFmtId="164"/><xf numFmtId="14"/></cellXfs></styleSheet>'
)
_ODS: Final = (
    '<?xml version="1.0"?><office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"'
    ' xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"'
    ' xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"'
    ' xmlns:number="urn:oasis:names:tc:opendocument:xmlns:datastyle:1.0"><office:body><office:spreadsheet>'
    '<table:table table:name="Fixes">{rows}</table:table></office:spreadsheet></office:body></office:document-content>'
)


def _xlsx(cells: str) -> bytes:
    sheet = f'<?xml version="1.0"?><worksheet xmlns="{_SHEET}"><sheetData>{cells}</sheetData></worksheet>'
    parts = {
        "[Content_Types].xml": _CONTENT_TYPES,
        "_rels/.rels": _RELS.format(kind=f"{_OFFICE}/officeDocument", target="xl/workbook.xml"),
        "xl/workbook.xml": _WORKBOOK,
        "xl/_rels/workbook.xml.rels": _RELS.format(kind=f"{_OFFICE}/worksheet", target="worksheets/sheet1.xml"),
        "xl/styles.xml": _STYLES,
        "xl/worksheets/sheet1.xml": sheet,
    }
    return packed([(name, text.encode()) for name, text in parts.items()])


def _row(number: int, *cells: str) -> str:
    return f'<row r="{number}">{"".join(cells)}</row>'


def _text(at: str, text: str) -> str:
    return f'<c r="{at}" t="inlineStr"><is><t>{text}</t></is></c>'


def _ods(rows: str) -> bytes:
    mimetype = b"application/vnd.oasis.opendocument.spreadsheet"
    return packed([("mimetype", mimetype), ("content.xml", _ODS.format(rows=rows).encode())])


def _ods_row(*cells: str) -> str:
    told = (
        f'<table:table-cell office:value-type="string"><text:p>{cell}</text:p></table:table-cell>' for cell in cells
    )
    return f"<table:table-row>{''.join(told)}</table:table-row>"


_HEADER: Final = _row(1, _text("A1", "redemptionId"), _text("B1", "billNumber"), _text("C1", "identifierValue"))


def _workbooks() -> Iterator[bytes]:
    yield _xlsx(_HEADER + _row(2, _text("A2", "8878ru"), _text("B2", "INV-1"), _text("C2", "919000000001")))
    number = '<c r="B2" s="1"><v>1234</v></c><c r="C2"><v>919000000001</v></c>'
    yield _xlsx(_HEADER + _row(2, _text("A2", "8878ru"), number))
    yield _xlsx(
        _HEADER + _row(4, _text("A4", "8878ru"), '<c r="B4" s="2"><v>45000</v></c><c r="C4" t="e"><v>#N/A</v></c>')
    )
    yield _xlsx(_HEADER + _row(2, _text("A2", "8878ru"), '<c r="B2" t="b"><v>1</v></c><c r="C2"><v>1E+30</v></c>'))
    head = _ods_row("redemptionId", "billNumber", "identifierValue")
    yield _ods(head + _ods_row("8878ru", "INV-1", "919000000001"))
    value = '<table:table-cell office:value-type="{kind}" office:{name}="{value}"><text:p>{shown}</text:p>'
    value += "</table:table-cell>"
    cells = value.format(kind="float", name="value", value="12", shown="0012")
    cells += value.format(kind="date", name="date-value", value="2026-11-24", shown="24.11.")
    yield _ods(head + f'<table:table-row table:number-rows-repeated="2">{cells}</table:table-row>')


def _loader() -> Iterator[bytes]:
    for text in _TEXTS:
        yield text.encode()
    yield _SHORT.encode("utf-16")
    yield _SHORT.encode("utf-16-be")
    yield ("\ufeff" + _SHORT).encode()
    yield _SHORT.replace("INV-1", "K\u00f6ln").encode("cp1252")
    yield _SHORT.encode().replace(b"INV-1", b"\xff\xfe\xc3\xb6")
    yield gzip.compress(_SHORT.encode(), mtime=0)
    yield packed([("november.csv", _SHORT.encode())])
    yield packed([("a.csv", _SHORT.encode()), ("b.csv", b"")])
    yield gzip.compress(packed([("november.csv", _PLAIN.encode())]), mtime=0)
    yield packed([("fixes.xlsx", next(_workbooks()))])
    yield from _workbooks()
    yield b"%PDF-1.7\n"
    yield b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)


_HEAD: Final = "X-CAP-REQUEST-ID: r-1\nDate: Tue, 24 Nov 2026 10:00:00 GMT\n"
_SAMPLE: Final = (
    '{"id":396023,"programId":1098,"pointsRedeemed":100.0,"billId":1234567890123456789,"billNumber":"INV-2026-1",'
    '"redemptionTime":1721991144000,"externalReferenceNumber":"ACR-5801353177","redemptionId":"8878ru",'
    '"customerId":346926900,"redemptionPurpose":"Testing","redemptionDate":"2024-07-26T10:52:24Z","warnings":[]}'
)
_POINT: Final = (
    '{"redemption_id":"8878ru","transaction_number":"INV-1","bill_id":"-1","redemption_purpose":"","reversals":{},'
    '"external_reference_number":"ACR-5801353177","custom_fields":{"field":[{"name":"card_number","value":"1"}]}}'
)
_PAGE: Final = (
    '{"response":{"status":{"success":"true","code":200,"message":"Success"},"customer":{"mobile":"919000000001",'
    f'"redemptions":{{"points":{{"point":[{_POINT}]}}}},'
    '"item_status":{"success":"true","code":1000,"message":"ok"}}}}'
)
_REPLIES: Final = (
    ("200", _SAMPLE),
    ("201", f'{{"data":{_SAMPLE},"errors":null,"warnings":null}}'),
    ("200", _SAMPLE.replace("1234567890123456789", "-1")),
    ("200", _SAMPLE.replace("1234567890123456789", "1.2345678901234568e18")),
    ("200", _SAMPLE.replace('"warnings":[]', '"warnings":[{"status":false,"code":1,"message":"919000000001"}]')),
    ("200", _SAMPLE.replace('"warnings":[]', '"warnings":{"code":1.0}')),
    ("200", '{"errors":[{"status":false,"code":748,"message":"No metadata"}],"warnings":[]}'),
    ("400", '{"errors":[{"code":"521","message":"several actions"},{"code":750}]}'),
    ("400", '{"errors":{"code":8015,"message":null}}'),
    ("400", '{"errors":"no"}'),
    ("403", '{"data":null,"errors":[{"code":4000,"message":"not authorised"}],"warnings":null}'),
    ("503\nRetry-After: 7", '{"errors":[{"code":4001}]}'),
    ("429\nRetry-After: Tue, 24 Nov 2026 10:00:30 GMT", ""),
    ("401", "<html><h1>401</h1></html>"),
    ("302\nLocation: https://example.com", ""),
    ("502", "<html>Bad Gateway</html>"),
    ("200", "[]"),
    ("200", '{"billId":{"a":[[[[]]]]}}'),
    ("200", _SAMPLE[:40]),
    ("200", _PAGE),
    ("200", '{"response":{"status":{"success":"false","code":1012,"message":"none"}}}'),
    ("200", _PAGE.replace('"-1"', "9007199254740993.0")),
    ("200", _PAGE.replace('{"field":[{"name":"card_number","value":"1"}]}', '{"card_number":1}')),
)


def _replies() -> Iterator[bytes]:
    for status, body in _REPLIES:
        yield f"{status}\n{_HEAD}\n{body}".encode()
    yield b"200\nX-Cap-RequestID: \xff\xfe\x1b[31m\nRetry-After: 99999999999999999999\nDate: 1 Jan 0\n\n{}"


_CLOSED: Final = 4
"""What says that a journal has no log any more."""


def _journal() -> Iterator[bytes]:
    """Yield changes at the places that matter: headers, ends of commits, first bytes of pages."""
    change_log, change_file, cut_log, cut_file = range(4)
    yield b""
    for end in kept().ends:
        yield struct.pack(">BHB", cut_log, end, 0)
        yield struct.pack(">BHB", cut_log, max(0, end - 1), 0)
    for at in (0, 8, 16, 24, 32, 36, 48, 56, 600):
        yield struct.pack(">BHB", change_log, at, 1)
    for at in (0, 16, 18, 20, 28, 44, 56, 60, 68, 96, 100, 512, 515, 1024, 1536, 2048, 4096):
        yield struct.pack(">BHB", change_file, at, 1)
        yield struct.pack(">BHBBHB", change_file, at, 128, cut_log, 0, 0)
    for at in range(0, len(closed().main), 97):
        yield struct.pack(">BHB", _CLOSED | change_file, at, 1 + at % 255)
    for at in (0, 511, 512, 3000):
        yield struct.pack(">BHB", _CLOSED | cut_file, at, 0)
    for at in (0, 99, 512, 1000, 2048):
        yield struct.pack(">BHBBHB", cut_file, at, 0, cut_log, 0, 0)


def main() -> None:
    """Write them all; those that are there are replaced."""
    for target, inputs in zip(TARGETS, (_loader(), _replies(), _journal()), strict=True):
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for number, content in enumerate(inputs):
            (folder / f"seed-{number:02}").write_bytes(content)


if __name__ == "__main__":
    main()
