"""Style and behaviour of Data Docs pages that load nothing: plain text, put into each page.

The pages of Great Expectations are written for Bootstrap, jQuery and bootstrap-table from the
internet. Here is the little of them that the pages use.
"""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --line: #8885; --soft: #8881; --link: #0b62c4; }
* { box-sizing: border-box; }
body { margin: 0; font: 15px/1.5 system-ui, sans-serif; }
a { color: var(--link); }
h4, h5, h6, p { margin: 0 0 .5em; }
.navbar { padding: .5em 1.5em; }
.navbar.sticky-top { border-bottom: 1px solid var(--line); }
.navbar nav, .breadcrumb { display: flex; align-items: center; margin: 0; }
.breadcrumb { list-style: none; gap: .5em; }
.breadcrumb-item + .breadcrumb-item::before { content: "/ "; }
.samescore-brand { font-weight: 600; text-decoration: none; }
.container-fluid { padding: 0 1.5em; }
.row { display: flex; flex-wrap: wrap; gap: 0; }
[class*="col-"] { flex: 0 0 100%; max-width: 100%; padding: 0 .6em; }
.col-6 { flex-basis: 50%; max-width: 50%; }
@media (min-width: 800px) {
  .col-lg-2 { flex-basis: 17%; max-width: 17%; }
  .col-lg-10 { flex-basis: 83%; max-width: 83%; }
}
.alert, .card { border: 1px solid var(--line); border-radius: 4px; margin-bottom: .8em; }
.alert { padding: .6em 1em; background: var(--soft); }
.card-header { padding: .4em .7em; background: var(--soft); }
.card-body { padding: .5em .7em; }
.card .nav { list-style: none; padding: 0; margin: 0; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35em .6em;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
.badge { background: var(--soft); border: 1px solid var(--line); border-radius: 4px;
  padding: 0 .35em; font-size: 90%; }
.btn { border: 1px solid var(--line); border-radius: 4px; padding: .2em .6em; cursor: pointer; }
.btn input { display: none; }
.nav-tabs { display: flex; list-style: none; gap: 1em; padding: 0;
  border-bottom: 1px solid var(--line); }
.nav-tabs .active { font-weight: 600; }
.tab-pane, .collapse { display: none; }
.tab-pane.active, .collapse.show { display: block; }
.text-success { color: #1a7f37; } .text-danger { color: #c62828; } .text-warning { color: #b26a00; }
.fas { font-style: normal; }
.fa-check-circle::before { content: "\\2713 "; }
.fa-times::before { content: "\\2717 "; }
.fa-exclamation-triangle::before { content: "!"; }
.fa-comment::before { content: "notes"; }
.clickable-row { cursor: pointer; } .clickable-row:hover { background: var(--soft); }
.cooltip .top { position: absolute; display: none; white-space: pre-wrap; }
"""

SCRIPT: Final = """
(function () {
  "use strict";
  function Set_(found) { this.found = found; }
  function show(on) { return function () {
    this.found.forEach(function (e) { if (e) { e.style.display = on ? "" : "none"; } });
    return this; }; }
  Set_.prototype = {
    ready: function (f) { document.addEventListener("DOMContentLoaded", f); return this; },
    parent: function () { return new Set_(this.found.map(function (e) { return e.parentNode; })); },
    each: function (f) { this.found.forEach(function (e, i) { f(i, e); }); return this; },
    fadeIn: show(true), fadeOut: show(false),
    on: function () { return this; }, data: function () { return undefined; },
    bootstrapTable: function (options) {
      if (typeof options === "string" || !this.found[0]) { return this; }
      var body = "<thead><tr>" + options.columns.map(function (c) {
        return "<th>" + c.title + "</th>"; }).join("") + "</tr></thead><tbody>";
      options.data.forEach(function (row) {
        var link = row._table_row_link_path || "";
        body += "<tr class='clickable-row' data-href=\\"" + encodeURI(link) + "\\">" +
          options.columns.map(function (c, i) {
            var text = row[c.field] === undefined ? "" : row[c.field];
            return "<td>" + (i ? text : "<a href=\\"" + encodeURI(link) + "\\">" + text + "</a>") +
              "</td>"; }).join("") + "</tr>"; });
      this.found[0].innerHTML = body + "</tbody>";
      return this; }
  };
  window.$ = window.jQuery = function (what) {
    if (typeof what === "function") { return new Set_([]).ready(what); }
    if (typeof what !== "string") { return new Set_([what]); }
    try { return new Set_(Array.from(document.querySelectorAll(what))); }
    catch (error) { return new Set_([]); } };
  document.addEventListener("click", function (event) {
    var by = event.target.closest("[data-toggle]");
    var row = event.target.closest("tr[data-href]");
    if (!by) { if (row) { window.location = row.dataset.href; } return; }
    var target = document.getElementById((by.getAttribute("href") || "#").slice(1));
    if (!target) { return; }
    event.preventDefault();
    if (by.dataset.toggle === "tab") {
      document.querySelectorAll(".tab-pane, .nav-tabs .nav-link").forEach(function (e) {
        e.classList.remove("active"); });
      by.classList.add("active"); target.classList.add("active");
    } else { target.classList.toggle("show"); } });
}());
"""
