"""The parts of a self-contained page: style, tables, pictures and films as data URIs. No script, nothing fetched."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

_STYLE = """
:root { color-scheme: light dark; --page: #fbfaf8; --card: #ffffff; --ink: #23211e; --soft: #6d6862; --rule: #e3dfd9;
  --good: #2f7d4f; --bad: #b3402e; --s1: #2b6cb0; --s2: #d9822b; --s3: #3f8f5f; --s4: #a8477f; --s5: #7a6ad8;
  --s6: #8a8378; }
@media (prefers-color-scheme: dark) { :root { --page: #17181a; --card: #1f2124; --ink: #e8e5e0; --soft: #a19b93;
  --rule: #34373b; --good: #6cc28f; --bad: #f08a76; --s1: #6ba8e8; --s2: #efa45c; --s3: #74c694; --s4: #de87bb;
  --s5: #a79bf0; --s6: #a9a298; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 24px 80px; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3em; }
h2 { font-size: 1.25rem; margin: 2.6em 0 .4em; }
h3 { font-size: 1rem; margin: 1.6em 0 .3em; }
p { margin: .5em 0; max-width: 74ch; }
.soft, figcaption, .unit { color: var(--soft); font-size: .875rem; }
.unit { margin: 0 0 -.2em 6px; font-size: .8rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; margin: .8em 0; }
th, td { padding: .38em .6em; text-align: right; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th { font-weight: 600; color: var(--soft); white-space: normal; vertical-align: bottom; line-height: 1.25; }
th::first-letter, dt::first-letter { text-transform: uppercase; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
.met { color: var(--good); font-weight: 600; }
.missed { color: var(--bad); font-weight: 600; }
svg { width: 100%; height: auto; display: block; background: var(--card); border: 1px solid var(--rule);
  border-radius: 6px; margin: .3em 0 1.2em; font-size: 11px; }
svg text { fill: var(--soft); }
svg .x, svg .note, svg .inside { text-anchor: middle; }
svg .y { text-anchor: end; }
svg .inside { fill: var(--card); font-weight: 600; }
svg .grid { stroke: var(--rule); fill: none; }
svg .strong { stroke-width: 3; }
svg .cut { stroke: var(--soft); stroke-dasharray: 1 3; fill: none; }
svg .band { fill: var(--rule); opacity: .7; }
svg .line { fill: none; stroke-width: 1.5; stroke-linejoin: round; }
svg circle { stroke-width: 2; }
.legend { display: flex; flex-wrap: wrap; gap: .2em 1.4em; font-size: .85rem; margin: .6em 0 .1em; max-width: none; }
.legend i { display: inline-block; width: 22px; border-top: 3px solid; vertical-align: middle; margin-right: .5em; }
.legend b { display: inline-block; width: 11px; height: 11px; border: 2px solid; border-radius: 50%;
  margin-right: .5em; }
figure { margin: .6em 0 1.4em; }
img, video { display: block; width: 100%; height: auto; border-radius: 4px; background: var(--rule); }
.row { display: grid; gap: 8px; grid-template-columns: repeat(auto-fit, minmax(230px, 1fr)); }
.faces { display: grid; gap: 18px; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); }
.faces .row { gap: 4px; grid-template-columns: repeat(3, 1fr); }
figcaption { margin-top: .35em; }
dt { font-weight: 600; margin-top: .8em; }
dd { margin: 0; color: var(--soft); max-width: 74ch; }
"""


def page(title: str, sections: Sequence[str]) -> str:
    """A whole document."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(sections)
        + "\n</main>\n</body>\n</html>\n"
    )


def section(heading: str, *parts: str) -> str:
    """A part of the page."""
    return f"<section>\n<h2>{html.escape(heading)}</h2>\n" + "\n".join(parts) + "\n</section>"


def paragraph(text: str, kind: str = "") -> str:
    """Plain text."""
    return f'<p class="{kind}">{html.escape(text)}</p>' if kind else f"<p>{html.escape(text)}</p>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], kinds: dict[tuple[int, int], str] | None = None) -> str:
    """Cells are plain text; ``kinds`` gives the class of a cell by row and column."""
    kinds = kinds or {}
    body = ""
    for number, row in enumerate(rows):
        cells = ""
        for column, text in enumerate(row):
            kind = kinds.get((number, column))
            cells += f'<td class="{kind}">{html.escape(text)}</td>' if kind else f"<td>{html.escape(text)}</td>"
        body += f"<tr>{cells}</tr>"
    top = "".join(f"<th>{html.escape(text)}</th>" for text in head)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def picture(jpeg: bytes, text: str) -> str:
    """A JPEG file, with what it shows for those who cannot see it."""
    return f'<img alt="{html.escape(text)}" src="{_data("image/jpeg", jpeg)}">'


def film(mp4: bytes) -> str:
    """An MP4 file."""
    return f'<video controls loop muted playsinline preload="metadata" src="{_data("video/mp4", mp4)}"></video>'


def exhibit(pictures: dict[str, bytes], caption: str) -> str:
    """Pictures in a row, the name of each below it."""
    cells = "".join(
        f'<div>{picture(jpeg, f"{caption}: {name}")}<span class="soft">{html.escape(name)}</span></div>'
        for name, jpeg in pictures.items()
    )
    return f'<figure><div class="row">{cells}</div><figcaption>{html.escape(caption)}</figcaption></figure>'


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
