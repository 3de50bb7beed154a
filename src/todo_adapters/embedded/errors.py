"""The embedded database's error."""


class EmbeddedDatabaseError(Exception):
    """The embedded database cannot run. The message is one sentence: what is wrong and what to do about it."""
