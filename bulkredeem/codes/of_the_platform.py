"""What the platform says, by its own numbers and by HTTP statuses.

Where a check of ours mirrors a rule of the platform, the row has the platform's number and was not sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bulkredeem.codes.values import Code, MendBy

_THROTTLED: Final = Code(
    meaning="the platform asks for fewer requests",
    cause="More was sent with this user name than the platform allows, perhaps by another program or another machine.",
    mend_by=MendBy.NOBODY,
    remedy="`bulkredeem retry` sends the rows again. If it comes back, set `rate` to what the end of the run says.",
)
_NOT_LET_IN: Final = Code(
    meaning="the platform refuses the user name or the password",
    cause="The user name or the password is wrong or has run out, or the till is locked.",
    mend_by=MendBy.CREDENTIALS,
    remedy="Put the user name or the password right, then `bulkredeem resume`. Nothing was lost: the rows are pending.",
)

OF_THE_PLATFORM: Final[Mapping[str, Code]] = {
    "748": Code(
        meaning="the row sets nothing",
        cause="Bill number, bill id, purpose and custom fields are all empty.",
        mend_by=MendBy.FILE_OWNER,
        remedy="Fill at least one of them, or delete the row.",
    ),
    "749": Code(
        meaning="not exactly one identifier names the redemption",
        cause="`redemptionId` and `externalReferenceNumber` are both empty, or both filled.",
        mend_by=MendBy.FILE_OWNER,
        remedy="Fill one of them and empty the other. When a whole file has both, `--identifier` says which counts.",
    ),
    "750": Code(
        meaning="the platform could not update the redemption",
        cause="The message says why: the redemption is unknown there, was reversed, or is in a state that forbids it.",
        mend_by=MendBy.DATA_TEAM,
        remedy="Look the redemption up on the platform. Correct the identifier in the row, or leave the row out.",
    ),
    "1212": Code(
        meaning="the platform does not know this type of entity",
        cause="`entityType` is misspelt, or the platform is not set up for this type.",
        mend_by=MendBy.PLATFORM_OWNER,
        remedy="Ask which types this brand has. If it is only misspelt, correct the cell.",
    ),
    "1219": Code(
        meaning="the customer is not named completely",
        cause="`entityType`, `identifierType` or `identifierValue` is empty, or they do not fit together.",
        mend_by=MendBy.FILE_OWNER,
        remedy="Fill all three, and look whether the value is of the type that is named.",
    ),
    "8015": Code(
        meaning="the customer's identifier is malformed",
        cause="A mobile number has other signs than digits, lacks its country code, or is two numbers in one cell.",
        mend_by=MendBy.FILE_OWNER,
        remedy="Write one number, with country code, digits only. `default_country_code` puts one before ten digits.",
    ),
    "521": Code(
        meaning="another action was under way for the same customer",
        cause="A till, or another program, worked on this customer each time the row was tried.",
        mend_by=MendBy.NOBODY,
        remedy="`bulkredeem retry` sends the row again.",
    ),
    "517": _THROTTLED,
    "429": _THROTTLED,
    "HTTP_429": _THROTTLED,
    "4000": Code(
        meaning="the till may not do this",
        cause="The till's access group lacks the permission to update redemptions.",
        mend_by=MendBy.CREDENTIALS,
        remedy="Have the permission added to the till's access group, then `bulkredeem resume`.",
    ),
    "HTTP_403": Code(
        meaning="the platform, or a gateway before it, forbids the request",
        cause="The till lacks a permission, or this machine's address is not on the list of those let in.",
        mend_by=MendBy.CREDENTIALS,
        remedy="Have the permission or the address added, then `bulkredeem retry --code HTTP_403`.",
    ),
    "401": _NOT_LET_IN,
    "HTTP_401": _NOT_LET_IN,
    "4001": Code(
        meaning="the platform could not check who we are",
        cause="Its own authentication was out of reach.",
        mend_by=MendBy.NOBODY,
        remedy="`bulkredeem retry`, or `bulkredeem resume` when the run stopped.",
    ),
    "HTTP_404": Code(
        meaning="there is nothing at this address",
        cause="The base URL has the wrong host or path prefix, or the platform does not offer this update there.",
        mend_by=MendBy.PLATFORM_OWNER,
        remedy="Compare `base_url` with what the platform's owner names, and run `bulkredeem doctor`. With another"
        " address, run the file anew: a run belongs to the system where it began.",
    ),
    "HTTP_408": Code(
        meaning="the platform gave up waiting for the request",
        cause="The network, or the platform, was slow.",
        mend_by=MendBy.NOBODY,
        remedy="`bulkredeem retry` sends the row again; `bulkredeem verify` looks whether it was applied.",
    ),
    "UNEXPECTED_REDIRECT": Code(
        meaning="the platform sent us to another address",
        cause="The base URL is an old one, has `http` for `https`, or leads to a page for signing in.",
        mend_by=MendBy.PLATFORM_OWNER,
        remedy="Ask for the address of the API and put it into `base_url`. Redirects are not followed.",
    ),
    "ECHO_MISMATCH": Code(
        meaning="the reply names another redemption or bill than was sent",
        cause="The platform has taken the identifier for another redemption, or has changed the value.",
        mend_by=MendBy.DATA_TEAM,
        remedy="Look the redemption up on the platform before anything else: something may have been set there.",
    ),
    "UNREADABLE_REPLY": Code(
        meaning="the answer is no reply of the platform",
        cause="Something between us and the platform answered for it: a gateway, a proxy, a page for maintenance.",
        mend_by=MendBy.NOBODY,
        remedy="`bulkredeem verify` looks whether the row was applied; `bulkredeem retry` sends it again.",
    ),
}

HTTP_FAMILIES: Final[Mapping[str, Code]] = {
    "HTTP_2xx": Code(
        meaning="the platform named an error without a code",
        cause="It answered as if all were well, and told of an error in words, or in none.",
        mend_by=MendBy.PLATFORM_OWNER,
        remedy="Ask the platform's owner what the message means; the column `request_id` names the request.",
    ),
    "HTTP_4xx": Code(
        meaning="the platform refused the request without a code",
        cause="The base URL leads to another service, a proxy stands between, or the platform is set up otherwise.",
        mend_by=MendBy.PLATFORM_OWNER,
        remedy="Show the message and the `request_id` to the platform's owner; check `base_url`.",
    ),
    "HTTP_5xx": Code(
        meaning="the platform, or a gateway before it, failed",
        cause="It was overloaded or broken at that moment. The row may have been applied all the same.",
        mend_by=MendBy.NOBODY,
        remedy="`bulkredeem verify` looks whether it was applied; `bulkredeem retry` sends it again.",
    ),
}
