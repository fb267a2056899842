package handlers_test

import (
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/slipway-ci/slipway/handlers/handlerstest"
)

// audit lists what is wrong with a page for those who don't see it, or don't
// see well: WCAG 2.2 1.3.1, 1.4.3, 1.4.10, 2.4.2, 2.4.3, 2.4.6, 3.1.1, 4.1.2.
const audit = `(() => {
  const wrong = new Set();
  const name = (e) => (e.getAttribute("aria-label") || e.textContent || e.title || "").trim() || [...e.querySelectorAll("[aria-label],title,img[alt]")].map((c) => c.getAttribute("aria-label") || c.alt || c.textContent).join("").trim();
  if (!document.documentElement.lang) wrong.add("no language");
  if (document.querySelectorAll("h1").length !== 1) wrong.add("h1: " + document.querySelectorAll("h1").length);
  if (!document.querySelector("main")) wrong.add("no main");
  if (document.querySelector("a").getAttribute("href") !== "#main") wrong.add("the first link does not skip to the content");
  let level = 0;
  for (const h of document.querySelectorAll("h1,h2,h3,h4")) {
    const n = Number(h.tagName[1]);
    if (n > level + 1) wrong.add("heading level skipped before " + h.innerText);
    level = n;
  }
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) wrong.add("id twice: " + id);
  for (const e of document.querySelectorAll("[aria-labelledby]")) if (!document.getElementById(e.getAttribute("aria-labelledby"))) wrong.add("no label " + e.getAttribute("aria-labelledby"));
  for (const e of document.querySelectorAll("a[href],button,summary")) if (!name(e)) wrong.add("no name: " + e.outerHTML.slice(0, 80));
  for (const e of document.querySelectorAll("input:not([type=hidden]),select,textarea")) if (!e.labels.length && !e.getAttribute("aria-label")) wrong.add("no label: " + e.outerHTML.slice(0, 80));
  for (const e of document.querySelectorAll("[tabindex]")) if (e.tabIndex > 0) wrong.add("tabindex " + e.tabIndex);
  if (document.documentElement.scrollWidth > innerWidth) wrong.add("wider than the window: " + document.documentElement.scrollWidth);

  const channels = (c) => { const m = c.match(/[\d.]+/g).map(Number); if (c.startsWith("color(")) for (let i = 0; i < 3; i++) m[i] *= 255; return m; };
  const over = (top, under) => { const a = top[3] ?? 1; return [0, 1, 2].map((i) => top[i] * a + under[i] * (1 - a)); };
  const behind = (e) => {
    const layers = [];
    for (; e; e = e.parentElement) { const c = channels(getComputedStyle(e).backgroundColor); if ((c[3] ?? 1) > 0) { layers.push(c); if ((c[3] ?? 1) === 1) break; } }
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
  };
  const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n = walk.nextNode(); n; n = walk.nextNode()) {
    const e = n.parentElement;
    if (!n.data.trim() || !e.checkVisibility({ visibilityProperty: true }) || e.closest(".hidden, .skip, [aria-hidden], .log, template, script, option")) continue;
    const style = getComputedStyle(e), back = behind(e);
    const a = light(over(channels(style.color), back)), b = light(back);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) wrong.add("contrast " + ratio.toFixed(2) + " of " + (e.className || e.tagName) + " in " + (e.parentElement.className || e.parentElement.tagName) + ": " + n.data.trim().slice(0, 20));
  }
  return [...wrong];
})()`

// TestPagesAreAccessible audits every page on a phone, in light and dark.
func TestPagesAreAccessible(t *testing.T) {
	s := sampled(t)
	s.AddGated(time.Now())
	paths := []string{"/pipelines/" + handlerstest.Gated, "/executions/" + handlerstest.GatedExecution}
	for _, p := range pagesWant {
		paths = append(paths, p.path)
	}
	ctx := browser(t)
	run(t, ctx, chromedp.Navigate(s.URL+s.Handlers.SignInPath()))
	for _, scheme := range []string{"light", "dark"} {
		media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
		run(t, ctx, send(emulation.SetEmulatedMedia, media), chromedp.EmulateViewport(390, 900))
		for _, path := range paths {
			run(t, ctx, chromedp.Navigate(s.URL+path))
			for _, wrong := range get(t, ctx, chromedp.Evaluate[[]string](audit)) {
				t.Errorf("%s, %s: %s", path, scheme, wrong)
			}
		}
	}
}
