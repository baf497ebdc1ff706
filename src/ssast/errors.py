"""Below every floor: the errors a user can mend, each one sentence of what came, what was expected and what to do."""


class UserError(ValueError):
    """Something the user can put right; the command line prints its sentence and leaves with exit code 2."""


class AudioError(UserError):
    """One recording cannot be used as it is; the sentence gives the reason, the data set adds the uid."""


class Interrupted(Exception):  # noqa: N818 - it is an event, not an error
    """SIGINT or SIGTERM came in a training run, whose state is saved; the text says how to go on."""
