"""The error codes: what each means, where it comes from, who mends it and how. The one place that knows.

The reports say by it who mends a row, and the runbook of the documentation is made from it.
"""

from bulkredeem.codes.naming import CODES, FAMILIES, code_named, mend_by_of
from bulkredeem.codes.values import Code, MendBy

__all__ = ["CODES", "FAMILIES", "Code", "MendBy", "code_named", "mend_by_of"]
