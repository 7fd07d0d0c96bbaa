"""One HTTP attempt: a correction or a query goes out, a reply or a trouble comes back. Authentication lives here too.

Nothing here repeats, waits or judges: `delivery` does. aiohttp's exceptions end here, and what may have reached the
platform is told apart from what surely has not.
"""

from bulkredeem.client.authentication import Authentication, Basic, Slot, basic_authorization
from bulkredeem.client.endpoint import READ_BACK_PATH, UPDATE_PATH, Client, request_body
from bulkredeem.client.oauth import TOKEN_PATH, OAuth
from bulkredeem.client.replies import MAX_REPLY, MAX_REQUEST_ID, MAX_RETRY_AFTER, retry_after_seconds
from bulkredeem.client.wire import Way, way_to

__all__ = [
    "MAX_REPLY",
    "MAX_REQUEST_ID",
    "MAX_RETRY_AFTER",
    "READ_BACK_PATH",
    "TOKEN_PATH",
    "UPDATE_PATH",
    "Authentication",
    "Basic",
    "Client",
    "OAuth",
    "Slot",
    "Way",
    "basic_authorization",
    "request_body",
    "retry_after_seconds",
    "way_to",
]
