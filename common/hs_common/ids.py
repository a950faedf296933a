"""Ids of 16 bytes, as people read and write them: of tasks, runs and workers."""


def uuid_text(raw: bytes) -> str:
    """Return 16 bytes as UUID text."""
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
