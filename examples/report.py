"""A one-page HTML report: curves by window, averages, and served answers."""

import html
import math

COLORS = (
    "#d62728 #1f77b4 #2ca02c #9467bd #8c564b #e377c2 #7f7f7f #17becf #bcbd22"
).split()
WIDTH, HEIGHT, LEFT, BOTTOM = 520, 260, 46, 28
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1120px; margin: 2em auto;
       padding: 0 1em; color: #222; }
table { border-collapse: collapse; margin: 1em 0; }
td, th { padding: .25em .9em; border-bottom: 1px solid #ddd; text-align: right; }
td:first-child, th:first-child { text-align: left; }
.curves { display: flex; flex-wrap: wrap; gap: 1em; }
figure { margin: 0; } figcaption { font-weight: 600; }
.key span { margin-right: 1.2em; white-space: nowrap; }
"""


def write_report(path, report, answers, metrics, item):
    """Writes the page; it needs nothing but a browser."""
    colors = {
        model: "#111" if model == "ceiling" else COLORS[i % len(COLORS)]
        for i, model in enumerate(report.models)
    }
    key = "".join(
        f'<span><b style="color:{color}">■</b> {html.escape(model)}</span>'
        for model, color in colors.items()
    )
    curves = "".join(
        f"<figure><figcaption>{title}</figcaption>"
        f"{_curve(report, name, colors)}</figure>"
        for name, title in metrics.items()
    )
    path.write_text(
        f"<!doctype html><meta charset=utf-8><title>keras_t4r</title>"
        f"<style>{STYLE}</style><h1>Fit on each window, evaluated on the next</h1>"
        f'<p class=key>{key}</p><div class="curves">{curves}</div>'
        f"<h2>Average over the windows</h2>{_averages(report, metrics)}"
        f"<h2>Answers of the server</h2>{_answers(answers, item)}",
        encoding="utf-8",
    )


def _curve(report, metric, colors):
    windows = report.windows
    # A model that diverged has no curve.
    rows = [row for row in report.rows if not math.isnan(row[metric])]
    top = max((row[metric] for row in rows), default=0.0)
    top = math.ceil(top * 10 + 1e-9) / 10 or 0.1

    def at(i, value):
        x = LEFT + (WIDTH - LEFT - 12) * (i / max(len(windows) - 1, 1))
        return x, (HEIGHT - BOTTOM) - (HEIGHT - BOTTOM - 10) * value / top

    parts = []
    step = 0.1 if top <= 0.5 else 0.2
    for value in (step * i for i in range(int(top / step + 1e-9) + 1)):
        _, y = at(0, value)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - 12}" y1="{y:.1f}" y2="{y:.1f}" '
            f'stroke="#e4e4e4"/><text x="{LEFT - 6}" y="{y + 4:.1f}" '
            f'text-anchor="end" font-size="11">{value:.1f}</text>'
        )
    every = max(1, len(windows) // 12)
    for i, window in enumerate(windows):
        if i % every == 0:
            x, _ = at(i, 0)
            parts.append(
                f'<text x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="middle" '
                f'font-size="11">{html.escape(str(window))}</text>'
            )
    # The model last, so that its line lies on top.
    for model in sorted(colors, key=lambda name: name == "model"):
        color = colors[model]
        values = {r["window"]: r[metric] for r in rows if r["model"] == model}
        points = [at(i, values[w]) for i, w in enumerate(windows) if w in values]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        width = 2.5 if model == "model" else 1.3
        dash = ' stroke-dasharray="5 4"' if model == "ceiling" else ""
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="{color}" '
            f'stroke-width="{width}"{dash}/>'
        )
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{width}" fill="{color}"/>'
            for x, y in points
        ]
    return f'<svg width="{WIDTH}" height="{HEIGHT}">{"".join(parts)}</svg>'


def _averages(report, metrics):
    head = "".join(f"<th>{title}</th>" for title in metrics.values())
    rows = ""
    for model, values in report.average().items():
        cells = "".join(f"<td>{values[name]:.4f}</td>" for name in metrics)
        rows += f"<tr><td>{html.escape(model)}</td>{cells}</tr>"
    return f"<table><tr><th></th>{head}</tr>{rows}</table>"


def _answers(answers, item):
    rows = ""
    for clicked, answer, milliseconds in answers:
        best = ", ".join(
            f"{html.escape(str(i))} ({s:.2f})"
            for i, s in zip(answer[item][:5], answer["scores"][:5], strict=True)
        )
        seen = html.escape(", ".join(map(str, clicked)))
        rows += f"<tr><td>{seen}</td><td>{best}</td><td>{milliseconds:.1f} ms</td></tr>"
    return f"<table><tr><th>clicked</th><th>next</th><th>median</th></tr>{rows}</table>"
