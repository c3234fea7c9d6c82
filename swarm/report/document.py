"""A page as a document: tables, notes and charts in one HTML file that asks no network for anything."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import orjson

from swarm.report.behind import BEHIND, BEHIND_STYLE
from swarm.report.charts import library, spec_of
from swarm.report.theme import PLOT_PX

STYLE = """
:root{color-scheme:light dark;--line:#8a919c55}
:root{--soft:#5f6670;--good:#1b7a58;--missed:#b92f2f;--page:#fff;--ink:#111}
@media (prefers-color-scheme:dark){
:root{--soft:#a5acb6;--good:#4cc79b;--missed:#ff8b8b;--page:#121212;--ink:#f2f2f2}}
body{font:15px/1.5 system-ui,-apple-system,'Segoe UI',sans-serif}
body{background:var(--page);color:var(--ink)}
.chart svg :is(.role-axis,.role-legend,.role-title) text{fill:var(--soft)}
body{max-width:1000px;margin:2rem auto;padding:0 1.2rem}
h1{font-size:1.6rem;margin:0}h2{font-size:1.1rem;margin:2.4rem 0 .2rem}
.soft{color:var(--soft);margin:.1rem 0 .8rem}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(270px,1fr));gap:0 2.5rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
td,th{padding:.18rem .6rem .18rem 0;text-align:right;border-bottom:1px solid var(--line);font-weight:normal}
td.words,th.words{text-align:left}
th{color:var(--soft)}td:first-child,th:first-child{text-align:left}
.bad{border-left:4px solid #d64545;padding:.5rem 1rem;margin:1rem 0;background:#d6454518}
.note{border-left:4px solid #d9a441;padding:.5rem 1rem;margin:1rem 0;background:#d9a44118}
.note ul,.bad ul{margin:.2rem 0;padding-left:1.2rem}
.answer{list-style:none;padding:0;margin:1.2rem 0;font-size:1.05rem}
.answer li{padding:.25rem 0 .25rem .9rem;border-left:4px solid var(--line);margin:.3rem 0;color:inherit}
.answer li.good{border-color:#2a9d74;color:inherit}.answer li.bad{border-color:#d64545;color:inherit}
.said{margin:.1rem 0}
nav ul{list-style:none;padding:0;margin:1rem 0;display:flex;flex-wrap:wrap;gap:.2rem 1.1rem}
nav{border-top:1px solid var(--line);border-bottom:1px solid var(--line)}a{color:inherit}
@media print{nav{display:none}section{break-inside:avoid}.vega-embed summary{display:none}}
.good{color:var(--good)}.missed{color:var(--missed);font-weight:600}
.bar{display:inline-block;height:.55rem;border-radius:2px;background:#2a9d74;vertical-align:middle}
.bar.over{background:#d64545}
.vega-bindings{margin:.3rem 0 .6rem}select{font:inherit;max-width:100%;padding-right:1.6rem}
.chart,.chart.vega-embed{display:block;overflow-x:auto;min-height:1px}
.wide{overflow-x:auto}
@media (max-width:600px){body{margin:1rem auto;padding:0 .8rem}.answer{font-size:1rem}select{max-width:100%}}
@media print{body{max-width:none;margin:0}.chart{overflow:visible}.chart svg{max-width:100%;height:auto}
h1,h2{break-after:avoid}.vega-bindings,button{display:none}
:root{color-scheme:light;--soft:#5f6670;--good:#1b7a58;--missed:#b92f2f;--page:#fff;--ink:#111}}
"""

STACKED_PX = 600
"""Charts that stand side by side stand on each other where there is less room."""

FIT = f"""
const roomOf=box=>Math.round(Math.min({PLOT_PX},Math.max(200,box.clientWidth-95)));
function fitted(part,room){{
  if(Array.isArray(part))return part.map(each=>fitted(each,room));
  if(part===null||typeof part!=='object')return part;
  const found={{}};
  for(const key in part)found[key]=key==='datasets'?part[key]:
    key==='width'&&part[key]>room||key==='value'&&part[key]==={PLOT_PX}?room:
    key==='legend'&&part[key]&&room<700?{{...part[key],columns:room<420?1:2}}:fitted(part[key],room);
  if(found.hconcat&&room<{STACKED_PX}){{
    found.vconcat=found.hconcat;delete found.hconcat;
    for(const view of found.vconcat)view.width=room}}
  return found}}
const LOOK={{renderer:'svg',logLevel:1}};
"""
"""The script that makes a chart as wide as its place. What has no marks is no fault: menus choose."""

DRAW = """
const actions={export:true,source:false,compiled:false,editor:false};
async function draw(){for(const name in specs){
  const box=document.getElementById(name),room=box?roomOf(box):0;
  if(!box||rooms[name]===room)continue;
  if(!rooms[name])behind(box,name);
  rooms[name]=room;views[name]=(await vegaEmbed(box,fitted(specs[name],room),{...LOOK,actions})).view;
  const more=box.querySelector('summary');
  if(more)more.setAttribute('aria-label','Save this chart as a picture');
  const menu=box.querySelector('.vega-bindings');
  if(menu)menu.parentElement.prepend(menu);
  // Thousands of marks are no help to who hears them: the place has a label, and tables have the figures.
  box.querySelector('svg.marks')?.setAttribute('aria-hidden','true');
  await new Promise(done=>setTimeout(done));
}}
draw();let later;addEventListener('resize',()=>{clearTimeout(later);later=setTimeout(draw,200)});
"""


SHORT_CHARS, WORDS_CHARS = 10, 28
"""Of a table's cell: so short a one is not broken; one longer than the other is words, not figures."""


class Markup(str):
    """HTML of our own; every other string is text."""

    __slots__ = ()


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; cells are text, unless they are `Markup`. Columns of words stand at the left."""
    words = {at for row in rows for at, cell in enumerate(row) if at and _is_words(cell)}

    def row_of(tag: str, cells: Sequence[str]) -> str:
        parts = []
        for at, cell in enumerate(cells):
            name = tag if cell or tag == "td" else "td"
            parts.append(f"<{name}{' class=words' if at in words else ''}>{_cell(cell)}</{name}>")
        return f"<tr>{''.join(parts)}</tr>"

    body = "".join(row_of("td", row) for row in rows)
    return f"<div class=wide tabindex=0><table>{row_of('th', head) if any(head) else ''}{body}</table></div>"


def section(title: str, body: str, note: str = "", *, said: str = "") -> str:
    """Return a titled part of a page: first what it says, then how to read it."""
    soft = f"<p class=soft>{escape(note)}</p>" if note else ""
    plain = f"<p class=said>{escape(said)}</p>" if said else ""
    return f"<section id='{_slug(title)}'><h2>{escape(title)}</h2>{plain}{soft}{body}</section>"


def contents(parts: Sequence[str]) -> str:
    """Return links to the sections among some parts of a page."""
    found = [match for part in parts for match in _SECTION.findall(part)]
    links = "".join(f"<li><a href='#{slug}'>{title}</a></li>" for slug, title in found)
    return f"<nav aria-label=Contents><ul>{links}</ul></nav>" if found else ""


_SECTION = re.compile(r"<section id='([^']*)'><h2>(.*?)</h2>")


def _slug(title: str) -> str:
    """Return a section's name in links."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def place(name: str, label: str = "") -> str:
    """Return where a chart is to be drawn; the label tells who cannot see it what it shows."""
    told = f" role=group aria-label='{escape(label, quote=True)}'" if label else ""
    return f"<div class=chart id='chart-{escape(name)}'{told}></div>"


def page(title: str, parts: Sequence[str], charts: Mapping[str, Any], *, whole: str) -> str:
    """Return the whole page, with the charts' library in it where there are charts.

    `whole` says where all figures lie, for who reads the tables behind the charts.
    """
    script, style = "", STYLE
    if charts:
        style += BEHIND_STYLE
        specs = {f"chart-{name}": spec_of(chart) for name, chart in charts.items()}
        # "</" would end the script element; "<\\/" is the same in JSON and in JavaScript's strings.
        data = orjson.dumps(specs, option=orjson.OPT_SERIALIZE_NUMPY).decode().replace("</", "<\\/")
        bundle = library().replace("</script", "<\\/script")
        draw = f"{FIT}const specs={data},rooms={{}},WHOLE={orjson.dumps(whole).decode()};{BEHIND}{DRAW}"
        # Apart: the library's own short names would be declared twice.
        script = f"<script type=module>{bundle}</script><script type=module>{draw}</script>"
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width,initial-scale=1'><link rel=icon href='data:,'>"
        f"<title>{escape(title)}</title><style>{style}</style><main>{''.join(parts)}</main>{script}</html>\n"
    )


def _cell(cell: str) -> str:
    if isinstance(cell, Markup):
        return cell
    # A number stays with its unit.
    return escape(cell.replace(" ", "\N{NO-BREAK SPACE}") if len(cell) <= SHORT_CHARS else cell)


def _is_words(cell: str) -> bool:
    return not isinstance(cell, Markup) and len(cell) > WORDS_CHARS
