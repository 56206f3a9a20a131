"""The looks of every page: one style sheet, in ASCII, for light and dark screens, narrow ones, and paper."""

from typing import Final

LIGHT: Final = {
    "paper": "#ffffff",
    "ground": "#f6f7f8",
    "ink": "#1c2127",
    "quiet": "#586069",
    "line": "#d5dade",
    "good": "#1a6e34",
    "good-ground": "#e9f5ec",
    "bad": "#a92018",
    "bad-ground": "#fcecea",
    "open": "#7d5200",
    "open-ground": "#fdf3dc",
    "first": "#0a5db0",
    "second": "#b3500b",
    "second-pale": "#f2b384",
    "none": "#e6e8ea",
    "heat0": "#cfe1f2",
    "heat1": "#9fcae3",
    "heat2": "#62a8d3",
    "heat3": "#3282be",
    "heat4": "#0f5aa3",
    "heat5": "#08306b",
}
"""Colours on a light ground, by what they mean."""

DARK: Final = {
    "paper": "#1a1e22",
    "ground": "#121518",
    "ink": "#e7eaed",
    "quiet": "#a3acb5",
    "line": "#39414a",
    "good": "#6fd08c",
    "good-ground": "#16301f",
    "bad": "#ff9a90",
    "bad-ground": "#3a1b19",
    "open": "#ecbf5c",
    "open-ground": "#33280f",
    "first": "#6db3ff",
    "second": "#f5a866",
    "second-pale": "#8c5729",
    "none": "#2b3138",
    "heat0": "#14344f",
    "heat1": "#184f7d",
    "heat2": "#2173b1",
    "heat3": "#489bd6",
    "heat4": "#8ac3ec",
    "heat5": "#dceefb",
}
"""The same on a dark ground: here more is brighter."""

_RULES: Final = """
*{box-sizing:border-box}
html{color-scheme:light dark;-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue","Noto Sans","Liberation Sans",Arial,"PingFang SC","Microsoft YaHei","Noto Sans CJK SC",sans-serif;
font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.top,main,.end{max-width:70rem;margin:0 auto;padding:0 1.5rem}
.top{display:flex;gap:.25rem 1rem;flex-wrap:wrap;justify-content:space-between;padding-top:1.25rem;
padding-bottom:.75rem;color:var(--quiet);font-size:.875rem}
.top p,.end p{margin:0}
.top b{color:var(--ink)}
.end{padding-top:.5rem;padding-bottom:2.5rem;color:var(--quiet);font-size:.8125rem}
section{background:var(--paper);border:1px solid var(--line);border-radius:10px;padding:1.375rem 1.5rem;margin:0 0 1rem}
h1,h2,h3{line-height:1.25;text-wrap:pretty}
h1{font-size:1.625rem;font-weight:650;letter-spacing:-.01em;margin:.125rem 0 0}
h2{font-size:1.125rem;font-weight:650;margin:0 0 .75rem}
h3{font-size:1rem;font-weight:650;margin:1.75rem 0 .375rem;display:flex;flex-wrap:wrap;gap:.25rem .625rem;
align-items:baseline}
h2+h3{margin-top:0}
p{margin:0 0 .75rem;max-width:46rem}
section>:last-child{margin-bottom:0}
code,.path{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono","DejaVu Sans Mono",monospace;
font-size:.875em;unicode-bidi:isolate}
.quiet{color:var(--quiet)}
.verdict{color:var(--ink);display:grid;grid-template-columns:auto 1fr;gap:0 1.125rem;border-left-width:6px}
.verdict .sign{width:44px;height:44px;margin-top:.125rem}
.verdict .word{font-size:.875rem;font-weight:650;text-transform:uppercase;letter-spacing:.06em;margin:0}
.verdict .exit{margin:.5rem 0 0;color:var(--ink);font-size:.9375rem}
.good{color:var(--good)}.bad{color:var(--bad)}.open{color:var(--open)}
.verdict.good{color:var(--ink);background:var(--good-ground);border-color:var(--good)}
.verdict.bad{color:var(--ink);background:var(--bad-ground);border-color:var(--bad)}
.verdict.open{color:var(--ink);background:var(--open-ground);border-color:var(--open)}
.pill{font-weight:600;white-space:nowrap}
.tag{display:inline-block;border:1px solid var(--line);border-radius:99px;padding:0 .5rem;font-size:.75rem;
font-weight:500;color:var(--quiet);white-space:nowrap}
dl{display:grid;grid-template-columns:minmax(7rem,auto) 1fr;gap:.375rem 1.25rem;margin:0 0 .75rem}
dt{color:var(--quiet)}
dd{margin:0;min-width:0}
ul{margin:0 0 .75rem;padding-left:1.25rem;max-width:46rem}
.verdict ul{margin:.5rem 0 0;list-style:none;padding:0}
li{margin:.25rem 0}
.evidence{list-style:none;padding:0}
.evidence li{display:grid;grid-template-columns:6.5rem 1fr;gap:.75rem}
.scroll{overflow-x:auto;container-type:inline-size;margin:0 0 .75rem;background:
linear-gradient(90deg,var(--paper) 40%,transparent) 0 0/28px 100% no-repeat local,
linear-gradient(270deg,var(--paper) 40%,transparent) 100% 0/28px 100% no-repeat local,
linear-gradient(90deg,var(--line),transparent) 0 0/9px 100% no-repeat,
linear-gradient(270deg,var(--line),transparent) 100% 0/9px 100% no-repeat}
.scroll:focus-visible{outline:2px solid var(--first);outline-offset:2px}
table{border-collapse:collapse;min-width:min(100%,32rem);font-size:.875rem;line-height:1.4}
caption{text-align:left;color:var(--quiet);padding:0 0 .5rem;font-size:.8125rem}
caption span{display:block;position:sticky;left:0;max-width:min(46rem,100cqi)}
th,td{text-align:left;vertical-align:top;padding:.4375rem 1.125rem .4375rem 0;border-top:1px solid var(--line)}
th:last-child,td:last-child{padding-right:0}
thead th{border-top:0;color:var(--quiet);font-weight:600;vertical-align:bottom;overflow-wrap:normal}
tbody th{font-weight:600}
.n{text-align:right}
td.n,tbody th.n{white-space:nowrap}
.k{white-space:nowrap;overflow-wrap:normal}
.w{min-width:14rem}
.more{font-size:.8125rem;color:var(--quiet)}
figure{margin:0 0 .75rem;min-width:0}
figcaption{font-size:.875rem;margin:0 0 .25rem;display:flex;flex-wrap:wrap;gap:0 .625rem;align-items:baseline}
figcaption b{font-weight:650}
figcaption .quiet{flex-basis:100%}
svg{display:block;width:100%;height:auto}
.wide{max-width:40rem}
.wide svg{overflow:visible}
.split{display:grid;grid-template-columns:minmax(0,25rem) minmax(0,1fr);gap:1rem 2.5rem;align-items:start}
.split table{width:100%;min-width:0}
.pair{display:grid;margin-bottom:.75rem;gap:1rem 2.5rem;
grid-template-columns:repeat(auto-fit,minmax(min(24rem,100%),1fr))}
.pair h3,.pair dl{margin-top:0}
.pair dl{grid-template-columns:minmax(5.5rem,auto) 1fr}
.split figcaption{margin:.5rem 0 0}
.with-swatch{display:inline-flex;gap:.5rem;align-items:center}
svg.swatch{width:14px;height:14px;flex:none}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(19rem,100%),1fr));gap:1.25rem 1.5rem}
.charts figure{margin:0}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;padding:0;margin:0 0 1rem;font-size:.8125rem;
max-width:none;line-height:1.5}
.legend li{display:flex;gap:.5rem;align-items:center;margin:0}
.legend svg{width:30px;height:14px;flex:none}
svg text{font-size:10.5px;fill:var(--quiet);font-family:inherit;font-variant-numeric:tabular-nums}
svg .x{text-anchor:middle}
svg .y{text-anchor:end}
svg .mark{fill:var(--ink);font-weight:600;stroke:var(--paper);stroke-width:4px;paint-order:stroke;stroke-linejoin:round}
.grid{stroke:var(--line);stroke-width:1;fill:none}
.axis{stroke:var(--quiet);stroke-width:1;fill:none}
.event{stroke:var(--ink);stroke-width:1;stroke-dasharray:2 3;fill:none}
.first,.second{fill:none;stroke-linejoin:round;stroke-linecap:round}
.first{stroke:var(--first);stroke-width:1.75}
.second{stroke:var(--second-pale);stroke-width:6}
.dots{stroke-width:4.5}
.second.dots{stroke-width:7}
.bar-a{fill:var(--second)}
.bar-b{fill:var(--first)}
.bar-open{fill:var(--paper);stroke:var(--second);stroke-width:1.5}
.cells path,.swatch path{fill:none}
.s-{stroke:var(--none)}.s0{stroke:var(--heat0)}.s1{stroke:var(--heat1)}.s2{stroke:var(--heat2)}
.s3{stroke:var(--heat3)}.s4{stroke:var(--heat4)}.s5{stroke:var(--heat5)}.s9{stroke:var(--bad)}
.p0{fill:var(--good)}.p1{fill:var(--heat2)}.p2{fill:var(--bad)}.p3{fill:var(--quiet)}
.edge{fill:none;stroke:var(--quiet);stroke-width:.5}
@media(max-width:40rem){
body{font-size:15px}
.top,main,.end{padding-left:.75rem;padding-right:.75rem}
section{padding:1rem;border-radius:8px}
h1{font-size:1.3125rem}
.verdict{gap:0 .75rem}
.verdict .sign{width:32px;height:32px}
dl,.pair dl,.split{grid-template-columns:1fr}
dl{gap:0}
.split{gap:1rem}
.wide svg text{font-size:13px}
dd{margin:0 0 .5rem}
.evidence li{grid-template-columns:1fr;gap:0}
}
@media print{
@page{margin:14mm}
html{color-scheme:light;background:#fff}
body{background:none;font-size:10.5pt}
.top,main,.end{max-width:none;padding-left:0;padding-right:0}
section{border-width:0;border-radius:0;padding:.75rem 0;background:none}
.verdict{border:1pt solid;border-left-width:6pt;padding:.75rem}
.scroll{overflow:visible;background:none}
table{font-size:8.5pt}
th,td{padding-right:.625rem}
figure,tr,li,.verdict{break-inside:avoid}
h2,h3{break-after:avoid}
svg,.pill{print-color-adjust:exact;-webkit-print-color-adjust:exact}
.charts{grid-template-columns:1fr 1fr}
}
"""


def _colours(scheme: dict[str, str]) -> str:
    return ":root{" + ";".join(f"--{name}:{value}" for name, value in scheme.items()) + "}"


SHEET: Final = f"{_colours(LIGHT)}@media screen and (prefers-color-scheme:dark){{{_colours(DARK)}}}" + _RULES.replace(
    "\n", ""
)
"""Light colours hold on paper whatever the screen's scheme is."""
