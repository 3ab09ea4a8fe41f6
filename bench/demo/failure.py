"""What the demo says when it cannot go on."""


class DemoError(Exception):
    """The demo cannot go on; the text is for the person who started it."""


class NotARepository(DemoError):
    """What was given as the repository is none."""
