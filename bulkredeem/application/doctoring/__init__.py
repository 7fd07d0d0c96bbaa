"""What stands in the way of a run here: the machine, the folders, the configuration, and whether the platform answers.

Nothing is sent but one question, about a customer whom nobody has: whoever gets an answer to it is let in. It takes a
slot of the pace, as every request does. Each finding says what was found, never a secret, and how it can be mended.
"""

from bulkredeem.application.doctoring.diagnosing import diagnose
from bulkredeem.application.doctoring.findings import CREDENTIALS, Diagnosis, Finding, Level
from bulkredeem.application.doctoring.probes import Probes, others_may_read

__all__ = ["CREDENTIALS", "Diagnosis", "Finding", "Level", "Probes", "diagnose", "others_may_read"]
