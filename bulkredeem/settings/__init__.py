"""What can be configured, where each value comes from, and what a run keeps of it that is gone on with later."""

from bulkredeem.settings.earlier import Difference, changed, other_system, restored, rules_of
from bulkredeem.settings.fields import CONFIG_FILE, ENV_PREFIX, Settings
from bulkredeem.settings.sources import Origin, load_settings, load_settings_with_origins

__all__ = [
    "CONFIG_FILE",
    "ENV_PREFIX",
    "Difference",
    "Origin",
    "Settings",
    "changed",
    "load_settings",
    "load_settings_with_origins",
    "other_system",
    "restored",
    "rules_of",
]
