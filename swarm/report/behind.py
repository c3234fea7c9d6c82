"""The figures behind a chart, as a table that the browser makes when a reader asks for it.

The rows are what a pointer over the chart's marks tells, so the page holds no second copy of the data, and a
menu's choice is followed.
"""

from __future__ import annotations

ROWS_MAX = 200
"""Rows of a table; of more, each n-th is shown, so that every line has some."""
BEHIND_STYLE = """
.figures{margin:.2rem 0 .8rem}.figures summary{cursor:pointer;color:var(--soft)}
.figures caption{text-align:left}.figures th[scope=row]{color:inherit}
@media print{.figures>:not(summary){display:none}}
"""
_SCRIPT = f"""
const views={{}};
const made=(tag,text,more)=>Object.assign(document.createElement(tag),{{textContent:text??'',...more}});
function told(view){{
  const tables={{}},seen=new Set;
  (function walk(mark){{
    for(const {{items,tooltip,defined}} of mark.items||[]){{
      items?.forEach(walk);
      if(typeof tooltip!=='object'||!tooltip||defined===false)continue;
      const head=Object.keys(tooltip),key=JSON.stringify(tooltip);
      if(seen.has(key))continue;
      seen.add(key);
      (tables[head]??={{head,rows:[]}}).rows.push(Object.values(tooltip))}}
  }})(view.scenegraph().root);
  return Object.values(tables)}}
function tabled({{head,rows}},title){{
  const step=Math.ceil(rows.length/{ROWS_MAX}),some=rows.filter((_,at)=>at%step===0),table=made('table');
  const all=`the chart's ${{rows.length.toLocaleString('en')}} rows`;
  const said=step>1?`${{some.length}} of ${{all}}, one in ${{step}}`:all;
  table.append(made('caption',`${{title}}: ${{said}}. All figures: ${{WHOLE}}.`));
  const words=head.map((_,at)=>some.every(row=>!/^[\\d\u2212-]/.test(row[at])));
  const line=(tag,row,scope)=>table.insertRow().append(...row.map((cell,at)=>{{
    const is=at?tag:'th',more={{className:words[at]?'words':''}};
    if(is==='th')more.scope=scope;
    return made(is,/^(null|NaN)$/.test(cell)?'\u2013':cell,more)}}));
  line('th',head,'col');some.forEach(row=>line('td',row,'row'));
  const wide=made('div','',{{className:'wide',tabIndex:0,role:'region',ariaLabel:`Figures: ${{title}}`}});
  wide.append(table);return wide}}
function behind(box,name){{
  const details=made('details','',{{className:'figures'}}),into=made('div');
  const title=box.closest('section')?.querySelector('h2')?.textContent||document.title;
  const fill=()=>{{
    const tables=details.open?told(views[name]):[],many=tables.length>1;
    into.replaceChildren(...tables.map(each=>tabled(each,many?`${{title}}, ${{each.head.at(-1)}}`:title)))}};
  details.append(made('summary','Figures'),into);
  details.addEventListener('toggle',fill);
  box.addEventListener('change',()=>setTimeout(fill,300));
  box.after(details)}}
"""
# Layers, and the parts of a bar, tell the same of one row: it is shown once.
BEHIND = "\n".join(line.lstrip() for line in _SCRIPT.splitlines())
"""The script: `behind(box, name)` puts the table after a chart; `WHOLE` says where all figures lie."""
