"""How the report's page looks, by day and by night; on paper always as by day."""

STYLE = """
:root {
  color-scheme: light dark; --ground: #f4f6f7; --bar: #f4f6f7ee; --panel: #fff; --ink: #1c2733; --faint: #5d6974; --grid: #e3e7ea;
  --good: #2f6b2f; --bad: #b3261e; --warn: #fdecea;
  --line-0: #12647a; --line-1: #c8553d; --line-2: #7a5195; --line-3: #b07d12; --line-4: #4a7c3a; --line-5: #5b6770; --line-6: #a23b72;
  --line-7: #2f6fb0; --line-8: #8a5a2b;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --ground: #0e141a; --bar: #0e141aee; --panel: #161e26; --ink: #e4ebf1; --faint: #9fadba; --grid: #2b3742;
    --good: #8ccf78; --bad: #f0917a; --warn: #33201c;
    --line-0: #5fc0d2; --line-1: #f0917a; --line-2: #c3a0ee; --line-3: #e0b050; --line-4: #8ccf78; --line-5: #a9b7c3; --line-6: #f08fbf;
    --line-7: #7fb2f0; --line-8: #d69b78;
  }
}
* { box-sizing: border-box; }
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); }
header, main, footer { max-width: 1080px; margin: auto; padding: 0 16px; }
header { padding-top: 28px; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 0 0 .4rem; }
h3 { font-size: 1rem; margin: 1.1rem 0 .3rem; }
p { margin: .3rem 0 .7rem; max-width: 75ch; overflow-wrap: anywhere; }
small, .note { color: var(--faint); font-size: .87rem; }
.warning { background: var(--warn); border-left: 4px solid var(--bad); padding: .6rem .9rem; border-radius: 4px; }
nav { position: sticky; top: 0; background: var(--bar); z-index: 1; padding: 8px 0; overflow-x: auto; white-space: nowrap; }
nav a { color: var(--line-0); text-decoration: none; margin-right: 14px; font-size: .92rem; }
section { background: var(--panel); border-radius: 10px; padding: 16px 18px; margin: 14px 0; box-shadow: 0 1px 2px #0001; }
section[id] { scroll-margin-top: 48px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px; margin: 14px 0; }
.tile { background: var(--panel); border-radius: 10px; padding: 10px 14px; box-shadow: 0 1px 2px #0001; }
.tile b { display: block; font-size: 1.45rem; font-variant-numeric: tabular-nums; }
.tile.doubt b { color: var(--faint); font-weight: 500; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap: 8px 26px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; margin: .3rem 0 .8rem; }
th, td { text-align: right; padding: 4px 10px; border-bottom: 1px solid var(--grid); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
td small { display: block; line-height: 1.1; padding-bottom: 2px; }
td.text { text-align: left; white-space: normal; min-width: 15ch; }
th { color: var(--faint); font-weight: 500; vertical-align: bottom; white-space: normal; }
.good { color: var(--good); } .bad { color: var(--bad); }
svg { width: 100%; max-width: 560px; height: auto; display: block; }
svg text { font: 11.5px system-ui, sans-serif; fill: var(--ink); }
svg .title { font-size: 12px; fill: var(--faint); } svg .small { font-size: 10.5px; fill: var(--faint); }
svg .grid { stroke: var(--grid); stroke-width: 1; }
.alerts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 290px), 1fr)); gap: 12px; }
figure { margin: 0; } .triplet { display: grid; grid-template-columns: repeat(3, 1fr); gap: 2px; }
figure img { width: 100%; height: auto; image-rendering: pixelated; border-radius: 3px; display: block; }
figcaption { font-size: .8rem; line-height: 1.35; color: var(--faint); padding-top: 3px; overflow-wrap: anywhere; }
figcaption b { color: var(--ink); }
details { margin: .4rem 0; } summary { cursor: pointer; color: var(--line-0); }
@media (max-width: 600px) { section { padding: 12px; border-radius: 8px; } header, main, footer { padding: 0 10px; } header { padding-top: 18px; } }
@media print { nav { display: none; } body { background: #fff; } section { break-inside: avoid; box-shadow: none; } }
"""  # noqa: E501 (style sheets read better in long lines)
