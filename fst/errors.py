"""What means that the user asked for something that cannot be, and can mend it."""

DISTRIBUTION = "fst-style-transfer"  # what pip calls the package; on PyPI "fst" is a stranger's


class FstError(Exception):
    """A user's mistake, said in one sentence that names the thing, the value and the cure.

    Every command prints the sentence to stderr, without a traceback, and exits with a code that
    is not 0. Anything else that is raised is a defect of ours and keeps its traceback.
    """

    exit_code = 2


class FailedRun(FstError):
    """What was asked for could be done, and what came out is no good."""

    exit_code = 1


def pip_install(extra: str) -> str:
    """The command that brings the packages of an optional part, however fst was installed.

    It names them one by one: no package registry has fst under its own name, and a stranger's
    package is called ``fst`` there.
    """
    from importlib.metadata import PackageNotFoundError, requires  # takes its time

    try:
        listed = [line.split(";") for line in requires(DISTRIBUTION) or []]
    except PackageNotFoundError:
        listed = []
    packages = [line[0].strip() for line in listed if line[-1].strip() == f'extra == "{extra}"']
    if not packages:  # a clone that is not installed, or was before it had this part
        return f"pip install -e '.[{extra}]' in fst's own folder"
    return " ".join(["pip install", *(f"'{package}'" for package in packages)])
