import json
import math
import operator

from keras_t4r.files import as_path, write_text
from keras_t4r.files.sentences import first_line

# The columns of a row that are no metrics.
_COLUMNS = ("window", "model")
# What the model itself is named in the reports of `fit_windows`, and a part of it.
MODEL, NETWORK = "model", "network alone"


class WindowReport:
    """Metrics of a model, and of baselines, window by window.

    Attributes:
        rows: list of dicts: `window`, its name as text, `model`, and a value for each
            metric.

    Example:

    ```python
    report = fit_windows(model, "sessions", …)
    print(report)                        # the table below
    report.average()["model"]["ndcg_20"]
    ```
    """

    def __init__(self, rows=()):
        self.rows = [{**row, "window": window_name(row["window"])} for row in rows]

    def add(self, window, model, metrics):
        window = window_name(window)
        check_metric_names(metrics)
        values = {name: float(value) for name, value in metrics.items()}
        self.rows.append({"window": window, "model": model, **values})

    @property
    def metrics(self):
        names = {}
        for row in self.rows:
            names.update(dict.fromkeys(k for k in row if k not in _COLUMNS))
        return list(names)

    @property
    def models(self):
        return list(dict.fromkeys(row["model"] for row in self.rows))

    @property
    def windows(self):
        return list(dict.fromkeys(row["window"] for row in self.rows))

    def average(self):
        """Average over time: every window weighs the same.

        Returns:
            A dict of model to dict of metric to value.
        """
        out = {}
        for model in self.models:
            rows = [row for row in self.rows if row["model"] == model]
            out[model] = {
                name: sum(values) / len(values)
                for name in self.metrics
                if (values := [row[name] for row in rows if name in row])
            }
        return out

    def best_baseline(self, metric, model=MODEL):
        """Name of the baseline with the highest average of a metric.

        A part of the model, as `"model, no memory"` or `"network alone"`, is none; nor
        is one whose average is NaN.

        Raises:
            ValueError: there is none.
        """
        averages = self.average()
        others = [
            name
            for name in self.models
            if name not in (model, NETWORK)
            and not is_of_model(name, model)
            and not math.isnan(averages[name].get(metric, math.nan))
        ]
        if not others:
            raise ValueError(f"The report has no baseline with the metric {metric!r}.")
        return max(others, key=lambda m: averages[m][metric])

    def save(self, path):
        """Writes the rows as JSON."""
        write_text(path, json.dumps(self.rows, indent=1))

    @classmethod
    def load(cls, path):
        path = as_path(path, "a report")
        try:
            report = cls(json.loads(path.read_text(encoding="utf-8")))
            report.average()  # What is no row of a report fails here.
            return report
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise ValueError(
                f"{path} is no report of windows ({first_line(error)}): write it again."
            ) from error

    def __str__(self):
        averages = self.average()
        lines = [_line("window", "model", self.metrics)]
        for row in self.rows:
            lines.append(_line(row["window"], row["model"], _cells(row, self.metrics)))
        for model in self.models:
            lines.append(_line("average", model, _cells(averages[model], self.metrics)))
        return "\n".join(lines)


def window_name(window):
    """The name of a window, which is a folder's, as text: `"1"` of 1, too.

    Raises:
        TypeError: it is neither text nor a whole number.
        ValueError: it is empty text.
    """
    if isinstance(window, str):
        if not window:
            raise ValueError("A window's name is empty text; it should be a folder's.")
        return str(window)
    try:
        if isinstance(window, bool):
            raise TypeError
        return str(operator.index(window))
    except TypeError:
        raise TypeError(
            f"A window's name is {window!r}; it should be text or a whole number."
        ) from None


def is_of_model(name, model=MODEL):
    """Whether a name in a report is that of a model without one of its parts."""
    return name.startswith(f"{model}, ")


def check_metric_names(metrics):
    """Raises where a metric is named as a column of the report."""
    for name in metrics:
        if name in _COLUMNS:
            raise ValueError(
                f"A metric is named {name!r}, as a column of the report: name it "
                f'otherwise, as NDCG(20, name="my_{name}").'
            )


def _cells(values, names):
    return [f"{values[name]:.4f}" if name in values else "-" for name in names]


def _line(window, model, cells):
    return f"{window!s:>8}  {model:<20}" + "".join(f"{cell:>12}" for cell in cells)
