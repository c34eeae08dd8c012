"use strict";
// The page asks for its live part every few seconds, while somebody looks at it.
(() => {
  const every = 5000;
  const live = document.getElementById("live");
  const pause = document.getElementById("pause");
  const lost = document.getElementById("lost");
  let paused = false, over = false, timer;

  const say = (text) => {
    lost.textContent = text;
    lost.hidden = text === "";
  };

  const update = async () => {
    clearTimeout(timer);
    if (paused || over || document.hidden) return;
    try {
      const url = new URL(location.href);
      url.hash = "";
      url.search = "?part=live";
      const answer = await fetch(url, {credentials: "same-origin", redirect: "manual", cache: "no-store"});
      if (answer.ok) {
        const text = await answer.text();
        const marked = getSelection();
        const inUse = live.contains(document.activeElement) || !marked.isCollapsed && live.contains(marked.anchorNode);
        if (!inUse) {
          const part = new DOMParser().parseFromString(text, "text/html");
          const before = [...live.querySelectorAll(".scroll")].map((e) => [e.scrollTop, e.scrollLeft]);
          live.replaceChildren(...part.body.childNodes);
          live.querySelectorAll(".scroll").forEach((e, i) => {
            [e.scrollTop, e.scrollLeft] = before[i] ?? [0, 0];
          });
        }
        say("");
      } else if (answer.status < 500) { // the access is gone, or a login is asked for
        over = true;
        say(lost.dataset.lost);
      } else {
        say(lost.dataset.away);
      }
    } catch {
      say(lost.dataset.away);
    }
    timer = setTimeout(update, every);
  };

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? pause.dataset.resume : pause.dataset.pause;
    update();
  });
  document.addEventListener("visibilitychange", update);
  timer = setTimeout(update, every);
})();
