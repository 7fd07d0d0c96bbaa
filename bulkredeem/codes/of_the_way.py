"""What went wrong on the way to the platform and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bulkredeem.codes.values import Code, MendBy

_NEVER_SENT: Final[Mapping[str, Code]] = {
    "CONNECTION_FAILED": Code(
        meaning="no connection to the platform could be made",
        cause="The network, a firewall, or the platform's server was down.",
        mend_by=MendBy.NOBODY,
        remedy="`bulkredeem retry` sends the row. When it stays so, run `bulkredeem doctor`.",
    ),
    "CONNECT_TIMEOUT": Code(
        meaning="no connection to the platform could be made in time",
        cause="The network is slow, or a firewall drops what is sent without a word.",
        mend_by=MendBy.NOBODY,
        remedy="`bulkredeem retry` sends the row. When it stays so, run `bulkredeem doctor`.",
    ),
    "NAME_NOT_RESOLVED": Code(
        meaning="the platform's host name could not be resolved",
        cause="The machine's name service was down, or `base_url` has a misspelt host.",
        mend_by=MendBy.NOBODY,
        remedy="`bulkredeem resume`. When it stays so, check `base_url`, and run `bulkredeem doctor`.",
    ),
    "TLS_FAILED": Code(
        meaning="no secure connection to the platform could be made",
        cause="The platform's certificate has run out, is for another name, or a proxy has put its own in its place.",
        mend_by=MendBy.PLATFORM_OWNER,
        remedy="Look at the machine's clock and at the certificate; then `bulkredeem retry`.",
    ),
    "PROXY_FAILED": Code(
        meaning="the proxy did not let us through to the platform",
        cause="The proxy was down, does not know the platform's host, or `HTTPS_PROXY` names another one.",
        mend_by=MendBy.NOBODY,
        remedy="`bulkredeem retry` sends the row. When it stays so, run `bulkredeem doctor`, and show what it says to"
        " whoever runs the proxy.",
    ),
    "PROXY_REFUSED": Code(
        meaning="the proxy wants another user name or password (HTTP 407)",
        cause="`HTTPS_PROXY` names none, or the password of the proxy was changed or its account locked.",
        mend_by=MendBy.CREDENTIALS,
        remedy="Correct the proxy's user name and password in `HTTPS_PROXY`, run `bulkredeem doctor`, and then"
        " `bulkredeem resume`, or `bulkredeem retry` for a run that has ended.",
    ),
    "TOKEN_NOT_FETCHED": Code(
        meaning="the platform gave no token for the key and its secret, and did not refuse them",
        cause="Its token endpoint was down or slow, or `base_url` leads past it. Only with `--auth oauth`.",
        mend_by=MendBy.NOBODY,
        remedy="`bulkredeem retry` sends the row. When it stays so, check `base_url`, and run `bulkredeem doctor`.",
    ),
}
_PERHAPS_APPLIED: Final[Mapping[str, Code]] = {
    "TIMEOUT": Code(
        meaning="sent, and no answer came in time",
        cause="The platform was slow, or the answer was lost.",
        mend_by=MendBy.NOBODY,
        remedy="`bulkredeem retry` sends it again, which does no harm; `bulkredeem verify` only looks.",
    ),
    "CONNECTION_LOST": Code(
        meaning="sent, and the connection was lost before an answer came",
        cause="The network, or a server between, closed it.",
        mend_by=MendBy.NOBODY,
        remedy="`bulkredeem retry` sends it again, which does no harm; `bulkredeem verify` only looks.",
    ),
    "CERTIFICATE_REFUSED": Code(
        meaning="sent, and the platform broke off over the client certificate",
        cause="It wants one and `client_certificate` names none, or the one that is shown has expired or was issued by"
        " an authority that it does not know.",
        mend_by=MendBy.CREDENTIALS,
        remedy="Correct `client_certificate` and `client_key`, run `bulkredeem doctor`, and then `bulkredeem resume`,"
        " or `bulkredeem retry` for a run that has ended.",
    ),
    "SENT_BEFORE": Code(
        meaning="it may have been applied by a try whose answer was never recorded",
        cause="The run died, or was stopped, while the row was under way.",
        mend_by=MendBy.NOBODY,
        remedy="`bulkredeem resume` when the run stopped; `bulkredeem retry` when it has ended.",
    ),
}
_READING_BACK: Final[Mapping[str, Code]] = {
    "CANNOT_READ_BACK": Code(
        meaning="redemptions of this kind of customer cannot be read back",
        cause="Only customers named by mobile, e-mail, external id or id can be.",
        mend_by=MendBy.FILE_OWNER,
        remedy="Name the customer by one of these, or run the row without `--existing keep`.",
    ),
    "NOT_FOUND": Code(
        meaning="the platform shows no such redemption of this customer",
        cause="The redemption's identifier is wrong, or it belongs to another customer.",
        mend_by=MendBy.FILE_OWNER,
        remedy="Compare identifier and customer with the source, and correct the row.",
    ),
    "READ_BACK_FAILED": Code(
        meaning="the redemption could not be read back",
        cause="The platform did not answer the question, or answered something else.",
        mend_by=MendBy.NOBODY,
        remedy="`bulkredeem retry` asks again. The row was not sent.",
    ),
    "NOT_APPLIED": Code(
        meaning="reading back has shown that it was not applied",
        cause="The row was in doubt, and `bulkredeem verify` found its values missing.",
        mend_by=MendBy.NOBODY,
        remedy="`bulkredeem retry` sends it again.",
    ),
}

OF_THE_WAY: Final[Mapping[str, Code]] = {**_NEVER_SENT, **_PERHAPS_APPLIED, **_READING_BACK}
