"""The page's look."""

from __future__ import annotations

CSS = """
:root { color-scheme: light dark; --text:#1d2430; --soft:#5c6675; --line:#dfe3ea; --page:#f6f7f9; --card:#fff;
  --accent:#2f6fb3; --good:#2c8a57; --bad:#b83a3a; --warn:#96610b; --edge:#1d243038 }
@media (prefers-color-scheme: dark) { :root { --text:#e4e8ee; --soft:#9aa5b4; --line:#323a46; --page:#14181e;
  --card:#1c222b; --accent:#6ea8e0; --good:#5cc08a; --bad:#e07a7a; --warn:#e0ad5c;
  --edge:#000b } }
* { box-sizing:border-box }
html { scroll-behavior:smooth }
body { margin:0; background:var(--page); color:var(--text);
  font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif }
main, header > div, nav > div { max-width:1180px; margin:0 auto; padding:0 20px }
header { padding:34px 0 20px; background:var(--card) }
h1 { margin:0 0 4px; font-size:30px; letter-spacing:-.02em }
h2 { margin:0 0 12px; font-size:21px; letter-spacing:-.01em }
h3 { margin:26px 0 8px; font-size:16px }
p { margin:6px 0 12px; max-width:78ch }
.lead { font-size:17px; margin:8px 0 18px }
.note, figcaption, caption { color:var(--soft); font-size:13px }
nav { position:sticky; top:0; z-index:2; background:var(--card); border-bottom:1px solid var(--line) }
nav > div { display:flex; gap:2px 15px; overflow-x:auto; white-space:nowrap; padding-top:9px; padding-bottom:9px;
  font-size:14px; scrollbar-width:thin }
a { color:var(--accent); text-decoration:none }
a:hover { text-decoration:underline }
section { background:var(--card); border:1px solid var(--line); border-radius:10px; margin:22px 0;
  padding:22px 24px; scroll-margin-top:52px }
.tiles { display:grid; grid-template-columns:repeat(auto-fit,minmax(150px,1fr)); gap:12px }
.tile { border:1px solid var(--line); border-radius:9px; padding:12px 14px; background:var(--page) }
.tile b { display:block; font-size:25px; line-height:1.2; font-variant-numeric:tabular-nums }
.tile span { color:var(--soft); font-size:13px }
.scroll { overflow-x:auto; margin:8px 0 14px; background:
  linear-gradient(to right, var(--card) 40%, transparent) left / 40px 100% local no-repeat,
  linear-gradient(to left, var(--card) 40%, transparent) right / 40px 100% local no-repeat,
  linear-gradient(to right, var(--edge), transparent) left / 14px 100% no-repeat,
  linear-gradient(to left, var(--edge), transparent) right / 14px 100% no-repeat }
.scroll th:first-child, .scroll td:first-child { position:sticky; left:0; z-index:1; background:var(--card) }
table { border-collapse:collapse; font-variant-numeric:tabular-nums; font-size:14px }
caption { text-align:left; padding:0 0 6px; caption-side:top }
th, td { padding:5px 9px; border-bottom:1px solid var(--line); text-align:right; white-space:nowrap }
th:first-child, td:first-child, td.word, th.word { text-align:left }
td.word { white-space:normal; overflow-wrap:anywhere; min-width:6.5em }
td.long { min-width:min(22em,62vw) }
th { color:var(--soft); font-weight:600; border-bottom:2px solid var(--line);
  vertical-align:bottom; white-space:normal; min-width:4.5em; max-width:9em; line-height:1.3 }
th button { all:unset; cursor:pointer }
button:focus-visible, input:focus-visible, select:focus-visible, a:focus-visible, [tabindex]:focus-visible {
  outline:2px solid var(--accent); outline-offset:2px; border-radius:3px }
[aria-sort=ascending] button::after { content:" \\2191" }
[aria-sort=descending] button::after { content:" \\2193" }
.tools, .coloring { display:flex; flex-wrap:wrap; gap:8px 18px; align-items:center; font-size:14px }
.tools[hidden], .coloring[hidden] { display:none }
.tools input, .tools select, .coloring select { font:inherit; color:inherit; background:var(--page);
  border:1px solid var(--line); border-radius:6px; padding:4px 8px }
.tools output { color:var(--soft) }
.coloring { position:sticky; top:40px; z-index:1; padding:8px 0; background:var(--card) }
.legend { display:flex; flex-wrap:wrap; gap:2px 9px; align-items:center; font-size:13px; color:var(--soft) }
.legend[hidden] { display:none }
.legend i { display:inline-block; width:170px; height:12px; border-radius:3px; vertical-align:middle }
.legend i.swatch { width:12px; margin-right:5px }
.legend small { display:block; font-size:11px; line-height:1.2; text-align:center; max-width:170px }
.filtered .scroll { max-height:75vh; overflow:auto }
.filtered th { position:sticky; top:0; z-index:1; background:var(--card) }
.filtered th, .filtered td { padding:3px 6px }
.filtered td.word { min-width:5em; overflow-wrap:break-word }
.filtered td.word:first-child { white-space:nowrap; min-width:8em; max-width:none }
.filtered td.word > span { display:inline-block; width:max-content; max-width:10em; white-space:normal;
  overflow-wrap:break-word; vertical-align:middle }
.filtered th:first-child { z-index:2 }
.thumbnail { display:inline-block; width:28px; max-width:none; height:28px; margin-right:8px; vertical-align:middle;
  border-radius:4px; object-fit:contain }
tbody tr:hover { background:color-mix(in srgb, var(--accent) 7%, transparent) }
td.heat { background:color-mix(in srgb, var(--accent) calc(var(--shade) * 0.45), transparent) }
td.best { font-weight:700 }
td small { color:var(--soft); font-weight:400; font-size:12px; display:block }
td.word:first-child { min-width:11em }
tr.mean td { border-top:2px solid var(--line); font-weight:600 }
.side { display:grid; grid-template-columns:repeat(auto-fit,minmax(300px,1fr)); gap:4px 26px;
  align-items:start }
.side.broad { grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr)) }
.tables th { max-width:6.5em }
.tables { display:flex; flex-wrap:wrap; gap:4px 26px }
.tables > *, .side > *, .shape > * { min-width:0 }
figure { margin:10px 0 }
figcaption { margin-top:5px }
.area { position:relative; max-width:940px; touch-action:pan-y }
.narrow .area { max-width:560px }
.mark { position:absolute; width:11px; height:11px; margin:-5.5px; border-radius:50%; border:2px solid #fff;
  box-shadow:0 0 0 1px #000; pointer-events:none }
.reading { position:absolute; z-index:3; max-width:230px; padding:4px 9px; border-radius:6px; font-size:13px;
  background:var(--text); color:var(--card); pointer-events:none; overflow-wrap:anywhere }
.area .reading img { width:96px; height:96px; object-fit:contain; image-rendering:auto; margin-bottom:3px }
.mark[hidden], .reading[hidden] { display:none }
figure.plot .scroll { margin:0 }
figure.plot img { width:100%; height:auto; max-width:940px }
@media (prefers-color-scheme: dark) { figure.plot .area > img { filter:invert(0.89) hue-rotate(180deg) } }
.narrow figure.plot img { max-width:560px }
img { max-width:100%; border-radius:6px; background:#fff; display:block }
.shape { display:grid; grid-template-columns:repeat(var(--columns),minmax(0,206px)); gap:10px;
  padding:12px 0 14px; border-top:1px solid var(--line) }
.shape figure { margin:0; overflow-wrap:anywhere }
.shape img { width:100%; aspect-ratio:auto 1; border:1px solid var(--line); margin-bottom:6px }
.shape .none { min-height:6em;  border:1px dashed var(--line); border-radius:6px; padding:12px;
  color:var(--soft); font-size:13px }
canvas { display:block; width:100%; aspect-ratio:1; cursor:grab; touch-action:pan-y; border-radius:6px;
  border:1px solid var(--line); margin-bottom:6px; background:#fff }
canvas:active { cursor:grabbing }
@media screen { .still { display:none } }
.ok { color:var(--good) } .warn { color:var(--warn) } .failed { color:var(--bad) }
.reference { border:1px dashed var(--line); border-radius:9px; padding:4px 16px 8px; margin-top:18px }
footer { color:var(--soft); font-size:13px; padding:4px 0 34px }
@media (max-width:640px) { section { padding:16px 14px; border-radius:0; border-left:0; border-right:0 }
  main { padding:0 } h1 { font-size:25px } .shape { grid-template-columns:repeat(3,1fr) }
  .shape.even { grid-template-columns:repeat(2,1fr) }
  th, td { padding:4px 7px } td.word:first-child { min-width:7.5em; max-width:40vw }
  .wide .area { min-width:620px; touch-action:pan-x pan-y } }
@media print { nav, .tools, .coloring, .hint, canvas { display:none }
  .filtered .scroll { max-height:none } section { break-inside:avoid; border:0 } }
"""
