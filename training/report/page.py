"""The frame of a report and its building blocks. Everything shown is escaped here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6776;--line:#d7dde5;--paper:#fff;
--card:#f6f8fa;--a:#1f6feb;--b:#9a6700;--good:#1a7f37;--bad:#b42318}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9aa7b5;--line:#333c47;--paper:#0f141a;
--card:#171d25;--a:#58a6ff;--b:#d29922;--good:#3fb950;--bad:#ff7b72}}
body{margin:0 auto;max-width:60rem;padding:1.5rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin:0 0 .25rem}h2{font-size:1.15rem;margin:2rem 0 .5rem}
p.lead{color:var(--soft);margin:0 0 1rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.75rem}
.tile{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.6rem .8rem}
.tile b{display:block;font-size:1.35rem}.tile span{color:var(--soft);font-size:.85rem}
table{border-collapse:collapse;width:100%;font-size:.92rem}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--line)}
td{white-space:pre-wrap}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto}svg{width:100%;height:auto;display:block}
svg text{fill:var(--soft);font:11px system-ui,sans-serif}
details{border:1px solid var(--line);border-radius:.5rem;margin:.5rem 0;padding:.4rem .8rem}
summary{cursor:pointer}pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:.3rem 0;
background:var(--card);padding:.5rem;border-radius:.3rem;font-size:.85rem}
.good{color:var(--good)}.bad{color:var(--bad)}.role{color:var(--soft);font-size:.8rem}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(18rem,1fr));gap:1rem}
"""


def page(title: str, lead: str, body: Sequence[str]) -> str:
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width,initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1><p class='lead'>{escape(lead)}</p>{''.join(body)}</body></html>"
    )


def section(title: str, *parts: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def paragraph(text: str, css: str = "") -> str:
    return f"<p class='{css}'>{escape(text)}</p>"


def tiles(values: Mapping[str, str]) -> str:
    cells = (
        f"<div class='tile'><b>{escape(value)}</b><span>{escape(name)}</span></div>"
        for name, value in values.items()
    )
    return f"<div class='tiles'>{''.join(cells)}</div>"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table; numbers are set flush right."""

    def cell(tag: str, text: str, value: object) -> str:
        css = " class='n'" if isinstance(value, (int, float)) else ""
        return f"<{tag}{css}>{escape(text)}</{tag}>"

    def shown(value: object) -> str:
        return f"{value:.3f}" if isinstance(value, float) else str(value)

    first = rows[0] if rows else [""] * len(header)
    head = "".join(cell("th", name, value) for name, value in zip(header, first, strict=True))
    body = "".join(f"<tr>{''.join(cell('td', shown(v), v) for v in row)}</tr>" for row in rows)
    return f"<div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def line_chart(
    series: Mapping[str, Sequence[tuple[float, float]]], label: str, width: int = 720
) -> str:
    """Lines over a shared x axis. Each series is drawn faintly as it is and boldly as its moving
    average over a twentieth of its points."""
    points = [point for line in series.values() for point in line]
    if not points:
        return paragraph("no data yet")
    height, left, bottom, top = 240, 44, 24, 10
    x_low, x_high = min(x for x, _ in points), max(x for x, _ in points)
    y_low, y_high = min(y for _, y in points), max(y for _, y in points)
    y_low, y_high = (y_low, y_high) if y_high > y_low else (y_low - 0.5, y_high + 0.5)
    x_span = (x_high - x_low) or 1

    def at(x: float, y: float) -> str:
        across = left + (x - x_low) / x_span * (width - left - 10)
        down = top + (1 - (y - y_low) / (y_high - y_low)) * (height - top - bottom)
        return f"{across:.1f},{down:.1f}"

    parts = []
    for fraction in (0, 0.25, 0.5, 0.75, 1):
        value = y_low + fraction * (y_high - y_low)
        down = top + (1 - fraction) * (height - top - bottom)
        parts.append(
            f"<line x1='{left}' x2='{width - 10}' y1='{down:.1f}' y2='{down:.1f}' "
            f"stroke='var(--line)'/><text x='{left - 6}' y='{down + 4:.1f}' "
            f"text-anchor='end'>{value:.2f}</text>"
        )
    for x, anchor in ((x_low, "start"), (x_high, "end")):
        across = at(x, y_low).split(",")[0]
        parts.append(f"<text x='{across}' y='{height - 6}' text-anchor='{anchor}'>{x:g}</text>")
    legend = []
    for name, colour in zip(series, ("var(--a)", "var(--b)", "var(--good)"), strict=False):
        line = series[name]
        window = max(1, len(line) // 20)
        smooth = [
            (
                line[i][0],
                sum(y for _, y in line[max(0, i - window) : i + 1]) / (i + 1 - max(0, i - window)),
            )
            for i in range(len(line))
        ]
        for drawn, opacity, stroke in ((line, 0.25, 1), (smooth, 1, 2)):
            path = " ".join(at(x, y) for x, y in drawn)
            parts.append(
                f"<polyline points='{path}' fill='none' stroke='{colour}' "
                f"stroke-width='{stroke}' opacity='{opacity}'/>"
            )
        legend.append(f"<span style='color:{colour}'>&#9632;</span> {escape(name)}")
    return (
        f"<svg viewBox='0 0 {width} {height}' role='img' aria-label='{escape(label, quote=True)}'>"
        f"{''.join(parts)}</svg><p class='role'>{' &nbsp; '.join(legend)}</p>"
    )


def bars(groups: Mapping[str, Mapping[str, float]], label: str, width: int = 720) -> str:
    """Horizontal bars of shares between 0 and 1, grouped: ``{group: {series: share}}``."""
    row, left = 16, 150
    names = list(dict.fromkeys(name for values in groups.values() for name in values))
    colours = dict(zip(names, ("var(--b)", "var(--a)", "var(--good)"), strict=False))
    parts, y = [], 4
    for group, values in groups.items():
        middle = y + row * len(values) / 2 + 4
        parts.append(f"<text x='{left - 8}' y='{middle}' text-anchor='end'>{escape(group)}</text>")
        for name, share in values.items():
            length = max(1.0, share * (width - left - 60))
            parts.append(
                f"<rect x='{left}' y='{y}' width='{length:.1f}' height='{row - 3}' rx='2' "
                f"fill='{colours[name]}'/><text x='{left + length + 6:.1f}' y='{y + row - 6}'>"
                f"{share:.2f}</text>"
            )
            y += row
        y += 8
    legend = " &nbsp; ".join(
        f"<span style='color:{colours[n]}'>&#9632;</span> {escape(n)}" for n in names
    )
    return (
        f"<svg viewBox='0 0 {width} {y}' role='img' aria-label='{escape(label, quote=True)}'>"
        f"{''.join(parts)}</svg><p class='role'>{legend}</p>"
    )


def conversation(messages: Sequence[Mapping[str, object]]) -> str:
    """Messages in OpenAI's form, without the system prompt."""
    parts = []
    for message in messages:
        if message["role"] == "system":
            continue
        parts.append(f"<div class='role'>{escape(str(message['role']))}</div>")
        if message.get("content"):
            parts.append(f"<pre>{escape(str(message['content']))}</pre>")
        for call in message.get("tool_calls") or []:  # type: ignore[attr-defined]
            function = call["function"]
            parts.append(f"<pre>{escape(function['name'])} {escape(function['arguments'])}</pre>")
    return "".join(parts)
