"use strict";
// Cards and claims that match the verdict, the item and the words searched for.
const by = id => document.getElementById(id);
const cards = [...document.querySelectorAll(".card")];
const has = (element, words) => element.textContent.toLowerCase().includes(words);

function apply() {
  const words = by("search").value.trim().toLowerCase();
  const verdict = by("verdict").value, item = by("item").value;
  for (const card of cards) {
    const named = has(card.querySelector(".says"), words);
    let hits = 0;
    for (const claim of card.querySelectorAll(".claim")) {
      claim.hidden = !((named || has(claim, words)) && (!verdict || claim.dataset.verdict === verdict));
      hits += !claim.hidden;
    }
    card.hidden = (item && card.id !== item) || !(hits || (named && !verdict));
    const claims = card.querySelector(".claims");
    if (claims) claims.open = hits > 0 && Boolean(verdict || (words && !named));
  }
  const shown = cards.filter(card => !card.hidden).length;
  by("shown").textContent = `${shown} of ${cards.length} items`;
}

by("filter").hidden = by("search").hidden = false;
for (const id of ["verdict", "item"]) by(id).addEventListener("change", apply);
by("search").addEventListener("input", apply);
by("search").addEventListener("change", () => by("items").scrollIntoView());
for (const tile of document.querySelectorAll(".tile")) {
  tile.addEventListener("click", () => {
    by("verdict").value = tile.dataset.verdict;
    apply();
    by("items").scrollIntoView();
  });
}
// A link to a folded part unfolds it.
const unfold = () => {
  const target = location.hash && by(location.hash.slice(1));
  if (target && target.tagName === "DETAILS") target.open = true;
};
addEventListener("hashchange", unfold);
unfold();
apply();
