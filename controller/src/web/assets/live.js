// Keeps an open page as it is on the server: when something has happened, the main part is fetched again. Without this
// script, the page is as it was when it was loaded.
"use strict";
(() => {
  const sign = document.getElementById("live");
  let busy = false;
  let again = false;
  const isTyping = () => {
    const at = document.activeElement;
    return at && at.closest("main form") && at.tagName !== "BUTTON";
  };
  const refresh = async () => {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.status === 401) { location.reload(); return; }
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (isTyping()) return;
      const [old, fresh] = [document.getElementById("main"), page.getElementById("main")];
      if (!fresh) return;
      const focused = document.activeElement && old.contains(document.activeElement)
        ? document.activeElement.getAttribute("href") : null;
      const scrolled = [...old.querySelectorAll(".scroll")].map((it) => [it.scrollLeft, it.scrollTop]);
      old.replaceChildren(...fresh.childNodes);
      old.querySelectorAll(".scroll").forEach((it, at) => {
        if (scrolled[at]) [it.scrollLeft, it.scrollTop] = scrolled[at];
      });
      if (focused) old.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
      document.querySelector("footer time").replaceWith(page.querySelector("footer time"));
    } catch (_) {
      // The stream says when the controller is back.
    } finally {
      busy = false;
      if (again) { again = false; refresh(); }
    }
  };
  const stream = new EventSource("/live");
  stream.onopen = () => { sign.textContent = "live"; refresh(); };
  stream.onmessage = refresh;
  stream.onerror = () => { sign.textContent = "connection lost, trying again"; };
  // Times move on, also when nothing happens.
  setInterval(refresh, 60000);
})();
