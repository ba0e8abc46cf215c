"""The files of sessions that `fit_windows` reads, window by window."""

from contextlib import contextmanager

from keras_t4r.files.parquet import footer_digest


class WindowFiles:
    """The files of the windows.

    Args:
        folder: path.
        windows: list of names of windows.
        train, evaluate: strings. Names of the files to fit and to evaluate on.
    """

    def __init__(self, folder, windows, train, evaluate):
        self.folder = folder
        self.windows = windows
        self._names = train, evaluate

    def train(self, window):
        return self._file(window, self._names[0])

    def evaluate(self, window):
        return self._file(window, self._names[1])

    def check(self, model, load, tuned):
        """Reads the items of all files, for no run should end in its last window."""
        # A buffer of one: only the column of items is read, all are looked for.
        for window in self.windows[:-1]:
            with _named(self.train(window), "fitted on") as path:
                model.check_loader(load.to_fit(path, 512, buffer_rows=1))
        evaluated = [self.evaluate(window) for window in self.windows[1:]]
        if tuned:
            evaluated += [self.train(window) for window in self.windows[1:-1]]
        for path in evaluated:
            with _named(path, "evaluated on"):
                model.check_loader(load.to_evaluate(path, buffer_rows=1))

    def digests(self):
        """What tells these files from others, by window."""
        files = {f"{w}, fitted on": self.train(w) for w in self.windows[:-1]}
        files |= {f"{w}, evaluated on": self.evaluate(w) for w in self.windows[1:]}
        return {name: footer_digest(path) for name, path in files.items()}

    def _file(self, window, name):
        path = self.folder / str(window) / f"{name}.parquet"
        if not path.is_file():
            raise FileNotFoundError(f"Window {window} has no file {path}.")
        return path


@contextmanager
def _named(path, use):
    try:
        yield path
    except ValueError as error:
        raise ValueError(f"{path} cannot be {use}: {error}") from error


def numbered_windows(folder):
    """The names of a folder's numbered folders, in their order."""
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder of sessions at {folder}.")
    names = [p.name for p in folder.iterdir() if p.is_dir() and p.name.isdigit()]
    return sorted(names, key=int)
