// Makes a log of any length scroll: a window of it is in the page, more is
// fetched at its ends. Text is put in as text, never as markup.
"use strict";
(() => {
  const box = document.getElementById("log");
  if (!box) return;
  const id = encodeURIComponent(box.dataset.id);
  const api = "/api/v1/builds/" + id + "/lines";
  const PAGE = 500, KEEP = 3000;
  let total = Number(box.dataset.total), sealed = box.dataset.sealed === "true";
  let following = false, stream = null, loading = false;
  for (const more of ["earlier", "later"]) document.getElementById(more)?.remove();

  const phases = () => [...document.getElementById("phase-list").content.querySelectorAll("i")]
    .map((p) => ({ start: Number(p.dataset.start), type: p.dataset.phase, name: p.textContent }));
  let known = phases();
  const phaseAt = (n) => known.reduce((found, p) => (p.start <= n && p.start >= found.start ? p : found), { start: 0, type: "", name: "" });

  const lines = () => box.querySelectorAll(".line");
  const number = (line) => Number(line.id.slice(1));
  const first = () => { const l = box.querySelector(".line"); return l ? number(l) : 1; };
  const last = () => { const all = lines(); return all.length ? number(all[all.length - 1]) : 0; };

  const draw = (l) => {
    const row = document.createElement("div");
    row.className = "line" + (String(l.n) === box.dataset.error ? " error" : "");
    row.id = "L" + l.n;
    const link = document.createElement("a");
    link.href = "#L" + l.n;
    link.textContent = l.n;
    link.setAttribute("aria-label", "Line " + l.n);
    const text = document.createElement("span");
    for (const s of l.s) {
      if (!s.c) { text.append(s.t); continue; }
      const span = document.createElement("i");
      span.className = s.c;
      span.textContent = s.t;
      text.append(span);
    }
    row.append(link, text);
    return row;
  };

  // group is the fold in which line n belongs, made if it isn't there.
  const group = (n, atTop) => {
    const phase = phaseAt(n);
    const edge = atTop ? box.querySelector("details") : [...box.querySelectorAll("details")].pop();
    if (edge && Number(edge.dataset.start) === phase.start) return edge.querySelector(".lines");
    const fold = document.createElement("details");
    fold.open = true;
    fold.dataset.start = phase.start;
    fold.dataset.phase = phase.type;
    const title = document.createElement("summary");
    title.textContent = phase.name || "Before the first phase";
    const holder = document.createElement("div");
    holder.className = "lines";
    fold.append(title, holder);
    if (atTop) box.prepend(fold); else box.append(fold);
    return holder;
  };

  const append = (list) => {
    document.getElementById("nolog")?.remove();
    for (const l of list) if (l.n > last1) { group(l.n, false).append(draw(l)); last1 = l.n; }
  };
  const prepend = (list) => {
    for (const l of [...list].reverse()) group(l.n, true).prepend(draw(l));
  };
  let last1 = last();

  // trim drops lines at one end and keeps what is seen where it is.
  const trim = (fromTop) => {
    const all = lines();
    const excess = all.length - KEEP;
    if (excess <= 0) return;
    const before = box.scrollHeight;
    const gone = fromTop ? [...all].slice(0, excess) : [...all].slice(-excess);
    for (const l of gone) l.remove();
    for (const d of box.querySelectorAll("details")) if (!d.querySelector(".line")) d.remove();
    if (fromTop) box.scrollTop -= before - box.scrollHeight;
    last1 = last();
  };

  const fetchLines = async (from, count) => {
    const answer = await fetch(api + "?from=" + from + "&count=" + count, { credentials: "same-origin" });
    if (!answer.ok) throw new Error("lines: " + answer.status);
    const w = await answer.json();
    total = Math.max(total, w.total);
    sealed = w.sealed;
    show();
    return w.lines;
  };

  const size = document.getElementById("logsize");
  const show = () => { size.textContent = total + " lines"; };

  const later = async () => {
    if (loading || last1 >= total) return;
    loading = true;
    try {
      const folds = [...box.querySelectorAll("details")];
      const end = folds[folds.length - 1];
      let from = last1 + 1;
      if (end && !end.open && phaseAt(from).start === Number(end.dataset.start)) {
        const next = known.find((p) => p.start > from);
        if (!next) return;
        from = next.start;
      }
      append(await fetchLines(from, PAGE));
      trim(true);
    } finally { loading = false; }
    requestAnimationFrame(edges);
  };
  const earlier = async () => {
    const top = first();
    if (loading || top <= 1) return;
    loading = true;
    try {
      const from = Math.max(1, top - PAGE);
      const before = box.scrollHeight;
      prepend(await fetchLines(from, top - from));
      box.scrollTop += box.scrollHeight - before;
      trim(false);
    } finally { loading = false; }
    requestAnimationFrame(edges);
  };
  // edges fetches what is near; while something is fetched, it is called again
  // at the end, so that no scroll in between is missed.
  const edges = () => {
    if (box.scrollTop < 400) earlier();
    if (box.scrollHeight - box.scrollTop - box.clientHeight < 800) later();
  };

  // jump shows line n, with a window of its own if it isn't there.
  const jump = async (n) => {
    n = Math.max(1, Math.min(n, Math.max(total, 1)));
    let row = document.getElementById("L" + n);
    if (!row) {
      while (loading) await new Promise((done) => setTimeout(done, 20));
      loading = true;
      try {
        const list = await fetchLines(Math.max(1, n - 100), PAGE);
        box.replaceChildren();
        last1 = 0;
        append(list);
      } finally { loading = false; }
      row = document.getElementById("L" + n);
    }
    if (!row) return;
    row.closest("details").open = true;
    for (const hit of box.querySelectorAll(".hit")) hit.classList.remove("hit");
    row.classList.add("hit");
    box.scrollTop = row.offsetTop - box.offsetTop - box.clientHeight / 3;
    box.scrollIntoView({ block: "nearest" });
  };

  const atHash = () => {
    const n = /^#L(\d+)$/.exec(location.hash);
    if (n) { follow(false); jump(Number(n[1])); }
    return n;
  };
  addEventListener("hashchange", atHash);
  document.addEventListener("click", (e) => {
    const link = e.target.closest?.("[data-jump]");
    if (!link || e.ctrlKey || e.metaKey || e.shiftKey) return;
    e.preventDefault();
    const n = link.dataset.jump === "end" ? total : Number(link.dataset.jump);
    history.replaceState(null, "", "#L" + n);
    follow(false);
    jump(n);
  });

  const button = document.getElementById("follow");
  const follow = (on) => {
    following = on;
    button.setAttribute("aria-pressed", String(on));
    if (on) bottom();
  };
  const bottom = async () => {
    if (last1 < total && total - last1 > PAGE) await jump(total);
    box.scrollTop = box.scrollHeight;
  };
  button.addEventListener("click", () => follow(!following));

  const listen = () => {
    if (sealed || !window.EventSource) return;
    button.hidden = false;
    stream = new EventSource(api + "?follow=1&from=" + (total + 1));
    stream.addEventListener("lines", (e) => {
      const w = JSON.parse(e.data);
      const joined = last1 >= w.from - 1;
      total = Math.max(total, w.total);
      show();
      if (joined) { append(w.lines); if (following || lines().length > 2 * KEEP) trim(true); }
      if (following) box.scrollTop = box.scrollHeight;
    });
    stream.addEventListener("end", () => { stream.close(); sealed = true; button.hidden = true; });
    addEventListener("pagehide", () => stream.close());
  };

  box.addEventListener("scroll", () => {
    if (following && box.scrollHeight - box.scrollTop - box.clientHeight > 60) follow(false);
    edges();
  }, { passive: true });
  // A phase that is unfolded again may miss lines that were skipped.
  box.addEventListener("toggle", (e) => {
    const rows = e.target.querySelectorAll?.(".line");
    if (e.target.open && rows?.length) {
      const next = e.target.nextElementSibling?.querySelector(".line");
      if (next && number(next) > number(rows[rows.length - 1]) + 1) jump(number(rows[rows.length - 1]));
    }
    later();
  }, true);
  addEventListener("keydown", (e) => {
    if (e.target.closest?.("input, select, textarea") || e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.key === "f" && !button.hidden) follow(!following);
    if (e.key === "e" && Number(box.dataset.error)) jump(Number(box.dataset.error));
  });
  document.addEventListener("slipway:fresh", (e) => {
    const list = e.detail.getElementById("phase-list");
    if (list) { document.getElementById("phase-list").replaceWith(document.adoptNode(list)); known = phases(); }
    const error = e.detail.getElementById("log")?.dataset.error;
    if (error) { box.dataset.error = error; document.getElementById("L" + error)?.classList.add("error"); }
  });

  listen();
  if (!atHash()) {
    if (!sealed) follow(true);
    else if (Number(box.dataset.error) && !/[?&]line=/.test(location.search)) jump(Number(box.dataset.error));
  }
})();
