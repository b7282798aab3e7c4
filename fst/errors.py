"""The one exception that means: the user asked for something that cannot be, and can mend it."""


class FstError(Exception):
    """A user's mistake, said in one sentence that names the thing, the value and the cure.

    Every command prints the sentence to stderr, without a traceback, and exits with a code that
    is not 0. Anything else that is raised is a defect of ours and keeps its traceback.
    """
