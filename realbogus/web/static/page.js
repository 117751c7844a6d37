// What the pages do beyond links and forms: live updates, keys, times that say how long ago. All of it can be missing.
"use strict";

const MOST_CARDS = 200;
const list = document.getElementById("cards");
const live = document.getElementById("live");
const help = document.getElementById("help");

// Times

function ago(seconds) {
  for (const [unit, length] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    const count = Math.floor(seconds / length);
    if (count >= 1) return `${count} ${unit}${count === 1 ? "" : "s"} ago`;
  }
  return "just now";
}

function tellAges(root) {
  for (const time of root.querySelectorAll("time")) {
    const seconds = (Date.now() - Date.parse(time.dateTime)) / 1000;
    if (seconds >= 0 && seconds < 30 * 86400) time.title = ago(seconds);
  }
}

// Live updates: the stream says that something came, the cards come from the server as it draws them

class Live {
  constructor(button) {
    this.button = button;
    this.words = document.getElementById("live-words");
    this.status = document.getElementById("found");
    this.cursor = Number(button.dataset.cursor);
    this.query = button.dataset.query;
    this.busy = this.again = false;
    button.hidden = false;
    button.addEventListener("click", () => (this.stream ? this.stop() : this.start()));
    this.start();
  }

  start() {
    this.stream = new EventSource(`/stream?${this.query}${this.query && "&"}after=${this.cursor}`);
    this.stream.addEventListener("voevent", () => this.fetch());
    this.stream.addEventListener("open", () => this.tell("Live", true));
    this.stream.addEventListener("error", () => this.tell("Connecting", false));
    this.tell("Connecting", false);
    this.button.setAttribute("aria-pressed", "true");
  }

  stop() {
    this.stream.close();
    this.stream = null;
    this.tell("Paused", true);
    this.button.setAttribute("aria-pressed", "false");
  }

  tell(words, well) {
    this.words.textContent = words;
    this.button.classList.toggle("lost", !well);
  }

  async fetch() {
    this.again = true;
    if (this.busy) return;
    this.busy = true;
    try {
      while (this.again) {
        this.again = false;
        const answer = await fetch(`/cards?${this.query}${this.query && "&"}after=${this.cursor}`);
        if (!answer.ok) return;
        this.cursor = Number(answer.headers.get("X-Cursor"));
        this.add(await answer.text());
        await new Promise((done) => setTimeout(done, 1000)); // a burst is shown once a second
      }
    } finally {
      this.busy = false;
    }
  }

  add(html) {
    const drawn = document.createElement("template");
    drawn.innerHTML = html; // drawn and escaped by our server
    const fresh = [...drawn.content.querySelectorAll(".card")].filter(
      (card) => !list.querySelector(`[data-number="${card.dataset.number}"]`),
    );
    if (!fresh.length) return;
    const above = list.firstElementChild;
    const before = above?.getBoundingClientRect().top ?? 0;
    for (const card of fresh.reverse()) {
      card.classList.add("new");
      list.prepend(card);
    }
    document.querySelector(".empty")?.remove();
    tellAges(list);
    if (above && (before < 0 || list.contains(document.activeElement))) {
      window.scrollBy(0, above.getBoundingClientRect().top - before); // who reads further down is not moved
    }
    while (list.children.length > MOST_CARDS) list.lastElementChild.remove();
    this.status.textContent = `${fresh.length} new candidate${fresh.length === 1 ? "" : "s"} at ${new Date().toISOString().slice(11, 19)} UTC`;
  }
}

// Keys

function move(step) {
  const cards = [...document.querySelectorAll(".card")];
  if (!cards.length) return;
  const now = cards.findIndex((card) => card.contains(document.activeElement));
  const next = cards[Math.min(Math.max(now + step, 0), cards.length - 1)];
  next.querySelector(".open").focus();
  next.scrollIntoView({ block: "nearest" });
}

const KEYS = {
  j: () => move(1),
  k: () => move(-1),
  o: () => (document.activeElement?.closest(".card") ?? document).querySelector(".of-object")?.click(),
  u: () => document.getElementById("back")?.click(),
  l: () => live?.click(),
  "/": () => {
    const field = document.getElementById("object");
    if (!field) return;
    field.closest("details").open = true;
    field.focus();
  },
  "?": () => help.showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  if (event.target.closest("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const act = KEYS[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
});

document.addEventListener("focusin", (event) => {
  for (const card of document.querySelectorAll(".card.at")) card.classList.remove("at");
  event.target.closest(".card")?.classList.add("at");
});

const openHelp = document.getElementById("help-open");
openHelp.hidden = false;
openHelp.addEventListener("click", () => help.showModal());

// Empty fields of the search do not belong into its address
document.querySelector(".filters")?.addEventListener("submit", (event) => {
  for (const field of event.target.elements) field.disabled = field.tagName !== "FIELDSET" && field.name && !field.value;
});
window.addEventListener("pageshow", () => {
  for (const field of document.querySelectorAll(".filters [disabled]")) field.disabled = false;
});

if (window.matchMedia("(max-width: 60rem)").matches && !document.querySelector(".problems")) {
  for (const fold of document.querySelectorAll(".fold")) fold.open = false; // candidates first
}
tellAges(document);
setInterval(() => tellAges(document), 30000);
if (live) new Live(live);
