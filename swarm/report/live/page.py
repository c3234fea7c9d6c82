"""The page of something that goes on: whole in one answer, then fed by server-sent events."""

from __future__ import annotations

from html import escape

from swarm.report.charts import library
from swarm.report.document import FIT, STYLE
from swarm.report.live.charts import TITLES
from swarm.report.live.doing import DOING

LIVE_STYLE = """
.state{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:.6rem 1.6rem;margin:1rem 0}
.state div{border-top:2px solid var(--line);padding-top:.2rem}
.state b{display:block;font-size:1.35rem;font-weight:600;font-variant-numeric:tabular-nums}
.state span{color:var(--soft)}
progress{width:100%;height:.7rem}
button{font:inherit;padding:.35rem .9rem;border:1px solid #d64545;color:var(--missed);background:transparent}
button{border-radius:4px;cursor:pointer}
button[disabled]{opacity:.5;cursor:default}
.top{display:flex;gap:1rem;align-items:baseline;flex-wrap:wrap;justify-content:space-between}
[hidden]{display:none}
#lost{color:var(--missed)}
"""

SCRIPT = r"""
const token=new URLSearchParams(location.search).get('token');
const $=id=>document.getElementById(id);
const views={},shapes={};
const three=v=>v==null||Number.isNaN(v)?'–':Math.abs(v)>=1000?Math.round(v).toLocaleString('en'):
  String(+v.toPrecision(3));
const span=v=>v==null?'–':v===0?'0 s':v<1e-3?three(v*1e6)+' µs':v<1?three(v*1e3)+' ms':v<120?three(v)+' s':
  v<7200?three(v/60)+' min':three(v/3600)+' h';
const share=v=>v==null?'–':(v*100).toFixed(1)+' %';
const last=list=>{for(let at=list.length-1;at>=0;at--)if(list[at]!=null)return list[at];return null};
function figure(label,value){const d=document.createElement('div'),b=document.createElement('b'),
  s=document.createElement('span');b.textContent=value;s.textContent=label;d.append(b,s);return d}
function state(h){
  const p=h.points,list=[];
  if(p.total)list.push(figure('points',p.done+' of '+p.total));
  if(h.mode==='live')list.push(
    figure('agents + sub-agents',h.agents+' + '+h.subagents),
    figure('open requests',three(h.open)),figure('sent',three(h.sent)),
    figure('finished a second',three(last(h.recent.finished_per_s))),
    figure('effective TTFT p95',span(last(h.recent.effective_ttft_p95_s))),
    figure('hit rate',share(last(h.recent.hit_rate))),
    figure('failed',three(h.failed)));
  if(h.wall_s!=null)list.push(figure('requests',three(h.ended)),figure('open requests',three(h.open)),
    figure('requests a second of real time',three(h.ended/Math.max(h.wall_s,1e-9))));
  if(h.required!=null&&h.ended){const good=h.good/h.ended;
    list.push(figure('within every objective; '+share(h.required)+' needed',share(good)))}
  $('state').replaceChildren(...list);
  const done=p.total?p.done/p.total:h.until_s?Math.min(1,h.now_s/h.until_s):null;
  if(done==null)$('progress').removeAttribute('value');else $('progress').value=done;
  let text=p.total?'':span(h.now_s)+(h.until_s?' of '+span(h.until_s):'');
  if(h.mode==='simulate'&&h.until_s&&h.wall_s&&h.now_s>0)
    text+=' simulated; '+span(h.wall_s*(h.until_s-h.now_s)/h.now_s)+' left';
  else if(h.until_s&&h.mode==='live'&&!p.total)text+='; '+span(Math.max(0,h.until_s-h.now_s))+' left';
  if(h.has_ended)text='It has ended.';else if(h.advice)text=h.advice;
  else if(h.is_gone)text='It ended without results.';
  const over=h.has_ended||h.is_gone||h.advice;
  if(!h.has_begun&&!over)text='It is about to begin.';
  $('when').textContent=text;$('name').textContent=h.name;document.title=h.name+' · live';
  $('stop').hidden=!!over||!h.can_stop;
  $('report').hidden=!h.has_report;$('report').href='/report?token='+encodeURIComponent(token);
  $('progress').hidden=!!over;
}
function rows(id,list,cells){$(id).replaceChildren(...list.map(each=>{const tr=document.createElement('tr');
  for(const cell of cells(each)){const td=document.createElement('td');td.textContent=cell;tr.append(td)}
  return tr}))}
async function draw(name,spec){
  const box=$('chart-'+name),data=spec.datasets||{};
  box.parentElement.hidden=false;
  const room=roomOf(box),shape=room+JSON.stringify({...spec,datasets:null});
  if(shapes[name]===shape&&views[name]){
    for(const key in data)views[name].data(key,data[key]);
    await views[name].runAsync();return}
  shapes[name]=shape;box.style.minHeight=box.offsetHeight+'px';
  const made=await vegaEmbed(box,fitted(spec,room),{...LOOK,actions:false});
  views[name]=made.view;box.style.minHeight='';
}
let drawing=false,charts={},later;
async function drawAll(){
  if(drawing)return;
  drawing=true;
  try{for(const name in charts)await draw(name,charts[name])}finally{drawing=false}
}
addEventListener('resize',()=>{clearTimeout(later);later=setTimeout(drawAll,300)});
async function show(said){
  state(said.head);
  $('notes').replaceChildren(...said.notes.map(t=>{const li=document.createElement('li');
    li.textContent=t;return li}));
  $('said').hidden=!said.notes.length;
  $('who').hidden=!said.agents.length;
  rows('agents',said.agents,a=>[a.agent,a.does,span(a.for_s),three(a.turns),three(a.context),
    a.failed||'',a.children||'']);
  charts=said.charts;await drawAll();
}
const events=new EventSource('/events?token='+encodeURIComponent(token));
events.onmessage=e=>{$('lost').hidden=true;const said=JSON.parse(e.data);show(said);
  if(said.head.has_ended||said.head.is_gone||said.head.advice)events.close()};
events.onerror=()=>{$('lost').hidden=false};
$('stop').onclick=async()=>{
  if(!confirm('Stop it? No more turns are started, and those in flight end.'))return;
  const answer=await fetch('/stop?token='+encodeURIComponent(token),{method:'POST'});
  $('stop').disabled=answer.ok;$('stop').textContent=answer.ok?'Stopping: requests in flight end':'Not there';
};
"""


def live_page(title: str) -> str:
    """Return the page, with its script and the charts' library in it: it asks for nothing but events."""
    sections = "".join(
        f"<section hidden><h2>{escape(text)}</h2><div class=chart id='chart-{name}'></div></section>"
        for name, text in TITLES.items()
    )
    head = "".join(
        f"<th>{name}</th>" for name in ("agent", "does", "for", "turns", "context", "failed", "sub-agents")
    )
    bundle = library().replace("</script", "<\\/script")
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width,initial-scale=1'>"
        "<link rel=icon href='data:,'>"
        f"<title>{escape(title)} · live</title><style>{STYLE}{LIVE_STYLE}</style>"
        f"<main><div class=top><h1 id=name>{escape(title)}</h1><button id=stop hidden>Stop</button>"
        "<a id=report hidden>Open the report</a></div>"
        "<p class=soft><span id=when role=status>…</span> "
        "<span id=lost hidden>Nothing is heard from the page's process.</span></p>"
        "<progress id=progress max=1 aria-label='how far it is'></progress>"
        f"<div class=state id=state></div>{sections}"
        f"<section id=who hidden><h2>Agents</h2><p class=soft>Those first that {escape(DOING[0])} for the "
        f"longest time, as last reported.</p><div class=wide><table><thead><tr>{head}</tr></thead>"
        "<tbody id=agents></tbody></table></div></section>"
        "<section id=said hidden><h2>What was said</h2><ul id=notes></ul></section></main>"
        # Apart: the library's own short names would be declared twice.
        f"<script type=module>{bundle}</script><script type=module>{FIT}{SCRIPT}</script></html>\n"
    )
