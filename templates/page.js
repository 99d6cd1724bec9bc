"use strict";
(() => {
  const page = document.documentElement.dataset;
  const live = document.getElementById("live");
  const offline = document.getElementById("offline");
  const announce = document.getElementById("announce");
  const toast = document.getElementById("toast");
  // Server clock minus ours, so that countdowns are right on a phone with a wrong clock.
  let skew = Number(page.now) - Date.now();

  const span = (ms) => {
    const s = Math.max(0, Math.floor(ms / 1000));
    const m = Math.floor(s / 60), h = Math.floor(m / 60), d = Math.floor(h / 24);
    if (d) return `${d} d ${h % 24} h`;
    if (h) return `${h} h ${m % 60} min`;
    if (m) return `${m} min ${s % 60} s`;
    return `${s} s`;
  };

  const tick = () => {
    const now = Date.now() + skew;
    const write = (element, text) => {
      if (element.textContent !== text) element.textContent = text;
    };
    for (const e of live.querySelectorAll("[data-since]")) write(e, span(now - e.dataset.since));
    for (const e of live.querySelectorAll("[data-until]")) {
      // Rounded up: a countdown that shows 0 s is over.
      const left = e.dataset.until - now;
      write(e, left > 0 ? span(left + 999) : e.dataset.over || span(0));
    }
    for (const e of live.querySelectorAll("[data-expires]")) {
      e.classList.toggle("stale", e.dataset.expires - now <= 0);
    }
  };

  const localise = (root) => {
    for (const e of root.querySelectorAll("time")) {
      e.textContent = new Date(e.dateTime).toLocaleString(undefined, {
        day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit",
      });
    }
  };

  // Each part as it came from the server, to swap only what changed.
  const seen = new Map();
  const remember = () => {
    seen.clear();
    for (const part of live.querySelectorAll("[data-part]")) seen.set(part.id, part.outerHTML);
  };

  const words = new Map();
  const speak = () => {
    const news = [];
    for (const pill of live.querySelectorAll("[data-word]")) {
      const { bot, word } = pill.dataset;
      if (words.has(bot) && words.get(bot) !== word) news.push(`${bot}: ${word}`);
      words.set(bot, word);
    }
    if (news.length) announce.textContent = news.join(". ");
  };

  const show = (html) => {
    const fresh = document.createElement("template");
    fresh.innerHTML = html;
    const parts = [...fresh.content.querySelectorAll("[data-part]")];
    if (parts.length === seen.size && parts.every((part) => seen.has(part.id))) {
      for (const part of parts) {
        const raw = part.outerHTML;
        if (raw === seen.get(part.id)) continue;
        const old = document.getElementById(part.id);
        const focus = old.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
        localise(part);
        // What a person opened or closed stays so.
        const folds = old.querySelectorAll("details");
        part.querySelectorAll("details").forEach((fold, n) => { if (folds[n]) fold.open = folds[n].open; });
        old.replaceWith(part);
        seen.set(part.id, raw);
        if (focus) part.querySelector(`[data-key="${focus}"]`)?.focus();
      }
    } else {
      live.replaceChildren(fresh.content);
      remember();
      localise(live);
    }
    speak();
    tick();
  };

  let wait = 2000;
  const listen = () => {
    const events = new EventSource(page.base + "events?view=page");
    events.addEventListener("page", (event) => {
      const { build, now, html } = JSON.parse(event.data);
      // Another build brings another page.
      if (build !== page.build) return location.reload();
      offline.hidden = true;
      wait = 2000;
      skew = now - Date.now();
      show(html);
    });
    events.onerror = () => {
      offline.hidden = false;
      // The browser itself tries again unless the answer was an error, such as too many streams.
      if (events.readyState === EventSource.CLOSED) {
        setTimeout(listen, wait * (1 + Math.random()));
        wait = Math.min(2 * wait, 60000);
      }
    };
  };

  let fading;
  const say = (text) => {
    clearTimeout(fading);
    toast.textContent = text;
    toast.hidden = false;
    fading = setTimeout(() => { toast.hidden = true; }, 6000);
  };

  // Resolves to whether a person means it.
  const dialog = document.getElementById("confirm");
  const ask = (question) => new Promise((resolve) => {
    document.getElementById("confirm-text").textContent = question;
    dialog.returnValue = "no";
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    dialog.showModal();
  });

  live.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!form.matches("[data-action]")) return;
    event.preventDefault();
    const { action } = form, part = form.closest("[data-part]").id;
    let button = form.querySelector("button");
    if (form.dataset.confirm) {
      const meant = await ask(form.dataset.confirm);
      // The part may have been swapped meanwhile.
      const forms = [...document.getElementById(part)?.querySelectorAll("form") ?? []];
      button = forms.find((one) => one.action === action)?.querySelector("button") ?? button;
      button.focus();
      if (!meant) return;
    }
    button.disabled = true;
    try {
      const answer = await fetch(action, { method: "POST", headers: { Accept: "text/plain" } });
      // A request for another dyno is answered line by line; the last one counts.
      const reader = answer.body.getReader(), decoder = new TextDecoder();
      let text = "";
      for (let piece; !(piece = await reader.read()).done;) {
        text += decoder.decode(piece.value, { stream: true });
        say(answer.ok ? text.trim().split("\n").pop() : text);
      }
    } catch {
      say("blacksky does not answer; try again in a moment.");
    } finally {
      button.disabled = false;
    }
  });

  remember();
  localise(live);
  speak();
  tick();
  setInterval(tick, 250);
  listen();
})();
