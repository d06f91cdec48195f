"""How the audit's page looks: on a screen, light or dark, and in print."""

from __future__ import annotations

CSS = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --ink: #1c2128; --soft: #59636e; --line: #d1d9e0; --box: #f6f8fa;
  --bad: #b3161b; --bad-box: #ffebe9; --warn: #7d4e00; --warn-box: #fff6d6;
  --good: #116329; --good-box: #dafbe1;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --paper: #0d1117; --ink: #e6edf3; --soft: #9da7b3; --line: #3d444d; --box: #161b22;
    --bad: #ff8b85; --bad-box: #3a1618; --warn: #e3b341; --warn-box: #2e2508;
    --good: #56d364; --good-box: #0f2d1a;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 76rem; padding: 2rem 1.5rem 4rem;
  background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif;
}
h1 { font-size: 1.6rem; margin: 0 0 1rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 0 0 .3rem; }
p, ul { margin: .4rem 0; }
code, td.who, td.number {
  font-family: ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace; font-size: .86em;
}
.verdict { padding: .8rem 1rem; border-left: .4rem solid; font-size: 1.15rem; font-weight: 600; }
.failed { color: var(--bad); background: var(--bad-box); }
.open { color: var(--warn); background: var(--warn-box); }
.passed { color: var(--good); background: var(--good-box); }
.evidence { background: var(--box); border: 1px solid var(--line); padding: .7rem 1rem; margin-top: 1rem; }
.evidence .warning { color: var(--warn); font-weight: 600; }
.counts { display: flex; flex-wrap: wrap; gap: .6rem; margin: 1rem 0; padding: 0; list-style: none; }
.counts li { border: 1px solid var(--line); padding: .4rem .8rem; min-width: 7.5rem; }
.counts b { display: block; font-size: 1.3rem; }
.soft { color: var(--soft); }
.bad { color: var(--bad); }
.warn { color: var(--warn); }
.good { color: var(--good); }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; font-size: .85em; white-space: nowrap; }
td { overflow-wrap: anywhere; }
td:last-child:not(.number) { width: 45%; min-width: 16rem; }
td.number, th.number { text-align: right; white-space: nowrap; }
td.who { min-width: 9rem; max-width: 22rem; }
td.who + td.who { min-width: 11rem; }
td.short { white-space: nowrap; }
td.time { white-space: nowrap; font-size: .86em; }
.policy { border: 1px solid var(--line); padding: .8rem 1rem; margin: .8rem 0; }
footer { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: .8rem; }
dt { font-weight: 600; }
dd { margin: 0 0 .4rem 1.2rem; }
@media print {
  @page { size: A4 landscape; margin: 14mm; }
  body { max-width: none; padding: 0; font-size: 9pt; }
  td.who { min-width: 9rem; }
  td.who + td.who { min-width: 13rem; }
  dt { break-after: avoid; }
  h2, h3 { break-after: avoid; }
  tr, .evidence, .verdict, .counts { break-inside: avoid; }
  thead { display: table-header-group; }
  .verdict { border: 2px solid; border-left-width: .4rem; }
}
"""
