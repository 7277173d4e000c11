// What the search of the site weighs, as Sphinx does it, but for `score`: decision records and changes come last.
var Scorer = {
  score: ([docname, , , , score]) => (/^(adr\/|reference\/changes)/.test(docname) ? score / 10 : score),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
