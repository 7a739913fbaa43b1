"use strict";
// Without this script the page reads the same: numbers lead to their run below, and the gallery shows every query.

const dialog = document.getElementById("origin");

function openOrigin(link) {
  const body = document.getElementById("origin-body");
  document.getElementById("origin-title").textContent = link.getAttribute("data-what");
  document.getElementById("origin-said").textContent = link.getAttribute("data-said");
  body.replaceChildren();
  for (const key of link.getAttribute("data-runs").split(" ")) {
    const card = document.getElementById("run-" + key);
    if (!card) continue;
    const copy = card.cloneNode(true);
    copy.removeAttribute("id");
    body.append(copy);
  }
  if (!body.childElementCount) return false;
  dialog.showModal();
  dialog.scrollTop = 0;
  document.getElementById("origin-title").focus({ preventScroll: true });
  return true;
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-runs]");
  const plain = !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
  if (link && plain && openOrigin(link)) event.preventDefault();
  if (event.target === dialog) dialog.close(); // outside of its content
});

// A run that is linked to is unfolded.
function unfold() {
  const target = document.getElementById(location.hash.slice(1));
  const folded = target && target.closest("details");
  if (folded) folded.open = true;
}
addEventListener("hashchange", unfold);
unfold();

const play = document.getElementById("play");
if (play) {
  const less = matchMedia("(prefers-reduced-motion: reduce)");
  const show = (playing) => {
    document.documentElement.dataset.play = playing ? "on" : "off";
    play.setAttribute("aria-pressed", String(playing));
    play.textContent = playing ? "Pause pictures" : "Play pictures";
  };
  play.hidden = false;
  show(!less.matches);
  less.addEventListener("change", () => show(!less.matches));
  play.addEventListener("click", () => show(document.documentElement.dataset.play !== "on"));
}

for (const gallery of document.querySelectorAll("[data-gallery]")) {
  const form = gallery.querySelector("form.filters");
  if (!form) continue;
  const list = gallery.querySelector(".queries");
  const queries = [...list.children];
  const count = gallery.querySelector(".count");
  const total = count.textContent.replace(/^\S+ of /, "");
  const recall = (query, backbone) => Number(query.dataset.recalls.split(" ")[backbone === "" ? 0 : Number(backbone) + 1]);
  const update = () => {
    const asked = Object.fromEntries(new FormData(form));
    let shown = 0;
    for (const query of queries) {
      const answers = [...query.querySelectorAll(".answer")];
      for (const answer of answers) answer.hidden = asked.backbone !== "" && answer.dataset.backbone !== asked.backbone;
      const seen = answers.filter((answer) => !answer.hidden);
      const near = asked.nearest === "" || seen.some((answer) => answer.dataset.nearest === asked.nearest);
      query.hidden = (asked.class !== "" && query.dataset.class !== asked.class) || !near || !seen.length;
      query.querySelector("[data-recall]").textContent = recall(query, asked.backbone).toFixed(1);
      shown += query.hidden ? 0 : 1;
    }
    const sign = asked.order === "best" ? -1 : 1;
    const byName = (a, b) => (a.dataset.class < b.dataset.class ? -1 : a.dataset.class > b.dataset.class ? 1 : 0);
    const byRecall = (a, b) => sign * (recall(a, asked.backbone) - recall(b, asked.backbone)) || byName(a, b);
    list.append(...[...queries].sort(asked.order === "name" ? byName : byRecall));
    count.textContent = `${shown} of ${total}`;
  };
  form.hidden = false;
  form.addEventListener("change", update);
  form.addEventListener("submit", (event) => event.preventDefault());
}
