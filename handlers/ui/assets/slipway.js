// Keeps a page up to date. Without it the page is complete, only still.
"use strict";
(() => {
  document.documentElement.classList.add("js");

  const ago = (then) => {
    const s = Math.floor((Date.now() - then) / 1000);
    if (s < 10) return "just now";
    if (s < 60) return s + " s ago";
    if (s < 3600) return Math.floor(s / 60) + " min ago";
    if (s < 86400) return Math.floor(s / 3600) + " h ago";
    if (s < 30 * 86400) return Math.floor(s / 86400) + " d ago";
    return null;
  };
  const times = () => {
    for (const t of document.querySelectorAll("time[datetime]")) {
      const words = ago(Date.parse(t.dateTime));
      if (words && t.textContent !== words) t.textContent = words;
    }
  };
  setInterval(times, 10000);

  // inUse says that somebody is about to do something in a part of the page.
  const inUse = (part) => part.contains(document.activeElement) ||
    [...part.querySelectorAll("input:not([type=hidden])")].some((i) => i.value !== i.defaultValue) ||
    [...part.querySelectorAll("option")].some((o) => o.selected !== o.defaultSelected && o.index > 0);

  // refresh fetches the page again and puts in those parts that differ.
  let busy = false, again = false;
  const refresh = async () => {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch(location.href, { credentials: "same-origin", cache: "no-store" });
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of document.querySelectorAll("[data-part]")) {
        const other = fresh.getElementById(part.id);
        if (!other || other.outerHTML === part.outerHTML || inUse(part)) continue;
        for (const open of part.querySelectorAll("details[id][open]")) {
          const same = other.querySelector("#" + CSS.escape(open.id));
          if (same) same.open = true;
        }
        part.replaceWith(document.adoptNode(other));
      }
      document.title = fresh.title;
      document.dispatchEvent(new CustomEvent("slipway:fresh", { detail: fresh }));
    } finally {
      busy = false;
      if (again) { again = false; setTimeout(refresh, 500); }
    }
  };

  const live = document.body.dataset.live;
  if (live && window.EventSource) {
    const events = new EventSource(live);
    events.addEventListener("state", refresh);
    events.addEventListener("end", () => { events.close(); refresh(); });
    addEventListener("pagehide", () => events.close());
  }
  // Durations of what runs move on between events.
  if (live) setInterval(() => { if (!document.hidden && document.querySelector("main .state.running")) refresh(); }, 10000);
})();
