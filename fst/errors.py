"""What means that the user asked for something that cannot be, and can mend it."""


class FstError(Exception):
    """A user's mistake, said in one sentence that names the thing, the value and the cure.

    Every command prints the sentence to stderr, without a traceback, and exits with a code that
    is not 0. Anything else that is raised is a defect of ours and keeps its traceback.
    """


def pip_install(extra: str) -> str:
    """The command that brings the packages of an optional part, however fst was installed.

    It names them one by one: ``fst[extra]`` would ask a package registry for a stranger's fst.
    """
    from importlib.metadata import PackageNotFoundError, requires  # takes its time

    try:
        listed = [line.split(";") for line in requires("fst") or []]
    except PackageNotFoundError:
        listed = []
    packages = [line[0].strip() for line in listed if line[-1].strip() == f'extra == "{extra}"']
    if not packages:  # a clone that is not installed, or was before it had this part
        return f"pip install -e '.[{extra}]' in fst's own folder"
    return " ".join(["pip install", *(f"'{package}'" for package in packages)])
