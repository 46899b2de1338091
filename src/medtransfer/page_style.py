"""The style of web pages: on screens of any width, with a keyboard, and in print."""

STYLE = """
*, ::before, ::after { box-sizing: border-box; }
html { scroll-padding-top: .5rem; }
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; margin: 0 auto;
  padding: 1rem; max-width: 100rem; overflow-wrap: break-word; }
h1, h2, h3, h4 { line-height: 1.25; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #bbb; padding-bottom: .2rem; }
h4 { margin: 0 0 .5rem; }
p, figcaption, summary { max-width: 60rem; }
a { color: #005a9c; }
:focus-visible { outline: 3px solid #d55e00; outline-offset: 2px; }
main:focus { outline: none; }
code, pre { font: 13px/1.45 ui-monospace, monospace; overflow-wrap: anywhere; }
pre { background: #f3f5f8; padding: .8rem 1rem; overflow: auto; max-height: 40rem; }
.skip { position: absolute; left: -100rem; background: #fff; padding: .5rem 1rem; z-index: 20; }
.skip:focus { left: .5rem; top: .5rem; }
.scroll { overflow-x: auto; margin: .6rem 0 1.6rem; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .55rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid #ddd; overflow-wrap: normal; }
td:not(.number) { min-width: 6rem; }
th { border-bottom: 2px solid #777; vertical-align: bottom; }
td.number, th.number { text-align: right; white-space: nowrap; }
caption { text-align: left; color: #555; padding-bottom: .3rem; }
caption span { display: inline-block; position: sticky; left: 0;
  max-width: min(60rem, calc(100vw - 2rem)); }
ul.findings { background: #f3f5f8; padding: .8rem 1rem .8rem 2rem; border-left: 4px solid #0072b2;
  max-width: 62rem; }
p.warning { background: #fdf3e7; padding: .8rem 1rem; border-left: 4px solid #d55e00; }
summary { cursor: pointer; color: #005a9c; padding: .2rem 0; }
details { margin: .6rem 0; }
figure { margin: 1.5rem 0 2.5rem; }
figcaption { margin-top: .5rem; color: #444; }
figcaption .files { font-size: 13px; color: #555; }
.frame { width: 100%; }
.picture .close { display: none; }
.picture a.open { display: block; cursor: zoom-in; }
.picture img { display: block; max-width: 100%; height: auto; }
.picture:target { position: fixed; inset: 0; z-index: 10; background: #fff; overflow: auto;
  padding: 3.5rem .5rem .5rem; }
.picture:target .close { display: block; position: fixed; left: .5rem; top: .5rem;
  background: #fff; padding: .4rem 1rem; border: 1px solid #777; }
.picture:target a.open { cursor: default; width: max-content; }
.picture:target img { max-width: none; width: auto; }
/* what lies behind a figure in full size is out of sight and out of the keyboard's way */
body:has(.picture:target) { visibility: hidden; overflow: hidden; }
.picture:target { visibility: visible; }
nav { background: #f3f5f8; padding: .5rem 1rem; font-size: 14px; }
nav ul { list-style: none; margin: 0; padding: 0; }
nav ul ul { padding-left: 1rem; }
@media (max-width: 60rem) { nav li li { display: inline-block; margin-right: 1rem; } }
@media (min-width: 60rem) {
  body.report { display: grid; grid-template-columns: 14rem minmax(0, 1fr); column-gap: 2rem; }
  body.report > header { grid-column: 2; }
  body.report > nav { grid-column: 1; grid-row: 1 / span 2; align-self: start; position: sticky;
    top: 1rem; max-height: calc(100vh - 2rem); overflow-y: auto; }
  body.report > main { grid-column: 2; }
}
@media print {
  @page { margin: 15mm; }
  body, body.report { display: block; font-size: 10pt; padding: 0; }
  nav, .skip { display: none; }
  table { font-size: 8pt; }
  a { color: inherit; text-decoration: none; }
  .scroll, pre { overflow: visible; max-height: none; }
  pre { white-space: pre-wrap; }
  h2, h3, h4, caption { break-after: avoid; }
  figure, tr { break-inside: avoid; }
  .frame { aspect-ratio: auto !important; }
  .picture img { max-height: 20cm; width: auto; }
  details::details-content { content-visibility: visible; }
}
"""
